//! Static sparse training: a random mask before the first step, and the same one ever after (JaxPruner's
//! `StaticRandomSparse`; Mocanu et al. 2018, arXiv 1707.04780, take such a mask as their starting point too).
//!
//! Gradients are masked as the params are, and a training that has begun cannot be made sparse in this way.

use super::{BitmapMut, Draw, SparsityError, top_k_mask_by};

/// Sets [`num_ones`](super::num_ones) random bits of `mask` and clears the rest; gives the number of ones. `draw.step` is
/// usually 0. Masks of [`SET`](super::set_update) and [`RigL`](super::rigl_update) begin like this.
///
/// Other sparsity types: [`random_scores`](super::random_scores) and [`SparsityType::mask`](super::SparsityType::mask).
///
/// # Errors
/// What [`top_k_mask_by`] refuses.
///
/// ```
/// use siskin::model::sparsity::{BitmapMut, Draw, static_random_mask};
/// let (mut scratch, mut bits) = ([0u32; 16], [0u8; 2]);
/// let mut mask = BitmapMut::new(&mut bits, 16).unwrap();
/// let draw = Draw { seed: 8, tensor: 0, step: 0 };
/// assert_eq!(static_random_mask(draw, 0.75, &mut scratch, &mut mask), Ok(4));
/// ```
pub fn static_random_mask(
    draw: Draw,
    sparsity: f32,
    scratch: &mut [u32],
    mask: &mut BitmapMut<'_>,
) -> Result<usize, SparsityError> {
    top_k_mask_by(|i| draw.uniform(i), sparsity, scratch, mask)
}
