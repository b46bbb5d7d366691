//! Fisher pruning: the score of a param is how much the loss would change without it, to second order.
//!
//! Theis et al. 2018, "Faster gaze prediction with dense networks and Fisher pruning" (arXiv 1801.05787, equation 7, without
//! its half, which no ranking needs). JaxPruner's `AdamBasedFisherPruning` takes Adam's second moment for the diagonal.

use super::{Scores, SparsityError};

/// `(w * w) * F`, where `fisher` is the diagonal of the Fisher information or an estimate of it.
///
/// # Errors
/// [`SparsityError::Length`] unless there is one value per param.
pub fn fisher_scores<'a>(
    params: &'a [f32],
    fisher: &'a [f32],
) -> Result<Scores<impl Fn(usize) -> f32 + 'a>, SparsityError> {
    if fisher.len() != params.len() {
        return Err(SparsityError::Length { expected: params.len(), got: fisher.len() });
    }
    Ok(Scores::new(params.len(), |i| params[i] * params[i] * fisher[i]))
}
