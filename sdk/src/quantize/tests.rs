use super::*;
use proptest::prelude::*;
use std::vec::Vec;

/// Input and random numbers of the reference vectors (computed by another program: numpy, `u <= fraction` rounds up).
const X: [f32; 8] = [1.0, -2.0, 3.0, 0.5, -0.25, 4.0, -1.0, 0.0];
const U: [f32; 8] = [0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.6, 0.4];

fn step(step: f32) -> Step {
    Step::new(step).unwrap()
}

#[test]
fn reference_vectors() {
    let mut values = X;
    let quantized = quantize_in_place(&mut values, step(0.75), Rounding::Nearest);
    assert_eq!(quantized.symbols, [1, -3, 4, 1, 0, 5, -1, 0]);
    assert_eq!((quantized.saturated, quantized.non_finite), (0, 0));
    let mut values = X;
    let given = in_place(&mut values, step(0.75), |i, scaled, near| stochastic(scaled, U[i as usize], near));
    assert_eq!(given.symbols, [1, -2, 4, 1, -1, 6, -1, 0]);
    for (step_size, symbols) in [
        // QSGD of the same vector: step = norm / levels.
        (5.595_757_3, [0, 0, 0, 0, 0, 1, 0, 0]),
        (1.398_939_3, [1, -1, 2, 1, 0, 3, -1, 0]),
        (0.699_469_7, [1, -2, 4, 1, -1, 6, -2, 0]),
    ] {
        let mut values = X;
        let given = in_place(&mut values, step(step_size), |i, scaled, near| stochastic(scaled, U[i as usize], near));
        assert_eq!(given.symbols, symbols, "step {step_size}");
    }
}

/// The sequence is part of the format: a server may recompute a rounding.
#[test]
fn uniform_is_pinned() {
    let uniform = Uniform::new(0x0123_4567_89ab_cdef);
    let bits: Vec<u32> = [0, 1, 2, 1_000_000, u32::MAX].map(|i| uniform.bits(i)).to_vec();
    // Recomputed from the formulae in the documentation with Python's integers.
    assert_eq!(bits, PINNED);
}
const PINNED: [u32; 5] = [0xb4a0_1225, 0xc4da_199e, 0xd769_6afe, 0x61ac_8f0f, 0xc78e_fe57];

#[test]
fn steps_that_are_refused() {
    for bad in [0.0, -0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, 3e38] {
        assert!(Step::new(bad).is_err(), "{bad}");
    }
    for good in [1e-37, 1e-3, 1.0, 7e37] {
        assert_eq!(Step::new(good).unwrap().get(), good);
    }
}

#[test]
fn saturates_and_counts() {
    let mut values = [3e38, -3e38, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 16_777_215.0, -16_777_216.0, 0.5];
    for rounding in [Rounding::Nearest, Rounding::Stochastic { seed: 1, first: 0 }] {
        let mut copy = values;
        let out = quantize_in_place(&mut copy, step(1.0), rounding);
        let max = MAX_SYMBOL;
        assert_eq!(out.symbols[..7], [max, -max, 0, 0, 0, max, -max]);
        assert_eq!((out.saturated, out.non_finite), (3, 3));
    }
    // The product overflows to infinity although the value is finite: saturated, not wild.
    let out = quantize_in_place(&mut values[..1], step(1e-20), Rounding::Nearest);
    assert_eq!((out.symbols[0], out.saturated, out.non_finite), (MAX_SYMBOL, 1, 0));
}

#[test]
fn nearest_is_half_to_even() {
    for k in -40i32..=40 {
        let s = k as f32 * 0.25;
        assert_eq!(nearest_far(s), s.round_ties_even() as i32, "{s}");
        assert_eq!(nearest(s, true), s.round_ties_even() as i32, "{s}");
    }
    for s in [8_388_607.5f32, -8_388_607.5, 8_388_606.5, 16_777_215.0, 0.499_999_97, -0.499_999_97, 1e-45] {
        assert_eq!(nearest_far(s), s.round_ties_even() as i32, "{s}");
    }
}

#[test]
fn pieces_equal_the_whole() {
    let whole: Vec<f32> = (0..5000).map(|i| (i as f32 - 2500.0) * 0.37).collect();
    let mut a = whole.clone();
    let mut b = whole;
    let a = quantize_in_place(&mut a, step(10.0), Rounding::Stochastic { seed: 9, first: 0 });
    let (left, right) = b.split_at_mut(1777);
    let left = quantize_in_place(left, step(10.0), Rounding::Stochastic { seed: 9, first: 0 });
    let right = quantize_in_place(right, step(10.0), Rounding::Stochastic { seed: 9, first: 1777 });
    assert_eq!(a.symbols[..1777], *left.symbols);
    assert_eq!(a.symbols[1777..], *right.symbols);
}

/// Mean of 10^4 draws within 5 standard errors of the value: 13 values, alpha = 13 * 5.7e-7 = 7.5e-6.
#[test]
fn stochastic_is_unbiased() {
    const N: usize = 10_000;
    for (k, x) in [0.0f32, 0.01, -0.01, 0.25, -0.25, 0.5, -0.5, 0.9, -0.9, 0.999, -7.3, 12.7, 1000.1].iter().enumerate()
    {
        let mut values = std::vec![*x; N];
        let out = quantize_in_place(&mut values, step(1.0), Rounding::Stochastic { seed: 77 + k as u64, first: 0 });
        let mean = out.symbols.iter().map(|&q| f64::from(q)).sum::<f64>() / N as f64;
        let fraction = f64::from(*x) - f64::from(*x).floor();
        let error = (fraction * (1.0 - fraction) / N as f64).sqrt();
        assert!((mean - f64::from(*x)).abs() <= 5.0 * error + 1e-7, "{x}: {mean}");
    }
}

/// Chi-square over 256 cells, for each of 20 seeds, of the upper byte, of the lowest byte of the 24, and of the pairs
/// (nibble, next coordinate's nibble), (nibble, nibble 64 on) and (nibble, same coordinate under the next seed).
/// 100 statistics with 255 degrees of freedom; the bound mean + 5.5 sd = 379.2 has upper tail about 5e-7, alpha = 5e-5.
#[test]
fn uniform_is_uniform_and_independent() {
    const N: u32 = 1 << 16;
    let bound = 255.0 + 5.5 * 510f64.sqrt();
    for seed in 0..20u64 {
        let (uniform, next) = (Uniform::new(seed), Uniform::new(seed + 1));
        /// Of a coordinate's bits, the next one's, those 64 on, and its own under the next seed.
        type Cell = fn(u32, u32, u32, u32) -> u32;
        let statistics: [Cell; 5] = [
            |a, _, _, _| a >> 24,
            |a, _, _, _| (a >> 8) & 255,
            |a, b, _, _| (a >> 28) << 4 | b >> 28,
            |a, _, c, _| (a >> 28) << 4 | c >> 28,
            |a, _, _, d| (a >> 28) << 4 | d >> 28,
        ];
        for (which, cell) in statistics.iter().enumerate() {
            let mut cells = [0u32; 256];
            for i in 0..N {
                let bits = cell(uniform.bits(i), uniform.bits(i + 1), uniform.bits(i + 64), next.bits(i));
                cells[bits as usize] += 1;
            }
            let expected = f64::from(N) / 256.0;
            let chi: f64 = cells.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum();
            assert!(chi < bound, "seed {seed}, statistic {which}: {chi}");
        }
    }
}

/// Lag correlations of the reals over 2^16 coordinates: |r| < 5.5 / sqrt(N) at 32 lags for 4 seeds, alpha = 128 * 3.8e-8.
#[test]
fn uniform_is_uncorrelated() {
    const N: u32 = 1 << 16;
    for seed in [0, 1, 0xdead_beef, u64::MAX] {
        let uniform = Uniform::new(seed);
        for lag in (0..16).map(|k| k + 1).chain((0..16).map(|k| 1 << k)) {
            let products = (0..N).map(|i| f64::from(uniform.at(i) - 0.5) * f64::from(uniform.at(i + lag) - 0.5));
            let r = products.sum::<f64>() * 12.0 / f64::from(N);
            assert!(r.abs() < 5.5 / f64::from(N).sqrt(), "seed {seed}, lag {lag}: {r}");
        }
    }
}

proptest! {
    /// The vectorised path and the one for large values round alike.
    #[test]
    fn paths_agree(scaled in -4_194_303.9f32..4_194_303.9, exponent in -24i32..1, u in 0u32..1 << 24) {
        let (scaled, u) = (scaled * 2f32.powi(exponent), u as f32 / 16_777_216.0);
        prop_assert_eq!(nearest(scaled, true), nearest_far(scaled));
        prop_assert_eq!(stochastic(scaled, u, true), stochastic_far(scaled, u));
    }

    /// Any bit pattern, any step: no panic, symbols in range, error below one step where nothing saturated.
    #[test]
    fn any_bits(bits in prop::collection::vec(any::<u32>(), 0..200), exponent in -36i32..37, seed in any::<u64>()) {
        let step = step(10f32.powi(exponent));
        for rounding in [Rounding::Nearest, Rounding::Stochastic { seed, first: seed as u32 }] {
            let values: Vec<f32> = bits.iter().map(|&b| f32::from_bits(b)).collect();
            let mut copy = values.clone();
            let out = quantize_in_place(&mut copy, step, rounding);
            let wild = values.iter().filter(|x| !x.is_finite()).count();
            prop_assert_eq!(out.non_finite, wild);
            prop_assert!(out.saturated <= values.len() - wild);
            for (x, &q) in values.iter().zip(out.symbols.iter()) {
                prop_assert!(q.abs() <= MAX_SYMBOL);
                if x.is_finite() && q.abs() < MAX_SYMBOL {
                    let error = (f64::from(step.dequantize(q)) - f64::from(*x)).abs() / f64::from(step.get());
                    let rounding_of_products = f64::from(q.abs()) * 2f64.powi(-22) + 1e-6;
                    let bound = if rounding == Rounding::Nearest { 0.5 } else { 1.0 };
                    prop_assert!(error <= bound + rounding_of_products, "{} -> {}", x, q);
                }
            }
        }
    }
}
