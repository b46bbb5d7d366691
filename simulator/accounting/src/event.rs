//! What happens in a round, and what is compared with what.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::Release;
use crate::error::{Error, check_noise_multiplier, check_rate};

/// Which two populations must be hard to tell apart. All of one user's examples change together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Adjacency {
    /// One user more or less. The number of users is private, so the sum must be divided by a public constant.
    AddOrRemove,
    /// One user's contribution becomes the zero vector; who takes part, and when, is public. dp_accounting calls it
    /// `REPLACE_SPECIAL`.
    ZeroOut,
    /// One user becomes another: the sum moves by up to 2C instead of C.
    ReplaceOne,
}

impl Adjacency {
    /// How far one participation can move a sum of clipped deltas, in units of `clip_norm`.
    pub fn sensitivity(self) -> f64 {
        match self {
            Self::AddOrRemove | Self::ZeroOut => 1.0,
            Self::ReplaceOne => 2.0,
        }
    }
}

impl fmt::Display for Adjacency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddOrRemove => "add/remove",
            Self::ZeroOut => "zero-out",
            Self::ReplaceOne => "replace-one",
        })
    }
}

/// Whose data the guarantee protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unit {
    /// Everything that one user (in practice: one device) holds.
    User,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("user-level"),
        }
    }
}

/// Whether somebody makes sure that cohorts are drawn by independent secret coins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// The server (or the simulator) flips a coin for every user of a known population, and keeps the outcome secret.
    Enforced,
    /// Nobody checks: devices come when they can, and the rate is a hope. The guarantee says so.
    Assumed,
}

/// The privacy-relevant part of one round: a sum of deltas clipped to norm C, plus Gaussian noise.
///
/// `noise_multiplier` is the standard deviation of the noise in the *sum*, divided by C.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Any user may have been in the round.
    Gaussian {
        /// sigma / C, at least 0.
        noise_multiplier: f64,
    },
    /// Each user was in the round independently with probability `rate`, and nobody learns who was.
    PoissonGaussian {
        /// sigma / C, at least 0.
        noise_multiplier: f64,
        /// Probability of being in the round, in [0, 1].
        rate: f64,
    },
    /// The same, but of more than `cap` users a uniform subset of `cap` was in the sum.
    CappedPoissonGaussian {
        /// sigma / C, at least 0.
        noise_multiplier: f64,
        /// Probability of being drawn, in [0, 1].
        rate: f64,
        /// Users for whom coins were flipped, at least 1.
        population: u64,
        /// Largest cohort.
        cap: u64,
    },
}

impl Event {
    /// sigma / C.
    pub fn noise_multiplier(self) -> f64 {
        match self {
            Self::Gaussian { noise_multiplier }
            | Self::PoissonGaussian { noise_multiplier, .. }
            | Self::CappedPoissonGaussian { noise_multiplier, .. } => noise_multiplier,
        }
    }

    /// The probability with which a given user was in the round: 1 when it was not sampled.
    pub fn rate(self) -> f64 {
        match self {
            Self::Gaussian { .. } => 1.0,
            Self::PoissonGaussian { rate, .. } | Self::CappedPoissonGaussian { rate, .. } => rate,
        }
    }

    /// The cap on the cohort, where there is one.
    pub fn cap(self) -> Option<u64> {
        match self {
            Self::CappedPoissonGaussian { cap, .. } => Some(cap),
            _ => None,
        }
    }

    /// The event as the tight accountant names it.
    pub fn release(self) -> Release {
        match self {
            Self::Gaussian { noise_multiplier } => Release::Gaussian { noise_multiplier },
            Self::PoissonGaussian { noise_multiplier, rate } => Release::Uls { noise_multiplier, rate },
            Self::CappedPoissonGaussian { noise_multiplier, rate, population, cap } => {
                Release::TruncatedUls { noise_multiplier, rate, population, cap }
            }
        }
    }

    /// The same event, if its numbers are in range.
    ///
    /// # Errors
    /// [`Error::NoiseMultiplier`], [`Error::Rate`]; [`Error::Parameter`] for a population of 0.
    pub fn checked(self) -> Result<Self, Error> {
        check_noise_multiplier(self.noise_multiplier())?;
        check_rate(self.rate())?;
        if let Self::CappedPoissonGaussian { population: 0, .. } = self {
            return Err(Error::Parameter { name: "population", got: 0.0 });
        }
        Ok(self)
    }
}
