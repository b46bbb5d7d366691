//! RigL: the weakest connections die, those with the largest gradient grow.
//!
//! Evci et al. 2020, "Rigging the lottery: making all tickets winners" (arXiv 1911.11134, algorithm 1), with the
//! conventions of JaxPruner's `RigL`; where they differ from upstream's code is said in [`drop_and_grow`]'s module. The
//! gradient is dense: that of the pruned params too, of the step in which the mask changes. In that step neither the params
//! nor the optimizer move; then the mask is applied and the state of what grew begins at zero
//! ([`reset_activated`](super::reset_activated)). How much is replaced falls with a cosine
//! ([`DropFraction`](super::DropFraction)).

use super::{Bitmap, BitmapMut, SparsityError, drop_and_grow, magnitude_scores};

/// Sets `new` to `old` with `drop_fraction` of its ones moved from the smallest params to the largest gradients, both by
/// absolute value; gives how many were freed. A param that was freed comes back where its gradient is among the largest.
/// See [`drop_and_grow`].
///
/// # Errors
/// What [`drop_and_grow`] refuses.
pub fn rigl_update(
    params: &[f32],
    gradients: &[f32],
    drop_fraction: f32,
    old: Bitmap<'_>,
    scratch: &mut [u32],
    new: &mut BitmapMut<'_>,
) -> Result<usize, SparsityError> {
    drop_and_grow(&magnitude_scores(params), &magnitude_scores(gradients), drop_fraction, old, scratch, new)
}
