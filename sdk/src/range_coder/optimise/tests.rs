//! Losses, bounds and what it gains.

use super::*;
use crate::quantize::Uniform;
use crate::range_coder::{EntropyCoder, RowColumn, encode};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

const ROWS: u32 = 96;
const COLS: u32 = 128;

/// Laplacian reals on a product of scales of rows and columns, in root mean squares.
fn product(seed: u64) -> Vec<f64> {
    let uniform = Uniform::new(seed);
    let scale = |i: u32| libm::exp(3.0 * f64::from(uniform.at(i)));
    let mut values: Vec<f64> = (0..ROWS * COLS)
        .map(|i| {
            let u = f64::from(uniform.at(100_000 + i)) - 0.5 + 1e-8;
            -libm::log(1.0 - 2.0 * u.abs()) * u.signum() * scale(i / COLS) * scale(5000 + i % COLS)
        })
        .collect();
    let rms = (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt();
    values.iter_mut().for_each(|x| *x /= rms);
    values
}

fn fine(values: &[f64], step: f64) -> Vec<i32> {
    values.iter().map(|x| libm::rint(x / step * f64::from(FINE)) as i32).collect()
}

fn with_scratch<T>(width: u32, work: impl FnOnce(&mut [u8]) -> T) -> T {
    let bytes = RowColumn::required_scratch(width);
    let mut words = vec![0xa5a5_a5a5_u32; bytes.div_ceil(4)];
    work(&mut bytemuck::cast_slice_mut(&mut words)[..bytes])
}

fn bits(tensors: &[Support<'_>], symbols: &[i32]) -> f64 {
    let width = tensors.iter().map(Support::width).max().unwrap();
    let mut out = vec![0; RowColumn::encoded_bound(symbols.len())];
    8.0 * with_scratch(width, |scratch| encode::<RowColumn>(tensors, symbols, &mut out, scratch)).unwrap() as f64
}

/// Symbols, squared error a coordinate and bits of the stream that they make.
fn rounded(values: &[f64], step: f64, price: u32) -> (Vec<i32>, f64, f64) {
    let tensors = [Support::dense(ROWS, COLS).unwrap()];
    let mut symbols = fine(values, step);
    let told = with_scratch(COLS, |scratch| optimise(tensors, Start::NONE, &mut symbols, price, scratch)).unwrap();
    let coded = bits(&tensors, &symbols);
    assert!((told as f64 - coded).abs() <= 0.01 * coded + 24.0, "{told} bits, coded in {coded}");
    let error = values.iter().zip(&symbols).map(|(x, q)| (x - f64::from(*q) * step).powi(2)).sum::<f64>();
    (symbols, error / values.len() as f64, coded)
}

#[test]
fn prices_of_decisions_are_logarithms() {
    for p in 1..=65_535u32 {
        let exact = -256.0 * libm::log2(f64::from(p) / 65_536.0);
        assert!((f64::from(cost(p)) - exact).abs() < 3.5, "{p}: {} of {exact}", cost(p));
    }
}

#[test]
fn without_a_price_it_is_nearest() {
    let values = product(1);
    for step in [0.3, 3.0] {
        let (symbols, ..) = rounded(&values, step, 0);
        assert_eq!(symbols, fine(&values, step).into_iter().map(nearest).collect::<Vec<_>>());
    }
}

#[test]
fn error_and_bits_together_are_less() {
    let values = product(2);
    for (step, price) in [(0.3, 30), (1.0, 30), (3.0, 20), (3.0, 51), (10.0, 30)] {
        let (near, error, coded) = rounded(&values, step, 0);
        let (symbols, own_error, own_coded) = rounded(&values, step, price);
        let loss =
            |error: f64, coded: f64| error / (step * step) + f64::from(price) / 256.0 * coded / values.len() as f64;
        assert!(loss(own_error, own_coded) < loss(error, coded), "step {step}, price {price}");
        assert!(own_coded < coded && own_error > error);
        // Only towards zero, and never past it.
        assert!(symbols.iter().zip(&near).all(|(q, n)| q.abs() <= n.abs() && q * n >= 0));
    }
}

/// Bits at the same error: nearest rounding with the step at which its error is that of the optimised symbols.
#[test]
fn at_equal_error_it_takes_fewer_bits() {
    let values = product(3);
    for step in [1.0, 3.0] {
        let (_, error, coded) = rounded(&values, step, 33);
        let (mut low, mut high) = (step, 8.0 * step);
        for _ in 0..30 {
            let middle = (low + high) / 2.0;
            let near = rounded(&values, middle, 0);
            if near.1 < error { low = middle } else { high = middle }
        }
        let (_, near_error, near_coded) = rounded(&values, low, 0);
        assert!((near_error / error - 1.0).abs() < 0.01, "{near_error} of {error}");
        std::println!("step {step}: {coded} bits, nearest {near_coded}");
        assert!(coded < 0.97 * near_coded, "step {step}: {coded} of {near_coded}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let tensors = [Support::dense(2, 3).unwrap(), Support::dense(1, 2).unwrap()];
    let run =
        |values: &mut [i32], width| with_scratch(width, |scratch| optimise(tensors, Start::NONE, values, 30, scratch));
    assert_eq!(run(&mut [0; 7], 3), Err(CodeError::Length { expected: 2, got: 1 }));
    assert_eq!(run(&mut [0; 9], 3), Err(CodeError::Length { expected: 8, got: 9 }));
    assert!(matches!(run(&mut [0; 8], 2), Err(CodeError::Scratch { .. })));
    let mut large = [0, 0, MAX_SYMBOL + 1, 0, 0, 0, 0, 0];
    assert_eq!(run(&mut large, 3), Err(CodeError::Symbol { index: 2, got: MAX_SYMBOL + 1 }));
    let mut most = [0, 0, -MAX_SYMBOL, 0, 0, 0, 0, i32::from(i16::MAX)];
    assert!(run(&mut most, 3).is_ok());
    assert_eq!(with_scratch(3, |scratch| optimise([], Start::NONE, &mut [], 30, scratch)), Ok(0));
    assert!(matches!(optimise(tensors, Start::NONE, &mut [0; 8], 30, &mut []), Err(CodeError::Scratch { .. })));
}

proptest! {
    /// Any coordinates on any support, sparse ones too: symbols lie between nearest and zero, and their stream is an ordinary one.
    #[test]
    fn symbols_lie_between_nearest_and_zero(
        values in prop::collection::vec(prop_oneof![4 => -400i32..400, 1 => -100_000i32..100_000], 60),
        price in prop_oneof![Just(0u32), 1u32..100, Just(u32::MAX)],
    ) {
        let row_ptr = [0, 7, 7, 20];
        let cols: Vec<u16> = (0..7).map(|c| 3 * c).chain((0..13).map(|c| 2 * c)).collect();
        let tensors = [
            Support::dense(2, 20).unwrap(),
            Support::csr(&row_ptr, &cols, 26).unwrap(),
        ];
        let mut symbols = values.clone();
        with_scratch(26, |scratch| optimise(tensors, Start::NONE, &mut symbols, price, scratch)).unwrap();
        for (q, x) in symbols.iter().zip(&values) {
            let near = nearest(*x);
            prop_assert!(q.abs() <= near.abs() && q.signum() * near.signum() >= 0, "{} of {}", q, x);
        }
        prop_assert!(bits(&tensors, &symbols) >= 0.0);
    }
}
