//! Rounding that keeps a bound: what comes out has a sum of squares of at most a given number.
//!
//! Rounding up and down at random lengthens a vector: the expected square of a rounded `u` is the straight line between the
//! squares of its neighbours, up to `1/4` above `u^2`, which on a coarse grid is most of it. A receiver that bounds the rounded
//! vector (as one must, the sensitivity is that of what is sent) would cut nearly every report back. So the vector is made
//! shorter *before* it is rounded, by the largest factor for which the expected sum of squares and one standard deviation of it
//! fit the bound, and then rounded conditionally (Kairouz, Liu, Steinke 2021, algorithm 1): if the outcome is too long, again
//! with other coins.
//!
//! The factor may depend on the data: the bound holds for every input, whatever was chosen. The work does not depend on it,
//! beyond comparisons: always [`NEWTON`] looks for the factor and [`CANDIDATES`] sets of coins, of which the first that fits is
//! taken; if none does (one in a thousand vectors), the vector is rounded towards zero, which only shortens it.

use super::uniform::Uniform;
use super::{MAX_SYMBOL, Quantized, Rounding, Step, in_place, nearest, quantize_in_place, stochastic};
use crate::model::kernel::{Work, wide};
use crate::privacy::sum_of_squares;

/// Steps of Newton's method from above for the factor. The sum of squares is convex in it and piecewise linear, so each
/// step lands on the root or still above it.
const NEWTON: usize = 4;
/// Sets of coins. Each fits with a probability of about 0.84, where the vector had to be shortened at all.
const CANDIDATES: u64 = 4;

/// A vector whose sum of squares is within the bound, in the memory of the values.
pub(crate) struct Bounded<'a> {
    pub(crate) symbols: &'a mut [i32],
    /// Coordinates that did not fit a symbol.
    pub(crate) saturated: usize,
}

/// Rounds finite `values` of norm at most about `sqrt(limit)` steps to a grid of `step`; `coins` is the seed of stochastic rounding,
/// none rounds to the nearest. What comes out is checked exactly: if all else failed, it is the zero vector.
pub(crate) fn round_within(values: &mut [f32], step: Step, coins: Option<u64>, limit: u128) -> Bounded<'_> {
    let fits = |step: Step, coins| squares(values, step, coins) <= limit;
    let chosen = match coins {
        Some(seed) => {
            let step = shorten(values, step, limit as f64);
            let mut chosen = None;
            for candidate in (0..CANDIDATES).rev() {
                // An odd constant: all seeds differ.
                let seed = seed.wrapping_add(candidate.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                if fits(step, Some(seed)) {
                    chosen = Some(way(Some(seed)));
                }
            }
            (step, chosen)
        }
        None => {
            let shorter = shorten_for_nearest(values, step, limit as f64);
            let (whole, cut) = (fits(step, None), fits(shorter, None));
            (if whole { step } else { shorter }, (whole || cut).then_some(Rounding::Nearest))
        }
    };
    checked(
        match chosen {
            (step, Some(rounding)) => quantize_in_place(values, step, rounding),
            (step, None) => truncate_in_place(values, step),
        },
        limit,
    )
}

/// Rounds values for which `limit` has room: neither shortened nor drawn twice, and the zero vector if they do not fit after all.
pub(crate) fn round_with_room(values: &mut [f32], step: Step, coins: Option<u64>, limit: u128) -> Bounded<'_> {
    checked(quantize_in_place(values, step, way(coins)), limit)
}

/// Stochastic with coins, to the nearest without.
fn way(coins: Option<u64>) -> Rounding {
    coins.map_or(Rounding::Nearest, |seed| Rounding::Stochastic { seed, first: 0 })
}

/// Whatever these are, if they keep the bound; else the zero vector.
pub(super) fn checked(Quantized { symbols, saturated, .. }: Quantized<'_>, limit: u128) -> Bounded<'_> {
    if sum_of_squares(symbols) > limit {
        symbols.fill(0);
    }
    Bounded { symbols, saturated }
}

/// The step over the factor by which the values must be shortened.
fn shorten(values: &[f32], mut step: Step, limit: f64) -> Step {
    for _ in 0..NEWTON {
        let Moments { mean, variance, slope } = wide(Look { values, step });
        let excess = mean + libm::sqrt(variance) - limit;
        if excess > 0.0 && slope > 0.0 {
            let shorter = f64::from(step.reciprocal) - excess / slope;
            // Where the bound is of very few steps, one deviation may be more than all of it.
            step.reciprocal = shorter.max(0.25 * f64::from(step.reciprocal)) as f32;
        }
    }
    step
}

/// Rounding to the nearest moves a vector of `d` coordinates by at most `sqrt(d) / 2`, and no coordinate beyond twice its
/// size: a norm of the larger of `S - sqrt(d) / 2` and `S / 2` is safe.
fn shorten_for_nearest(values: &[f32], mut step: Step, limit: f64) -> Step {
    let bound = libm::sqrt(limit);
    let safe = (bound - 0.5 * libm::sqrt(values.len() as f64)).max(0.5 * bound) * (1.0 - 1e-6);
    let norm = crate::privacy::norm(values) * f64::from(step.reciprocal);
    if norm > safe {
        step.reciprocal = (f64::from(step.reciprocal) * (safe / norm)) as f32;
    }
    step
}

/// Of the sum of squares after stochastic rounding.
struct Moments {
    mean: f64,
    variance: f64,
    /// Derivative of the mean by the reciprocal of the step.
    slope: f64,
}

struct Look<'a> {
    values: &'a [f32],
    step: Step,
}

impl Work for Look<'_> {
    type Output = Moments;

    /// Single precision in eight running sums for 256 values, then double precision: they choose a factor, nothing more, but
    /// all targets choose the same.
    #[inline(always)]
    fn run(self) -> Moments {
        const LIMIT: f32 = MAX_SYMBOL as f32;
        let scale = self.step.reciprocal;
        let (mut mean, mut variance, mut slope) = (0.0, 0.0, 0.0);
        for part in self.values.chunks(256) {
            let mut sums = [[0f32; 8]; 3];
            for eight in part.chunks(8) {
                for (lane, v) in eight.iter().enumerate() {
                    let v = v.abs();
                    let u = (v * scale).min(LIMIT);
                    let floor = u as i32 as f32;
                    let (rest, rise) = (u - floor, 2.0 * floor + 1.0);
                    sums[0][lane] += floor * floor + rise * rest;
                    sums[1][lane] += rise * rise * (rest * (1.0 - rest));
                    sums[2][lane] += rise * v;
                }
            }
            let [a, b, c] = sums.map(|[a, b, c, d, e, f, g, h]| f64::from(((a + e) + (c + g)) + ((b + f) + (d + h))));
            (mean, variance, slope) = (mean + a, variance + b, slope + c);
        }
        Moments { mean, variance, slope }
    }
}

/// The sum of squares of what [`quantize_in_place`] would make with these coins.
fn squares(values: &[f32], step: Step, coins: Option<u64>) -> u128 {
    wide(Squares { values, step, coins })
}

struct Squares<'a> {
    values: &'a [f32],
    step: Step,
    coins: Option<u64>,
}

impl Work for Squares<'_> {
    type Output = u128;

    #[inline(always)]
    fn run(self) -> u128 {
        /// Values that are rounded on the stack at once.
        const PART: usize = 128;
        let mut copy = [0f32; PART];
        let mut total = 0;
        let mut first = 0u32;
        for part in self.values.chunks(PART) {
            let copy = &mut copy[..part.len()];
            copy.copy_from_slice(part);
            let rounded = match self.coins {
                None => in_place(copy, self.step, |_, scaled, near| nearest(scaled, near)),
                Some(seed) => {
                    let uniform = Uniform::new(seed);
                    in_place(copy, self.step, |i, scaled, near| {
                        stochastic(scaled, uniform.at(first.wrapping_add(i)), near)
                    })
                }
            };
            total += sum_of_squares(rounded.symbols);
            first = first.wrapping_add(PART as u32);
        }
        total
    }
}

/// Towards zero.
fn truncate_in_place(values: &mut [f32], step: Step) -> Quantized<'_> {
    const LIMIT: f32 = MAX_SYMBOL as f32;
    let symbols: &mut [i32] = bytemuck::cast_slice_mut(values);
    let mut saturated = 0;
    for symbol in symbols.iter_mut() {
        let scaled = f32::from_bits(*symbol as u32) * step.reciprocal;
        saturated += usize::from(scaled.abs() > LIMIT);
        // A NaN becomes 0.
        *symbol = scaled.clamp(-LIMIT, LIMIT) as i32;
    }
    Quantized { symbols, saturated, non_finite: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn any_real() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => -2.0f32..2.0,
            1 => prop::sample::select(std::vec![0.0, 1e30, -1e30, 1e-40, -1e-45, f32::MAX, 0.5, -0.5, 1.5, f32::NAN, f32::INFINITY]),
        ]
    }

    proptest! {
        /// For any input at all, also what the clip before would have caught.
        #[test]
        fn the_bound_is_kept(
            values in prop::collection::vec(any_real(), 0..400), step in 1e-3f32..2.0, coins in prop::option::of(any::<u64>()),
            limit in prop_oneof![Just(0u128), 1u128..20, 1u128..100_000, Just(u128::MAX)],
        ) {
            let mut values = values;
            let rounded = round_within(&mut values, Step::new(step).unwrap(), coins, limit);
            prop_assert!(sum_of_squares(rounded.symbols) <= limit);
            prop_assert!(rounded.symbols.iter().all(|q| q.unsigned_abs() <= MAX_SYMBOL as u32));
        }

        /// What fits is rounded as it is.
        #[test]
        fn what_is_far_from_the_bound_is_not_shortened(
            values in prop::collection::vec(-2.0f32..2.0, 1..300), seed in any::<u64>(),
        ) {
            let step = Step::new(0.01).unwrap();
            let mut copy = values.clone();
            let expected = quantize_in_place(&mut copy, step, Rounding::Stochastic { seed, first: 0 }).symbols.to_vec();
            let mut values = values;
            prop_assert_eq!(round_within(&mut values, step, Some(seed), u128::MAX >> 20).symbols.to_vec(), expected);
        }
    }

    /// At the rate of half a bit a coordinate, rounding triples the sum of squares: the vector is shortened by as little as the
    /// bound allows, keeps its direction, and is not biased.
    #[test]
    fn a_coarse_grid_keeps_the_direction() {
        let (len, limit) = (3000usize, 400u128);
        let uniform = Uniform::new(5);
        let delta: Vec<f32> = (0..len as u32).map(|i| (uniform.at(i) - 0.5) * (uniform.at(i + 9999) + 0.1)).collect();
        let norm = crate::privacy::norm(&delta);
        // As a clip leaves it: of the norm of the bound.
        let step = Step::new((norm / 20.0) as f32).unwrap();
        let mut sum = std::vec![0f64; len];
        let (mut used, rounds) = (0.0, 400u64);
        for seed in 0..rounds {
            let mut copy = delta.clone();
            let symbols = round_within(&mut copy, step, Some(seed), limit).symbols;
            used += sum_of_squares(symbols) as f64 / limit as f64;
            sum.iter_mut().zip(symbols).for_each(|(s, q)| *s += f64::from(*q));
        }
        let dot: f64 = sum.iter().zip(&delta).map(|(s, x)| s * f64::from(*x)).sum();
        let length = sum.iter().map(|s| s * s).sum::<f64>().sqrt();
        // The mean of 400 has noise of 1/20 of one: of norm about sqrt(limit) / 20 = 1 beside a signal of about 7.
        assert!(dot / length / norm > 0.98, "cosine {}", dot / length / norm);
        let used = used / rounds as f64;
        assert!((0.85..1.0).contains(&used), "of the bound is used {used}");
    }
}
