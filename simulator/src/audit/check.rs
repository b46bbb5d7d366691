//! Checks, and the report that they make.

use super::canary::OneShot;
use super::noise::Pictures;
use super::one_run::Bound;
use super::{AuditError, Claim, Settings};
use serde::{Deserialize, Serialize};

/// Version of the layout of `audit.json`.
pub const FORMAT: u32 = 1;

/// Which part of an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The noise itself and the sensitivity.
    Unit,
    /// One-shot canaries.
    Canary,
    /// The lower bound from one run.
    OneRun,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unit, Self::Canary, Self::OneRun];

    /// 1 to 3.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unit => "noise and sensitivity",
            Self::Canary => "one-shot canaries",
            Self::OneRun => "one-run lower bound",
        }
    }

    /// What it can see.
    pub fn sees(self) -> &'static str {
        match self {
            Self::Unit => {
                "Noise of another variance, scale or shape than claimed, noise that repeats or is correlated over rounds, \
                 params or devices; an update that moves the integer sum by more than the clip norm; a denominator or a count \
                 of participations that is not what was promised. With a million samples a variance that is off by half a \
                 percent shows."
            }
            Self::Canary => {
                "How far one device that does its worst stands out of the release, end to end: through clipping, rounding, coding, \
                 sum and noise, among other devices. Wrong noise, a bound that does not hold and too many participations all \
                 move the estimate."
            }
            Self::OneRun => {
                "A bound that holds with 95 % confidence whatever the mechanism is. Above the stated epsilon it is a proof that \
                 the statement is wrong."
            }
        }
    }

    /// What it cannot see.
    pub fn misses(self) -> &'static str {
        match self {
            Self::Unit => {
                "Anything that reaches the release by another way than a report; a generator that can be predicted although its \
                 numbers look right; a fault in the accountant; defects smaller than its statistics resolve."
            }
            Self::Canary => {
                "It is an estimate and no bound: it assumes that the scores are normal, is exact for the Gaussian mechanism \
                 whose last state is released, is biased upwards with few canaries, and sees nothing that canaries do not do. \
                 With more than one round it sees the last state, not each release."
            }
            Self::OneRun => {
                "Most bugs. The bound is far below the truth even for an honest mechanism: at a noise multiplier of 1 it is near \
                 1.5 where 4.4 is true, and half of the claimed noise passes. Passing proves little."
            }
        }
    }
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The probability, under the claim, of what was seen or of something still less likely.
    Probability(f64),
    /// It holds or it does not.
    Exact(bool),
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its level.
    pub level: Level,
    /// What is checked, in a few words.
    pub name: String,
    /// What was seen, with its unit.
    pub seen: String,
    /// What the claim says.
    pub claimed: String,
    /// What it came to.
    pub verdict: Verdict,
    /// The word of the report's judgement.
    pub passed: bool,
}

impl Check {
    pub(super) fn new(level: Level, name: &str, seen: String, claimed: String, verdict: Verdict) -> Self {
        let (name, passed) = (name.to_owned(), verdict == Verdict::Exact(true));
        Self { level, name, seen, claimed, verdict, passed }
    }
}

/// All of an audit: `audit.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditReport {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Version of siskin that ran.
    pub siskin_version: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// What was audited.
    pub mechanism: String,
    /// With which settings.
    pub settings: Settings,
    /// True if every check passed.
    pub passed: bool,
    /// Least probability with which a statistical check passes: `alpha` over their number.
    pub least_probability: f64,
    /// The checks in the order in which they ran.
    pub checks: Vec<Check>,
    /// Of level 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<Pictures>,
    /// Of level 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<OneShot>,
    /// Of level 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_run: Option<Bound>,
}

impl AuditReport {
    pub(super) fn new(mechanism: String, settings: &Settings, command: Vec<String>) -> Self {
        Self {
            format: FORMAT,
            siskin_version: env!("CARGO_PKG_VERSION").to_owned(),
            command,
            mechanism,
            settings: settings.clone(),
            passed: false,
            least_probability: settings.alpha,
            checks: Vec::new(),
            noise: None,
            canary: None,
            one_run: None,
        }
    }

    /// Decides: the statistical checks share `alpha`.
    pub(super) fn judge(&mut self) {
        let statistical = self.checks.iter().filter(|c| matches!(c.verdict, Verdict::Probability(_))).count();
        self.least_probability = self.settings.alpha / statistical.max(1) as f64;
        for check in &mut self.checks {
            check.passed = match check.verdict {
                // A NaN is no probability and passes nothing.
                Verdict::Probability(p) => p >= self.least_probability,
                Verdict::Exact(holds) => holds,
            };
        }
        self.passed = self.checks.iter().all(|c| c.passed);
    }

    /// Whether every check of a level passed; none if it did not run.
    pub fn level(&self, level: Level) -> Option<bool> {
        let mut checks = self.checks.iter().filter(|c| c.level == level).peekable();
        checks.peek()?;
        Some(checks.all(|c| c.passed))
    }

    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| !c.passed)
    }

    /// What level 1 was held to.
    ///
    /// # Errors
    /// [`AuditError::Claim`] if the settings make no claim.
    pub fn claim(&self) -> Result<Claim, AuditError> {
        let s = &self.settings;
        s.claim(s.dim, s.devices, s.rounds, s.rounds)
    }
}
