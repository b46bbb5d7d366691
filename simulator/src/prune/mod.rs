//! Masks outside a run: which params of tensors in a file would live, and single cases as JSON, for other programs to compare
//! with. The algorithms are the sdk's.

mod algorithm;
mod case;
mod file;
mod nested;

pub use algorithm::{Algorithm, Goal, Inputs, masks, sparsity_type};
pub use case::answer;
pub use file::{Tensor, beside, read_masks, read_params, write_masks};

/// What is wrong, and where: a file and a tensor, an option, or a place in a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct PruneError {
    /// Where.
    pub at: String,
    /// What.
    pub what: String,
}

impl PruneError {
    fn new(at: impl Into<String>, what: impl std::fmt::Display) -> Self {
        Self { at: at.into(), what: what.to_string() }
    }
}
