//! The bound of a report as an integer: what leaves the device is compared with it, exactly.

use crate::checkin::{Privacy, Quantization, Rounding, parts};
use crate::model::kernel::{Work, wide};
use crate::quantize::MAX_SYMBOL;
use crate::quantize::rotated::largest_scale;
use core::fmt;

/// `12 ln 10`: what rounding adds is above the bound of a plan without noise with a probability of at most 10^-12.
const TAIL: f64 = 27.631_021_115_928_547;

/// The largest sum of squares that the symbols of a report may have: its norm times the grid's step is then at most the clip
/// norm, in exact arithmetic.
///
/// With `u = floor(2^16 * clip_norm / step)`, computed without rounding on the way, it is `floor(u^2 / 2^32)`; the server
/// compares with `u^2`, so that what one allows the other does.
///
/// # Without noise
/// A plan that promises no noise has no sensitivity to keep: its clip norm bounds the delta *before* it is rounded, and the
/// bound of the report has room for what rounding adds ([`of`](Self::of)). Otherwise coarse grids would shorten every
/// update: at a step of 64 root mean squares the clip norm is less than a step, and a rounded delta of many coordinates
/// is many steps long. With `S` the clip norm in steps and `d` the coordinates that travel, what rounding to the nearest makes of a
/// delta is no longer than `min(S + sqrt(d) / 2, 2 S)`, as it moves no coordinate by more than half a step or to more than twice its
/// size. Stochastic rounding has, in squares of a step,
/// - a mean of at most `S^2 + A`, `A = min(d / 4, sqrt(d) S)`: a coordinate of fraction `f` adds `f (1 - f)`, which is at most a
///   quarter and at most the coordinate itself;
/// - a variance of at most `V = A + 2 S^2`, and no coordinate that is more than `M = 2 floor(S) + 1` above its mean;
///
/// so that the sum is above `S^2 + A + t` with probability at most `e^-L` for `t = L M / 3 + sqrt((L M / 3)^2 + 2 L V)` (Bernstein's
/// inequality: Boucheron, Lugosi, Massart 2013, "Concentration inequalities", corollary 2.11); here that is 10^-12. It is also never
/// above `(S + sqrt(d))^2`. The lower one of both is the bound; a draw beyond it becomes the zero vector. No other report is changed.
///
/// Of the signs of rotated deltas it is that of the largest scale ([`largest_scale`]), in the rotated basis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridBound {
    units: u64,
    /// What the clip bit is, without its sign; 0 without one.
    bit: i32,
}

/// A clip norm and a step that do not go together.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct GridBoundError {
    /// The clip norm.
    pub clip_norm: f32,
    /// The step; `clip_norm / step` is not in `[1, 2^46)`, or without noise in `[2^-16, 2^46)`, or one of them is no finite positive
    /// number, or rounding to the nearest makes zeros of everything.
    pub step: f32,
}

impl fmt::Display for GridBoundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "clip norm {} does not go with steps of {}: it must be 1 to 2^46 of them (without noise at least half a step, or with stochastic rounding 2^-16)",
            self.clip_norm, self.step
        )
    }
}

impl core::error::Error for GridBoundError {}

impl GridBound {
    /// The bound `clip_norm` on a grid of `step`, both in units of the parameters.
    ///
    /// # Errors
    /// [`GridBoundError`] unless `1 <= clip_norm / step < 2^46`: on a coarser grid only the zero vector would be left.
    pub fn new(clip_norm: f32, step: f32) -> Result<Self, GridBoundError> {
        match ratio_in_units(clip_norm, step) {
            Some(units) if units >= 1 << 16 => Ok(Self { units, bit: 0 }),
            _ => Err(GridBoundError { clip_norm, step }),
        }
    }

    /// The bound of the reports of a plan, of which at most so many coordinates travel ([`Quantization::most_kept`]), the clip bit
    /// not among them. With noise, and where the delta is rotated, it is [`new`](Self::new), bit and all.
    ///
    /// # Errors
    /// [`GridBoundError`].
    pub fn of(privacy: &Privacy, grid: &Quantization, coordinates: usize) -> Result<Self, GridBoundError> {
        let (clip_norm, step) = (privacy.clip_norm, grid.step);
        if !privacy.leaves_room() {
            // Rotated, the bit is a part of every coordinate.
            let share = privacy.bit_share().filter(|_| privacy.distributed().is_none());
            return Ok(Self::new(clip_norm, step)?.with_bit(share));
        }
        Self::with_room(clip_norm, grid, coordinates, privacy.bit_share())
    }

    /// The same with a bit of this share of it.
    pub(crate) fn with_bit(self, share: Option<f32>) -> Self {
        Self { bit: share.map_or(0, |share| self.share(share)), ..self }
    }

    /// Of a plan without noise.
    pub(crate) fn with_room(
        clip_norm: f32,
        grid: &Quantization,
        coordinates: usize,
        bit_share: Option<f32>,
    ) -> Result<Self, GridBoundError> {
        let step = grid.step;
        let Some(units) = ratio_in_units(clip_norm, step).filter(|units| *units >= 1) else {
            return Err(GridBoundError { clip_norm, step });
        };
        if parts::ROTATED.here && grid.rounding == Rounding::Rotated {
            // Of the rotated symbols, all of one magnitude.
            let largest = u64::from(largest_scale(clip_norm, step, coordinates));
            // A little more than the root, as below.
            let norm = libm::sqrt((largest * largest) as f64 * coordinates as f64) * 65_536.0 * (1.0 + 1e-12) + 1.0;
            return if largest > 0 {
                Ok(Self { units: norm as u64, bit: 0 })
            } else {
                Err(GridBoundError { clip_norm, step })
            };
        }
        // With room for the rounding of single precision.
        let (s, d) = ((units + 1) as f64 / 65_536.0 * (1.0 + 1e-6), coordinates as f64);
        let root = libm::sqrt(d);
        let squares = match grid.rounding {
            Rounding::Nearest => {
                let norm = (s + 0.5 * root).min(2.0 * s);
                norm * norm
            }
            Rounding::Optimised { .. } if parts::OPTIMISED.here => {
                // Nearest ones of values that were rounded to 1/256 before, or shorter.
                let norm = (s + (0.5 + 1.0 / 512.0) * root).min(256.0 / 127.5 * s);
                norm * norm
            }
            _ => {
                let mean = s * s + (0.25 * d).min(root * s);
                let variance = mean + s * s;
                let largest = TAIL / 3.0 * (2.0 * libm::floor(s) + 1.0);
                let tail = largest + libm::sqrt(largest * largest + 2.0 * TAIL * variance);
                (mean + tail).min((s + root) * (s + root))
            }
        };
        // Of a bit, too, there is as much as it takes: a step at the least.
        let bit = bit_share.map_or(0, |share| Self { units, bit: 0 }.share(share).max(1));
        let squares = squares + f64::from(bit) * f64::from(bit);
        if squares < 1.0 && coordinates > 0 {
            return Err(GridBoundError { clip_norm, step });
        }
        // A little more than the root, so that whole squares stay whole.
        let norm = libm::sqrt(squares) * 65_536.0 * (1.0 + 1e-12) + 1.0;
        Ok(Self { units: (norm as u64).max(units).min((1 << 62) - 1), bit })
    }

    /// The bound in multiples of `2^-16` steps, rounded down.
    pub fn units(self) -> u64 {
        self.units
    }

    /// The bound in steps, a multiple of `2^-16`: `clip_norm / step` rounded down, or with the room for rounding.
    pub fn norm(self) -> f64 {
        self.units as f64 / 65_536.0
    }

    /// Largest sum of squares.
    pub fn squares(self) -> u128 {
        u128::from(self.units).pow(2) >> 32
    }

    /// What [`Clipping::Adaptive`] adds, without its sign; its square is at most [`squares`](Self::squares). 0 without one.
    ///
    /// [`Clipping::Adaptive`]: crate::checkin::Clipping::Adaptive
    pub fn bit(self) -> i32 {
        self.bit
    }

    /// The symbol of a coordinate of `share` of the bound, rounded down.
    fn share(self, share: f32) -> i32 {
        // At most one step above the exact product's floor; what counts is that everybody computes the same.
        let bit = (self.norm() * f64::from(share)) as u64;
        bit.min(self.squares().isqrt() as u64).min(MAX_SYMBOL as u64) as i32
    }

    /// True if the symbols keep the bound.
    pub fn holds(self, symbols: &[i32]) -> bool {
        sum_of_squares(symbols) <= self.squares()
    }
}

/// Exact: `2^32` symbols of magnitude at most `2^31` have squares that sum to at most `2^94`.
pub(crate) fn sum_of_squares(symbols: &[i32]) -> u128 {
    wide(Squares(symbols))
}

struct Squares<'a>(&'a [i32]);

impl Work for Squares<'_> {
    type Output = u128;

    #[inline(always)]
    fn run(self) -> u128 {
        // 64 squares below 2^58 fit 64 bits, which is the way of every symbol of a report; larger ones go the long way.
        self.0.chunks(64).map(chunk_of_squares).sum()
    }
}

#[inline(always)]
fn chunk_of_squares(chunk: &[i32]) -> u128 {
    let (mut any, mut sum) = (0, 0u64);
    for q in chunk {
        let size = q.unsigned_abs();
        any |= size;
        sum = sum.wrapping_add(u64::from(size) * u64::from(size));
    }
    if any < 1 << 29 {
        u128::from(sum)
    } else {
        chunk.iter().map(|q| u128::from(u64::from(q.unsigned_abs()).pow(2))).sum()
    }
}

/// `floor(2^16 * a / b)` without rounding on the way; none if that is not below `2^62`, or if one of both is not finite and positive.
///
/// A device's bound and the server's are both made of it, so that one takes what the other allows.
///
/// ```
/// use siskin::privacy::ratio_in_units;
/// assert_eq!(ratio_in_units(5.0, 2.0), Some(5 << 15));
/// assert_eq!((ratio_in_units(1.0, 1e9), ratio_in_units(1e30, 1.0)), (Some(0), None));
/// ```
pub fn ratio_in_units(a: f32, b: f32) -> Option<u64> {
    let positive = |x: f32| x.is_finite() && x > 0.0;
    if !(positive(a) && positive(b)) {
        return None;
    }
    let ((ma, ea), (mb, eb)) = (mantissa(a), mantissa(b));
    let exponent = ea - eb + 16;
    // Mantissas are below 2^24 and at least 1: beyond 100 the quotient is above 2^62 or below 1 for certain.
    let quotient = match exponent {
        0..=100 => (ma << exponent) / mb,
        -100..0 => ma / (mb << -exponent),
        _ => return None,
    };
    u64::try_from(quotient).ok().filter(|units| *units < 1 << 62)
}

/// `x = m * 2^e` with an integer `m < 2^24`, for finite positive `x`.
fn mantissa(x: f32) -> (u128, i32) {
    let bits = x.to_bits();
    let (exponent, fraction) = (((bits >> 23) & 0xff) as i32, u128::from(bits & 0x7f_ffff));
    if exponent == 0 { (fraction, -149) } else { (fraction | 0x80_0000, exponent - 150) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_bound_is_refused() {
        for (clip, step) in [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (f32::NAN, 1.0), (1.0, f32::INFINITY), (1.0, 1.000_1)]
        {
            assert!(GridBound::new(clip, step).is_err(), "{clip} {step}");
        }
        assert!(GridBound::new(f32::MAX, f32::from_bits(1)).is_err());
        assert_eq!(GridBound::new(1.0, 1.0).unwrap().squares(), 1);
        let bound = GridBound::new(5.0, 2.0).unwrap();
        assert_eq!((bound.norm(), bound.squares()), (2.5, 6));
        assert!(bound.holds(&[2, -1, 1]) && !bound.holds(&[2, 2]) && bound.holds(&[]));
    }

    #[test]
    fn no_square_overflows() {
        assert_eq!(sum_of_squares(&[i32::MIN; 65]), 65 << 62);
        assert_eq!(sum_of_squares(&[(1 << 29) - 1; 64]), 64 * u128::from((1u64 << 29) - 1).pow(2));
    }

    fn grid(step: f32, rounding: Rounding) -> Quantization {
        Quantization { step, rounding, keep: 1.0 }
    }

    /// The clip norm of deltas at steps of 0.1 to 1,000 of their root mean squares, in bounds of 1 to 10,000 coordinates: the largest
    /// deltas that a clip leaves, flat, sparse and in between, are rounded as they are.
    #[test]
    fn without_noise_nothing_is_shortened() {
        for d in [1usize, 7, 100, 4000] {
            for step_rms in [0.1f32, 1.0, 3.0, 30.0, 300.0, 1000.0] {
                for kind in 0..3 {
                    let mut values: std::vec::Vec<f32> = (0..d)
                        .map(|i| match kind {
                            0 => {
                                if i % 2 == 0 {
                                    1.0
                                } else {
                                    -1.0
                                }
                            }
                            1 => {
                                if i == 0 {
                                    1.0
                                } else {
                                    0.0
                                }
                            }
                            _ => 1.0 / (1.0 + i as f32),
                        })
                        .collect();
                    let norm = crate::privacy::norm(&values) as f32 * (1.0 + 1e-5);
                    values.iter_mut().for_each(|v| *v /= norm);
                    let step = step_rms / (d as f32).sqrt();
                    for rounding in [Rounding::Stochastic, Rounding::Nearest] {
                        let grid = grid(step, rounding);
                        let Ok(bound) = GridBound::with_room(1.0, &grid, d, None) else {
                            assert!(rounding == Rounding::Nearest && step > 2.0 * 0.99, "{d} {step}");
                            continue;
                        };
                        for seed in 0..20 {
                            let mut plain = values.clone();
                            let rule = match rounding {
                                Rounding::Nearest => crate::quantize::Rounding::Nearest,
                                _ => crate::quantize::Rounding::Stochastic { seed, first: 0 },
                            };
                            let plain = crate::quantize::quantize_in_place(
                                &mut plain,
                                crate::quantize::Step::new(step).unwrap(),
                                rule,
                            );
                            assert!(bound.holds(plain.symbols), "{d} {step_rms} {kind} {rounding:?}");
                            let mut copy = values.clone();
                            let clipped = crate::optim::Delta::new(&mut copy).clip(1.0).without_noise(d);
                            let symbols = clipped.quantize(&grid, seed).unwrap();
                            assert!(symbols.values() == plain.symbols, "{d} {step_rms} {kind} {rounding:?} {seed}");
                        }
                    }
                }
            }
        }
    }

    /// The strict bound did shorten them: at a step of 30 root mean squares to a small part.
    #[test]
    fn the_room_is_what_rounding_takes() {
        let (d, step) = (4000usize, 30.0 / 4000f32.sqrt());
        let of = |bound: GridBound| bound.squares() as f64;
        let strict = of(GridBound::new(1.0, step).unwrap());
        let room = of(GridBound::with_room(1.0, &grid(step, Rounding::Stochastic), d, None).unwrap());
        // sqrt(d) S is the mean of a flat delta's squares: 4000 / 30.
        assert!(strict < 5.0 && (133.0..300.0).contains(&room), "{strict} {room}");
    }

    #[test]
    fn noise_takes_no_room_and_no_delta_that_had_some() {
        use crate::checkin::{Privacy, Profile};
        use rand_core::SeedableRng;
        let privacy = Privacy { noise_multiplier: 1.0, ..Privacy::new(1.0, Profile::Central) };
        let coarse = grid(0.3, Rounding::Stochastic);
        assert_eq!(GridBound::of(&privacy, &coarse, 1000), GridBound::new(1.0, 0.3));
        assert!(GridBound::of(&privacy, &grid(1.1, Rounding::Stochastic), 1000).is_err());
        assert!(GridBound::of(&Privacy::new(1.0, Profile::Central), &grid(1.1, Rounding::Stochastic), 1000).is_ok());
        for profile in [Profile::Central, Profile::Local] {
            let mut values = std::vec![0.01; 1000];
            let symbols =
                crate::optim::Delta::new(&mut values).clip(1.0).without_noise(1000).quantize(&coarse, 1).unwrap();
            let rng = &mut rand_chacha::ChaCha20Rng::from_seed([0; 32]);
            assert!(symbols.noise(&Privacy { profile, ..privacy }, rng).is_err());
        }
    }

    proptest! {
        /// In exact arithmetic: what holds has `norm * step <= clip_norm`.
        #[test]
        fn the_bound_is_never_above_the_clip_norm(clip in 1e-3f32..1e3, step in 1e-4f32..1e2) {
            if let Ok(bound) = GridBound::new(clip, step) {
                let ((mc, ec), (ms, es)) = (mantissa(clip), mantissa(step));
                let shift = 2 * (ec - es);
                let squares = bound.squares();
                let (left, right) = if shift >= 0 { (squares * ms * ms, (mc * mc) << shift) }
                    else { ((squares * ms * ms) << -shift, mc * mc) };
                prop_assert!(left <= right, "{} {}", left, right);
            }
        }
    }
}
