//! What the operator of a population decides.

use super::{AdaptiveClip, Pruning, Rate};
use crate::optim::{FedAdam, FedAdamConfig, FedAvg, FedAvgConfig, OptimError, ServerOptimizer};
use crate::privacy::Noise;
use serde::{Deserialize, Serialize};
use siskin::checkin::{Population, Privacy, Profile, Quantization, Training, Upload};

/// Everything of a population but its model.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The learning problem.
    pub population: Population,
    /// Reports that a round is meant to have.
    pub cohort: u32,
    /// Devices picked are `over_selection * cohort`, because some drop out; at least 1. 1.3 is usual (Bonawitz et al.
    /// 2019, section 9).
    pub over_selection: f64,
    /// A round with fewer than `min_fraction * cohort` reports is given up.
    pub min_fraction: f64,
    /// A report later than this is late, virtual milliseconds after the round opened.
    pub deadline_ms: u32,
    /// How the cohort is picked.
    pub selection: Selection,
    /// Of more devices that [`Selection::Poisson`] comes to, a uniform subset of this size is asked. It costs privacy, as one
    /// device can push out another, and is accounted for.
    pub cohort_cap: Option<u32>,
    /// When a round stops taking reports.
    pub close: Close,
    /// Local training.
    pub training: Training,
    /// Bound and noise.
    pub privacy: Privacy,
    /// How the clip norm follows the deltas from round to round, where `privacy` says that it does.
    pub adaptive: AdaptiveClip,
    /// How the server's noise hangs together from round to round, and who may then take part when.
    pub noise: Noise,
    /// The grid; of the first round, where `rate` moves it.
    pub quantization: Quantization,
    /// How its step is chosen from round to round.
    pub rate: Rate,
    /// Weight and size of reports.
    pub upload: Upload,
    /// The coder of reports begins with what those of the round before were like, which the checkpoint brings: some hundreds of bytes
    /// down, for models of at most a few thousand live params. Refused where the server or shares add noise, which would not cover it;
    /// without effect where rotated coordinates travel.
    pub starts: bool,
    /// Step of the values in checkpoints, in root mean squares of those that live; 0 sends floats.
    pub value_step: f64,
    /// The step of the server.
    pub optimizer: Optimizer,
    /// The mask.
    pub pruning: Pruning,
    /// `dp_delta` at which epsilon is stated.
    pub dp_delta: f64,
}

/// How a cohort is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// Every device independently, with probability `over_selection * cohort / population`: what amplification by
    /// sampling needs.
    Poisson,
    /// Exactly `over_selection * cohort` devices without replacement.
    Fixed,
}

/// When a round stops taking reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Close {
    /// At the deadline: whether one device's report counts does not depend on the others'.
    Deadline,
    /// As soon as `cohort` reports are in, or at the deadline.
    Goal,
}

/// The server optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// FedAvg, with momentum FedAvgM.
    FedAvg(FedAvgConfig),
    /// FedAdam.
    FedAdam(FedAdamConfig),
}

impl Optimizer {
    /// Makes it for `len` params.
    ///
    /// # Errors
    /// [`OptimError`] names the setting.
    pub fn build(&self, len: usize) -> Result<Box<dyn ServerOptimizer + Send + Sync>, OptimError> {
        Ok(match *self {
            Self::FedAvg(config) => Box::new(FedAvg::new(len, config)?),
            Self::FedAdam(config) => Box::new(FedAdam::new(len, config)?),
        })
    }
}

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} is {got}, it must be {range}")]
pub struct SettingsError {
    /// Which.
    pub name: &'static str,
    /// What was asked for.
    pub got: f64,
    /// What is possible.
    pub range: String,
}

impl Settings {
    /// Checks every number against its range and against the size of the population.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting and its range.
    pub fn check(&self, population: usize) -> Result<(), SettingsError> {
        if population == 0 {
            let range = "at least 1: the data set has no users".to_owned();
            return Err(SettingsError { name: "the number of devices", got: 0.0, range });
        }
        let cohort = f64::from(self.cohort);
        if cohort < 1.0 || self.cohort as usize > population {
            let range = format!("from 1 to the {population} devices of the population");
            return Err(SettingsError { name: "cohort", got: cohort, range });
        }
        if let Some(cap) = self.cohort_cap {
            within("cohort cap", f64::from(cap), 1.0, population as f64)?;
            if self.selection == Selection::Fixed {
                let range = "none: a cohort of fixed size has no other".to_owned();
                return Err(SettingsError { name: "cohort cap", got: f64::from(cap), range });
            }
        }
        within("over-selection", self.over_selection, 1.0, 100.0)?;
        within("min-fraction", self.min_fraction, 0.0, 1.0)?;
        within("deadline", f64::from(self.deadline_ms) / 1e3, 0.001, 1e6)?;
        self.pruning.check()?;
        if self.pruning.algorithm == super::Algorithm::RigL && self.privacy.noise_multiplier > 0.0 {
            let range =
                "0 with rigl: no noise covers what devices say of where to grow; `set` moves a mask without that";
            let got = f64::from(self.privacy.noise_multiplier);
            return Err(SettingsError { name: "noise multiplier", got, range: range.to_owned() });
        }
        within("dp-delta", self.dp_delta, 1e-300, 0.999)?;
        within("noise multiplier", f64::from(self.privacy.noise_multiplier), 0.0, 1e6)?;
        within("clip norm", f64::from(self.privacy.clip_norm), 1e-12, 1e12)?;
        self.check_starts()?;
        within("value step", self.value_step, 0.0, 1.0)?;
        self.adaptive.check()?;
        self.rate.check(self)?;
        self.check_participation(population)
    }

    /// That cohorts can be filled by devices that keep to the rule that correlated noise is made for.
    fn check_participation(&self, population: usize) -> Result<(), SettingsError> {
        let Some(rule) = self.noise.participation() else { return Ok(()) };
        let error = |name, got, range: String| Err(SettingsError { name, got, range });
        if self.privacy.profile != Profile::Central || self.privacy.noise_multiplier <= 0.0 {
            let got = f64::from(self.privacy.noise_multiplier);
            return error("noise multiplier", got, "above 0, and the server's, for correlated noise".to_owned());
        }
        let picked = self.picked(population) as u64;
        let most = population as u64 / picked.max(1);
        let (rounds, separation) = (u64::from(rule.rounds()), u64::from(rule.min_separation()));
        if separation.min(rounds) > most {
            let range = format!("at most {most}, the {population} devices over the {picked} that each round asks");
            return error("minimum separation", separation as f64, range);
        }
        let least = (rounds * picked).div_ceil(population as u64);
        if u64::from(rule.most()) < least {
            let range = format!("at least {least}: {rounds} rounds ask {picked} of {population} devices each");
            return error("the most participations of a device", f64::from(rule.most()), range);
        }
        Ok(())
    }

    /// Devices that [`Selection::Fixed`] picks of `population`.
    pub fn picked(&self, population: usize) -> usize {
        ((self.over_selection * f64::from(self.cohort)).ceil() as usize).min(population)
    }

    /// Reports that a round has at the most, but for a chance of one in a billion: the number that is picked, with six standard
    /// deviations of independent coins.
    pub fn most_reports(&self) -> u64 {
        let mean = self.over_selection * f64::from(self.cohort);
        match (self.close, self.selection) {
            (Close::Goal, _) => u64::from(self.cohort),
            (_, Selection::Fixed) => mean.ceil() as u64,
            (_, Selection::Poisson) => (mean + 6.0 * libm::sqrt(mean)).ceil() as u64,
        }
    }

    /// Probability with which [`Selection::Poisson`] picks a device.
    pub fn rate(&self, population: usize) -> f64 {
        (self.over_selection * f64::from(self.cohort) / population as f64).min(1.0)
    }
}

/// The range is checked so that a NaN is in none.
pub(super) fn within(name: &'static str, got: f64, min: f64, max: f64) -> Result<(), SettingsError> {
    let range = format!("in [{min}, {max}]");
    if got >= min && got <= max { Ok(()) } else { Err(SettingsError { name, got, range }) }
}
