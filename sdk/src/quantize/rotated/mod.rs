//! One bit for a few: the signs of the largest coordinates of a rotated delta.
//!
//! Below about half a bit a coordinate a grid spends what it has on telling where nothing is. After a random rotation
//! ([`rotate`](crate::privacy::rotate)) coordinates are about normal, whatever the delta was, and a report can do better: `k` of the `n` rotated
//! coordinates travel, those of largest magnitude, and of each only where it is and its sign. With one scale for all,
//! `x~ = T D H D' H s / sqrt(n)` is what the server sees, where `s` has the signs and `H` is not normalised. Both sides know the random
//! signs `D` and `D'`, from the task's number, anew for each report, so that errors of reports are independent. It takes two rotations:
//! after one, a delta that consists of some tens of large coordinates is far enough from normal for a bias of a tenth of its norm.
//!
//! # Scale
//! `T = |x|^2 / (sqrt(n) * sum |z_i|)` over the chosen `z = H D' H D x / n`: the projection of `x~` on `x` is then `x` itself, `<x~, x> =
//! |x|^2`, and over the random signs the mean of `x~` is `x` (Vargaftik et al. 2022, "EDEN:
//! Communication-efficient and robust distributed mean estimation for federated learning", section 4, is this with one bit
//! for coordinates at random). It travels as a whole number of steps of 8 bits and a shift, rounded up or down at random, so that its mean is itself.
//!
//! # What it costs
//! Of normal coordinates those beyond `t` deviations, a part `p = 2 Q(t)`, explain `4 phi(t)^2 / p` of the square with `h(p) + p` bits
//! a coordinate (`Q`, `phi`: tail and density of the normal distribution, `h`: entropy of a coin). Bits over what they explain, the less the better,
//! and in the limit `2 ln 2` bits of error-free rate would be 0.72:
//!
//! | t | 0 (one bit each) | 1.5 | 2 | 2.5 | 3 |
//! |---|---|---|---|---|---|
//! | part | 1 | 0.134 | 0.0455 | 0.0124 | 0.0027 |
//! | bits over explained | 1.571 | 1.39 | 1.22 | 1.10 | 1.02 |
//!
//! The relative squared error of a report is the inverse of what is explained, less 1. Zeros that fill the delta up to a power of
//! two cost nothing: the error that falls on them is dropped.

mod code;

use super::Uniform;
use crate::checkin::{Quantization, Rounding, parts};
use crate::model::kernel::{Work, wide};
use crate::privacy::{ratio_in_units, rotated_len};
use crate::range_coder::{CodeError, DecodeError};

/// The largest scale, in steps: 511 shifted by 14.
pub const MAX_SCALE: u32 = scale(CODES - 1);

/// All bits of an `f32` but its sign: they rise with the magnitude.
const MAGNITUDE: u32 = 0x7fff_ffff;

/// Codes of scales.
const CODES: u32 = 1 << 12;

/// The scale of a code, in steps; it rises with the code. Below 256 it is the code; from there on 256 and the lower 8
/// bits, shifted by one less than the upper 4.
const fn scale(code: u32) -> u32 {
    if code < 256 { code } else { (256 | code & 255) << ((code >> 8) - 1) }
}

/// Where the reports of a plan that rounds [`Rounding::Rotated`] have their symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    count: usize,
    length: usize,
    signs: [u32; 2],
}

impl Rotated {
    /// Of the report for this task of the plan of this fingerprint; none if the plan rounds another way.
    pub fn new(grid: &Quantization, fingerprint: u32, task: u64, live: usize) -> Option<Self> {
        if !parts::ROTATED.here || grid.rounding != Rounding::Rotated {
            return None;
        }
        let key = task ^ u64::from(fingerprint) << 32;
        let length = rotated_len(live);
        Some(Self { count: count(grid.keep, length), length, signs: [key as u32, (key >> 32) as u32] })
    }

    /// Coordinates that travel: `max(1, floor(keep * n))`.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Length of the rotated delta, `n`: the power of two that holds the live coordinates.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Seed and round of both [rotations](crate::privacy::rotate), in their order.
    pub fn rotations(&self) -> [(u32, u32); 2] {
        let [seed, round] = self.signs;
        [(seed, round), (!seed, round)]
    }

    /// Back from the signs, in whole numbers: `D H D' H s`, with nothing divided by. What the first `live` of them say, times scale and
    /// step over the root of the length, is the report's estimate. `values` are as many as the [length](Self::length), and nothing
    /// happens otherwise.
    pub fn restore(&self, values: &mut [i64]) {
        for (seed, round) in self.rotations().into_iter().rev() {
            crate::privacy::restore(values, seed, round);
        }
    }

    /// Codes rotated symbols: zeros but for [`count`](Self::count) of one magnitude, or nothing but zeros. Gives the bytes written.
    ///
    /// # Errors
    /// [`CodeError::Full`] if they do not fit, [`CodeError::Length`] or [`CodeError::Symbol`] if the symbols are not of that kind.
    pub fn encode(&self, symbols: &[i32], out: &mut [u8]) -> Result<usize, CodeError> {
        code::encode(self.count, self.length, symbols, out)
    }

    /// Reads what a device coded; `each` gets `(index, symbol)` of those that are not zero, rising, of one magnitude.
    ///
    /// # Errors
    /// [`DecodeError`]; it takes nothing that no encoder writes.
    pub fn decode(&self, payload: &[u8], each: impl FnMut(usize, i32)) -> Result<(), DecodeError> {
        code::decode(self.count, self.length, payload, each)
    }
}

/// Coordinates of a rotated delta of `length` that travel.
pub(crate) fn count(keep: f32, length: usize) -> usize {
    // Exact: a product with a power of two. What is above is no part.
    ((f64::from(keep) * length as f64) as usize).clamp(1, length.max(1))
}

/// Most bytes of coded symbols of `live` coordinates.
pub(crate) fn encoded_bound(grid: &Quantization, live: usize) -> usize {
    let length = rotated_len(live);
    code::bound(count(grid.keep, length), length)
}

/// Mean number of bits of coded symbols where `count` of `length` rotated coordinates travel, rounded up to bytes.
pub fn expected_bits(count: usize, length: usize) -> f64 {
    code::expected(count, length)
}

/// The largest scale in steps: the code's largest that is at most `2 C / k`, in exact arithmetic; 0 if none is.
///
/// A clipped delta of flat rotated coordinates has a scale of at most `C / k`, one of normal coordinates of `C / k` over the mean of
/// those that travel in deviations, between 0.8 (all) and 4. No honest device comes near the limit, and no report counts for more.
pub fn largest_scale(clip_norm: f32, step: f32, count: usize) -> u32 {
    let units = ratio_in_units(clip_norm, step).unwrap_or(0);
    let most = (u128::from(units) * 2 / count.max(1) as u128) >> 16;
    scale(code_below(most.min(u128::from(MAX_SCALE)) as u32))
}

/// The largest code whose scale is at most this; at most [`MAX_SCALE`].
fn code_below(most: u32) -> u32 {
    let shift = (24 - most.leading_zeros().min(24)).saturating_sub(1);
    if most < 256 { most } else { (shift + 1) << 8 | (most >> shift & 255) }
}

/// What became of rotated values.
#[derive(Debug)]
pub struct Chosen<'a> {
    /// Zeros, and one magnitude.
    pub symbols: &'a mut [i32],
    /// The scale was above the largest.
    pub saturated: bool,
}

/// Makes symbols of rotated values, in the same memory: of the largest, as many as `keep` says, sign times scale, zeros
/// elsewhere. Of equal ones the first are taken. `most` is the largest scale, and one of those that there are; `seed` drives its rounding.
pub fn choose<'a>(values: &'a mut [f32], grid: &Quantization, most: u32, seed: u64) -> Chosen<'a> {
    let count = count(grid.keep, values.len());
    let square = crate::privacy::norm(values);
    let square = square * square;
    let least = kth_largest(values, count);
    // Those above all travel; of those that are equal to it as many as there is room for.
    let mut equal = count.saturating_sub(Above(values, least + 1).count());
    let mut sum = 0.0;
    let symbols: &mut [i32] = bytemuck::cast_slice_mut(values);
    for symbol in symbols.iter_mut() {
        let bits = *symbol as u32;
        let size = bits & MAGNITUDE;
        let travels = size > least || (size == least && equal > 0);
        equal -= usize::from(travels && size == least);
        *symbol = match (travels, bits == size) {
            (false, _) => 0,
            (true, positive) => {
                sum += f64::from(f32::from_bits(size));
                if positive { 1 } else { -1 }
            }
        };
    }
    let exact = if sum > 0.0 { square / (libm::sqrt(symbols.len() as f64) * sum) / f64::from(grid.step) } else { 0.0 };
    let (drawn, saturated) = draw(exact, most, Uniform::new(seed).bits(0));
    symbols.iter_mut().for_each(|q| *q *= drawn as i32);
    Chosen { symbols, saturated }
}

/// `exact` rounded to a scale, up or down by the coin, and at most `most`, which is a scale; and whether it was above.
fn draw(exact: f64, most: u32, coin: u32) -> (u32, bool) {
    // Above the largest for certain, or no number.
    if exact.is_nan() || exact >= f64::from(most) {
        return (if exact.is_nan() { 0 } else { most }, exact > f64::from(most));
    }
    let shift = (exact as u32).checked_ilog2().map_or(0, |log| log.saturating_sub(8));
    let spacing = f64::from(1u32 << shift);
    let down = (exact / spacing) as u32;
    let up = f64::from(coin) < (exact / spacing - f64::from(down)) * 4_294_967_296.0;
    // The next one after 511 is 512, which is 256 of the next shift.
    (((down + u32::from(up)) << shift).min(most), false)
}

/// The bits of the `count`-th largest magnitude.
fn kth_largest(values: &[f32], count: usize) -> u32 {
    // The largest of which there are as many at or above.
    (0..31).rev().fold(0, |least, bit| {
        let raised = least | 1 << bit;
        if Above(values, raised).count() >= count { raised } else { least }
    })
}

/// Counts values of magnitudes, as bits, of at least this.
struct Above<'a>(&'a [f32], u32);

impl Above<'_> {
    fn count(self) -> usize {
        wide(self)
    }
}

impl Work for Above<'_> {
    type Output = usize;

    #[inline(always)]
    fn run(self) -> usize {
        let Self(values, least) = self;
        // Counts of 32 bits, as wide as the values.
        let part = |part: &[f32]| part.iter().map(|v| u32::from(v.to_bits() & MAGNITUDE >= least)).sum::<u32>();
        values.chunks(1 << 16).map(|chunk| part(chunk) as usize).sum()
    }
}

#[cfg(test)]
mod tests;
