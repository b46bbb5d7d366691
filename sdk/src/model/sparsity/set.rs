//! Sparse evolutionary training: the weakest connections die, random ones grow.
//!
//! Mocanu et al. 2018, "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
//! network science" (arXiv 1707.04780), with the conventions of JaxPruner's `SET`: by absolute value, a fraction of 0.3
//! each time, per tensor, the number of ones unchanged. In the step of an update neither the params nor the optimizer
//! move; then the mask is applied and the state of what grew begins at zero ([`reset_activated`](super::reset_activated)).

use super::{Bitmap, BitmapMut, Draw, SparsityError, drop_and_grow, magnitude_scores, random_scores};

/// Upstream's default fraction of the live params to replace.
pub const SET_DROP_FRACTION: f32 = 0.3;

/// Sets `new` to `old` with `drop_fraction` of its ones moved from the smallest params to random places; gives how many
/// were freed. A place that was freed may be drawn again. See [`drop_and_grow`].
///
/// # Errors
/// What [`drop_and_grow`] refuses.
pub fn set_update(
    params: &[f32],
    draw: Draw,
    drop_fraction: f32,
    old: Bitmap<'_>,
    scratch: &mut [u32],
    new: &mut BitmapMut<'_>,
) -> Result<usize, SparsityError> {
    let grow = random_scores(params.len(), draw, None)?;
    drop_and_grow(&magnitude_scores(params), &grow, drop_fraction, old, scratch, new)
}
