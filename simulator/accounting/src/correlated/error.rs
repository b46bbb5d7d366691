//! What is refused here, with the numbers.

use core::fmt;

/// A mechanism that cannot be, or a question that it has no answer to.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum StrategyError {
    /// A mechanism of no rounds.
    NoRounds,
    /// The separation of two participations is a number of rounds, at least 1: in neighbouring rounds.
    Separation {
        /// The value refused.
        got: u32,
    },
    /// Nobody would ever take part.
    MaxParticipations {
        /// The value refused.
        got: u32,
    },
    /// A coefficient of a Toeplitz matrix is not a number, or the first is not 1.
    Coefficient {
        /// Which.
        index: usize,
        /// The value refused.
        got: f64,
    },
    /// A BLT has from 1 to [`MAX_BUFFERS`](super::MAX_BUFFERS) buffers, with a scale for each decay.
    Buffers {
        /// Decays.
        decays: usize,
        /// Scales.
        scales: usize,
    },
    /// A decay of a BLT outside [0, 1].
    Decay {
        /// Which.
        index: usize,
        /// The value refused.
        got: f64,
    },
    /// A scale of a BLT outside [0, 1], or scales that together exceed 1: its coefficients would rise.
    Scale {
        /// The scale, or the sum of all.
        got: f64,
    },
    /// A momentum outside [0, 1).
    Momentum {
        /// The value refused.
        got: f64,
    },
    /// A round that is not one of those that the log is of.
    Round {
        /// Rounds in all.
        rounds: u32,
        /// The round refused.
        got: u32,
    },
    /// Rounds of one user are entered in their order.
    Order {
        /// The user's last round.
        last: u32,
        /// The round refused.
        got: u32,
    },
    /// No noise: there is nothing to certify.
    NoNoise,
    /// Somebody took part more often, or sooner again, than the noise was made for.
    Violated(Violation),
    /// A number that every mechanism needs in range.
    Accounting(crate::Error),
}

/// The first breach of a [`Participation`](super::Participation) in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// Too soon again.
    Separation {
        /// Who.
        user: u64,
        /// The earlier round.
        round: u32,
        /// The later one.
        again: u32,
        /// How far apart they must be.
        min_separation: u32,
    },
    /// Too often.
    Participations {
        /// Who.
        user: u64,
        /// How often.
        got: u32,
        /// How often at most.
        most: u32,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Separation { user, round, again, min_separation } => write!(
                f,
                "user {user} took part in rounds {round} and {again}, {} apart: the noise is made for at least \
                 {min_separation}",
                again - round
            ),
            Self::Participations { user, got, most } => {
                write!(f, "user {user} took part {got} times: the noise is made for at most {most}")
            }
        }
    }
}

impl fmt::Display for StrategyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoRounds => f.write_str("0 rounds: must be at least 1"),
            Self::Separation { got } => write!(f, "minimum separation of {got} rounds: must be at least 1"),
            Self::MaxParticipations { got } => write!(f, "at most {got} participations: must be at least 1"),
            Self::Coefficient { index: 0, got } => write!(f, "the first Toeplitz coefficient is {got}: must be 1"),
            Self::Coefficient { index, got } => write!(f, "Toeplitz coefficient {index} is {got}: must be finite"),
            Self::Buffers { decays, scales } => write!(
                f,
                "a BLT of {decays} decays and {scales} scales: must be as many of both, 1 to {}",
                super::MAX_BUFFERS
            ),
            Self::Decay { index, got } => write!(f, "decay {index} of a BLT is {got}: must be in [0, 1]"),
            Self::Scale { got } => write!(f, "scale {got} of a BLT: each, and their sum, must be in [0, 1]"),
            Self::Momentum { got } => write!(f, "momentum {got}: must be at least 0 and below 1"),
            Self::Round { rounds, got } => write!(f, "round {got} of a log of {rounds} rounds"),
            Self::Order { last, got } => write!(f, "round {got} entered after round {last} of the same user"),
            Self::NoNoise => f.write_str("noise_multiplier 0: there is no guarantee to certify"),
            Self::Violated(violation) => violation.fmt(f),
            Self::Accounting(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StrategyError {}

impl From<crate::Error> for StrategyError {
    fn from(error: crate::Error) -> Self {
        Self::Accounting(error)
    }
}
