//! The re-clip: a device has clipped its delta, but the server believes nobody, so it clips what it decoded. On integers,
//! so that the bound holds exactly and the same everywhere.

use serde::{Deserialize, Serialize};
use siskin::checkin::{Privacy, Quantization};
use siskin::privacy::{GridBound, ratio_in_units};

/// Fractional bits that every sum keeps: its unit is `step / 2^16`.
pub const FRACTION_BITS: u32 = 16;

/// Symbols are of smaller magnitude than this: `|q| < 2^24`, so that the device's f32 holds them exactly.
pub const SYMBOL_LIMIT: u32 = 1 << 24;

/// Largest magnitude of a clipped coordinate, whatever the norm bound.
const LARGEST: u64 = ((SYMBOL_LIMIT - 1) as u64) << FRACTION_BITS;

/// The L2 bound of one report, on the integer grid.
///
/// It promises, in exact arithmetic: the coordinates `v` that a sum takes from one report of weight 1 have
/// `||v||_2 <= units`: `floor(2^16 * clip_norm / step)`, so in real units never more than `clip_norm`; or, of a plan without noise, with
/// the room for rounding of [`of`](Self::of).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "(f32, f32, u64)", into = "(f32, f32, u64)")]
pub struct NormBound {
    /// Finite and positive.
    clip_norm: f32,
    /// Finite and positive.
    step: f32,
    /// At least `floor(2^16 * clip_norm / step)`; in `1..2^62`.
    units: u64,
}

/// Why there is no such bound.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BoundError {
    /// `clip_norm` or `step` is not a finite positive number.
    #[error("clip_norm {clip_norm} and step {step} must be finite and positive")]
    NotPositive {
        /// The L2 bound that was asked for.
        clip_norm: f32,
        /// The grid's step.
        step: f32,
    },
    /// `clip_norm / step` is below `2^-16`, where every report would be clipped to nothing, or not below `2^46`.
    #[error("clip_norm {clip_norm} over step {step} is not in 2^-16 to 2^46")]
    Ratio {
        /// The L2 bound that was asked for.
        clip_norm: f32,
        /// The grid's step.
        step: f32,
    },
}

impl NormBound {
    /// The bound `clip_norm` for symbols on a grid of `step`, both in the units of the params.
    ///
    /// # Errors
    /// [`BoundError`].
    pub fn new(clip_norm: f32, step: f32) -> Result<Self, BoundError> {
        let positive = |x: f32| x.is_finite() && x > 0.0;
        if !positive(clip_norm) || !positive(step) {
            return Err(BoundError::NotPositive { clip_norm, step });
        }
        let units = ratio_in_units(clip_norm, step).filter(|units| *units >= 1);
        let units = units.ok_or(BoundError::Ratio { clip_norm, step })?;
        Ok(Self { clip_norm, step, units })
    }

    /// The bound of the reports of a plan of which at most so many coordinates travel, the device's own ([`GridBound::of`]): without
    /// noise, it has room for what rounding adds.
    ///
    /// # Errors
    /// [`BoundError`].
    pub fn of(privacy: &Privacy, grid: &Quantization, coordinates: usize) -> Result<Self, BoundError> {
        let bound = Self::new(privacy.clip_norm, grid.step)?;
        if !privacy.leaves_room() {
            return Ok(bound);
        }
        let room = GridBound::of(privacy, grid, coordinates);
        let (clip_norm, step) = (privacy.clip_norm, grid.step);
        Ok(Self { units: room.map_err(|_| BoundError::Ratio { clip_norm, step })?.units(), ..bound })
    }

    /// The same without room: what noise must be made for.
    pub(crate) fn without_room(self) -> Self {
        // It was computed when the bound was made.
        Self::new(self.clip_norm, self.step).unwrap_or(self)
    }

    /// The L2 bound in the units of the params, without room for rounding.
    pub fn clip_norm(&self) -> f32 {
        self.clip_norm
    }

    /// The grid's step in the units of the params.
    pub fn step(&self) -> f32 {
        self.step
    }

    /// The L2 bound in units of `step / 2^16`, rounded down; with the room, if there is any.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// The value of one unit of a sum, `step / 2^16`; exact.
    pub fn unit(&self) -> f64 {
        f64::from(self.step) / f64::from(1u32 << FRACTION_BITS)
    }

    /// No coordinate of a report of weight 1 exceeds this in a sum.
    pub(crate) fn largest_coordinate(&self) -> u64 {
        self.units.min(LARGEST)
    }

    /// The factor for a report whose squares sum to `sum_of_squares`.
    pub(crate) fn scale(&self, sum_of_squares: u128) -> Scale {
        let bound = u128::from(self.units).pow(2);
        // `None` is a norm beyond 2^64 units, and the bound is below 2^62.
        if sum_of_squares.checked_mul(1 << (2 * FRACTION_BITS)).is_some_and(|squares| squares <= bound) {
            return Scale::Kept;
        }
        // With f = floor(2^s * sqrt(bound / S)), computed as isqrt(floor(2^2s * bound / S)): f^2 * S <= 2^2s * bound, so
        // the norm of q * f / 2^s is at most the bound, and truncation towards zero only shrinks it.
        // `s` is as large as u128 allows, at most 32, so that a report far above the bound keeps its direction.
        let shift = (bound.leading_zeros() / 2).min(32);
        let factor = ((bound << (2 * shift)) / sum_of_squares).isqrt();
        Scale::Clipped { factor, shift }
    }
}

impl TryFrom<(f32, f32, u64)> for NormBound {
    type Error = BoundError;

    fn try_from((clip_norm, step, units): (f32, f32, u64)) -> Result<Self, BoundError> {
        let bound = Self::new(clip_norm, step)?;
        let fits = (bound.units..1 << 62).contains(&units);
        if fits { Ok(Self { units, ..bound }) } else { Err(BoundError::Ratio { clip_norm, step }) }
    }
}

impl From<NormBound> for (f32, f32, u64) {
    fn from(bound: NormBound) -> Self {
        (bound.clip_norm, bound.step, bound.units)
    }
}

/// What a report's symbols are multiplied by to become units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// `q * 2^16`
    Kept,
    /// `trunc(q * factor / 2^shift)`
    Clipped { factor: u128, shift: u32 },
}

impl Scale {
    /// The units of `symbol`, `|symbol| < 2^24`. The magnitude is at most the bound and below 2^40.
    pub(crate) fn apply(self, symbol: i32) -> i64 {
        match self {
            Self::Kept => i64::from(symbol) << FRACTION_BITS,
            Self::Clipped { factor, shift } => {
                // factor < 2^(16 + shift) <= 2^48, because a report is clipped only if sqrt(bound / S) < 2^16.
                let magnitude = ((u128::from(symbol.unsigned_abs()) * factor) >> shift) as i64;
                if symbol < 0 { -magnitude } else { magnitude }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_no_bound() {
        for (clip, step) in [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (f32::NAN, 1.0), (1.0, f32::INFINITY)] {
            assert!(matches!(NormBound::new(clip, step), Err(BoundError::NotPositive { .. })), "{clip} {step}");
        }
        for (clip, step) in [(1.0, 65537.0), (f32::MAX, f32::from_bits(1)), (f32::from_bits(1), f32::MAX), (1e30, 1.0)]
        {
            assert!(matches!(NormBound::new(clip, step), Err(BoundError::Ratio { .. })), "{clip} {step}");
        }
        assert_eq!(NormBound::new(1.0, 65536.0).unwrap().units(), 1);
        assert_eq!(NormBound::new(f32::from_bits(3), f32::from_bits(2)).unwrap().units(), 3 << 15);
    }

    #[test]
    fn a_report_on_the_bound_is_kept_and_one_above_is_not() {
        let bound = NormBound::new(5.0, 1.0).unwrap();
        assert_eq!(bound.scale(25), Scale::Kept);
        assert!(matches!(bound.scale(26), Scale::Clipped { .. }));
        // Twice the bound, exactly: half of each symbol.
        let scale = bound.scale(100);
        assert_eq!((scale.apply(10), scale.apply(-10)), (5 << FRACTION_BITS, -5 << FRACTION_BITS));
    }

    fn positive() -> impl Strategy<Value = f32> {
        prop_oneof![1e-3f32..1e3, (1u32..0x7f80_0000).prop_map(f32::from_bits)]
    }

    /// `x = m * 2^e`, from the bits, for the test below alone.
    fn mantissa(x: f32) -> (u128, i32) {
        let exponent = (x.to_bits() >> 23) as i32;
        let fraction = u128::from(x.to_bits() & 0x7f_ffff);
        if exponent == 0 { (fraction, -149) } else { (fraction | 0x80_0000, exponent - 150) }
    }

    proptest! {
        /// The server keeps what the device's own bound allows, to the last square, and nothing above it.
        #[test]
        fn the_bound_is_the_devices(clip in 1e-3f32..1e3, step in 1e-6f32..1e2) {
            if let (Ok(here), Ok(there)) = (NormBound::new(clip, step), GridBound::new(clip, step)) {
                prop_assert_eq!(here.scale(there.squares()), Scale::Kept);
                prop_assert_ne!(here.scale(there.squares() + 1), Scale::Kept);
            }
        }

        #[test]
        fn units_are_the_exact_floor(clip in positive(), step in positive()) {
            if let Ok(bound) = NormBound::new(clip, step) {
                // Within the range of f64's exactness of products: units * step <= 2^16 * clip < (units + 1) * step.
                let ((mc, ec), (ms, es)) = (mantissa(clip), mantissa(step));
                prop_assert_eq!(mc as f64 * 2f64.powi(ec), f64::from(clip));
                let (units, shift) = (u128::from(bound.units()), ec - es + 16);
                let (left, right) = if shift >= 0 { (ms, mc << shift) } else { (ms << -shift, mc) };
                prop_assert!(units * left <= right && right < (units + 1) * left);
            }
        }

        #[test]
        fn clipped_norm_never_exceeds_the_bound(
            clip in 1e-3f32..1e3,
            step in 1e-6f32..1e2,
            symbols in proptest::collection::vec(
                prop_oneof![-3i32..=3, -1000i32..1000, -(SYMBOL_LIMIT as i32 - 1)..SYMBOL_LIMIT as i32], 1..200),
        ) {
            let Ok(bound) = NormBound::new(clip, step) else { return Ok(()) };
            let squares: u128 = symbols.iter().map(|q| u128::from(q.unsigned_abs()).pow(2)).sum();
            let scale = bound.scale(squares);
            let units: Vec<i64> = symbols.iter().map(|&q| scale.apply(q)).collect();
            let norm: u128 = units.iter().map(|v| u128::from(v.unsigned_abs()).pow(2)).sum();
            prop_assert!(norm <= u128::from(bound.units()).pow(2));
            prop_assert!(units.iter().all(|v| v.unsigned_abs() <= bound.largest_coordinate()));
            prop_assert!(units.iter().zip(&symbols).all(|(v, q)| v.signum() * i64::from(q.signum()) >= 0));
            // And it is not clipped for nothing: one unit a coordinate is lost by truncation, and a part of the factor.
            if let Scale::Clipped { .. } = scale {
                let lost = (symbols.len() as f64).sqrt() + 1.0;
                prop_assert!((norm as f64).sqrt() >= bound.units() as f64 * (1.0 - 1e-6) - lost);
            }
        }
    }
}
