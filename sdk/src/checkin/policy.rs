//! The floor that the embedding app sets: a plan that asks for less is refused on the device, whoever sent it.

use super::{Limits, Plan, Profiles, Weighting};

/// What the app allows. The plan may be stricter, never laxer.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Policy {
    /// Largest `clip_norm`.
    pub largest_clip_norm: f32,
    /// Least noise multiplier that the plan must promise; 0 accepts plans without noise.
    pub least_noise_multiplier: f32,
    /// Only plans of these profiles.
    pub profiles: Profiles,
    /// Only plans that give every report the same weight, so that the number of examples stays on the device.
    pub uniform_weight: bool,
    /// Also plans that ask for a [growth probe](crate::optim::Probe): where the gradient of one batch is largest, neither
    /// clipped nor noised.
    pub growth_probe: bool,
    /// Largest report, bytes.
    pub largest_upload: u32,
    /// Largest download of one round, bytes.
    pub largest_download: u32,
    /// Bounds on all rounds together.
    pub limits: Limits,
}

impl Policy {
    /// Accepts every plan: for simulators and tests.
    pub const fn permissive() -> Self {
        Self {
            largest_clip_norm: f32::MAX,
            least_noise_multiplier: 0.0,
            profiles: Profiles::ALL,
            uniform_weight: false,
            growth_probe: true,
            largest_upload: u32::MAX,
            largest_download: u32::MAX,
            limits: Limits::NONE,
        }
    }

    /// Compares a plan with the floor; [`limits`](Self::limits) are the ledger's to compare.
    ///
    /// # Errors
    /// [`PolicyViolation`] with the rule and both numbers.
    #[allow(clippy::neg_cmp_op_on_partial_ord, reason = "a NaN must refuse")]
    pub fn check(&self, plan: &Plan) -> Result<(), PolicyViolation> {
        let p = &plan.privacy;
        // Written so that a NaN in the policy refuses.
        if !(p.clip_norm <= self.largest_clip_norm) {
            return Err(PolicyViolation::ClipNorm { allowed: self.largest_clip_norm, plan: p.clip_norm });
        }
        if !(p.noise_multiplier >= self.least_noise_multiplier) {
            return Err(PolicyViolation::Noise { least: self.least_noise_multiplier, plan: p.noise_multiplier });
        }
        let profile = Profiles::of(p.profile);
        if !self.profiles.has(profile) {
            return Err(PolicyViolation::Profile { allowed: self.profiles, plan: profile });
        }
        if self.uniform_weight && plan.upload.weighting != Weighting::Uniform {
            return Err(PolicyViolation::Weighted);
        }
        if plan.upload.probe > 0 && !self.growth_probe {
            return Err(PolicyViolation::GrowthProbe);
        }
        if plan.upload.max_bytes > self.largest_upload {
            return Err(PolicyViolation::Upload { allowed: self.largest_upload, plan: plan.upload.max_bytes });
        }
        Ok(())
    }

    /// Compares the announced download with the floor.
    ///
    /// # Errors
    /// [`PolicyViolation::Download`] with both numbers.
    pub fn check_download(&self, bytes: u32) -> Result<(), PolicyViolation> {
        if bytes > self.largest_download {
            return Err(PolicyViolation::Download { allowed: self.largest_download, plan: bytes });
        }
        Ok(())
    }
}

/// The rule that a plan breaks, with both numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PolicyViolation {
    /// The plan clips later than allowed.
    ClipNorm {
        /// Largest that the app allows.
        allowed: f32,
        /// What the plan says.
        plan: f32,
    },
    /// The plan promises too little noise.
    Noise {
        /// Least that the app accepts.
        least: f32,
        /// What the plan says.
        plan: f32,
    },
    /// The plan is of a profile that the app does not allow.
    Profile {
        /// Those that the app allows.
        allowed: Profiles,
        /// That of the plan.
        plan: Profiles,
    },
    /// The app wants uniform weights.
    Weighted,
    /// The app does not say where gradients are largest.
    GrowthProbe,
    /// The report may become too large.
    Upload {
        /// Largest that the app allows, bytes.
        allowed: u32,
        /// What the plan says, bytes.
        plan: u32,
    },
    /// The checkpoint is too large.
    Download {
        /// Largest that the app allows, bytes.
        allowed: u32,
        /// What the task says, bytes.
        plan: u32,
    },
    /// The app bounds all rounds together, and the session was given no ledger.
    NoLedger,
    /// The ledger has no place for one more population.
    LedgerFull {
        /// Places that it has.
        populations: u32,
    },
    /// Too few rounds after the last one of this population in which the device took part.
    Separation {
        /// Least difference of their numbers.
        least: u32,
        /// Number of the last one.
        last: u32,
        /// The plan's number.
        plan: u32,
    },
    /// Too soon after the last participation in this population.
    SeparationTime {
        /// Least time between two, ms.
        least_ms: u64,
        /// Time that has passed, ms; 0 if the clock says that none has.
        passed_ms: u64,
    },
    /// Too many participations in this population.
    Participations {
        /// Most that the app allows.
        most: u32,
        /// With this one.
        would_be: u32,
    },
    /// Too many participations in all populations together.
    ParticipationsInAll {
        /// Most that the app allows.
        most: u32,
        /// With this one.
        would_be: u32,
    },
    /// Too much epsilon in this period.
    EpsilonOfPeriod {
        /// Largest that the app allows.
        largest: f64,
        /// With this round, infinite if the plan promises no noise.
        would_be: f64,
    },
    /// Too much epsilon in all.
    Epsilon {
        /// Largest that the app allows.
        largest: f64,
        /// With this round, infinite if the plan promises no noise.
        would_be: f64,
    },
}

impl core::fmt::Display for PolicyViolation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::ClipNorm { allowed, plan } => write!(f, "clip norm {plan}, the app allows at most {allowed}"),
            Self::Noise { least, plan } => write!(f, "noise multiplier {plan}, the app wants at least {least}"),
            Self::Profile { allowed, plan } => write!(f, "profile {plan}, the app allows {allowed}"),
            Self::Weighted => write!(f, "reports are weighted by examples, the app wants uniform weights"),
            Self::GrowthProbe => write!(f, "the plan asks for a growth probe, the app does not allow it"),
            Self::Upload { allowed, plan } => write!(f, "report of up to {plan} bytes, the app allows {allowed}"),
            Self::Download { allowed, plan } => write!(f, "download of {plan} bytes, the app allows {allowed}"),
            Self::NoLedger => write!(f, "the app bounds participation, and there is no ledger of it"),
            Self::LedgerFull { populations } => {
                write!(f, "one more population, the ledger has {populations} and forgets none")
            }
            Self::Separation { least, last, plan } => {
                let after = i64::from(*plan) - i64::from(*last);
                write!(f, "round {plan} is {after} after round {last}, the app wants at least {least}")
            }
            Self::SeparationTime { least_ms, passed_ms } => {
                write!(f, "{passed_ms} ms since the last participation, the app wants at least {least_ms}")
            }
            Self::Participations { most, would_be } => {
                write!(f, "participation {would_be} in this population, the app allows {most}")
            }
            Self::ParticipationsInAll { most, would_be } => {
                write!(f, "participation {would_be} in all, the app allows {most}")
            }
            Self::EpsilonOfPeriod { largest, would_be } => {
                write!(f, "epsilon {would_be:.3} in this period, the app allows {largest}")
            }
            Self::Epsilon { largest, would_be } => write!(f, "epsilon {would_be:.3} in all, the app allows {largest}"),
        }
    }
}

impl core::error::Error for PolicyViolation {}
