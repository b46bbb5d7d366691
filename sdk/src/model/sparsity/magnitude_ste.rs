//! Magnitude pruning with a straight-through estimator: the forward pass sees the pruned params, the step changes all of
//! them.
//!
//! Bengio et al. 2013 (arXiv 1308.3432) for the estimator; JaxPruner's `SteMixin` (Lee et al. 2023, arXiv 2304.14082) for
//! the order: before *every* forward pass the mask is made anew from the dense params, with the schedule's sparsity of
//! that step whether or not it fires; the gradient with respect to the pruned params is applied to the dense ones; nothing
//! is masked after the step. The dense params are kept, so this saves neither memory nor upload.

use super::{BitmapMut, SparsityError, magnitude_mask, masked_copy};

/// Writes to `forward` the `dense` params that live at `sparsity`, 0 for the others, and the mask; gives the number of
/// ones.
///
/// Other scores and sparsity types: [`SparsityType::mask`](super::SparsityType::mask), then [`masked_copy`].
///
/// # Errors
/// [`SparsityError`]: `forward` or `mask` of another length than `dense`, and what [`magnitude_mask`] refuses.
pub fn magnitude_ste(
    dense: &[f32],
    sparsity: f32,
    scratch: &mut [u32],
    mask: &mut BitmapMut<'_>,
    forward: &mut [f32],
) -> Result<usize, SparsityError> {
    if forward.len() != dense.len() {
        return Err(SparsityError::Length { expected: dense.len(), got: forward.len() });
    }
    let ones = magnitude_mask(dense, sparsity, scratch, mask)?;
    masked_copy(dense, mask.as_bitmap(), forward)?;
    Ok(ones)
}
