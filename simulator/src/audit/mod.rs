//! Audits of a mechanism for user-level privacy: does what comes out of it look as its claim says?
//!
//! | level | what it does | what it sees | what it cannot see |
//! |---|---|---|---|
//! | [`noise`], [`sensitivity`] | releases of devices that say nothing; hostile updates | wrong variance, shape or scale, noise that repeats or is correlated, a bound that does not hold, a denominator that tells the cohort | that the data reach the release by another way than reports |
//! | [`canary`] | one-shot canaries, Andrew et al. 2024 (arXiv 2302.03098) | the signal of one device against the noise, end to end | what a canary does not do: it is an estimate, not a bound |
//! | [`one_run`] | coin-flip canaries, Steinke, Nasr, Jagielski 2023 (arXiv 2305.08846) | proof that epsilon is larger than stated | most bugs: half of the noise passes it |
//!
//! What is audited is a [`Mechanism`]; [`Real`] is the path of a run. Every statistical check has a probability under the claim
//! (its p-value); a mechanism passes if none is below `alpha` over their number (Bonferroni), so that an honest one fails with
//! probability `alpha` at most. Checks that are exact pass or fail. All of it follows from the seed.

pub mod canary;
mod check;
pub mod law;
mod mechanism;
pub mod noise;
pub mod one_run;
mod real;
pub mod sensitivity;
pub mod statistics;
mod tree;

pub use check::{AuditReport, Check, FORMAT, Level, Verdict};
pub use mechanism::{Claim, Device, Integers, LOUD, Mechanism, OverRounds, Run, Update, canary as canary_direction};
pub use real::Real;

use serde::{Deserialize, Serialize};
use siskin::checkin::{Distributed, Profile, ShareNoise};
use siskin::privacy::sample::MAX_SKELLAM_DEVIATION;
use siskin_accounting::correlated::{Blt, Objective, Participation, StrategyError, Tree};

/// Why an audit did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The claim or a setting makes no sense.
    #[error("{0}")]
    Claim(String),
    /// A device or its report went wrong.
    #[error("a virtual device failed: {0}")]
    Device(String),
    /// A device's memory.
    #[error("a virtual device failed: {0:?}")]
    Arena(siskin::arena::ArenaError),
    /// The server.
    #[error(transparent)]
    Server(#[from] siskin_server::round::ServerError),
    /// The accountant.
    #[error(transparent)]
    Accounting(#[from] siskin_accounting::Error),
}

impl AuditError {
    fn model(error: siskin_server::round::ModelError) -> Self {
        Self::Server(error.into())
    }
}

impl From<siskin::arena::ArenaError> for AuditError {
    fn from(error: siskin::arena::ArenaError) -> Self {
        Self::Arena(error)
    }
}

/// How much is audited, and of what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Standard deviation of the noise in the sum, over the clip norm.
    pub noise_multiplier: f32,
    /// L2 bound of a report.
    pub clip_norm: f32,
    /// Grid of the reports; none is a sixteenth of the root mean square coordinate of a clipped delta, where rounding hardly
    /// moves a norm.
    pub step: Option<f32>,
    /// At which epsilon is stated.
    pub dp_delta: f64,
    /// Probability with which an honest mechanism fails.
    pub alpha: f64,
    /// Who adds the noise.
    pub profile: NoiseOn,
    /// Noise that is correlated over rounds; none is fresh in each.
    pub blt: Option<BltSettings>,
    /// The same by a tree; at most one of both. A run knows none, the server does.
    pub tree: Option<TreeSettings>,
    /// Of everything random.
    pub seed: u64,
    /// Params in level 1.
    pub dim: usize,
    /// Devices of its cohort.
    pub devices: u32,
    /// Its rounds.
    pub rounds: u32,
    /// Canaries of level 2, all of which take part.
    pub canaries: u32,
    /// Ordinary devices among them.
    pub ordinary: u32,
    /// Its params.
    pub canary_dim: usize,
    /// Its rounds.
    pub canary_rounds: u32,
    /// Canaries of level 3, of which a coin decides.
    pub coins: u32,
    /// Which levels.
    pub levels: Vec<Level>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            noise_multiplier: 1.0,
            clip_norm: 0.5,
            step: None,
            dp_delta: 1e-5,
            alpha: 1e-4,
            profile: NoiseOn::Central,
            blt: None,
            tree: None,
            seed: 1,
            dim: 20_000,
            devices: 32,
            rounds: 24,
            canaries: 5000,
            ordinary: 100,
            canary_dim: 50_000,
            canary_rounds: 1,
            coins: 5000,
            levels: vec![Level::Unit, Level::Canary, Level::OneRun],
        }
    }
}

impl Settings {
    /// The same in seconds: fewer params and canaries, so that less is seen.
    #[must_use]
    pub fn quick(self) -> Self {
        Self {
            dim: 5000,
            devices: 12,
            rounds: 16,
            canaries: 1000,
            ordinary: 40,
            canary_dim: 10_000,
            coins: 1000,
            ..self
        }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`AuditError::Claim`] names the setting, what it is and what it may be.
    pub fn check(&self) -> Result<(), AuditError> {
        let within = |name: &str, got: f64, min: f64, max: f64| {
            let message = format!("{name} {got}: it must be between {min} and {max}");
            if got >= min && got <= max { Ok(()) } else { Err(AuditError::Claim(message)) }
        };
        within("--noise-multiplier", f64::from(self.noise_multiplier), 0.01, 1000.0)?;
        within("--clip-norm", f64::from(self.clip_norm), 1e-4, 1e4)?;
        if let Some(step) = self.step {
            within("--step", f64::from(step), f64::from(self.clip_norm) / 1e5, f64::from(self.clip_norm) * 100.0)?;
        }
        within("--dp-delta", self.dp_delta, 1e-15, 0.5)?;
        within("--alpha", self.alpha, 1e-12, 0.5)?;
        if let Some(blt) = self.blt {
            within("--blt", f64::from(blt.buffers), 1.0, 4.0)?;
            within("--min-separation", f64::from(blt.min_separation), 1.0, 1000.0)?;
            within("--participations", f64::from(blt.participations), 1.0, 1000.0)?;
        }
        if let Some(tree) = self.tree {
            within("--min-separation", f64::from(tree.min_separation), 1.0, 1000.0)?;
            within("--participations", f64::from(tree.participations), 1.0, 1000.0)?;
        }
        within("--dim", self.dim as f64, 100.0, 65_535.0)?;
        within("--devices", f64::from(self.devices), 2.0, 1e6)?;
        within("--rounds", f64::from(self.rounds), 3.0, 1000.0)?;
        within("--canaries", f64::from(self.canaries), 100.0, 1e6)?;
        within("--ordinary", f64::from(self.ordinary), 0.0, 1e6)?;
        within("--canary-dim", self.canary_dim as f64, 1000.0, 65_535.0)?;
        within("--canary-rounds", f64::from(self.canary_rounds), 1.0, 1000.0)?;
        within("--coins", f64::from(self.coins), 100.0, 1e6)
    }

    /// What is promised of a run with so many params, devices, rounds and participations of one device; where the noise is
    /// correlated, these are as its rule has them.
    ///
    /// # Errors
    /// [`AuditError::Claim`] for buffers that no BLT has, and for a BLT and a tree at once.
    pub fn claim(
        &self,
        coordinates: usize,
        cohort: u32,
        rounds: u32,
        participations: u32,
    ) -> Result<Claim, AuditError> {
        let step = self.step.unwrap_or_else(|| {
            let fine = f64::from(self.clip_norm) / (16.0 * (coordinates as f64).sqrt());
            // Shares of at most half of what the sampler makes, because level 1 has fewer of them too.
            let share = f64::from(self.noise_multiplier * self.clip_norm) / f64::from(cohort).sqrt();
            let coarse = if self.profile.is_skellam() { 2.0 * share / MAX_SKELLAM_DEVIATION } else { 0.0 };
            fine.max(coarse) as f32
        });
        let over_rounds = match (&self.blt, &self.tree) {
            (None, None) => Ok(OverRounds::Independent),
            (Some(b), None) => b.over(rounds),
            (None, Some(t)) => t.over(rounds),
            (Some(_), Some(_)) => {
                return Err(AuditError::Claim("--blt and --tree: noise is correlated by one of them".to_owned()));
            }
        };
        let over_rounds = over_rounds.map_err(|e| AuditError::Claim(e.to_string()))?;
        let participations = over_rounds.participation().map_or(participations, Participation::most);
        Ok(Claim {
            coordinates,
            clip_norm: self.clip_norm,
            noise_multiplier: self.noise_multiplier,
            cohort,
            rounds,
            participations,
            step,
            dp_delta: self.dp_delta,
            over_rounds,
            profile: self.profile.of(cohort),
        })
    }
}

/// Who adds the noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseOn {
    /// The server, to the sum.
    Central,
    /// Each device, all of it: discrete Gaussian.
    Local,
    /// Each device a share: discrete Gaussian, rotated, modulo 2^24.
    Distributed,
    /// The same with Skellam noise.
    DistributedSkellam,
}

impl NoiseOn {
    /// Their names.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("central", Self::Central),
        ("local", Self::Local),
        ("distributed", Self::Distributed),
        ("distributed-skellam", Self::DistributedSkellam),
    ];

    fn is_skellam(self) -> bool {
        self == Self::DistributedSkellam
    }

    fn of(self, shares: u32) -> Profile {
        let noise = if self.is_skellam() { ShareNoise::Skellam } else { ShareNoise::DiscreteGaussian };
        match self {
            Self::Central => Profile::Central,
            Self::Local => Profile::Local,
            _ => Profile::Distributed(Distributed { shares, bits: 24, noise, rotation: 0x5eed }),
        }
    }

    /// What is done.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Central => "devices clip, the server clips again, sums and adds Gaussian noise",
            Self::Local => "each device clips and adds discrete Gaussian noise of its own",
            Self::Distributed => "each device clips, rotates and adds its share of discrete Gaussian noise",
            Self::DistributedSkellam => "each device clips, rotates and adds its share of Skellam noise",
        }
    }
}

/// Noise that is correlated over rounds, by a BLT that is optimised for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BltSettings {
    /// Buffers, 1 to 4.
    pub buffers: u32,
    /// Rounds from one participation of a device to its next, at the least.
    pub min_separation: u32,
    /// Participations of a device, at the most.
    pub participations: u32,
}

impl BltSettings {
    fn over(&self, rounds: u32) -> Result<OverRounds, StrategyError> {
        let participation = Participation::new(rounds, self.min_separation, self.participations)?;
        let blt = Blt::optimized(participation, self.buffers as usize, Objective::Max)?;
        Ok(OverRounds::Blt { blt, participation })
    }
}

/// Noise that is correlated over rounds by tree aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeSettings {
    /// How prefix sums are made of nodes.
    pub tree: Tree,
    /// Rounds from one participation of a device to its next, at the least.
    pub min_separation: u32,
    /// Participations of a device, at the most.
    pub participations: u32,
}

impl TreeSettings {
    fn over(&self, rounds: u32) -> Result<OverRounds, StrategyError> {
        let participation = Participation::new(rounds, self.min_separation, self.participations)?;
        Ok(OverRounds::Tree { tree: self.tree, participation })
    }
}

/// A stage of an audit and how far it is: (what, done, of).
pub type Watch<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// Audits a mechanism. `command` is what the report shows.
///
/// # Errors
/// [`AuditError`] if a setting makes no sense or the mechanism fails; a check that fails is no error.
pub fn audit(
    mechanism: &dyn Mechanism,
    settings: &Settings,
    command: Vec<String>,
    watch: Watch<'_>,
) -> Result<AuditReport, AuditError> {
    settings.check()?;
    let mut name = format!("{}: {}", mechanism.name(), settings.profile.describe());
    if let Some(b) = settings.blt {
        let rule = format!("a device at most {} times, at least {} rounds apart", b.participations, b.min_separation);
        name += &format!(", correlated over rounds by a BLT of {} buffers ({rule})", b.buffers);
    }
    if let Some(t) = settings.tree {
        let rule = format!("a device at most {} times, at least {} rounds apart", t.participations, t.min_separation);
        let tree = match t.tree {
            Tree::Binary => "a binary tree",
            Tree::Honaker => "a binary tree with Honaker's estimate",
        };
        name += &format!(", correlated over rounds by {tree} ({rule}); `siskin run` has no such noise, the server has");
    }
    let mut report = AuditReport::new(name, settings, command);
    for level in &settings.levels {
        match level {
            Level::Unit => {
                let (checks, pictures) = noise::audit(mechanism, settings, watch)?;
                report.checks.extend(checks);
                report.noise = Some(pictures);
                report.checks.extend(sensitivity::audit(mechanism, settings, watch)?);
            }
            Level::Canary => {
                let (checks, found) = canary::audit(mechanism, settings, watch)?;
                report.checks.extend(checks);
                report.canary = Some(found);
            }
            Level::OneRun => {
                let (check, found) = one_run::audit(mechanism, settings, watch)?;
                report.checks.push(check);
                report.one_run = Some(found);
            }
        }
    }
    report.judge();
    Ok(report)
}
