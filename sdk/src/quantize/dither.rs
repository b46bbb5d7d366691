//! Subtractive dither: a random offset of the grid that both sides know, anew for each report.
//!
//! A coordinate `x` becomes `q = round_half_even(x / step - u)` and its estimate is `(q + u) step`, with `u` uniform on
//! `[-1/2, 1/2)` (Roberts 1962, "Picture coding using pseudo-random noise"; Schuchman 1964, "Dither signals and their effect on
//! quantization noise"). The error is then uniform on half a step either way whatever `x` is, of variance `step^2 / 12`: half of what
//! stochastic rounding adds on a fine grid, at nearly the same bits. On a coarse one, where most coordinates are zeros, stochastic rounding
//! leaves zeros as they are and dither moves them all; that is where budgets are small, so that it is for about a bit a coordinate and more.
//!
//! `u` comes of the task's number and the plan, as that of a [`Subset`](super::Subset) does, and is no secret: whoever holds a report and
//! those can tell the estimate, and no more. So it is only for plans that promise no noise; there is no privacy in it.

use super::Uniform;
use crate::checkin::{Quantization, Rounding, parts};

/// Sets the numbers of a dither apart from those that choose a subset.
const SALT: u64 = 0x6469_7468_6572_2031; // "dither 1"

/// The offsets of one report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dither {
    uniform: Uniform,
}

impl Dither {
    /// Of the report for this task of the plan of this fingerprint; none if it rounds another way.
    pub fn new(grid: &Quantization, fingerprint: u32, task: u64) -> Option<Self> {
        let seed = (task ^ u64::from(fingerprint) << 32) ^ SALT;
        (parts::DITHER.here && grid.rounding == Rounding::Dithered).then(|| Self::of(seed))
    }

    fn of(seed: u64) -> Self {
        Self { uniform: Uniform::new(seed) }
    }

    /// The offset of the live coordinate `index`, in 1/65536 steps: the upper 16 bits of its uniform number, less 32768. Their mean is half
    /// a unit below 0, which biases an estimate by 1/131072 of a step.
    #[inline(always)]
    pub fn units(&self, index: u32) -> i32 {
        (self.uniform.bits(index) >> 16) as i32 - 32_768
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_SYMBOL, Quantized, Step, dither_in_place};
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn estimates(values: &[f32], step: f32, seed: u64) -> Vec<f64> {
        let mut copy = values.to_vec();
        let dither = Dither::of(seed);
        let Quantized { symbols, saturated, .. } = dither_in_place(&mut copy, Step::new(step).unwrap(), &dither, 0);
        assert_eq!(saturated, 0);
        let of =
            |(i, &q): (usize, &i32)| (f64::from(q) + f64::from(dither.units(i as u32)) / 65_536.0) * f64::from(step);
        symbols.iter().enumerate().map(of).collect()
    }

    /// Mean 0 and variance `step^2 / 12`, whatever the value: within 5 standard errors.
    #[test]
    fn the_error_is_uniform_whatever_the_value() {
        for (k, value) in [0.0f32, 0.1, 0.25, 0.5, -3.3, 1000.2].into_iter().enumerate() {
            let values = std::vec![value; 20_000];
            let errors: Vec<f64> =
                estimates(&values, 0.5, 40 + k as u64).iter().map(|x| x - f64::from(value)).collect();
            assert!(errors.iter().all(|e| e.abs() <= 0.25 + 1e-4));
            let moment = |power| errors.iter().map(|e| e.powi(power)).sum::<f64>() / errors.len() as f64;
            assert!(moment(1).abs() < 5.0 * (1.0f64 / 48.0 / 20_000.0).sqrt(), "{value}: {}", moment(1));
            assert!((moment(2) * 48.0 - 1.0).abs() < 5.0 * (0.8f64 / 20_000.0).sqrt(), "{value}: {}", moment(2));
        }
    }

    #[test]
    fn each_report_has_its_own() {
        let grid = Quantization { step: 1.0, rounding: Rounding::Dithered, keep: 1.0 };
        let of = |fingerprint, task| Dither::new(&grid, fingerprint, task).unwrap();
        let first = |dither: Dither| (0..64).map(|i| dither.units(i)).collect::<Vec<_>>();
        assert_ne!(first(of(1, 7)), first(of(1, 8)));
        assert_ne!(first(of(1, 7)), first(of(2, 7)));
        assert_eq!(Dither::new(&Quantization { rounding: Rounding::Nearest, ..grid }, 1, 7), None);
        // Not the numbers that choose a subset.
        let subset = Uniform::new(7 ^ 1 << 32);
        assert!((0..64).any(|i| (subset.bits(i) >> 16) as i32 - 32_768 != of(1, 7).units(i)));
    }

    proptest! {
        /// In pieces as in one; symbols are in range and within half a step of the value less the offset, as single precision has them.
        #[test]
        fn symbols_are_near(
            values in prop::collection::vec(prop_oneof![
                3 => -10.0f32..10.0,
                1 => -2e7f32..2e7,
                1 => prop::sample::select(std::vec![4_194_303.8f32, -4_194_303.8, 16_777_215.0, -16_777_215.0, f32::NAN, 1e30]),
            ], 1..60), seed in any::<u64>(), cut in any::<prop::sample::Index>(),
        ) {
            let (step, cut, dither) = (Step::new(1.0).unwrap(), cut.index(values.len()), Dither::of(seed));
            let mut whole = values.clone();
            let whole = dither_in_place(&mut whole, step, &dither, 0).symbols;
            let mut pieces = values.clone();
            let (left, right) = pieces.split_at_mut(cut);
            let left = dither_in_place(left, step, &dither, 0).symbols;
            let right = dither_in_place(right, step, &dither, cut as u32).symbols;
            prop_assert_eq!(&*whole, &[&*left, &*right].concat()[..]);
            for (i, (&q, &x)) in whole.iter().zip(&values).enumerate() {
                prop_assert!(q.abs() <= MAX_SYMBOL);
                if x.is_finite() && x.abs() < 1.6e7 {
                    let u = dither.units(i as u32) as f32 / 65_536.0;
                    prop_assert!((f64::from(q) - f64::from(x - u)).abs() <= 0.5, "{} {} {}", x, u, q);
                }
            }
        }
    }
}
