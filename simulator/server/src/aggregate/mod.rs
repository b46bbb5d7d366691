//! Reports to integer sums to a mean delta.
//!
//! A report is a list of integer symbols on the plan's grid over the live coordinates. The server clips it again
//! ([`NormBound`]), multiplies it by its weight and adds it in `i64`, in units of `step / 2^16`. Sums of integers do not
//! depend on the order of arrival, on threads or on shards: any split of the same reports [`merge`](Sum::merge)s into the
//! same bits. Floats appear only in [`PlainSum::mean`] and in [`NoisedSum::mean`](crate::privacy::NoisedSum::mean).
//!
//! # Headroom
//! One coordinate of one report is below `weight * min(bound, 2^24 * 2^16)` units. A sum takes a total weight of at most
//! `(2^62 - 1) / min(bound, 2^40)` ([`Sum::weight_capacity`]) and refuses what is beyond before it has changed anything,
//! so no addition can overflow; the bit that is left of 2^63 is for noise. At the loosest bound that is 2^22 (4.2 million)
//! reports of weight 1; at `clip_norm / step = 1000`, 7 * 10^10.
//!
//! # Noise cannot be forgotten
//! The [`SumPlan`] says at the beginning whether the server will add noise. A closed sum that was promised noise
//! ([`Closed::Promised`]) has no mean; only [`noise`](PromisedSum::noise) makes something of it that has one.
//!
//! ```
//! use siskin_server::aggregate::{Closed, Denominator, NormBound, Sum, SumPlan};
//! let bound = NormBound::new(1.0, 0.125).unwrap();
//! let mut sum = Sum::new(4, SumPlan::new(bound, 100).unwrap());
//! assert!(!sum.add([(0, 4), (3, -2)], 10).unwrap().clipped);
//! assert!(sum.add([(1, 32)], 30).unwrap().clipped); // 32 steps are four times the bound
//! let Closed::Plain(sum) = sum.close() else { unreachable!("no noise was promised") };
//! assert_eq!(sum.mean(Denominator::Realised).unwrap(), [0.125, 0.75, 0.0, -0.0625]);
//! ```

mod bound;
mod dithered;
mod modular;
mod signs;
mod sum;

pub use bound::{BoundError, FRACTION_BITS, NormBound, SYMBOL_LIMIT};
pub use dithered::DitheredSum;
pub use modular::ModularSum;
pub use signs::SignSum;
pub use sum::{AddError, Added, MergeError, Sum};

use crate::privacy::NoiseMultiplier;
use serde::{Deserialize, Serialize};
use siskin::model::sparsity::Bitmap;
use std::num::{NonZeroU32, NonZeroU64};

/// What every report of one sum has in common.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SumPlan {
    /// The L2 bound of a report before it is weighted.
    pub bound: NormBound,
    /// The largest weight of a report. The L2 sensitivity of the sum is `max_weight * clip_norm`: with privacy, 1.
    pub max_weight: NonZeroU32,
    /// Whether the server adds noise to the sum, and how much.
    pub noise: Option<NoiseMultiplier>,
}

impl SumPlan {
    /// A plan without noise of the server's; `None` for a largest weight of 0.
    pub fn new(bound: NormBound, max_weight: u32) -> Option<Self> {
        Some(Self { bound, max_weight: NonZeroU32::new(max_weight)?, noise: None })
    }

    /// The same, with the server's noise; whatever room for rounding the bound had is taken back.
    pub fn with_noise(self, noise: NoiseMultiplier) -> Self {
        Self { noise: Some(noise), bound: self.bound.without_room(), ..self }
    }

    /// The L2 sensitivity of the sum in the units of the params: `max_weight * clip_norm`, exact in f64 for every weight
    /// below 2^29.
    pub fn sensitivity(&self) -> f64 {
        f64::from(self.max_weight.get()) * f64::from(self.bound.clip_norm())
    }
}

/// What a sum is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denominator {
    /// The total weight of the reports that arrived.
    Realised,
    /// A number fixed before the round, such as the planned cohort size: missing reports count as zero deltas.
    Fixed(NonZeroU64),
}

/// Why there is no mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeanError {
    /// The mean over the realised weight of no reports.
    #[error("no report arrived, so there is no mean over what arrived")]
    NoReports,
}

/// A sum to which nothing is added any more.
#[derive(Debug)]
pub enum Closed {
    /// No noise is due; it has a mean.
    Plain(PlainSum),
    /// Noise is due; it has no mean yet.
    Promised(PromisedSum),
}

/// A closed sum without server noise (none planned, or the devices added theirs).
#[derive(Clone, Debug)]
pub struct PlainSum(pub(crate) Sum);

/// A closed sum that owes the noise of its plan. Its integers cannot be read, and it cannot be copied, since two noised
/// copies of one sum tell more than one.
///
/// ```compile_fail,E0599
/// use siskin_server::aggregate::{Denominator, PromisedSum};
/// fn without_noise(sum: PromisedSum) {
///     let _ = sum.mean(Denominator::Realised); // no method named `mean`
/// }
/// ```
pub struct PromisedSum {
    pub(crate) sum: Sum,
    pub(crate) noise: NoiseMultiplier,
}

/// Shows the counts but not the sum.
impl std::fmt::Debug for PromisedSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PromisedSum")
            .field("counts", &self.counts())
            .field("noise", &self.noise)
            .finish_non_exhaustive()
    }
}

/// How much a sum holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// Total weight of the reports.
    pub weight: u64,
    /// Reports.
    pub reports: u64,
    /// Reports among them that were clipped here.
    pub clipped: u64,
}

impl PlainSum {
    /// The mean delta over the live coordinates, in the units of the params.
    ///
    /// Each is computed in f64 as `(sum * unit) / denominator` with `unit = step / 2^16`, then rounded to f32: the
    /// conversion of the sum (exact below 2^53), product, quotient and the last conversion round to nearest even, once
    /// each.
    ///
    /// # Errors
    /// [`MeanError::NoReports`] for the realised weight of no reports.
    pub fn mean(&self, denominator: Denominator) -> Result<Vec<f32>, MeanError> {
        let denominator = match denominator {
            Denominator::Fixed(fixed) => fixed,
            Denominator::Realised => NonZeroU64::new(self.0.counts().weight).ok_or(MeanError::NoReports)?,
        };
        Ok(divide(&self.0.weighted, self.0.plan().bound.unit(), denominator))
    }

    /// The integer sums over the live coordinates, in units of `step / 2^16` times weight.
    pub fn weighted(&self) -> &[i64] {
        &self.0.weighted
    }

    /// How much the sum holds.
    pub fn counts(&self) -> Counts {
        self.0.counts()
    }
}

impl PromisedSum {
    /// How much the sum holds.
    pub fn counts(&self) -> Counts {
        self.sum.counts()
    }
}

/// See [`PlainSum::mean`] for the order of operations.
pub(crate) fn divide(sums: &[i64], unit: f64, denominator: NonZeroU64) -> Vec<f32> {
    let denominator = denominator.get() as f64;
    sums.iter().map(|&sum| (sum as f64 * unit / denominator) as f32).collect()
}

/// Spreads values over the live coordinates into a dense vector, with 0 where nothing lives; `None` unless there is one
/// value for each live coordinate.
pub fn scatter(live: &[f32], mask: Bitmap<'_>) -> Option<Vec<f32>> {
    if mask.count() != live.len() {
        return None;
    }
    let mut dense = vec![0.0; mask.len()];
    for (at, &value) in mask.ones().zip(live) {
        dense[at] = value;
    }
    Some(dense)
}

#[cfg(test)]
mod tests;
