//! Grid, prediction and sizes.

use super::*;
use crate::quantize::Uniform;
use crate::range_coder::{EntropyCoder, RowColumn, decode, encode};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

fn scales() -> impl Iterator<Item = LogScale> {
    (4..=8).flat_map(|bits| [1.0, 3.7, 1e-30, 1e30, f32::MAX].map(|top| LogScale::new(bits, top).unwrap()))
}

#[test]
fn levels_are_within_their_error_and_the_scale_ends_where_it_says() {
    for (bits, top) in (4..=8).flat_map(|b| [1.0f32, 3.7, 1e-30, 1e30].map(|t| (b, t))) {
        let scale = LogScale::new(bits, top).unwrap();
        assert_eq!(scale.level(top), scale.highest());
        assert_eq!(scale.level(f32::MAX), scale.highest());
        let uniform = Uniform::new(u64::from(bits));
        for i in 0..2000 {
            // Four bits have 15 levels, so that 14 octaves are whole.
            let x = top * libm::exp2f(-14.0 * uniform.at(i));
            let level = scale.level(x);
            let off = (scale.value(level) - x).abs() / x;
            assert!(level > 0 && off <= scale.relative_error(), "{bits} bits: {x} is {level}, off by {off}");
        }
        assert_eq!(scale.level(top * libm::exp2f(-17.0)), 0);
    }
}

#[test]
fn every_level_is_its_values_own() {
    for scale in scales() {
        for level in 0..=scale.highest() {
            assert_eq!(scale.level(scale.value(level)), level, "{scale:?}");
        }
        for none in [-1, scale.highest() + 1, i32::MIN, i32::MAX] {
            assert_eq!(scale.value(none), 0.0);
        }
        for nothing in [0.0, -0.0, -1.0, f32::NAN, f32::NEG_INFINITY, f32::MIN_POSITIVE / 4.0] {
            assert_eq!(scale.level(nothing), 0);
        }
        assert_eq!(scale.level(f32::INFINITY), scale.highest());
    }
}

#[test]
fn what_is_no_scale_is_refused() {
    for bits in [0, 3, 9, 255] {
        assert_eq!(LogScale::new(bits, 1.0), Err(LogScaleError::Bits { got: bits }));
    }
    for top in [0.0, -1.0, f32::INFINITY, f32::MIN_POSITIVE, 7e-34] {
        assert_eq!(LogScale::new(6, top), Err(LogScaleError::Largest { got: top }));
    }
    assert!(matches!(LogScale::new(6, f32::NAN), Err(LogScaleError::Largest { got }) if got.is_nan()));
    assert!(LogScale::new(6, 7.8e-34).is_ok());
}

fn support(rows: u32, cols: u32, row_ptr: &[u32], list: &[u16], kind: u8) -> [Support<'static>; 1] {
    // Leaked: a handful of bytes a case.
    let (row_ptr, list): (&'static [u32], &'static [u16]) = (row_ptr.to_vec().leak(), list.to_vec().leak());
    [match kind {
        0 => Support::dense(rows, cols).unwrap(),
        1 => Support::csr(row_ptr, list, cols).unwrap(),
        _ => Support::Blocks { row_ptr, cols: list, width: cols, height: 3 },
    }]
}

proptest! {
    /// Any levels, any support: what was predicted is restored, through the coder, and nothing was read that the decoder lacks.
    #[test]
    fn there_and_back(
        bits in 4u8..=8,
        kind in 0u8..3,
        rows in 1u32..12,
        cols in 1u32..40,
        seed: u64,
    ) {
        let uniform = Uniform::new(seed);
        let (mut row_ptr, mut list) = (vec![0], Vec::new());
        for r in 0..rows {
            list.extend((0..cols).filter(|c| uniform.at(r * cols + c) < 0.4).map(|c| c as u16));
            row_ptr.push(list.len() as u32);
        }
        let tensors = support(rows, cols, &row_ptr, &list, kind);
        let scale = LogScale::new(bits, 1.0).unwrap();
        let live = tensors[0].live();
        let levels: Vec<i32> =
            (0..live as u32).map(|i| (uniform.at(7000 + i) * (scale.highest() + 1) as f32) as i32).collect();
        let mut columns = vec![-3; cols as usize];
        let mut left = levels.clone();
        predict(scale, &tensors[0], &mut left, &mut columns);
        let mut words = vec![0u32; RowColumn::required_scratch(cols).div_ceil(4)];
        let scratch = &mut bytemuck::cast_slice_mut(&mut words)[..RowColumn::required_scratch(cols)];
        let mut out = vec![0; RowColumn::encoded_bound(live)];
        let length = encode::<RowColumn>(&tensors, &left, &mut out, scratch).unwrap();
        let mut back = vec![0; live];
        decode::<RowColumn>(&tensors, &out[..length], scratch, |i, q| back[i] = q).unwrap();
        restore(scale, &tensors[0], &mut back, &mut columns);
        prop_assert_eq!(back, levels);
    }

    /// Whatever a stranger sends, restoring neither overflows nor ends.
    #[test]
    fn forged_levels_are_levels_or_nothing(levels in prop::collection::vec(any::<i32>(), 24)) {
        let scale = LogScale::new(5, 2.0).unwrap();
        let mut back = levels;
        restore(scale, &Support::dense(4, 6).unwrap(), &mut back, &mut [0; 6]);
        prop_assert!(back.iter().all(|l| scale.value(*l) >= 0.0 && scale.value(*l) <= 2.0));
    }
}

/// A mean over examples of squared activations times squared errors of one layer: what a Fisher diagonal is.
fn fisher(rows: u32, cols: u32, examples: u32) -> Vec<f32> {
    let uniform = Uniform::new(3);
    let normal = |i: u32| {
        let (u, v) = (uniform.at(2 * i).max(1e-7), uniform.at(2 * i + 1));
        libm::sqrtf(-2.0 * libm::logf(u)) * libm::cosf(core::f32::consts::TAU * v)
    };
    let scale_of = |i: u32| libm::exp2f(6.0 * uniform.at(900_000 + i) - 6.0);
    let mut sum = vec![0.0; (rows * cols) as usize];
    for n in 0..examples {
        let active: Vec<f32> = (0..cols).map(|c| (normal(n * 1000 + c) * scale_of(c)).max(0.0)).collect();
        for r in 0..rows {
            let error = normal(500_000 + n * 1000 + r) * scale_of(5000 + r);
            for c in 0..cols {
                sum[(r * cols + c) as usize] += (error * active[c as usize]).powi(2) / examples as f32;
            }
        }
    }
    sum
}

fn bits(tensors: &[Support<'_>], symbols: &[i32]) -> f64 {
    let width = tensors.iter().map(Support::width).max().unwrap();
    let mut words = vec![0u32; RowColumn::required_scratch(width).div_ceil(4)];
    let scratch = &mut bytemuck::cast_slice_mut(&mut words)[..RowColumn::required_scratch(width)];
    let mut out = vec![0; RowColumn::encoded_bound(symbols.len())];
    8.0 * encode::<RowColumn>(tensors, symbols, &mut out, scratch).unwrap() as f64 / symbols.len() as f64
}

/// Bits a value by rows and columns, against the entropy of the levels, which is what a coder without contexts takes.
#[test]
fn rows_and_columns_predict() {
    let (rows, cols) = (128, 96);
    let values = fisher(rows, cols, 200);
    let largest = values.iter().fold(0.0f32, |a, b| a.max(*b));
    let tensors = [Support::dense(rows, cols).unwrap()];
    let mut lines = Vec::new();
    for b in 4..=8 {
        let scale = LogScale::new(b, largest).unwrap();
        let levels: Vec<i32> = values.iter().map(|x| scale.level(*x)).collect();
        let mut counts = vec![0.0f64; 1 << b];
        levels.iter().for_each(|l| counts[*l as usize] += 1.0);
        let n = levels.len() as f64;
        let entropy: f64 = counts.iter().filter(|c| **c > 0.0).map(|c| -c / n * libm::log2(c / n)).sum();
        let mut left = levels.clone();
        predict(scale, &tensors[0], &mut left, &mut vec![0; cols as usize]);
        let (whole, ours) = (bits(&tensors, &levels), bits(&tensors, &left));
        lines.push((b, entropy, whole, ours));
    }
    for (b, entropy, whole, ours) in &lines {
        std::println!("{b} bits: levels' entropy {entropy:.3}, levels coded {whole:.3}, what is left coded {ours:.3}");
    }
    for (b, entropy, whole, ours) in lines {
        assert!(ours < 0.8 * entropy && ours < whole, "{b} bits: {ours} of {entropy} and {whole}");
    }
}
