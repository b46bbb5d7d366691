//! The words of the section `compression` that choose the step.

use super::{Compression, ConfigError, Layers, RunConfig, flag_of};
use serde::{Deserialize, Serialize};
use siskin_server::round::{Budget, Rate, StepSchedule};

/// The schedule of the step, as it is written; steps in it are in the unit of `step`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepScheduleWord {
    text: String,
    parts: Option<Parts>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Parts {
    Linear { end: f64 },
    Exponential { rate: f64, least: f64 },
    Halving { every: u32, least: f64 },
}

impl Default for StepScheduleWord {
    fn default() -> Self {
        Self { text: "fixed".into(), parts: None }
    }
}

impl From<StepScheduleWord> for String {
    fn from(of: StepScheduleWord) -> Self {
        of.text
    }
}

/// Least step of the schedules that name none, the paper's.
const LEAST: f64 = 0.01;

impl TryFrom<String> for StepScheduleWord {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let words: Vec<&str> = text.split(':').collect();
        let number = |word: &str| {
            word.parse::<f64>()
                .ok()
                .filter(|n| n.is_finite() && *n > 0.0)
                .ok_or(format!("`{word}` is no number above 0"))
        };
        let rounds = |word: &str| {
            word.parse::<u32>().ok().filter(|n| *n > 0).ok_or(format!("`{word}` is no number of rounds above 0"))
        };
        let parts = match words[..] {
            ["fixed"] => None,
            ["linear", end] => Some(Parts::Linear { end: number(end)? }),
            ["exponential", rate] => Some(Parts::Exponential { rate: number(rate)?, least: LEAST }),
            ["exponential", rate, least] => Some(Parts::Exponential { rate: number(rate)?, least: number(least)? }),
            ["halving", every] => Some(Parts::Halving { every: rounds(every)?, least: LEAST }),
            ["halving", every, least] => Some(Parts::Halving { every: rounds(every)?, least: number(least)? }),
            _ => {
                return Err("it must be `fixed`, `linear:END`, `exponential:RATE[:LEAST]` or `halving:ROUNDS[:LEAST]`"
                    .to_owned());
            }
        };
        Ok(Self { text, parts })
    }
}

impl RunConfig {
    /// How the server chooses the step, in the unit of `step` of so many params.
    pub(super) fn rate(&self, unit: f64) -> Rate {
        let Compression { step, bits_per_param, rate_slope, keep, .. } = self.compression;
        if bits_per_param > 0.0 {
            return Rate::Bits(Budget { bits: bits_per_param, keep: Some(keep).filter(|keep| *keep > 0.0) });
        }
        if rate_slope > 0.0 {
            return Rate::Slope(rate_slope * unit * unit);
        }
        let of_first = |least: f64| (least / f64::from(step)).min(1.0);
        match self.compression.step_schedule.parts {
            None => Rate::Fixed,
            Some(Parts::Linear { end }) => {
                Rate::Schedule(StepSchedule::Linear { end: end / f64::from(step), rounds: self.fleet.rounds })
            }
            Some(Parts::Exponential { rate, least }) => {
                Rate::Schedule(StepSchedule::Exponential { rate, least: of_first(least) })
            }
            Some(Parts::Halving { every, least }) => {
                Rate::Schedule(StepSchedule::Halving { every, least: of_first(least) })
            }
        }
    }
}

/// That there is one way of choosing the step.
pub(super) fn check(config: &RunConfig, layers: &Layers) -> Result<(), ConfigError> {
    let Compression { bits_per_param, rate_slope, keep, step_schedule, .. } = &config.compression;
    let bad = |key: &str, value: String, message: &str| {
        Err(ConfigError::Flag { flag: flag_of(key), value, message: message.to_owned() })
    };
    // A budget of nothing is none only where nobody asked for it.
    let asked = |key: &str| {
        let flag = layers.flags.iter().any(|(k, _)| *k == key);
        flag || layers
            .file
            .as_ref()
            .is_some_and(|(_, file)| file.get("compression").is_some_and(|c| c.get(key).is_some()))
    };
    let in_range = |value: f64, least: f64, most: f64| value >= least && value <= most;
    if (asked("bits_per_param") || *bits_per_param != 0.0) && !in_range(*bits_per_param, 1e-4, 16.0) {
        let file_default = *bits_per_param == 0.0 && !layers.flags.iter().any(|(k, _)| *k == "bits_per_param");
        if !file_default {
            return bad("bits_per_param", bits_per_param.to_string(), "it must be between 0.0001 and 16");
        }
    }
    if *rate_slope != 0.0 && !in_range(*rate_slope, 1e-9, 1e9) {
        return bad("rate_slope", rate_slope.to_string(), "it must be between 0.000000001 and 1000000000");
    }
    let price = config.compression.bit_price;
    if !in_range(price, 0.0, 255.0) {
        return bad("bit_price", price.to_string(), "it must be between 0 and 255");
    }
    if *keep != 0.0 && !in_range(f64::from(*keep), 1.0 / 65_536.0, 1.0) {
        return bad("keep", keep.to_string(), "it must be between 0.0000153 and 1, or 0 to leave it to the budget");
    }
    if *bits_per_param > 0.0 && *rate_slope > 0.0 {
        return bad(
            "rate_slope",
            rate_slope.to_string(),
            "--bits-per-param chooses the step; leave one of the two out",
        );
    }
    if step_schedule.parts.is_some() && (*bits_per_param > 0.0 || *rate_slope > 0.0) {
        let message = "--bits-per-param or --rate-slope chooses the step; leave one of the two out";
        return bad("step_schedule", step_schedule.text.clone(), message);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Result<StepScheduleWord, String> {
        StepScheduleWord::try_from(text.to_owned())
    }

    #[test]
    fn schedules_are_in_the_unit_of_the_step() {
        let mut config = RunConfig::default();
        config.compression.step = 4.0;
        config.fleet.rounds = 11;
        let mut rate = |text: &str| {
            config.compression.step_schedule = word(text).unwrap();
            config.rate(0.5)
        };
        assert_eq!(rate("fixed"), Rate::Fixed);
        assert_eq!(rate("linear:1"), Rate::Schedule(StepSchedule::Linear { end: 0.25, rounds: 11 }));
        let exponential = StepSchedule::Exponential { rate: 0.1, least: 0.0025 };
        assert_eq!(rate("exponential:0.1"), Rate::Schedule(exponential));
        assert_eq!(rate("halving:5:2"), Rate::Schedule(StepSchedule::Halving { every: 5, least: 0.5 }));
        for bad in ["", "linear", "linear:0", "linear:x", "halving:1.5", "exponential:1:2:3", "cosine:1"] {
            assert!(word(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_slope_is_in_squares_of_it() {
        let mut config = RunConfig::default();
        config.compression.rate_slope = 8.0;
        assert_eq!(config.rate(0.5), Rate::Slope(2.0));
        config.compression.bits_per_param = 0.1;
        assert!(check(&config, &Layers::default()).unwrap_err().to_string().contains("leave one of the two out"));
    }
}
