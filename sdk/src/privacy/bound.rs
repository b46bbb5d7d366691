//! The bound of a report as an integer: what leaves the device is compared with it, exactly.

use crate::quantize::MAX_SYMBOL;
use core::fmt;

/// The largest sum of squares that the symbols of a report may have: its norm times the grid's step is then at most the clip
/// norm, in exact arithmetic.
///
/// With `u = floor(2^16 * clip_norm / step)`, computed without rounding on the way, it is `floor(u^2 / 2^32)`; the server
/// compares with `u^2`, so that what one allows the other does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridBound {
    units: u64,
}

/// A clip norm and a step that do not go together.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct GridBoundError {
    /// The clip norm.
    pub clip_norm: f32,
    /// The step; `clip_norm / step` is not in `[1, 2^46)`, or one of them is no finite positive number.
    pub step: f32,
}

impl fmt::Display for GridBoundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clip norm {} is not 1 to 2^46 steps of {}", self.clip_norm, self.step)
    }
}

impl core::error::Error for GridBoundError {}

impl GridBound {
    /// The bound `clip_norm` on a grid of `step`, both in units of the parameters.
    ///
    /// # Errors
    /// [`GridBoundError`] unless `1 <= clip_norm / step < 2^46`: on a coarser grid only the zero vector would be left.
    pub fn new(clip_norm: f32, step: f32) -> Result<Self, GridBoundError> {
        let positive = |x: f32| x.is_finite() && x > 0.0;
        let units = if positive(clip_norm) && positive(step) { ratio_in_units(clip_norm, step) } else { None };
        match units {
            Some(units) if units >= 1 << 16 => Ok(Self { units }),
            _ => Err(GridBoundError { clip_norm, step }),
        }
    }

    /// The bound in steps, `clip_norm / step` rounded down to a multiple of `2^-16`.
    pub fn norm(self) -> f64 {
        self.units as f64 / 65_536.0
    }

    /// Largest sum of squares.
    pub fn squares(self) -> u128 {
        u128::from(self.units).pow(2) >> 32
    }

    /// The symbol of a coordinate of `share` of the bound, rounded down: what [`Clipping::Adaptive`] adds, without its sign.
    /// Its square is at most [`squares`](Self::squares), whatever `share` is.
    ///
    /// [`Clipping::Adaptive`]: crate::checkin::Clipping::Adaptive
    pub fn bit(self, share: f32) -> i32 {
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
    // 64 squares below 2^58 - 2^30 + 2 fit 64 bits, which is the way of every symbol of a report; larger ones go the long way.
    symbols.chunks(64).map(chunk_of_squares).sum()
}

fn chunk_of_squares(chunk: &[i32]) -> u128 {
    if chunk.iter().all(|q| q.unsigned_abs() < 1 << 29) {
        u128::from(chunk.iter().map(|q| u64::from(q.unsigned_abs()).pow(2)).sum::<u64>())
    } else {
        chunk.iter().map(|q| u128::from(u64::from(q.unsigned_abs()).pow(2))).sum()
    }
}

/// `floor(2^16 * a / b)` without rounding on the way, if it is below `2^62`. Both are finite and positive.
fn ratio_in_units(a: f32, b: f32) -> Option<u64> {
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
