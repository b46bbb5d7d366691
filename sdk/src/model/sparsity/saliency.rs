//! Saliency pruning: the score of a param is how much the loss would change without it, to first order.
//!
//! Mozer and Smolensky 1988, "Skeletonization"; Molchanov et al. 2017 (arXiv 1611.06440, equation 8), with the
//! conventions of JaxPruner's `SaliencyPruning`. The gradient is that of the step in which the mask is made.

use super::{Scores, SparsityError};

/// `|w * g|`.
///
/// # Errors
/// [`SparsityError::Length`] unless there is one gradient per param.
pub fn saliency_scores<'a>(
    params: &'a [f32],
    gradients: &'a [f32],
) -> Result<Scores<impl Fn(usize) -> f32 + 'a>, SparsityError> {
    if gradients.len() != params.len() {
        return Err(SparsityError::Length { expected: params.len(), got: gradients.len() });
    }
    Ok(Scores::new(params.len(), |i| (params[i] * gradients[i]).abs()))
}
