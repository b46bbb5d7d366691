//! The mask update that SET and RigL share: some of the live params die, as many others come to life.
//!
//! JaxPruner's `SET._update_masks` (Lee et al. 2023, arXiv 2304.14082) pushes the params that must lose or win beyond the
//! others' scores by 1e-5, which f32 absorbs where scores exceed 256: kept params then tie with the best candidates and
//! some are lost by their index. Here the keys are lexicographic (first whether a param is kept, then its score, then its
//! index), which is what upstream means, and as many live after as before whatever the rounding.

use super::top_k::{first, rank, rising};
use super::{Bitmap, BitmapMut, Scores, SparsityError};

/// Sets `new` to `old` with a fraction of its ones elsewhere; gives how many were freed and set again.
///
/// Of the live params those with the highest `keep` scores stay, ties to the lowest index: `round_half_even(n * (1 - (1 -
/// density * (1 - drop_fraction))))` of `n` in f32, upstream's way, at least 1 and at most all; all at fraction 0. The
/// places that this frees go to the highest `grow` scores among all other params, those that just died included. A NaN
/// loses to every number, but takes a place that nothing else wants: the number of ones never changes.
///
/// `scratch` lends a `u32` per param. Expected time is linear in the params.
///
/// # Errors
/// [`SparsityError`]: fraction outside `[0, 1]`, masks or scores of different lengths, scratch too small.
///
/// ```
/// use siskin::model::sparsity::{Bitmap, BitmapMut, Scores, drop_and_grow};
/// let (keep, grow) = ([0.0f32, 5.0, 1.0, 0.0], [7.0f32, 0.0, 0.0, 9.0]);
/// let (mut scratch, mut bits) = ([0u32; 4], [0u8; 1]);
/// let mut new = BitmapMut::new(&mut bits, 4).unwrap();
/// let old = Bitmap::new(&[0b0110], 4).unwrap();
/// let (keep, grow) = (Scores::new(4, |i| keep[i]), Scores::new(4, |i| grow[i]));
/// assert_eq!(drop_and_grow(&keep, &grow, 0.5, old, &mut scratch, &mut new), Ok(1));
/// assert_eq!(bits, [0b1010]); // param 2 died, param 3 lives
/// ```
pub fn drop_and_grow<K: Fn(usize) -> f32, G: Fn(usize) -> f32>(
    keep: &Scores<K>,
    grow: &Scores<G>,
    drop_fraction: f32,
    old: Bitmap<'_>,
    scratch: &mut [u32],
    new: &mut BitmapMut<'_>,
) -> Result<usize, SparsityError> {
    if !(0.0..=1.0).contains(&drop_fraction) {
        return Err(SparsityError::DropFractionOutOfRange { got: drop_fraction });
    }
    let size = keep.len();
    if grow.len() != size {
        return Err(SparsityError::Length { expected: size, got: grow.len() });
    }
    if let Some(got) = [old.len(), new.len()].into_iter().find(|&len| len != size) {
        return Err(SparsityError::MaskLength { expected: size, got });
    }
    let indices = rising(scratch, size)?;
    let live = live_first(indices, old);
    let kept = kept(size, live, drop_fraction);
    first(&mut indices[..live], kept, |a, b| rank(keep.of(a as usize), keep.of(b as usize)).then(a.cmp(&b)));
    let candidates = &mut indices[kept..];
    first(candidates, live - kept, |a, b| rank(grow.of(a as usize), grow.of(b as usize)).then(a.cmp(&b)));
    new.fill(false);
    for &i in &indices[..live] {
        new.set(i as usize, true);
    }
    Ok(live - kept)
}

/// Puts the live indices before the others; how many they are.
fn live_first(indices: &mut [u32], mask: Bitmap<'_>) -> usize {
    let mut live = 0;
    for i in mask.ones() {
        // Place `i` still holds `i`: all swaps so far were before it.
        indices.swap(live, i);
        live += 1;
    }
    live
}

/// How many of the live params stay.
fn kept(size: usize, live: usize, drop_fraction: f32) -> usize {
    if live == 0 || drop_fraction == 0.0 {
        return live;
    }
    let density = live as f32 / size as f32;
    let sparsity = 1.0 - density * (1.0 - drop_fraction);
    let wanted = libm::rintf(size as f32 * (1.0 - sparsity)) as usize;
    wanted.clamp(1, live)
}
