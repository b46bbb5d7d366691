//! The one error of the crate: which number was refused, and its value.

use core::fmt;

use crate::Adjacency;

/// A parameter outside the range in which a guarantee has a meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A noise multiplier must be finite and not negative (0 is allowed: it gives an infinite epsilon).
    NoiseMultiplier {
        /// The value refused.
        got: f64,
    },
    /// A sampling rate is a probability, in [0, 1].
    Rate {
        /// The value refused.
        got: f64,
    },
    /// `dp_delta` must lie strictly between 0 and 1.
    DpDelta {
        /// The value refused.
        got: f64,
    },
    /// Epsilon must be finite and not negative.
    Epsilon {
        /// The value refused.
        got: f64,
    },
    /// The parameter mu of Gaussian differential privacy must be finite and not negative.
    Mu {
        /// The value refused.
        got: f64,
    },
    /// A Renyi order must be finite and above 1.
    Order {
        /// The value refused.
        got: f64,
    },
    /// A plan of no rounds cannot be calibrated: any noise, and none, would do.
    Rounds {
        /// The value refused.
        got: u64,
    },
    /// A user who may never take part needs no accounting; the bound must be at least 1.
    MaxParticipations {
        /// The value refused.
        got: u64,
    },
    /// This accountant has no bound for the adjacency under Poisson sampling: doubling the sensitivity of a *sampled*
    /// Gaussian is not a bound for [`Adjacency::ReplaceOne`].
    SampledAdjacency {
        /// The adjacency refused.
        got: Adjacency,
    },
    /// A parameter of a [`Release`](crate::Release) that is not finite, or too small.
    Parameter {
        /// Its name in JSON.
        name: &'static str,
        /// The value refused.
        got: f64,
    },
    /// The weights of a mixture must sum to 1, within 1e-9.
    WeightSum {
        /// Their sum.
        got: f64,
    },
    /// A mixture has as many weights as norms, and at least one.
    WeightCount {
        /// How many weights.
        weights: usize,
        /// How many norms.
        norms: usize,
    },
    /// A cohort is not larger than its population.
    Cohort {
        /// Users of a round.
        cohort: u64,
        /// Users.
        population: u64,
    },
    /// No bound is known here for this mechanism under this adjacency.
    Unsupported {
        /// Its name in JSON.
        mechanism: &'static str,
        /// The adjacency refused.
        adjacency: Adjacency,
    },
    /// One mechanism has a bound by Renyi divergences only and the other by privacy-loss distributions only, so that
    /// their composition has none here; or an accountant was asked for that does not know the mechanism.
    NoAccountant {
        /// Name in JSON of a mechanism without a bound by the accountant that remains.
        mechanism: &'static str,
    },
    /// The mechanism has no noise that could be changed.
    NoNoise {
        /// Its name in JSON.
        mechanism: &'static str,
    },
    /// The gap of a grid must be finite and above 0.
    Interval {
        /// The value refused.
        got: f64,
    },
    /// No noise up to `most` reaches the target epsilon: part of the account does not depend on it.
    Unreachable {
        /// The target.
        epsilon: f64,
        /// The largest noise tried.
        most: f64,
    },
    /// The losses of the composition span more than the longest grid can hold.
    TooWide {
        /// The gap that would be needed.
        interval: f64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoiseMultiplier { got } => write!(f, "noise_multiplier {got}: must be finite and at least 0"),
            Self::Rate { got } => write!(f, "sampling rate {got}: must be in [0, 1]"),
            Self::DpDelta { got } => write!(f, "dp_delta {got}: must be above 0 and below 1"),
            Self::Epsilon { got } => write!(f, "epsilon {got}: must be finite and at least 0"),
            Self::Mu { got } => write!(f, "mu {got}: must be finite and at least 0"),
            Self::Order { got } => write!(f, "Renyi order {got}: must be finite and above 1"),
            Self::Rounds { got } => write!(f, "{got} rounds: must be at least 1"),
            Self::MaxParticipations { got } => write!(f, "at most {got} participations: must be at least 1"),
            Self::SampledAdjacency { got } => {
                write!(f, "adjacency {got} has no RDP bound here when cohorts are Poisson-sampled")
            }
            Self::Parameter { name, got } => write!(f, "{name} {got}: out of range"),
            Self::WeightSum { got } => write!(f, "weights sum to {got}: must sum to 1"),
            Self::WeightCount { weights, norms } => {
                write!(f, "{weights} weights and {norms} norms: must be as many, and at least 1")
            }
            Self::Cohort { cohort, population } => {
                write!(f, "a cohort of {cohort} out of {population} users: must not be larger")
            }
            Self::Unsupported { mechanism, adjacency } => {
                write!(f, "mechanism {mechanism} has no bound here under adjacency {adjacency}")
            }
            Self::NoAccountant { mechanism } => {
                write!(f, "mechanism {mechanism} has no bound by an accountant that knows the others")
            }
            Self::NoNoise { mechanism } => write!(f, "mechanism {mechanism} has no noise to calibrate"),
            Self::Interval { got } => write!(f, "interval {got}: must be finite and above 0"),
            Self::Unreachable { epsilon, most } => {
                write!(f, "epsilon {epsilon} is not reached with noise up to {most}")
            }
            Self::TooWide { interval } => {
                write!(f, "losses so large that a grid would need an interval of {interval}")
            }
        }
    }
}

impl core::error::Error for Error {}

pub(crate) fn check_noise_multiplier(got: f64) -> Result<f64, Error> {
    if got.is_finite() && got >= 0.0 { Ok(got) } else { Err(Error::NoiseMultiplier { got }) }
}

pub(crate) fn check_rate(got: f64) -> Result<f64, Error> {
    if (0.0..=1.0).contains(&got) { Ok(got) } else { Err(Error::Rate { got }) }
}

pub(crate) fn check_dp_delta(got: f64) -> Result<f64, Error> {
    if got > 0.0 && got < 1.0 { Ok(got) } else { Err(Error::DpDelta { got }) }
}

pub(crate) fn check_epsilon(got: f64) -> Result<f64, Error> {
    if got.is_finite() && got >= 0.0 { Ok(got) } else { Err(Error::Epsilon { got }) }
}
