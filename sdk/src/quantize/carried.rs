//! What of a delta a report carries.

use super::{Rotated, Subset};
use crate::checkin::Quantization;

/// What of a delta a report carries; both sides know it before either has the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// Every live coordinate.
    All,
    /// Some, drawn at random.
    Random(Subset),
    /// Signs of some of the rotated ones, where they are among them.
    Rotated(Rotated),
}

impl Carried {
    /// By the report for this task of the plan of this fingerprint and number of live coordinates.
    pub fn new(grid: &Quantization, fingerprint: u32, task: u64, live: usize) -> Self {
        match Rotated::new(grid, fingerprint, task, live) {
            Some(rotated) => Self::Rotated(rotated),
            None => Subset::new(grid, fingerprint, task).map_or(Self::All, Self::Random),
        }
    }

    /// Those that were drawn, if that is how.
    pub fn subset(&self) -> Option<Subset> {
        match *self {
            Self::Random(subset) => Some(subset),
            _ => None,
        }
    }
}
