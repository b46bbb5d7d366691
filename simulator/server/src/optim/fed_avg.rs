//! FedAvg: McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized Data"
//! (arXiv 1602.05629), as server SGD on the mean delta (Reddi et al. 2021, arXiv 2003.00295, algorithm 1). With momentum
//! it is FedAvgM: Hsu et al. 2019, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
//! Classification" (arXiv 1909.06335).

use super::{Live, OptimError, ServerOptimizer, below_one, finite_param, positive, same_length};
use serde::{Deserialize, Serialize};
use siskin::model::sparsity::Bitmap;

/// Settings of [`FedAvg`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FedAvgConfig {
    /// Server learning rate, positive. 1 replaces the params by the mean of the reports.
    pub lr: f64,
    /// In `[0, 1)`; 0 is FedAvg, above it FedAvgM, where 0.9 is usual.
    pub momentum: f64,
}

impl Default for FedAvgConfig {
    /// Learning rate 1 without momentum.
    fn default() -> Self {
        Self { lr: 1.0, momentum: 0.0 }
    }
}

/// `velocity = momentum * velocity + delta; params -= lr * velocity`, in f64, rounded to f32 once.
///
/// Serialises for a server that restarts; what is read back is checked as [`new`](Self::new) checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct FedAvg {
    config: FedAvgConfig,
    live: Live,
    /// One a param with momentum, none without. 0 where pruned.
    velocity: Vec<f64>,
}

impl FedAvg {
    /// For `len` params, all of which live.
    ///
    /// # Errors
    /// [`OptimError::Config`].
    pub fn new(len: usize, config: FedAvgConfig) -> Result<Self, OptimError> {
        positive("lr", config.lr)?;
        below_one("momentum", config.momentum)?;
        let remembered = if config.momentum > 0.0 { len } else { 0 };
        Ok(Self { config, live: Live::all(len), velocity: vec![0.0; remembered] })
    }

    /// The velocities, one a param with momentum, none without.
    pub fn velocity(&self) -> &[f64] {
        &self.velocity
    }

    /// The velocity and the param after a step from `param`.
    fn coordinate(&self, index: usize, param: f32, delta: f32) -> Result<(f64, f32), OptimError> {
        let old = self.velocity.get(index).copied().unwrap_or(0.0);
        let velocity = self.config.momentum * old + f64::from(delta);
        let new = (f64::from(param) - self.config.lr * velocity) as f32;
        Ok((velocity, finite_param(index, new)?))
    }
}

impl ServerOptimizer for FedAvg {
    fn step(&mut self, params: &mut [f32], mean_delta: &[f32]) -> Result<(), OptimError> {
        self.live.check(params, mean_delta)?;
        // Into fresh vectors, so that an error leaves everything as it was.
        let (mut velocities, mut stepped) = (Vec::with_capacity(params.len()), Vec::with_capacity(params.len()));
        for (index, live) in self.live.iter().enumerate() {
            let (velocity, param) =
                if live { self.coordinate(index, params[index], mean_delta[index])? } else { (0.0, 0.0) };
            velocities.push(velocity);
            stepped.push(param);
        }
        if !self.velocity.is_empty() {
            self.velocity = velocities;
        }
        params.copy_from_slice(&stepped);
        Ok(())
    }

    fn set_mask(&mut self, mask: Bitmap<'_>) -> Result<(), OptimError> {
        self.live.set(mask)?;
        for (velocity, live) in self.velocity.iter_mut().zip(self.live.iter()) {
            if !live {
                *velocity = 0.0;
            }
        }
        Ok(())
    }
}

/// An optimizer as it is stored.
#[derive(Serialize, Deserialize)]
struct Parts {
    config: FedAvgConfig,
    live: Live,
    velocity: Vec<f64>,
}

impl From<FedAvg> for Parts {
    fn from(FedAvg { config, live, velocity }: FedAvg) -> Self {
        Self { config, live, velocity }
    }
}

impl TryFrom<Parts> for FedAvg {
    type Error = OptimError;

    fn try_from(Parts { config, live, velocity }: Parts) -> Result<Self, OptimError> {
        let fresh = Self::new(live.0.len(), config)?;
        same_length("velocity", fresh.velocity.len(), velocity.len())?;
        Ok(Self { live, velocity, ..fresh })
    }
}
