//! Magnitude pruning: the score of a param is its absolute value.
//!
//! Zhu and Gupta 2017, "To prune, or not to prune: exploring the efficacy of pruning for model compression"
//! (arXiv 1710.01878), with the conventions of JaxPruner's `MagnitudePruning` (Lee et al. 2023, arXiv 2304.14082). A mask
//! is made from the params *before* the step in which the schedule fires, and params pruned once may come back.

use super::{BitmapMut, Scores, SparsityError, top_k_mask_by};

/// `|w|`.
pub fn magnitude_scores(params: &[f32]) -> Scores<impl Fn(usize) -> f32> {
    Scores::new(params.len(), |i| params[i].abs())
}

/// Sets in `mask` the largest params by absolute value; gives the number of ones. One tensor at a time: the uniform
/// distribution of JaxPruner calls it for each tensor with more than one dimension.
///
/// `params` in flat row-major order; `scratch` lends a `u32` per param. See [`top_k_mask_by`] for cost and ties.
///
/// # Errors
/// [`SparsityError`]: a mask of another length than `params`, and what [`top_k_mask_by`] refuses.
///
/// ```
/// use siskin::model::sparsity::{BitmapMut, apply_mask, magnitude_mask};
/// let mut params = [0.1f32, -2.0, 0.5, 1.0];
/// let (mut scratch, mut bits) = ([0u32; 4], [0u8; 1]);
/// let mut mask = BitmapMut::new(&mut bits, 4).unwrap();
/// magnitude_mask(&params, 0.5, &mut scratch, &mut mask).unwrap();
/// apply_mask(&mut params, mask.as_bitmap()).unwrap();
/// assert_eq!(params, [0.0, -2.0, 0.0, 1.0]);
/// ```
pub fn magnitude_mask(
    params: &[f32],
    sparsity: f32,
    scratch: &mut [u32],
    mask: &mut BitmapMut<'_>,
) -> Result<usize, SparsityError> {
    if mask.len() != params.len() {
        return Err(SparsityError::MaskLength { expected: params.len(), got: mask.len() });
    }
    top_k_mask_by(|i| params[i].abs(), sparsity, scratch, mask)
}
