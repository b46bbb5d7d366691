use super::*;
use crate::privacy::rotate;
use proptest::prelude::*;
use std::vec::Vec;

fn grid(step: f32, keep: f32) -> Quantization {
    Quantization { step, rounding: Rounding::Rotated, keep }
}

/// About normal: sums of twelve uniform numbers.
fn normal(count: usize, seed: u64) -> Vec<f32> {
    let uniform = Uniform::new(seed);
    (0..count as u32).map(|i| (0..12).map(|j| uniform.at(12 * i + j)).sum::<f32>() - 6.0).collect()
}

/// What the server makes of the symbols: rotated back, times step.
fn estimate(rotated: &Rotated, symbols: &[i32], step: f32) -> Vec<f64> {
    let scale = symbols.iter().map(|q| q.unsigned_abs()).max().unwrap_or(0);
    let mut signs: Vec<i64> = symbols.iter().map(|q| i64::from(q.signum())).collect();
    rotated.restore(&mut signs);
    let unit = f64::from(scale) * f64::from(step) / (signs.len() as f64).sqrt();
    signs.iter().map(|s| *s as f64 * unit).collect()
}

#[test]
fn codes_and_scales() {
    let scales: Vec<u32> = (0..CODES).map(scale).collect();
    assert!(scales.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!([0, 255, 256, 511, 512, 513, 4095].map(scale), [0, 255, 256, 511, 512, 514, 511 << 14]);
    assert_eq!(MAX_SCALE, 8_372_224);
    for (code, scale) in scales.iter().enumerate() {
        assert_eq!(code_below(*scale), code as u32);
        let next = scales.get(code + 1).map_or(*scale, |next| next - 1);
        assert_eq!(code_below(next), code as u32);
    }
}

#[test]
fn a_drawn_scale_is_one_and_right_in_the_mean() {
    for exact in [0.3, 7.5, 255.5, 256.0, 511.9, 700.3, 12_345.6, 8e6] {
        let uniform = Uniform::new(4);
        let drawn = |i| draw(exact, MAX_SCALE, uniform.bits(i));
        let mut sum = 0.0;
        for i in 0..20_000 {
            let (scale_of_it, above) = drawn(i);
            assert!(!above && scale(code_below(scale_of_it)) == scale_of_it, "{exact}: {scale_of_it}");
            sum += f64::from(scale_of_it);
        }
        // Six deviations of the mean of coins, at most half of one spacing each.
        let spacing = if exact < 256.0 { 1.0 } else { exact / 256.0 };
        assert!((sum / 2e4 - exact).abs() < 6.0 * 0.5 * spacing / 2e4f64.sqrt(), "{exact}: {}", sum / 2e4);
    }
    assert_eq!(draw(512.1, 512, 0), (512, true));
    assert_eq!(draw(512.0, 512, 0), (512, false));
    assert_eq!(draw(511.99, 512, 0), (512, false));
    assert_eq!((draw(f64::NAN, 512, 0).0, draw(f64::INFINITY, 512, 0).0, draw(0.0, 0, 0).0), (0, 512, 0));
}

/// In whole numbers: no scale above `2 C / k` steps, and the next one is above it.
#[test]
fn the_largest_scale_is_exact() {
    for (clip_norm, step, count, expected) in [
        (1.0, 1.0, 1, 2),
        (1.0, 1.0, 3, 0),
        (3.0, 0.5, 4, 3),
        (256.5, 1.0, 1, 512),
        (1e30, 1e-20, 1, 0),
        (1e6, 0.1, 2, MAX_SCALE),
    ] {
        assert_eq!(largest_scale(clip_norm, step, count), expected, "{clip_norm} {step} {count}");
    }
}

proptest! {
    #[test]
    fn the_largest_travel(values in prop::collection::vec(-9i8..9, 1..6), more in 0u32..6, keep in 0.0f32..1.0, seed: u64) {
        let length = (values.len() << more).next_power_of_two();
        let values: Vec<f32> = (0..length).map(|i| f32::from(values[i % values.len()])).collect();
        let grid = grid(1e-4, keep.max(1e-4));
        let mut copy = values.clone();
        let symbols = choose(&mut copy, &grid, MAX_SCALE, seed).symbols;
        let count = count(grid.keep, length);
        // Sorted by falling magnitude, ties by place.
        let mut order: Vec<usize> = (0..length).collect();
        order.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()));
        let mut expected = std::vec![false; length];
        order[..count].iter().for_each(|i| expected[*i] = true);
        if symbols.iter().any(|q| *q != 0) {
            for (i, q) in symbols.iter().enumerate() {
                prop_assert_eq!(*q != 0, expected[i]);
                prop_assert!(*q == 0 || (*q < 0) == (values[i].is_sign_negative()), "{} {}", values[i], q);
            }
        } else {
            prop_assert!(values.iter().all(|v| *v == 0.0));
        }
    }

    #[test]
    fn what_is_coded_comes_back(
        log in 0u32..11, part in 0.0f64..1.0, code in 0u32..CODES, seed: u64, dirt: u8, cut in 0.0f64..1.0,
    ) {
        let length = 1usize << log;
        let count = ((part.powi(3) * length as f64) as usize).clamp(1, length);
        let uniform = Uniform::new(seed);
        let mut places: Vec<usize> = (0..length).collect();
        places.sort_by_key(|i| uniform.bits(*i as u32));
        let mut symbols = std::vec![0; length];
        for place in &places[..count] {
            symbols[*place] = scale(code) as i32 * if uniform.bits(!(*place as u32)) & 1 == 0 { 1 } else { -1 };
        }
        let rotated = Rotated { count, length, signs: [0, 0] };
        let most = code::bound(count, length);
        let mut out = std::vec![dirt; most];
        let used = rotated.encode(&symbols, &mut out).unwrap();
        let mut decoded = std::vec![0; length];
        rotated.decode(&out[..used], |i, q| decoded[i] = q).unwrap();
        prop_assert_eq!(&decoded, &symbols);
        // A byte less is not enough, for either side, and one more is too many.
        prop_assert!(rotated.encode(&symbols, &mut out.clone()[..used - 1]).is_err());
        let short = (cut * used as f64) as usize;
        let broken = rotated.decode(&out[..short], |_, _| {});
        prop_assert!(broken.is_err());
        let mut longer = out[..used].to_vec();
        longer.push(0);
        prop_assert_eq!(rotated.decode(&longer, |_, _| {}), Err(DecodeError::Trailing { position: used }));
    }

    /// Whatever is decoded is what an encoder writes: no two payloads say the same.
    #[test]
    fn no_payload_has_a_twin(log in 0u32..9, part in 0.0f64..1.0, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let length = 1usize << log;
        let count = ((part * part * length as f64) as usize).clamp(1, length);
        let rotated = Rotated { count, length, signs: [0, 0] };
        let mut symbols = std::vec![0; length];
        let mut last = None;
        let decoded = rotated.decode(&bytes, |i, q| {
            assert!(last < Some(i) && i < length && q.unsigned_abs() <= MAX_SCALE);
            last = Some(i);
            symbols[i] = q;
        });
        if decoded.is_ok() {
            let mut out = std::vec![0; code::bound(count, length)];
            let used = rotated.encode(&symbols, &mut out).unwrap();
            prop_assert_eq!(&out[..used], &bytes[..]);
        }
    }
}

#[test]
fn symbols_of_no_report_are_refused() {
    let rotated = Rotated { count: 2, length: 8, signs: [0, 0] };
    let mut out = [0; 64];
    let mut encode = |symbols: &[i32]| rotated.encode(symbols, &mut out).unwrap_err();
    assert_eq!(encode(&[0; 4]), CodeError::Length { expected: 8, got: 4 });
    assert_eq!(encode(&[0, 3, 0, 0, 0, 0, 0, 0]), CodeError::Length { expected: 2, got: 1 });
    assert_eq!(encode(&[0, 3, 0, 4, 0, 0, 0, 0]), CodeError::Symbol { index: 3, got: 4 });
    assert_eq!(encode(&[0, 513, 0, 513, 0, 0, 0, 0]), CodeError::Symbol { index: 1, got: 513 });
}

/// Sizes of random places are what is expected of them, and hardly above their entropy.
#[test]
fn sizes_are_those_that_are_expected() {
    for (count, length) in [(1, 1024), (60, 16_384), (300, 16_384), (1000, 4096), (700, 1 << 17), (3000, 4096)] {
        let rotated = Rotated { count, length, signs: [0, 0] };
        let (mut bits, runs) = (0, 40);
        for run in 0..runs {
            let uniform = Uniform::new(run);
            let mut places: Vec<usize> = (0..length).collect();
            places.sort_by_key(|i| uniform.bits(*i as u32));
            let mut symbols = std::vec![0; length];
            places[..count].iter().for_each(|i| symbols[*i] = 77);
            bits += 8 * rotated.encode(&symbols, &mut std::vec![0; code::bound(count, length)]).unwrap();
        }
        let mean = bits as f64 / runs as f64;
        let expected = expected_bits(count, length);
        assert!((mean - expected).abs() < 0.02 * expected + 4.0, "{count} {length}: {mean}");
        let p = count as f64 / length as f64;
        let entropy = length as f64 * -(p * p.log2() + (1.0 - p) * (1.0 - p).log2()) + count as f64;
        assert!(p > 0.5 || count < 10 || mean < 1.02 * entropy + 17.0, "{count} {length}: {mean} of {entropy}");
    }
}

/// The estimate's projection on the delta is the delta, the error that of the formula of this module's documentation, and the mean
/// over many rotations the delta again; of normal deltas, sparse and uneven ones.
#[test]
fn estimates_are_unbiased_and_as_good_as_stated() {
    let live = 3000;
    let kinds: [Vec<f32>; 3] = [
        normal(live, 1),
        (0..live).map(|i| if i % 50 == 0 { 1.0 } else { 0.0 }).collect(),
        normal(live, 2).iter().enumerate().map(|(i, v)| v.powi(3) * if i < 300 { 10.0 } else { 0.1 }).collect(),
    ];
    // Parts beyond 0, 1.5 and 2.5 deviations, and 4 phi(t)^2 / p.
    for (p, explained) in [(1.0, std::f64::consts::FRAC_2_PI), (0.1336, 0.5021), (0.012_42, 0.0990)] {
        for delta in &kinds {
            let square: f64 = delta.iter().map(|v| f64::from(*v).powi(2)).sum();
            let grid = grid((square.sqrt() / 1e7) as f32, p);
            let (mut error, mut mean, runs) = (0.0, std::vec![0.0; live], 300);
            for task in 0..runs {
                let rotated = Rotated::new(&grid, 1, task, live).unwrap();
                let mut values = delta.clone();
                values.resize(rotated.length(), 0.0);
                rotated.rotations().iter().for_each(|(seed, round)| rotate(&mut values, *seed, *round));
                let symbols = choose(&mut values, &grid, MAX_SCALE, task).symbols;
                let estimate = estimate(&rotated, symbols, grid.step);
                let projection: f64 = estimate.iter().zip(delta).map(|(e, v)| e * f64::from(*v)).sum();
                assert!((projection / square - 1.0).abs() < 1.0 / 250.0, "{p}: {projection} of {square}");
                let pairs = estimate.iter().zip(delta);
                error += pairs.map(|(e, v)| (e - f64::from(*v)).powi(2)).sum::<f64>() / square / runs as f64;
                mean.iter_mut().zip(&estimate).for_each(|(m, e)| *m += e / runs as f64);
            }
            // What falls on the zeros behind is dropped.
            let stated = (1.0 / explained - 1.0) * live as f64 / rotated_len(live) as f64;
            assert!((error / stated - 1.0).abs() < 0.06, "{p}: {error}, stated {stated}");
            let bias = mean.iter().zip(delta).map(|(m, v)| (m - f64::from(*v)).powi(2)).sum::<f64>() / square;
            assert!((bias / (error / runs as f64) - 1.0).abs() < 0.15, "{p}: {bias} after {runs} of {error}");
        }
    }
}
