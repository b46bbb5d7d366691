//! FedAdam: Reddi et al. 2021, "Adaptive Federated Optimization" (arXiv 2003.00295), algorithm 2, and what frameworks
//! made of it: the presets [`reddi`](FedAdamConfig::reddi), [`flower`](FedAdamConfig::flower) and
//! [`tff`](FedAdamConfig::tff) differ in bias correction, in the initial second moment and in their constants, which is
//! enough for a learning rate that is right for one to be wrong for another.

use super::{Live, OptimError, ServerOptimizer, below_one, finite_param, positive, same_length};
use serde::{Deserialize, Serialize};
use siskin::model::sparsity::Bitmap;

/// Whether the step allows for moments that started at their initial values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BiasCorrection {
    /// Not at all.
    None,
    /// The learning rate of round `t = 1, 2, ...` is `lr * sqrt(1 - beta2^e) / (1 - beta1^e)` with `e = t + offset`.
    Exponent {
        /// 0 in Kingma and Ba 2015 (arXiv 1412.6980, end of section 2), 1 in Flower.
        offset: u32,
    },
}

/// Of what the second moment is the mean square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SecondMoment {
    /// The mean delta of the round, as in Adam and in every framework.
    Delta,
    /// The first moment after this round's update: the other reading of algorithm 2, whose line for it reuses the symbol
    /// of the first moment.
    Momentum,
}

/// Settings of [`FedAdam`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FedAdamConfig {
    /// Server learning rate, positive.
    pub lr: f64,
    /// Decay of the first moment, in `[0, 1)`.
    pub beta1: f64,
    /// Decay of the second moment, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the second moment; positive. Also called adaptivity or epsilon.
    pub tau: f64,
    /// The second moment before the first round, not negative.
    pub initial_second_moment: f64,
    /// Whether the step allows for that.
    pub bias_correction: BiasCorrection,
    /// Of what the second moment is the mean square.
    pub second_moment: SecondMoment,
}

impl FedAdamConfig {
    /// Algorithm 2 of the paper: beta1 0.9, beta2 0.99, tau 1e-3, the second moment starts at tau^2, no bias correction.
    pub fn reddi(lr: f64) -> Self {
        let tau = 1e-3;
        Self {
            lr,
            beta1: 0.9,
            beta2: 0.99,
            tau,
            initial_second_moment: tau * tau,
            bias_correction: BiasCorrection::None,
            second_moment: SecondMoment::Delta,
        }
    }

    /// Flower's `FedAdam`: beta1 0.9, beta2 0.99, tau 1e-3, the second moment starts at 0, bias correction with the exponent
    /// `server_round + 1`. Its default learning rate is 0.1.
    pub fn flower(lr: f64) -> Self {
        Self { initial_second_moment: 0.0, bias_correction: BiasCorrection::Exponent { offset: 1 }, ..Self::reddi(lr) }
    }

    /// TensorFlow Federated's `build_adam`: beta1 0.9, beta2 0.999, epsilon 1e-7, the second moment starts at 0, bias
    /// correction with the exponent `t`.
    pub fn tff(lr: f64) -> Self {
        Self {
            beta2: 0.999,
            tau: 1e-7,
            initial_second_moment: 0.0,
            bias_correction: BiasCorrection::Exponent { offset: 0 },
            ..Self::reddi(lr)
        }
    }
}

/// `m = beta1 m + (1 - beta1) delta; v = beta2 v + (1 - beta2) delta^2; params -= lr_t * m / (sqrt(v) + tau)`, in f64,
/// params rounded to f32 once.
///
/// Serialises for a server that restarts; what is read back is checked as [`new`](Self::new) checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct FedAdam {
    config: FedAdamConfig,
    live: Live,
    /// Rounds stepped.
    rounds: u32,
    /// One a param, 0 where pruned.
    first: Vec<f64>,
    /// One a param, the initial value where pruned.
    second: Vec<f64>,
}

impl FedAdam {
    /// For `len` params, all of which live.
    ///
    /// # Errors
    /// [`OptimError::Config`].
    pub fn new(len: usize, config: FedAdamConfig) -> Result<Self, OptimError> {
        positive("lr", config.lr)?;
        below_one("beta1", config.beta1)?;
        below_one("beta2", config.beta2)?;
        positive("tau", config.tau)?;
        let initial = config.initial_second_moment;
        if !(0.0..=f64::MAX).contains(&initial) {
            let range = "the finite numbers from 0";
            return Err(OptimError::Config { name: "initial_second_moment", range, got: initial });
        }
        let live = Live::all(len);
        Ok(Self { config, live, rounds: 0, first: vec![0.0; len], second: vec![initial; len] })
    }

    /// The first moments, of the pseudo-gradient: the sign is opposite to that in the papers.
    pub fn first_moment(&self) -> &[f64] {
        &self.first
    }

    /// The second moments.
    pub fn second_moment(&self) -> &[f64] {
        &self.second
    }

    /// Rounds stepped.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// The learning rate of round `t = 1, 2, ...`, bias correction included.
    fn rate(&self, t: u32) -> f64 {
        let FedAdamConfig { lr, beta1, beta2, bias_correction, .. } = self.config;
        match bias_correction {
            BiasCorrection::None => lr,
            BiasCorrection::Exponent { offset } => {
                let e = f64::from(t) + f64::from(offset);
                lr * libm::sqrt(1.0 - libm::pow(beta2, e)) / (1.0 - libm::pow(beta1, e))
            }
        }
    }
}

impl ServerOptimizer for FedAdam {
    fn step(&mut self, params: &mut [f32], mean_delta: &[f32]) -> Result<(), OptimError> {
        self.live.check(params, mean_delta)?;
        let FedAdamConfig { beta1, beta2, tau, initial_second_moment, second_moment, .. } = self.config;
        let rounds = self.rounds.saturating_add(1);
        let rate = self.rate(rounds);
        // Into fresh vectors, so that an error leaves everything as it was.
        let (mut firsts, mut seconds) = (Vec::with_capacity(params.len()), Vec::with_capacity(params.len()));
        let mut stepped = Vec::with_capacity(params.len());
        for (index, live) in self.live.iter().enumerate() {
            let (mut first, mut second, mut param) = (0.0, initial_second_moment, 0.0);
            if live {
                let delta = f64::from(mean_delta[index]);
                first = beta1 * self.first[index] + (1.0 - beta1) * delta;
                let squared = match second_moment {
                    SecondMoment::Delta => delta,
                    SecondMoment::Momentum => first,
                };
                second = beta2 * self.second[index] + (1.0 - beta2) * (squared * squared);
                let step = rate * first / (libm::sqrt(second) + tau);
                param = finite_param(index, (f64::from(params[index]) - step) as f32)?;
            }
            firsts.push(first);
            seconds.push(second);
            stepped.push(param);
        }
        (self.rounds, self.first, self.second) = (rounds, firsts, seconds);
        params.copy_from_slice(&stepped);
        Ok(())
    }

    fn set_mask(&mut self, mask: Bitmap<'_>) -> Result<(), OptimError> {
        self.live.set(mask)?;
        for ((first, second), live) in self.first.iter_mut().zip(&mut self.second).zip(self.live.iter()) {
            if !live {
                (*first, *second) = (0.0, self.config.initial_second_moment);
            }
        }
        Ok(())
    }
}

/// An optimizer as it is stored.
#[derive(Serialize, Deserialize)]
struct Parts {
    config: FedAdamConfig,
    live: Live,
    rounds: u32,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl From<FedAdam> for Parts {
    fn from(FedAdam { config, live, rounds, first, second }: FedAdam) -> Self {
        Self { config, live, rounds, first, second }
    }
}

impl TryFrom<Parts> for FedAdam {
    type Error = OptimError;

    fn try_from(Parts { config, live, rounds, first, second }: Parts) -> Result<Self, OptimError> {
        let len = live.0.len();
        same_length("first moment", len, first.len())?;
        same_length("second moment", len, second.len())?;
        Ok(Self { live, rounds, first, second, ..Self::new(0, config)? })
    }
}
