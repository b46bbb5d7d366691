//! Steps by the number of the round: the three schedules of Mitchell, Ballé, Charles and Konečný 2022, and their code's.

use crate::round::SettingsError;
use crate::round::settings::within;
use serde::{Deserialize, Serialize};

/// The step over that of the first round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum StepSchedule {
    /// From 1 in a straight line to `end` in round `rounds - 1`, from there on `end`.
    Linear {
        /// Above 0.
        end: f64,
        /// At least 1.
        rounds: u32,
    },
    /// `(1 - least) exp(-rate t) + least`.
    Exponential {
        /// A round; at least 0.
        rate: f64,
        /// Above 0, at most 1.
        least: f64,
    },
    /// `0.5^floor(t / every)`, not below `least`.
    Halving {
        /// Rounds, at least 1.
        every: u32,
        /// Above 0, at most 1.
        least: f64,
    },
}

impl StepSchedule {
    /// Of round `t`, from 0.
    pub fn factor(self, t: u32) -> f64 {
        match self {
            Self::Linear { end, rounds } => {
                let last = rounds.saturating_sub(1).max(1);
                1.0 + (end - 1.0) * f64::from(t.min(last)) / f64::from(last)
            }
            Self::Exponential { rate, least } => (1.0 - least) * libm::exp(-rate * f64::from(t)) + least,
            Self::Halving { every, least } => libm::exp2(-f64::from(t / every.max(1))).max(least),
        }
    }

    pub(super) fn check(self) -> Result<(), SettingsError> {
        match self {
            Self::Linear { end, rounds } => {
                within("end of the step's schedule", end, 1e-6, 1e6)?;
                within("rounds of the step's schedule", rounds.into(), 1.0, 4.3e9)
            }
            Self::Exponential { rate, least } => {
                within("rate of the step's schedule", rate, 0.0, 1e3)?;
                within("least step of the schedule", least, 1e-6, 1.0)
            }
            Self::Halving { every, least } => {
                within("rounds between two halvings of the step", every.into(), 1.0, 4.3e9)?;
                within("least step of the schedule", least, 1e-6, 1.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_those_of_the_paper() {
        let linear = StepSchedule::Linear { end: 0.1, rounds: 11 };
        assert_eq!([0, 5, 10, 99].map(|t| (linear.factor(t) * 1e6).round() / 1e6), [1.0, 0.55, 0.1, 0.1]);
        let exponential = StepSchedule::Exponential { rate: 0.1, least: 0.25 };
        for t in [0u32, 1, 10, 1000] {
            let expected = 0.75 * (-0.1 * f64::from(t)).exp() + 0.25;
            assert!((exponential.factor(t) - expected).abs() < 1e-12);
        }
        let halving = StepSchedule::Halving { every: 20, least: 0.2 };
        assert_eq!([0, 19, 20, 40, 60, 1000].map(|t| halving.factor(t)), [1.0, 1.0, 0.5, 0.25, 0.2, 0.2]);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            StepSchedule::Linear { end: 0.0, rounds: 5 },
            StepSchedule::Linear { end: f64::NAN, rounds: 5 },
            StepSchedule::Linear { end: 1.0, rounds: 0 },
            StepSchedule::Exponential { rate: -1.0, least: 0.5 },
            StepSchedule::Exponential { rate: 0.1, least: 2.0 },
            StepSchedule::Halving { every: 0, least: 0.5 },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
