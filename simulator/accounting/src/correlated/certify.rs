//! Epsilon of a whole run of correlated noise: before it by the rule of participation, after it by what happened.

use serde::{Deserialize, Serialize};

use super::{Participation, ParticipationLog, Sensitivity, Strategy, StrategyError};
use crate::error::check_noise_multiplier;
use crate::{Accountant, Adjacency, Guarantee, Mechanism, SamplingAssumption, Unit, analytic};

/// A strategy, the rule that its noise is made for, and how much of it: zeta = noise_multiplier * sensitivity * clip_norm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Plan {
    strategy: Strategy,
    rule: Participation,
    /// Finite, at least 0.
    noise_multiplier: f64,
    /// Under `rule`.
    sensitivity: Sensitivity,
}

#[derive(Serialize, Deserialize)]
struct Parts {
    strategy: Strategy,
    participation: Participation,
    noise_multiplier: f64,
}

impl Plan {
    /// The run that is planned. Costs one sensitivity.
    ///
    /// # Errors
    /// [`Error::NoiseMultiplier`](crate::Error::NoiseMultiplier).
    pub fn new(strategy: Strategy, rule: Participation, noise_multiplier: f64) -> Result<Self, StrategyError> {
        let noise_multiplier = check_noise_multiplier(noise_multiplier)?;
        let sensitivity = strategy.sensitivity(rule);
        Ok(Self { strategy, rule, noise_multiplier, sensitivity })
    }

    /// The plan with the least noise that has (`epsilon`, `dp_delta`).
    ///
    /// # Errors
    /// [`Error::Epsilon`](crate::Error::Epsilon), [`Error::DpDelta`](crate::Error::DpDelta).
    pub fn calibrated(
        strategy: Strategy,
        rule: Participation,
        adjacency: Adjacency,
        epsilon: f64,
        dp_delta: f64,
    ) -> Result<Self, StrategyError> {
        let noise_multiplier = analytic::noise_multiplier(adjacency, epsilon, dp_delta, 1)?;
        Self::new(strategy, rule, noise_multiplier)
    }

    /// C.
    pub fn strategy(&self) -> &Strategy {
        &self.strategy
    }

    /// What the noise is made for.
    pub fn participation(&self) -> Participation {
        self.rule
    }

    /// z.
    pub fn noise_multiplier(&self) -> f64 {
        self.noise_multiplier
    }

    /// sens(C) under the rule.
    pub fn sensitivity(&self) -> Sensitivity {
        self.sensitivity
    }

    /// zeta over the clip norm: the standard deviation of Z.
    pub fn zeta(&self) -> f64 {
        self.noise_multiplier * self.sensitivity.get()
    }

    /// What holds if everybody keeps to the rule in all its rounds.
    ///
    /// # Errors
    /// [`Error::DpDelta`](crate::Error::DpDelta).
    pub fn guarantee(&self, adjacency: Adjacency, dp_delta: f64) -> Result<Guarantee, StrategyError> {
        self.stated(adjacency, dp_delta, self.sensitivity.squared, self.rule.rounds(), self.assumption())
    }

    /// What holds after `rounds` of them, or after more: the noise stays what it is.
    ///
    /// # Errors
    /// [`Error::DpDelta`](crate::Error::DpDelta).
    pub fn guarantee_after(
        &self,
        adjacency: Adjacency,
        dp_delta: f64,
        rounds: u32,
    ) -> Result<Guarantee, StrategyError> {
        let squared = match self.rule.over(rounds) {
            Ok(rule) => self.strategy.sensitivity(rule).squared,
            Err(_) => 0.0,
        };
        self.stated(adjacency, dp_delta, squared, rounds, self.assumption())
    }

    /// What holds of what happened: the sensitivity is that to the users of the log, as they took part.
    ///
    /// # Errors
    /// [`StrategyError::Violated`] if somebody broke the rule, even where the noise would have been enough: what was
    /// promised was not done, and the log is then not to be believed for those who are not in it either.
    /// [`StrategyError::NoNoise`]; [`Error::DpDelta`](crate::Error::DpDelta).
    pub fn certify(
        &self,
        log: &ParticipationLog,
        adjacency: Adjacency,
        dp_delta: f64,
    ) -> Result<Guarantee, StrategyError> {
        if self.noise_multiplier == 0.0 {
            return Err(StrategyError::NoNoise);
        }
        log.keeps(self.rule).map_err(StrategyError::Violated)?;
        let sampling = SamplingAssumption::Logged {
            users: log.users() as u64,
            max_participations: log.most_participations().into(),
            min_separation: log.least_separation().map(u64::from),
        };
        self.stated(adjacency, dp_delta, self.strategy.squared_of_log(log), log.rounds(), sampling)
    }

    fn assumption(&self) -> SamplingAssumption {
        SamplingAssumption::MinSeparation {
            max_participations: self.rule.max_participations().into(),
            min_separation: self.rule.min_separation().into(),
        }
    }

    fn stated(
        &self,
        adjacency: Adjacency,
        dp_delta: f64,
        squared: f64,
        rounds: u32,
        sampling: SamplingAssumption,
    ) -> Result<Guarantee, StrategyError> {
        let mu = match squared {
            0.0 => 0.0,
            _ => adjacency.sensitivity() * squared.sqrt() / self.zeta(),
        };
        let mechanism = match rounds {
            0 => Mechanism::Nothing,
            _ => Mechanism::Correlated {
                strategy: self.strategy.kind(),
                noise_multiplier: self.noise_multiplier,
                sensitivity: squared.sqrt(),
                planned_sensitivity: self.sensitivity.get(),
                rounds: rounds.into(),
            },
        };
        let accountant = Accountant::AnalyticGaussian;
        let epsilon = analytic::epsilon(mu, dp_delta)?;
        Ok(Guarantee { epsilon, dp_delta, adjacency, unit: Unit::User, sampling, mechanism, accountant })
    }
}

impl TryFrom<Parts> for Plan {
    type Error = StrategyError;

    fn try_from(parts: Parts) -> Result<Self, StrategyError> {
        Self::new(parts.strategy, parts.participation, parts.noise_multiplier)
    }
}

impl From<Plan> for Parts {
    fn from(plan: Plan) -> Self {
        Self { strategy: plan.strategy, participation: plan.rule, noise_multiplier: plan.noise_multiplier }
    }
}
