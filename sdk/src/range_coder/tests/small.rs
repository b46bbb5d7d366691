//! Tensors of few coordinates, beside a coder that has no contexts to learn.

use super::real_updates::updates;
use super::size::laplace;
use super::*;
use crate::quantize::{Rounding, Step, quantize_in_place};
use std::println;

/// Bits of an adaptive coder without contexts (Krichevsky and Trofimov 1981): zero or not, unary magnitudes, plain signs. Nothing says
/// that it is this one.
fn order_zero(symbols: &[i32]) -> f64 {
    let mut counts = [[0.5f64; 2]; 15];
    let mut bits = 0.0;
    for &q in symbols {
        let m = q.unsigned_abs() as usize;
        for (k, count) in counts.iter_mut().enumerate().take(m + 1) {
            let more = usize::from(m > k);
            bits -= (count[more] / (count[0] + count[1])).log2();
            count[more] += 1.0;
        }
        if m >= 15 {
            bits += 2.0 * f64::from((m as u32 - 14).ilog2()) + 1.0;
        }
        bits += f64::from(u8::from(m > 0));
    }
    bits
}

/// Parts of each tensor of the recorded updates, alone in their streams: what is learned of contexts pays from about a hundred coordinates on;
/// below that they are mostly left out.
#[test]
fn small_tensors_are_hardly_longer_than_without_contexts() {
    let Some(updates) = updates() else { return };
    for size in [16, 32, 64, 128, 256, 512, 999] {
        let (mut ours, mut bare, mut worst, mut streams) = (0.0, 0.0, 0.0f64, 0);
        for (name, tensors, values) in &updates {
            let rms = (values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
            for tensor in tensors.iter().filter(|tensor| tensor.rows * tensor.cols > size / 2) {
                let cols = tensor.cols.min(size);
                let rows = (size / cols).min(tensor.rows);
                let at = tensor.start / 4;
                let reals = &values[at..at + (rows * cols) as usize];
                let support = [Support::Dense { rows, cols }];
                for multiple in [0.5, 3.0, 10.0] {
                    for rounding in [Rounding::Nearest, Rounding::Stochastic { seed: 1, first: 0 }] {
                        let mut copy = reals.to_vec();
                        let step = Step::new((multiple * rms) as f32).unwrap();
                        let symbols = &*quantize_in_place(&mut copy, step, rounding).symbols;
                        let bits = 8.0 * encoded_all(&support, symbols).len() as f64;
                        let zero = (order_zero(symbols) / 8.0).ceil() * 8.0;
                        assert!(bits <= zero + 16.0, "{name} {size} {multiple}: {bits} of {zero}");
                        (ours, bare, worst, streams) = (ours + bits, bare + zero, worst.max(bits - zero), streams + 1);
                    }
                }
            }
        }
        println!("{size:4}: {ours:.0} bits of {streams} streams, {bare:.0} without contexts, at most {worst} more");
        let room = if size < 100 { 1.05 } else { 0.97 };
        assert!(ours <= room * bare, "{size}: {ours} of {bare}");
    }
}

/// Independent symbols, of which contexts can tell nothing: a byte and a half more than without contexts, whatever the size.
#[test]
fn independent_symbols_are_no_longer_than_without_contexts() {
    for (rows, cols) in [(1, 16), (16, 1), (4, 16), (16, 16), (32, 16), (60, 16)] {
        let (mut ours, mut bare) = (0.0, 0.0);
        for seed in 0..50 {
            let support = Support::Dense { rows, cols };
            let symbols = laplace(support.live(), 3.0, seed);
            ours += 8.0 * encoded_all(&[support], &symbols).len() as f64;
            bare += order_zero(&symbols);
        }
        println!("{rows} x {cols}: {ours} bits, {bare:.0} without contexts");
        assert!(ours <= bare + 50.0 * 12.0, "{rows} x {cols}: {ours} of {bare}");
    }
}

/// Tensors of few coordinates behind contexts that have learned, where there is no second flag, and behind plain numbers, where there is.
#[test]
fn few_coordinates_behind_others() {
    let tensors = [Support::Dense { rows: 40, cols: 40 }, Support::Dense { rows: 2, cols: 2 }];
    let mut symbols = laplace(1604, 1.0, 1);
    for few in [[0, 0, 0, 0], [1, -2, 0, 3], [1 << 20, -1, 1 << 23, 16_777_215]] {
        symbols[1600..].copy_from_slice(&few);
        assert_eq!(decoded(&tensors, &encoded_all(&tensors, &symbols)).unwrap(), symbols);
        // Plain numbers make the contexts forget.
        let tensors = [tensors[1], tensors[0], tensors[1], tensors[1]];
        let symbols: Vec<i32> = [16_777_215, -16_777_215, 9_999_999, -5_000_000]
            .into_iter()
            .chain(symbols.iter().copied())
            .chain(few)
            .collect();
        assert_eq!(decoded(&tensors, &encoded_all(&tensors, &symbols)).unwrap(), symbols);
    }
}
