//! AC/DC: dense and sparse phases in turn.
//!
//! Peste et al. 2021, "AC/DC: alternating compressed/decompressed training of deep neural networks" (arXiv 2106.12379,
//! algorithm 1), with the phases of JaxPruner's extension `acdc`: dense at first, then cycles that begin sparse, then
//! sparse to the end. A sparse phase begins with a magnitude mask at the target sparsity; a dense one begins with a mask of
//! ones, in which the params that were pruned start from zero.

/// What the params are at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// All live.
    Dense,
    /// Those of the mask live.
    Sparse,
}

/// Why phases were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcdcError {
    /// A phase of a cycle without a step.
    EmptyPhase {
        /// Steps of its sparse phase.
        sparse: u32,
        /// Steps of its dense phase.
        dense: u32,
    },
    /// The last sparse phase would begin before the first cycle.
    FinalBeforeStart {
        /// First step of the cycles.
        start: u32,
        /// First step of the last phase.
        last: u32,
    },
}

impl core::fmt::Display for AcdcError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::EmptyPhase { sparse, dense } => {
                write!(f, "a cycle of {sparse} sparse and {dense} dense steps: each needs 1")
            }
            Self::FinalBeforeStart { start, last } => {
                write!(f, "the last sparse phase, from step {last}, is before the first cycle, from step {start}")
            }
        }
    }
}

impl core::error::Error for AcdcError {}

/// When which phase is. Steps are counted as those of a [`Schedule`](super::Schedule).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acdc {
    start: u32,
    /// Not before `start`.
    last: u32,
    /// At least 1.
    sparse: u32,
    /// At least 1.
    dense: u32,
}

impl Acdc {
    /// Dense before step `start`; then `sparse` sparse and `dense` dense steps in turn; from step `last` on sparse.
    ///
    /// # Errors
    /// [`AcdcError`]: a phase of 0 steps, `last` before `start`.
    ///
    /// ```
    /// use siskin::model::sparsity::{Acdc, Phase};
    /// let phases = Acdc::new(2, 7, 2, 1).unwrap();
    /// let sparse: Vec<u32> = (0..10).filter(|s| phases.phase(*s) == Phase::Sparse).collect();
    /// assert_eq!(sparse, [2, 3, 5, 6, 7, 8, 9]);
    /// assert_eq!(phases.begins(4), Some(Phase::Dense));
    /// ```
    pub fn new(start: u32, last: u32, sparse: u32, dense: u32) -> Result<Self, AcdcError> {
        if sparse == 0 || dense == 0 {
            return Err(AcdcError::EmptyPhase { sparse, dense });
        }
        if last < start {
            return Err(AcdcError::FinalBeforeStart { start, last });
        }
        Ok(Self { start, last, sparse, dense })
    }

    /// Where in its cycle a step from `start` on is.
    fn in_cycle(&self, step: u32) -> u64 {
        u64::from(step - self.start) % (u64::from(self.sparse) + u64::from(self.dense))
    }

    /// The phase that `step` belongs to.
    pub fn phase(&self, step: u32) -> Phase {
        if step >= self.last || step >= self.start && self.in_cycle(step) < u64::from(self.sparse) {
            Phase::Sparse
        } else {
            Phase::Dense
        }
    }

    /// The phase that begins with `step`: the mask is made anew then, from the params before the step. The last phase makes
    /// one even where a sparse phase has not ended.
    pub fn begins(&self, step: u32) -> Option<Phase> {
        if step == self.last {
            return Some(Phase::Sparse);
        }
        if !(self.start..self.last).contains(&step) {
            return None;
        }
        match self.in_cycle(step) {
            0 => Some(Phase::Sparse),
            at if at == u64::from(self.sparse) => Some(Phase::Dense),
            _ => None,
        }
    }
}
