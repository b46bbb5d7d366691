//! Bound and noise of a report, as a plan states them.

use super::plan::within;
use super::{PlanError, Quantization, RateSchedule, Rounding, Training, Weighting, parts};
use crate::privacy::{GridBound, check, rotated_len, share};
use serde::{Deserialize, Serialize};

/// Bound and noise of one report.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Privacy {
    /// L2 bound of the report on its grid, in units of the parameters: rounding is within it. Without noise, of the delta before
    /// it is rounded: see [`GridBound`].
    pub clip_norm: f32,
    /// What is clipped on the way to that bound.
    pub clipping: Clipping,
    /// Standard deviation of the noise in units of `clip_norm`: on the sum of the cohort, or under [`Profile::Local`] on each
    /// report. 0 is no noise.
    pub noise_multiplier: f32,
    /// Who adds it.
    pub profile: Profile,
}

/// What is clipped, and so whose contribution is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Clipping {
    /// The whole delta, to `clip_norm`: user-level privacy (McMahan et al. 2018, "flat").
    Delta,
    /// The part of each layer with `d_l` of the `d` live coordinates, to `clip_norm * sqrt(d_l / d)`, so that the squares add up to
    /// that of `clip_norm` (the same, "per-layer"). User-level too.
    Layers,
    /// The gradient of each example, to `norm`: one gradient step over all examples, `learning_rate / max_examples` times the sum. No
    /// example moves that by more than `learning_rate * norm / max_examples`, no device by more than `learning_rate * norm`, which
    /// `clip_norm` must not be below. Only plain SGD with one epoch and a batch of one, so that no layer sees two examples
    /// together and nothing hangs on the order.
    Examples {
        /// L2 bound of one example's gradient.
        norm: f32,
    },
    /// The whole delta, and one more coordinate says whether that was necessary, so that the server can steer `clip_norm` to
    /// a quantile of the norms (Andrew, Thakkar, McMahan, Ramaswamy 2021). With `r = bit_share` and `C = clip_norm`, the delta is
    /// clipped to `D = C sqrt(1 - r^2)`, and the coordinate is `+r C` if its norm was at most `D`, `-r C` if it was longer or
    /// not finite. Both together have a norm of at most `C`, so that the noise covers them as it covers a delta: one Gaussian
    /// mechanism of the plan's noise multiplier `z`, and nothing to account for besides.
    ///
    /// It is the paper's split of one noise multiplier: of a sum of such coordinates over `r C`, that is of +-1, the noise has a
    /// deviation of `z / r`; of the same sum of 0 and 1, half of it, `s_b = z / (2 r)`. The delta's own multiplier is
    /// `z_delta = z C / D = z / sqrt(1 - r^2) = (z^-2 - (2 s_b)^-2)^(-1/2)`, its algorithm 1.
    Adaptive {
        /// Norm of the coordinate over that of the report, `r`; above 0, at most 0.75, and at least a step of the grid unless
        /// the report is rotated.
        bit_share: f32,
    },
}

/// Who adds the noise, and so who must be trusted with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    /// The server clips again what it decodes and adds the noise to the sum: it sees each clipped delta.
    Central,
    /// Each device adds all of the noise, discrete Gaussian on the grid: nobody sees a delta without it.
    Local,
    /// Each device rotates its delta and adds a share of the noise, so that `shares` reports together carry what the plan promises.
    Distributed(Distributed),
}

/// How the noise is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distributed {
    /// Reports of honest devices that the round needs at the least: the variance of one share is that of the promise over
    /// this number.
    pub shares: u32,
    /// Symbols are sent and summed modulo `2^bits`; 8 to 24.
    pub bits: u8,
    /// The distribution of a share.
    pub noise: ShareNoise,
    /// Public seed of the rotation's signs; the round is added to it.
    pub rotation: u32,
}

/// The distribution of a share of noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShareNoise {
    /// Discrete Gaussian (Kairouz, Liu, Steinke 2021): the sum of shares is nearly one.
    DiscreteGaussian,
    /// Skellam (Agarwal, Kairouz, Liu 2021): the sum of shares is one exactly; slow to draw.
    Skellam,
}

/// Least standard deviation of a device's discrete Gaussian noise, in steps. From here on it is told from the continuous one by
/// nothing that counts, and what distinguishes a sum of them from one discrete
/// Gaussian (`tau` of Kairouz, Liu, Steinke 2021, theorem 1) is below `10 n exp(-4 pi^2)`, 1e-16 for each of `n` shares.
pub const LEAST_SHARE_DEVIATION: f32 = 2.0;

/// Largest clip norm where devices add noise, in steps: symbol and noise together fit the largest symbol.
pub const MAX_SHARE_STEPS: f32 = (1 << 22) as f32;

/// Largest part of the bound that [`Clipping::Adaptive`] may give to its bit; two thirds are left to the delta.
pub const MAX_BIT_SHARE: f32 = 0.75;

impl Privacy {
    /// Of this clip norm and profile, without noise.
    pub const fn new(clip_norm: f32, profile: Profile) -> Self {
        Self { clip_norm, clipping: Clipping::Delta, noise_multiplier: 0.0, profile }
    }

    /// The profile's parameters, if the noise is shared.
    pub const fn distributed(&self) -> Option<Distributed> {
        match self.profile {
            Profile::Distributed(distributed) => Some(distributed),
            _ => None,
        }
    }

    /// The bit's part of the bound, under [`Clipping::Adaptive`].
    pub const fn bit_share(&self) -> Option<f32> {
        match self.clipping {
            Clipping::Adaptive { bit_share } => Some(bit_share),
            _ => None,
        }
    }

    /// Number of symbols of a report of `live` coordinates: so many, one for the bit, and where they are rotated as many
    /// as that takes.
    pub const fn symbols(&self, live: usize) -> usize {
        let carried = self.coordinates(live);
        match self.profile {
            Profile::Distributed(_) => rotated_len(carried),
            _ => carried,
        }
    }

    /// The same before the rotation; the bit is the last.
    pub const fn coordinates(&self, live: usize) -> usize {
        // No model has as many.
        live.saturating_add(self.bit_share().is_some() as usize)
    }

    /// What the bit is on a grid of `step`, in steps, without its sign: a whole number, as it is set there exactly, unless
    /// it is rotated with the delta and rounded as everything else. None without a bit, or if clip norm and step do not go together.
    pub fn bit_steps(&self, step: f32) -> Option<f64> {
        let share = self.bit_share()?;
        match self.profile {
            Profile::Distributed(_) => Some(f64::from(share * self.clip_norm) / f64::from(step)),
            // The bit hangs on neither.
            _ => {
                let grid = Quantization { step, rounding: Rounding::Stochastic, keep: 1.0 };
                Some(f64::from(GridBound::of(self, &grid, 1).ok()?.bit()))
            }
        }
    }

    /// True if what rounding adds comes on top of the clip norm: where no noise is promised, and no sum is modulo anything.
    pub fn leaves_room(&self) -> bool {
        self.noise_multiplier == 0.0 && self.distributed().is_none()
    }

    /// True if the device adds noise.
    pub fn noise_on_device(&self) -> bool {
        self.noise_multiplier > 0.0 && self.profile != Profile::Central
    }

    /// How far one example moves the report at the most, L2, in units of the parameters; none unless examples are clipped.
    /// `coordinates` are those of the report: two roundings of one coordinate differ by up to a step, and single precision by
    /// up to `2^-22` of the whole.
    pub fn example_sensitivity(&self, training: &Training, step: f32, coordinates: usize) -> Option<f64> {
        let Clipping::Examples { norm } = self.clipping else { return None };
        let exact = f64::from(training.learning_rate) * f64::from(norm) / f64::from(training.max_examples);
        let rounding = libm::sqrt(coordinates as f64) * f64::from(step);
        Some(exact + rounding + f64::from(self.clip_norm) / 4_194_304.0)
    }

    /// With clipped examples: that training is one step of them, and that rounding to the grid can never exceed the bound,
    /// because then the delta would be shortened by a factor that hangs on every example. `coordinates` are those of the report.
    pub(crate) fn check_examples(&self, training: &Training, step: f32, coordinates: usize) -> Result<(), PlanError> {
        let Clipping::Examples { norm } = self.clipping else { return Ok(()) };
        within("privacy.clipping.norm", norm, 1e-12, 1e12)?;
        within("training.epochs, with clipped examples", f32::from(training.epochs), 1.0, 1.0)?;
        within("training.batch, with clipped examples", f32::from(training.batch), 1.0, 1.0)?;
        within("training.max_examples, with clipped examples", training.max_examples as f32, 1.0, 1e6)?;
        within("training.proximal, with clipped examples", training.proximal, 0.0, 0.0)?;
        within("training.weight_decay, with clipped examples", training.weight_decay, 0.0, 0.0)?;
        within("moments of the optimizer, with clipped examples", training.optimizer.moments() as f32, 0.0, 0.0)?;
        if training.schedule != RateSchedule::Constant {
            return Err(PlanError::OutOfRange { field: "training.schedule, with clipped examples", got: 1.0 });
        }
        // Without noise there is room for what rounding adds.
        let rounding = if self.leaves_room() { 0.0 } else { libm::sqrtf(coordinates as f32) * step };
        let least = training.learning_rate * norm * (1.0 + 1e-5) + rounding;
        within("privacy.clip_norm, above that of all examples and their rounding", self.clip_norm, least, f32::MAX)
    }

    pub(crate) fn validate(&self, grid: &Quantization, weighting: Weighting) -> Result<(), PlanError> {
        within("privacy.clip_norm", self.clip_norm, 1e-12, 1e12)?;
        within("privacy.noise_multiplier", self.noise_multiplier, 0.0, 1e6)?;
        // The number of coordinates comes later; the least bound is of one.
        let bound = GridBound::of(self, grid, 1).map_err(PlanError::Grid)?;
        if !self.leaves_room() {
            // Of a part of a report no noise is accounted for, and a rotated coordinate is a part of them all.
            within("quantization.keep, with noise or rotated", grid.keep, 1.0, 1.0)?;
        }
        if parts::ROTATED.here && grid.rounding == Rounding::Rotated {
            within("privacy.noise_multiplier, with signs of rotated deltas", self.noise_multiplier, 0.0, 0.0)?;
            if self.distributed().is_some() {
                return Err(PlanError::OutOfRange { field: "privacy.profile, with signs of rotated deltas", got: 2.0 });
            }
            let share = self.bit_share().unwrap_or(0.0);
            within("privacy.clipping.bit_share, with signs of rotated deltas", share, 0.0, 0.0)?;
        }
        let optimised = parts::OPTIMISED.here && matches!(grid.rounding, Rounding::Optimised { .. });
        if optimised || parts::DITHER.here && grid.rounding == Rounding::Dithered {
            within("privacy.noise_multiplier, with dithered or optimised rounding", self.noise_multiplier, 0.0, 0.0)?;
            if self.distributed().is_some() {
                return Err(PlanError::OutOfRange {
                    field: "privacy.profile, with dithered or optimised rounding",
                    got: 2.0,
                });
            }
        }
        if optimised {
            // What does not travel would be priced too.
            within("quantization.keep, with optimised rounding", grid.keep, 1.0, 1.0)?;
        }
        if let Some(share) = self.bit_share() {
            within("privacy.clipping.bit_share", share, 1e-6, MAX_BIT_SHARE)?;
            if self.distributed().is_none() {
                within("privacy.clipping.bit_share in steps", bound.bit() as f32, 1.0, f32::MAX)?;
            }
            if let Weighting::Examples { cap } = weighting {
                // The bits of some would count more than those of others.
                within("upload.weighting.cap, with adaptive clipping", cap as f32, 1.0, 1.0)?;
            }
        }
        let steps = self.clip_norm / grid.step;
        if self.profile != Profile::Central {
            within("privacy.clip_norm in steps, with noise on the device", steps, 1.0, MAX_SHARE_STEPS)?;
            if let Weighting::Examples { cap } = weighting {
                // A weight would scale the noise with the delta.
                within("upload.weighting.cap, with noise on the device", cap as f32, 1.0, 1.0)?;
            }
        }
        let mut exact = false;
        if let Profile::Distributed(Distributed { shares, bits, noise, .. }) = self.profile {
            within("privacy.profile.shares", shares as f32, 1.0, 1e9)?;
            within("privacy.profile.bits", f32::from(bits), 8.0, 24.0)?;
            // The sum of Skellams is exact whatever they are, and of no shares nothing is to be said.
            exact = noise == ShareNoise::Skellam;
        }
        if self.noise_on_device() && !exact {
            let share = share(self) as f32 * steps;
            within("deviation of a device's noise in steps", share, LEAST_SHARE_DEVIATION, f32::MAX)?;
        }
        check(self, grid.step).map_err(PlanError::Deviation)
    }
}
