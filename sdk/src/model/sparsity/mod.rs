//! Which params live: how many ([`num_ones`]), when ([`Schedule`]), which ones ([`top_k_mask_by`], [`magnitude_mask`])
//! and the mask itself ([`Bitmap`]).
//!
//! Masks agree to the bit with JaxPruner (Lee et al. 2023, arXiv 2304.14082; `sparsity_types.Unstructured` and
//! `mask_calculator.topk_mask_calculator`), on every target, because a mask that a server makes must be the mask that a
//! device would have made. The rules that are easy to get wrong:
//! - the count is rounded **in f32, half to even**: 15 params at sparsity 0.7 keep 4, where f64 would keep 5;
//! - at least one param lives, even at sparsity 1; at sparsity 0 all do, whatever their scores;
//! - of equal scores the lowest flat (row-major) index wins; `-0.0` and `0.0` are equal;
//! - a NaN score never wins over a number.
//!
//! Three departures, all on inputs where upstream gives no usable answer. With fewer numbers than places, upstream's
//! threshold becomes NaN and *every* param is pruned; here the numbers stay and the count that is returned is smaller.
//! A pruned param is assigned `0.0`, where upstream multiplies (`NaN * 0` is NaN, `-x * 0` is `-0.0`). A sparsity
//! outside `[0, 1]` is refused.

mod bitmap;
mod magnitude;
mod schedule;

pub use bitmap::{Bitmap, BitmapError, BitmapMut, bitmap_bytes};
pub use magnitude::{apply_mask, magnitude_mask};
pub use schedule::{Schedule, ScheduleError};

use core::cmp::Ordering;

/// Why no mask was made. Nothing has been written when one of these is returned.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SparsityError {
    /// The sparsity is not a number in `[0, 1]`.
    SparsityOutOfRange {
        /// What was asked for.
        got: f32,
    },
    /// More scores than a `u32` can index.
    TooManyScores {
        /// How many there were.
        got: usize,
    },
    /// The scratch holds fewer indices than there are scores.
    ScratchTooSmall {
        /// Indices needed: one per score.
        expected: usize,
        /// Indices lent.
        got: usize,
    },
    /// The mask does not have one bit per score.
    MaskLength {
        /// Scores.
        expected: usize,
        /// Bits of the mask.
        got: usize,
    },
}

impl core::fmt::Display for SparsityError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::SparsityOutOfRange { got } => write!(f, "sparsity {got} is not in [0, 1]"),
            Self::TooManyScores { got } => write!(f, "{got} scores are more than a u32 can index"),
            Self::ScratchTooSmall { expected, got } => {
                write!(f, "scratch holds {got} indices, {expected} scores need one each")
            }
            Self::MaskLength { expected, got } => write!(f, "mask has {got} bits for {expected} scores"),
        }
    }
}

impl core::error::Error for SparsityError {}

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
    let last = u32::try_from(n).map_err(|_| SparsityError::TooManyScores { got: n })?;
    let lent = scratch.len();
    let indices = scratch.get_mut(..n).ok_or(SparsityError::ScratchTooSmall { expected: n, got: lent })?;
    for (slot, i) in indices.iter_mut().zip(0..last) {
        *slot = i;
    }
    if k < n {
        // Total and strict (indices are distinct), so the first k are one well-defined set, however they are found.
        indices.select_nth_unstable_by(k, |&a, &b| rank(score(a as usize), score(b as usize)).then(a.cmp(&b)));
    }
    mask.fill(false);
    let mut ones = 0;
    for &i in indices.iter().take(k) {
        if !score(i as usize).is_nan() {
            mask.set(i as usize, true);
            ones += 1;
        }
    }
    Ok(ones)
}

/// Higher scores first, NaN after all numbers.
fn rank(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cfg(test)]
mod tests;
