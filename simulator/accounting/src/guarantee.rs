//! Epsilon together with everything that it means.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Adjacency, Unit};

/// (epsilon, dp_delta)-differential privacy of everything released, with what it protects and what it rests on.
///
/// `Display` is one line that stands on its own; epsilon is rounded up in it. Serialises with serde; an infinite
/// epsilon becomes the string `"inf"`, because JSON has no such number.
///
/// ```
/// use siskin_accounting::{Adjacency, Event, Ledger};
///
/// let mut ledger = Ledger::unsampled(Adjacency::ReplaceOne, 1)?;
/// ledger.observe(Event::Gaussian { noise_multiplier: 0.0 })?;
/// let guarantee = ledger.guarantee(1e-5)?;
/// assert_eq!(guarantee.epsilon, f64::INFINITY);
/// assert_eq!(
///     guarantee.to_string(),
///     "no guarantee: epsilon is infinite at dp_delta 1e-5 (user-level, replace-one; Gaussian z=0, T=1; exact analytic \
///      Gaussian; no sampling assumed, at most 1 participation of a user)"
/// );
/// # Ok::<(), siskin_accounting::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Guarantee {
    /// At least 0; infinite when there is no guarantee.
    #[serde(serialize_with = "number_or_inf", deserialize_with = "from_number_or_inf")]
    pub epsilon: f64,
    /// In (0, 1).
    pub dp_delta: f64,
    /// Which populations are hard to tell apart.
    pub adjacency: Adjacency,
    /// Whose data is protected.
    pub unit: Unit,
    /// What is believed of who takes part.
    pub sampling: SamplingAssumption,
    /// What was done.
    pub mechanism: Mechanism,
    /// How epsilon follows from it.
    pub accountant: Accountant,
}

impl Guarantee {
    /// Whether epsilon is finite.
    pub fn is_private(&self) -> bool {
        self.epsilon.is_finite()
    }
}

/// The least and the greatest value over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// The least.
    pub least: f64,
    /// The greatest; equal to `least` when all rounds were alike.
    pub most: f64,
}

impl Range {
    /// One value.
    pub fn one(value: f64) -> Self {
        Self { least: value, most: value }
    }

    /// Widened to hold `value`.
    #[must_use]
    pub fn with(self, value: f64) -> Self {
        Self { least: self.least.min(value), most: self.most.max(value) }
    }
}

/// What the guarantee assumes about who takes part in a round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SamplingAssumption {
    /// Independent secret coins, flipped by the server.
    PoissonEnforced {
        /// Probability of being in a round; 0 before the first.
        rate: Range,
    },
    /// The same, but nobody makes sure of it.
    PoissonAssumed {
        /// Probability of being in a round; 0 before the first.
        rate: Range,
    },
    /// None: any user may be in any round, but in no more than so many.
    None {
        /// At least 1. Whoever admits devices must enforce it.
        max_participations: u64,
    },
    /// None: any user may be in any round, but in no more than so many, and those so far apart.
    MinSeparation {
        /// At least 1. Whoever admits devices must enforce it.
        max_participations: u64,
        /// Rounds from one to the next, at least 1 (in neighbouring ones). Likewise.
        min_separation: u64,
    },
    /// None: who was in which round was written down, and epsilon is that of what happened.
    Logged {
        /// Users who took part.
        users: u64,
        /// The most rounds of one of them.
        max_participations: u64,
        /// The fewest rounds from one participation to the next; none if nobody came twice.
        min_separation: Option<u64>,
    },
}

/// What was released.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mechanism {
    /// Nothing yet.
    Nothing,
    /// In each round, a sum of clipped deltas plus Gaussian noise.
    Gaussian {
        /// Standard deviation of the noise in the sum, over the clip norm.
        noise_multiplier: Range,
        /// How many.
        rounds: u64,
    },
    /// The same, with a cap on the cohort in some or all rounds.
    CappedGaussian {
        /// Standard deviation of the noise in the sum, over the clip norm.
        noise_multiplier: Range,
        /// How many.
        rounds: u64,
        /// The caps.
        cap: Range,
    },
    /// Sums of clipped deltas plus noise that is correlated from round to round: [`crate::correlated`].
    Correlated {
        /// The matrix C.
        strategy: crate::correlated::StrategyKind,
        /// Standard deviation of the independent noise, over the clip norm and `planned_sensitivity`.
        noise_multiplier: f64,
        /// Sensitivity of C to what this guarantee is about, in clip norms.
        sensitivity: f64,
        /// The sensitivity that the noise was made for.
        planned_sensitivity: f64,
        /// How many.
        rounds: u64,
    },
}

/// How epsilon is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Accountant {
    /// [`crate::rdp`]: an upper bound.
    Rdp,
    /// [`crate::analytic`]: exact for the Gaussian.
    AnalyticGaussian,
    /// [`crate::pld`]: a bound that is tight up to the grid.
    Pld,
}

impl fmt::Display for Accountant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rdp => "RDP upper bound",
            Self::AnalyticGaussian => "exact analytic Gaussian",
            Self::Pld => "tight PLD",
        })
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_private() {
            write!(f, "epsilon {}", rounded(self.epsilon, 3, Round::Up))?;
        } else {
            f.write_str("no guarantee: epsilon is infinite")?;
        }
        write!(f, " at dp_delta {:e} ({}, {}; ", self.dp_delta, self.unit, self.adjacency)?;
        match self.mechanism {
            Mechanism::Nothing => f.write_str("nothing released yet")?,
            Mechanism::Gaussian { noise_multiplier: Range { least, most }, rounds }
            | Mechanism::CappedGaussian { noise_multiplier: Range { least, most }, rounds, .. } => {
                write!(f, "Gaussian z={}", noise(least))?;
                if most > least {
                    write!(f, " to {}", noise(most))?;
                }
                if let Some(rate) = self.sampling.rate() {
                    write!(f, " on Poisson-sampled rounds, q={}", rounded(rate.least, 4, Round::Up))?;
                    if rate.most > rate.least {
                        write!(f, " to {}", rounded(rate.most, 4, Round::Up))?;
                    }
                }
                write!(f, ", T={rounds}")?;
                if let Mechanism::CappedGaussian { cap, .. } = self.mechanism {
                    write!(f, ", cohorts of at most {}", cap.most)?;
                }
            }
            Mechanism::Correlated { strategy, noise_multiplier, sensitivity, planned_sensitivity, rounds } => {
                let planned = rounded(planned_sensitivity, 4, Round::Down);
                write!(f, "{strategy}, z={} at sensitivity {planned}", noise(noise_multiplier))?;
                if sensitivity != planned_sensitivity {
                    write!(f, " of which {} was met", rounded(sensitivity, 4, Round::Up))?;
                }
                write!(f, ", T={rounds}")?;
            }
        }
        write!(f, "; {}; {})", self.accountant, self.sampling)
    }
}

impl SamplingAssumption {
    /// The sampling rates, where there is sampling.
    pub fn rate(self) -> Option<Range> {
        match self {
            Self::PoissonEnforced { rate } | Self::PoissonAssumed { rate } => Some(rate),
            Self::None { .. } | Self::MinSeparation { .. } | Self::Logged { .. } => None,
        }
    }
}

impl fmt::Display for SamplingAssumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoissonEnforced { .. } => f.write_str("sampling enforced by the server"),
            Self::PoissonAssumed { .. } => f.write_str("sampling ASSUMED, not enforced"),
            Self::None { max_participations: 1 } => {
                f.write_str("no sampling assumed, at most 1 participation of a user")
            }
            Self::None { max_participations: k } => {
                write!(f, "no sampling assumed, at most {k} participations of a user")
            }
            Self::MinSeparation { max_participations: k, min_separation: b } => {
                write!(f, "no sampling assumed, at most {k} participations of a user at least {b} rounds apart")
            }
            Self::Logged { users, max_participations: k, min_separation } => {
                write!(f, "by the log of who took part: {users} users, none more than {k} times")?;
                match min_separation {
                    Some(b) => write!(f, ", at least {b} rounds apart"),
                    None => Ok(()),
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Round {
    Up,
    Down,
}

/// A noise multiplier, rounded down to four significant digits; with two decimals where that adds no false precision.
fn noise(value: f64) -> String {
    let text = rounded(value, 4, Round::Down);
    match text.find('.') {
        None if value > 0.0 && value < 100.0 => format!("{text}.00"),
        Some(dot) if text.len() - dot == 2 && value < 100.0 => format!("{text}0"),
        _ => text,
    }
}

/// The shortest decimal within `digits` significant ones that is not on the wrong side of `value` (finite, >= 0).
pub(crate) fn rounded(value: f64, digits: i32, towards: Round) -> String {
    /// Below this, powers of ten leave the range of f64.
    const LEAST: f64 = 1e-280;
    if value < LEAST {
        return if value > 0.0 && towards == Round::Up { "1e-280".into() } else { "0".into() };
    }
    let exponent = libm::floor(libm::log10(value)) as i32;
    let decimals = (digits - 1 - exponent).max(0);
    let scale = libm::pow(10.0, f64::from(decimals));
    let scaled = value * scale;
    let nearest = libm::round(scaled);
    // 0.065 is not a binary number: what is a decimal up to the last place prints as that decimal.
    let whole = if (nearest - scaled).abs() <= 1e-12 * scaled {
        nearest
    } else if towards == Round::Up {
        libm::ceil(scaled)
    } else {
        libm::floor(scaled)
    };
    if exponent < -4 {
        return format!("{:e}", whole / scale);
    }
    let text = format!("{:.*}", decimals as usize, whole / scale);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

pub(crate) fn number_or_inf<S: Serializer>(epsilon: &f64, to: S) -> Result<S::Ok, S::Error> {
    if epsilon.is_finite() { to.serialize_f64(*epsilon) } else { to.serialize_str("inf") }
}

pub(crate) fn from_number_or_inf<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    struct NumberOrInf;
    impl de::Visitor<'_> for NumberOrInf {
        type Value = f64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number or \"inf\"")
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<f64, E> {
            Ok(number)
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<f64, E> {
            Ok(number as f64)
        }

        fn visit_str<E: de::Error>(self, word: &str) -> Result<f64, E> {
            if word == "inf" { Ok(f64::INFINITY) } else { Err(E::invalid_value(de::Unexpected::Str(word), &self)) }
        }
    }
    from.deserialize_any(NumberOrInf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_the_honest_side() {
        let up = |x| rounded(x, 3, Round::Up);
        assert_eq!(
            [up(3.2101), up(3.21), up(0.0633934), up(99.91), up(1234.2)],
            ["3.22", "3.21", "0.0634", "100", "1235"]
        );
        assert_eq!([rounded(0.065, 4, Round::Up), rounded(0.1 + 0.2, 4, Round::Up)], ["0.065", "0.3"]);
        assert_eq!(
            [noise(1.0), noise(0.0), noise(7.0), noise(0.65293538), noise(1.5)],
            ["1.00", "0", "7.00", "0.6529", "1.50"]
        );
        assert_eq!([noise(36.3047), noise(12345.6), noise(0.9999999)], ["36.30", "12345", "0.9999"]);
        assert_eq!(
            [up(5e-324), up(1.2341e-9), up(0.0), up(1e300)].map(|text| text.parse::<f64>().unwrap()),
            [1e-280, 1.24e-9, 0.0, 1e300]
        );
    }
}
