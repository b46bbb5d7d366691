//! The sum itself.

use super::{Closed, Counts, NormBound, PlainSum, PromisedSum, SYMBOL_LIMIT, SumPlan, bound::Scale};
use serde::{Deserialize, Serialize};

/// The weighted integer sum of reports.
///
/// Cloneable and mergeable: a thread or a process sums its own reports into a [`partial`](Self::partial) and the partial
/// sums merge in any order. It serialises for that purpose; what it holds is as sensitive as the reports, and is checked
/// against its own plan when it is read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Sum {
    plan: SumPlan,
    /// Units of `step / 2^16` times weight; each at most `weight * plan.bound.largest_coordinate()` in magnitude.
    pub(crate) weighted: Vec<i64>,
    /// At most `weight_capacity()`.
    weight: u64,
    reports: u64,
    /// At most `reports`.
    clipped: u64,
}

/// What became of a report that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Added {
    /// Its norm exceeded the bound and it was scaled down: its device did not do what the plan says, or rounded up.
    pub clipped: bool,
    /// Coordinates that it listed.
    pub listed: usize,
}

/// Why a report was not added. The sum is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// A coordinate that does not live.
    #[error("entry {entry} is for coordinate {index}, but only {live} live")]
    Index {
        /// Position in the report.
        entry: usize,
        /// The coordinate.
        index: usize,
        /// Live coordinates.
        live: usize,
    },
    /// Coordinates do not rise: one twice would escape the norm bound.
    #[error("entry {entry} is for coordinate {index}, not after the one before it")]
    Order {
        /// Position in the report.
        entry: usize,
        /// The coordinate.
        index: usize,
    },
    /// A symbol of magnitude 2^24 or more.
    #[error("entry {entry} has symbol {symbol}, not below 2^24 in magnitude")]
    Symbol {
        /// Position in the report.
        entry: usize,
        /// The symbol.
        symbol: i32,
    },
    /// A weight of 0, or above the plan's largest.
    #[error("weight {got} is not in 1 to {max}")]
    Weight {
        /// The plan's largest weight.
        max: u32,
        /// The report's.
        got: u32,
    },
    /// The sum has no room for the weight.
    #[error("weight {got} does not fit into the {left} that are left")]
    Full {
        /// Weight that still fits.
        left: u64,
        /// The report's.
        got: u32,
    },
}

/// Why two sums were not merged. Both are as they were before.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// Not the same number of live coordinates.
    #[error("sum over {got} live coordinates merged into one over {expected}")]
    Length {
        /// Live coordinates here.
        expected: usize,
        /// Live coordinates there.
        got: usize,
    },
    /// Not the same bound, largest weight and noise.
    #[error("the sums have different plans")]
    Plan,
    /// The weights together do not fit.
    #[error("weight {got} does not fit into the {left} that are left")]
    Full {
        /// Weight that still fits.
        left: u64,
        /// The other's.
        got: u64,
    },
}

impl Sum {
    /// Of nothing yet, over `live` coordinates: 8 bytes each.
    pub fn new(live: usize, plan: SumPlan) -> Self {
        Self { plan, weighted: vec![0; live], weight: 0, reports: 0, clipped: 0 }
    }

    /// Of nothing yet, with the same plan and coordinates: what a thread or a shard sums into.
    pub fn partial(&self) -> Self {
        Self::new(self.weighted.len(), self.plan)
    }

    /// Clips a report, weights it and adds it. Costs O(entries), not O(live).
    ///
    /// `report` gives `(coordinate, symbol)` with rising coordinates below `live`; coordinates that it does not list are
    /// 0. It is run through twice (first checked and measured, then added), so the iterator must be cheap to clone and
    /// repeatable; a slice's is.
    ///
    /// # Errors
    /// [`AddError`]; nothing was added then.
    pub fn add<R>(&mut self, report: R, weight: u32) -> Result<Added, AddError>
    where
        R: IntoIterator<Item = (usize, i32)>,
        R::IntoIter: Clone,
    {
        let max = self.plan.max_weight.get();
        if weight == 0 || weight > max {
            return Err(AddError::Weight { max, got: weight });
        }
        let left = self.weight_capacity() - self.weight;
        if u64::from(weight) > left {
            return Err(AddError::Full { left, got: weight });
        }
        let report = report.into_iter();
        let squares = self.check(report.clone())?;
        let scale = self.plan.bound.scale(squares);
        let mut listed = 0;
        for (index, symbol) in report {
            // |units * weight| summed over all reports is at most largest_coordinate * weight_capacity < 2^62.
            self.weighted[index] += scale.apply(symbol) * i64::from(weight);
            listed += 1;
        }
        let clipped = scale != Scale::Kept;
        self.weight += u64::from(weight);
        self.reports += 1;
        self.clipped += u64::from(clipped);
        Ok(Added { clipped, listed })
    }

    /// The sum of squares of a report that may be added.
    fn check(&self, report: impl Iterator<Item = (usize, i32)>) -> Result<u128, AddError> {
        let live = self.weighted.len();
        let (mut squares, mut least) = (0u128, 0);
        for (entry, (index, symbol)) in report.enumerate() {
            if index >= live {
                return Err(AddError::Index { entry, index, live });
            }
            if index < least {
                return Err(AddError::Order { entry, index });
            }
            if symbol.unsigned_abs() >= SYMBOL_LIMIT {
                return Err(AddError::Symbol { entry, symbol });
            }
            least = index + 1;
            squares += u128::from(u64::from(symbol.unsigned_abs()).pow(2));
        }
        Ok(squares)
    }

    /// Adds another's reports. Commutative and associative, to the bit.
    ///
    /// # Errors
    /// [`MergeError`]; nothing was added then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        if self.weighted.len() != other.weighted.len() {
            return Err(MergeError::Length { expected: self.weighted.len(), got: other.weighted.len() });
        }
        if self.plan != other.plan {
            return Err(MergeError::Plan);
        }
        let left = self.weight_capacity() - self.weight;
        if other.weight > left {
            return Err(MergeError::Full { left, got: other.weight });
        }
        for (sum, more) in self.weighted.iter_mut().zip(&other.weighted) {
            *sum += more;
        }
        self.weight += other.weight;
        self.reports += other.reports;
        self.clipped += other.clipped;
        Ok(())
    }

    /// Ends the sum. Which of the two comes back is the plan's word.
    pub fn close(self) -> Closed {
        match self.plan.noise {
            None => Closed::Plain(PlainSum(self)),
            Some(noise) => Closed::Promised(PromisedSum { sum: self, noise }),
        }
    }

    /// What every report has in common.
    pub fn plan(&self) -> &SumPlan {
        &self.plan
    }

    /// Live coordinates.
    pub fn live(&self) -> usize {
        self.weighted.len()
    }

    /// How much the sum holds so far.
    pub fn counts(&self) -> Counts {
        Counts { weight: self.weight, reports: self.reports, clipped: self.clipped }
    }

    /// The total weight that fits without overflow, whatever the reports hold.
    pub fn weight_capacity(&self) -> u64 {
        capacity(&self.plan.bound)
    }
}

fn capacity(bound: &NormBound) -> u64 {
    ((1 << 62) - 1) / bound.largest_coordinate()
}

/// A sum as it travels between processes.
#[derive(Serialize, Deserialize)]
struct Parts {
    plan: SumPlan,
    weighted: Vec<i64>,
    weight: u64,
    reports: u64,
    clipped: u64,
}

/// Numbers that no sum of this plan can hold.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a sum of weight {weight} over {reports} reports cannot hold what was read")]
struct PartsError {
    weight: u64,
    reports: u64,
}

impl From<Sum> for Parts {
    fn from(sum: Sum) -> Self {
        let Sum { plan, weighted, weight, reports, clipped } = sum;
        Self { plan, weighted, weight, reports, clipped }
    }
}

impl TryFrom<Parts> for Sum {
    type Error = PartsError;

    fn try_from(parts: Parts) -> Result<Self, PartsError> {
        let Parts { plan, weighted, weight, reports, clipped } = parts;
        let possible = weight <= capacity(&plan.bound)
            && clipped <= reports
            && reports <= weight
            && weight <= reports.saturating_mul(plan.max_weight.get().into());
        // The product is below 2^62 once the weight is within the capacity.
        if !possible || weighted.iter().any(|sum| sum.unsigned_abs() > weight * plan.bound.largest_coordinate()) {
            return Err(PartsError { weight, reports });
        }
        Ok(Self { plan, weighted, weight, reports, clipped })
    }
}
