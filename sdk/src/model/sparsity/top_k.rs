//! How many params live, and which: the highest scores of a tensor, ties to the lowest index.

use super::{BitmapMut, SparsityError};
use core::cmp::Ordering;

/// How many of `n` params live at `sparsity`: `max(1, round_half_even(f32(n) * (1 - sparsity)))`, all in f32, and never
/// more than `n` (f32 cannot count beyond 2^24 exactly). 0 only for `n == 0`.
///
/// # Errors
/// [`SparsityError::SparsityOutOfRange`] unless `0 <= sparsity <= 1`.
///
/// ```
/// use siskin::model::sparsity::num_ones;
/// assert_eq!(num_ones(15, 0.7), Ok(4)); // f64 would say 5
/// assert_eq!(num_ones(5, 0.5), Ok(2)); // 2.5 rounds to even
/// assert_eq!(num_ones(1000, 1.0), Ok(1));
/// ```
pub fn num_ones(n: usize, sparsity: f32) -> Result<usize, SparsityError> {
    if !(0.0..=1.0).contains(&sparsity) {
        return Err(SparsityError::SparsityOutOfRange { got: sparsity });
    }
    if sparsity == 0.0 {
        return Ok(n);
    }
    let wanted = libm::rintf(n as f32 * (1.0 - sparsity)) as usize;
    Ok(wanted.max(1).min(n))
}

/// Sets in `mask` the [`num_ones`] highest of `mask.len()` scores and clears the rest; gives the number of ones.
///
/// `score` maps a flat (row-major) index to its score; it is called several times per index and must be pure. `scratch`
/// lends one `u32` per score; its contents before are ignored and after are unspecified. Expected time is linear in the
/// number of scores (selection, not a sort), nothing is allocated, and the result depends on the scores alone.
///
/// # Errors
/// [`SparsityError`]: sparsity outside `[0, 1]`, scratch too small, more than `u32::MAX` scores.
///
/// ```
/// use siskin::model::sparsity::{BitmapMut, top_k_mask_by};
/// let scores = [3.0f32, 1.0, 3.0, 2.0];
/// let (mut scratch, mut bits) = ([0u32; 4], [0u8; 1]);
/// let mut mask = BitmapMut::new(&mut bits, 4).unwrap();
/// assert_eq!(top_k_mask_by(|i| scores[i], 0.75, &mut scratch, &mut mask), Ok(1));
/// assert_eq!(bits, [0b0001]); // a tie: the lowest index wins
/// ```
pub fn top_k_mask_by(
    score: impl Fn(usize) -> f32,
    sparsity: f32,
    scratch: &mut [u32],
    mask: &mut BitmapMut<'_>,
) -> Result<usize, SparsityError> {
    let n = mask.len();
    let k = num_ones(n, sparsity)?;
    if sparsity == 0.0 {
        mask.fill(true);
        return Ok(n);
    }
    let indices = rising(scratch, n)?;
    mask.fill(false);
    let mut ones = 0;
    for i in highest(indices, k, score) {
        mask.set(i, true);
        ones += 1;
    }
    Ok(ones)
}

/// The front of the scratch as `0..n`.
pub(super) fn rising(scratch: &mut [u32], n: usize) -> Result<&mut [u32], SparsityError> {
    let last = u32::try_from(n).map_err(|_| SparsityError::TooManyScores { got: n })?;
    let got = scratch.len();
    let indices = scratch.get_mut(..n).ok_or(SparsityError::ScratchTooSmall { expected: n, got })?;
    for (slot, i) in indices.iter_mut().zip(0..last) {
        *slot = i;
    }
    Ok(indices)
}

/// Those of `indices` that have the `k` highest scores, in no order; fewer than `k` where there are fewer numbers.
pub(super) fn highest<F: Fn(usize) -> f32>(indices: &mut [u32], k: usize, score: F) -> impl Iterator<Item = usize> {
    // Total and strict (indices are distinct), so the first k are one well-defined set, however they are found.
    first(indices, k, |a, b| rank(score(a as usize), score(b as usize)).then(a.cmp(&b)));
    indices.iter().take(k).map(|&i| i as usize).filter(move |&i| !score(i).is_nan())
}

/// Moves the first `k` in `order` to the front. Expected time is linear.
pub(super) fn first(indices: &mut [u32], k: usize, mut order: impl FnMut(u32, u32) -> Ordering) {
    if k < indices.len() {
        indices.select_nth_unstable_by(k, |&a, &b| order(a, b));
    }
}

/// Higher scores first, NaN after all numbers.
pub(super) fn rank(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}
