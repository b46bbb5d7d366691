//! The server's noise: the central profile, in which devices clip and the server, which the users trust with the sum,
//! adds Gaussian noise to it before anything else is made of it.
//!
//! The mechanism is `round(sum + N(0, sigma^2))` per live coordinate, in units of `step / 2^16`, with
//! `sigma = noise_multiplier * sensitivity` and `sensitivity = max_weight * clip_norm`. The sensitivity is that of the
//! sum's own plan, to which it clipped every report: there is no second number to get wrong. What comes out is for
//! add-or-remove-one-report (or zero-it-out) adjacency. Dwork and Roth 2014, appendix A; McMahan et al. 2018
//! (arXiv 1710.06963), algorithm 1 with a fixed denominator.
//!
//! # What floating point does to it
//! The sums are integers and the noise is rounded to an integer before it is added, which is the same as rounding the
//! exact `sum + noise`, so it is post-processing: the released numbers lie on the same grid whatever the reports were,
//! and low-order bits say nothing (Mironov 2012, "On significance of the least significant bits for differential
//! privacy", describes the attack on noise added in floats). Two imperfections are left, and the sampler is **not** claimed
//! to be exact: (1) a normal deviate is Box-Muller in f64 from 64 and 53 random bits, so the probabilities of the integers
//! are not quite those of the normal distribution, by an amount that is not bounded formally here, and where `sigma` nears
//! 2^50 units not every integer can occur; (2) deviates beyond 9.42 sigma never occur, an event of probability below
//! 2^-63 a coordinate and round, for which a strict accountant may add to `dp_delta`.
//! Where that is not good enough the devices add discrete Gaussian noise instead, which is exact. Time and memory
//! accesses do not hide the deviates from who can watch the server's processor.
//!
//! [`PromisedSum::noise`] draws it afresh in every round; [`correlated`] makes it so that it cancels in the sum of rounds.

pub mod correlated;
mod gaussian;

pub use correlated::{CorrelatedNoise, Noise, StateError};
pub use gaussian::Gaussian;

use crate::aggregate::{PromisedSum, divide};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU64;

/// `sigma / sensitivity`: finite and positive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct NoiseMultiplier(f64);

/// Why noise was not added.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoiseError {
    /// The multiplier is not a finite positive number. Without noise, promise none.
    #[error("noise_multiplier {got} must be finite and positive")]
    Multiplier {
        /// What was asked for.
        got: f64,
    },
    /// Ten sigma do not fit beside the sum in an `i64`.
    #[error("standard deviation of {units} units of the grid is too much for 64 bits")]
    TooLarge {
        /// Sigma in units of `step / 2^16`.
        units: f64,
    },
    /// Correlated noise over other coordinates than the sum's.
    #[error("correlated noise over {expected} coordinates for a sum over {got}")]
    Coordinates {
        /// The noise's.
        expected: usize,
        /// The sum's.
        got: usize,
    },
    /// Correlated noise that is not what the sum was promised.
    #[error("noise_multiplier {got} for a sum that was promised {promised}")]
    Promise {
        /// By the sum's plan.
        promised: f64,
        /// The noise's.
        got: f64,
    },
}

impl NoiseMultiplier {
    /// The checked number.
    ///
    /// # Errors
    /// [`NoiseError::Multiplier`] unless finite and positive.
    pub fn new(value: f64) -> Result<Self, NoiseError> {
        if value.is_finite() && value > 0.0 { Ok(Self(value)) } else { Err(NoiseError::Multiplier { got: value }) }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for NoiseMultiplier {
    type Error = NoiseError;

    fn try_from(value: f64) -> Result<Self, NoiseError> {
        Self::new(value)
    }
}

impl From<NoiseMultiplier> for f64 {
    fn from(noise: NoiseMultiplier) -> Self {
        noise.0
    }
}

/// A sum with its noise. Only [`PromisedSum::noise`] makes one.
#[derive(Clone, Debug)]
pub struct NoisedSum {
    /// Units of `step / 2^16` times weight.
    values: Vec<i64>,
    unit: f64,
    applied: AppliedNoise,
}

/// What was done to a sum, for the accountant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AppliedNoise {
    /// `sigma / sensitivity`.
    pub noise_multiplier: f64,
    /// L2 bound of one report before weighting, in the units of the params.
    pub clip_norm: f32,
    /// Largest weight of a report.
    pub max_weight: u32,
    /// Standard deviation on each coordinate of the sum, in the units of the params; with correlated noise, that of the
    /// independent deviates that it is made of.
    pub sigma: f64,
    /// Live coordinates, each with its own deviate.
    pub coordinates: usize,
}

impl PromisedSum {
    /// Adds the noise that the plan promised: one deviate a live coordinate, in their order. Deterministic given the
    /// state of `rng`, which must be seeded with secret entropy and never be used for the same bits twice.
    ///
    /// # Errors
    /// [`NoiseError`]; the sum is gone then, since nothing may be made of it without noise.
    pub fn noise(self, rng: &mut impl CryptoRng) -> Result<NoisedSum, NoiseError> {
        let Self { sum, noise } = self;
        let plan = *sum.plan();
        let sigma = noise.get() * plan.sensitivity();
        let unit = plan.bound.unit();
        let units = sigma / unit;
        // The sum is below 2^62 and a deviate below 10 sigma, so that their sum stays below 2^63.
        if units * 10.0 >= (1u64 << 62) as f64 {
            return Err(NoiseError::TooLarge { units });
        }
        let mut deviates = Gaussian::new(rng);
        let mut values = sum.weighted;
        for value in &mut values {
            *value += libm::rint(units * deviates.sample()) as i64;
        }
        let applied = AppliedNoise {
            noise_multiplier: noise.get(),
            clip_norm: plan.bound.clip_norm(),
            max_weight: plan.max_weight.get(),
            sigma,
            coordinates: values.len(),
        };
        Ok(NoisedSum { values, unit, applied })
    }
}

impl NoisedSum {
    /// The mean delta over the live coordinates, in the units of the params: the noised sum over a number that was fixed
    /// before the round, such as the planned cohort size. The realised weight is a statistic of the reports too, with a
    /// sensitivity of its own, so it is not offered here. Arithmetic as in
    /// [`PlainSum::mean`](crate::aggregate::PlainSum::mean).
    pub fn mean(self, denominator: NonZeroU64) -> Vec<f32> {
        divide(&self.values, self.unit, denominator)
    }

    /// The noised integers, in units of `step / 2^16` times weight.
    pub fn values(&self) -> &[i64] {
        &self.values
    }

    /// What was done, for the accountant.
    pub fn applied(&self) -> AppliedNoise {
        self.applied
    }
}

#[cfg(test)]
mod tests;
