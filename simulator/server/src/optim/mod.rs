//! Mean delta to new params: the server's half of FedOpt (Reddi et al. 2021, "Adaptive Federated Optimization",
//! arXiv 2003.00295).
//!
//! A delta is global minus local params, a pseudo-gradient, so every optimizer here **descends**: `params -= lr * delta`
//! for plain FedAvg. (The papers and most frameworks write local minus global and ascend; the numbers are the same.)
//!
//! Params are dense f32 in flat order; what an optimizer remembers of them is f64. Operations are elementwise, in the order
//! that each type documents, with `sqrt` and `pow` of the `libm` crate: a step gives the same bits on every platform.
//! A pruned param is assigned `0.0` after every step and its moments are cleared, so that a param that comes back starts
//! afresh and one that is gone does not drift on its momentum.

mod fed_adam;
mod fed_avg;

pub use fed_adam::{BiasCorrection, FedAdam, FedAdamConfig, SecondMoment};
pub use fed_avg::{FedAvg, FedAvgConfig};

use serde::{Deserialize, Serialize};
use siskin::model::sparsity::Bitmap;

/// Why an optimizer was not made, or did not step. It and the params are as they were before.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OptimError {
    /// A setting outside its range.
    #[error("{name} is {got}, which is not in {range}")]
    Config {
        /// The setting.
        name: &'static str,
        /// Its range.
        range: &'static str,
        /// What was asked for.
        got: f64,
    },
    /// Params, delta or mask of another length than the optimizer's.
    #[error("{what} has {got} coordinates, the optimizer {expected}")]
    Length {
        /// Which of them.
        what: &'static str,
        /// The optimizer's.
        expected: usize,
        /// Theirs.
        got: usize,
    },
    /// The mean delta has a coordinate that is infinite or no number.
    #[error("coordinate {index} of the mean delta is not finite")]
    DeltaNotFinite {
        /// The first such coordinate.
        index: usize,
    },
    /// The step would have made a param that is infinite or no number.
    #[error("the step would make param {index} {value}")]
    ParamNotFinite {
        /// The first such coordinate.
        index: usize,
        /// What it would have become.
        value: f32,
    },
}

/// A server optimizer over params of fixed number and order.
pub trait ServerOptimizer {
    /// One round: `params` descend along `mean_delta`, both dense and in flat order. Pruned coordinates of the delta are
    /// ignored and those of the params assigned `0.0`.
    ///
    /// # Errors
    /// [`OptimError`]: wrong lengths, a delta or a result that is not finite. Nothing has changed then.
    fn step(&mut self, params: &mut [f32], mean_delta: &[f32]) -> Result<(), OptimError>;

    /// From now on only the set bits of `mask` live. Clears at once what is remembered of the others; a coordinate that
    /// lives again starts from cleared moments.
    ///
    /// # Errors
    /// [`OptimError::Length`].
    fn set_mask(&mut self, mask: Bitmap<'_>) -> Result<(), OptimError>;
}

/// Which params live; all of them until a mask is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Live(Vec<bool>);

impl Live {
    fn all(len: usize) -> Self {
        Self(vec![true; len])
    }

    fn set(&mut self, mask: Bitmap<'_>) -> Result<(), OptimError> {
        same_length("mask", self.0.len(), mask.len())?;
        for (live, bit) in self.0.iter_mut().zip(mask.iter()) {
            *live = bit;
        }
        Ok(())
    }

    /// What every step requires of its arguments, before it changes anything.
    fn check(&self, params: &[f32], mean_delta: &[f32]) -> Result<(), OptimError> {
        same_length("params", self.0.len(), params.len())?;
        same_length("mean delta", self.0.len(), mean_delta.len())?;
        match mean_delta.iter().position(|delta| !delta.is_finite()) {
            Some(index) => Err(OptimError::DeltaNotFinite { index }),
            None => Ok(()),
        }
    }

    fn iter(&self) -> impl Iterator<Item = bool> + '_ {
        self.0.iter().copied()
    }
}

fn same_length(what: &'static str, expected: usize, got: usize) -> Result<(), OptimError> {
    if expected == got { Ok(()) } else { Err(OptimError::Length { what, expected, got }) }
}

fn finite_param(index: usize, value: f32) -> Result<f32, OptimError> {
    if value.is_finite() { Ok(value) } else { Err(OptimError::ParamNotFinite { index, value }) }
}

fn positive(name: &'static str, got: f64) -> Result<(), OptimError> {
    if got.is_finite() && got > 0.0 {
        Ok(())
    } else {
        Err(OptimError::Config { name, range: "the finite positive numbers", got })
    }
}

/// For momenta and decay rates.
fn below_one(name: &'static str, got: f64) -> Result<(), OptimError> {
    if (0.0..1.0).contains(&got) { Ok(()) } else { Err(OptimError::Config { name, range: "[0, 1)", got }) }
}

#[cfg(test)]
mod tests;
