//! Every variant against loops that follow the definitions word by word, compared by their bits.

mod activation;
mod attention;
mod csr_small;
mod drawn;
mod elementwise;
mod embedding;
mod exp;
mod gradients;
mod language_models;
mod loss;
mod norm;
mod oracle;
mod pointwise;
mod recurrent;
mod registers;
mod shapes;
mod softmax;

use core::cell::Cell;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::{BlockPattern, ConvGeometry, GradSink, Pattern, PoolGeometry, ValueSink};
use drawn::{Blocks, Sparse, convolution, layer, pair, pooling, random, smooth, values};

std::thread_local! {
    /// Makes the kernels of `widened` run their baseline variant.
    pub(super) static BASELINE: Cell<bool> = const { Cell::new(false) };
}

/// What `run` computes, after checking that the wide variant and the baseline give the same bits.
fn both(run: impl Fn() -> Vec<f32>) -> Vec<f32> {
    let wide = run();
    BASELINE.set(true);
    let baseline = run();
    BASELINE.set(false);
    assert_eq!(bits(&wide), bits(&baseline));
    wide
}

fn doubles(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// Each value is within `tolerance` of the largest one or of 1.
#[track_caller]
fn close(got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(1.0f64, |m, w| m.max(w.abs()));
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(g) - w).abs() <= tolerance * scale, "{i} of {}: {g} for {w}", got.len());
    }
}

/// The gradient at `x` of a function by central differences.
fn differences(x: &[f32], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut x = doubles(x);
    (0..x.len())
        .map(|i| {
            let at = x[i];
            x[i] = at + STEP;
            let above = f(&x);
            x[i] = at - STEP;
            let below = f(&x);
            x[i] = at;
            (above - below) / (2.0 * STEP)
        })
        .collect()
}

/// What a gradient `dy` of the outputs makes of them: the function whose gradient a backward pass computes.
fn weighted(y: &[f64], dy: &[f32]) -> f64 {
    y.iter().zip(dy).map(|(y, dy)| y * f64::from(*dy)).sum()
}

/// The bits, with one NaN for all.
fn bits(v: &[f32]) -> Vec<u32> {
    v.iter().map(|v| if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() }).collect()
}

/// Collects a gradient and insists that every coordinate comes exactly once.
struct Collect(Vec<Option<f32>>);

impl GradSink for Collect {
    fn take(&mut self, offset: usize, grad: &[f32]) {
        assert!(!grad.is_empty() && grad.len() <= 64);
        for (slot, &g) in self.0[offset..offset + grad.len()].iter_mut().zip(grad) {
            assert!(slot.replace(g).is_none(), "a coordinate came twice");
        }
    }
}

/// [`Collect`] for given values, which are spoilt as their gradients come.
struct Spoil {
    values: Vec<f32>,
    collect: Collect,
}

impl GradSink for Spoil {
    fn take(&mut self, offset: usize, grad: &[f32]) {
        self.collect.take(offset, grad);
        self.values[offset..offset + grad.len()].fill(f32::NAN);
    }
}

impl ValueSink for Spoil {
    fn values(&self) -> &[f32] {
        &self.values
    }
}

fn collected(n: usize, run: impl FnOnce(&mut Collect)) -> Vec<f32> {
    let mut sink = Collect(vec![None; n]);
    run(&mut sink);
    sink.0.into_iter().map(|g| g.expect("every coordinate comes")).collect()
}

/// The same tests for one variant, unless the CPU lacks it.
macro_rules! variant_tests {
    ($variant:ident, $available:expr, $($kernels:ident)::+) => {
        mod $variant {
            use super::*;
            use crate::model::kernel::$($kernels)::+ as kernels;

            fn missing() -> bool {
                if !$available {
                    std::println!("skipped: this CPU has no {}", stringify!($variant));
                }
                !$available
            }

            proptest! {
                #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

                #[test]
                fn dense((inputs, outputs, batch, _, mut seed) in layer(), with_bias: bool) {
                    if missing() { return Ok(()) }
                    let s = Sparse::full(&mut seed, outputs, inputs);
                    let bias = if with_bias { values(&mut seed, outputs) } else { vec![] };
                    let (x, dy) = (values(&mut seed, inputs * batch), values(&mut seed, outputs * batch));

                    let mut y = vec![f32::NAN; outputs * batch];
                    kernels::dense_forward(&s.w, &bias, &x, &mut y, inputs, outputs, batch);
                    prop_assert_eq!(bits(&y), bits(&oracle::forward(&s, &bias, &x, outputs, batch)));

                    let mut dx = vec![f32::NAN; inputs * batch];
                    kernels::dense_input_grad(&s.w, &dy, &mut dx, inputs, outputs, batch);
                    prop_assert_eq!(bits(&dx), bits(&oracle::input_grad(&s, &dy, inputs, outputs, batch)));

                    let grad = collected(inputs * outputs, |sink| {
                        kernels::dense_weight_grad(&dy, &x, inputs, outputs, batch, sink);
                    });
                    prop_assert_eq!(bits(&grad), bits(&oracle::dense_weight_grad(&dy, &x, inputs, outputs, batch)));

                    let grad = collected(outputs, |sink| kernels::bias_grad(&dy, outputs, batch, sink));
                    prop_assert_eq!(bits(&grad), bits(&oracle::bias_grad(&dy, outputs, batch)));
                }

                #[test]
                fn sparse((inputs, outputs, batch, density, mut seed) in layer(), with_bias: bool) {
                    if missing() { return Ok(()) }
                    let s = Sparse::new(&mut seed, outputs, inputs, density);
                    let bias = if with_bias { values(&mut seed, outputs) } else { vec![] };
                    let (x, dy) = (values(&mut seed, inputs * batch), values(&mut seed, outputs * batch));

                    let mut y = vec![f32::NAN; outputs * batch];
                    kernels::csr_forward(s.pattern(), &s.w, &bias, &x, &mut y, inputs, outputs, batch);
                    prop_assert_eq!(bits(&y), bits(&oracle::forward(&s, &bias, &x, outputs, batch)));

                    let mut dx = vec![f32::NAN; inputs * batch];
                    kernels::csr_input_grad(s.pattern(), &s.w, &dy, &mut dx, inputs, outputs, batch);
                    prop_assert_eq!(bits(&dx), bits(&oracle::input_grad(&s, &dy, inputs, outputs, batch)));

                    let grad = collected(s.w.len(), |sink| {
                        kernels::csr_weight_grad(s.pattern(), &dy, &x, inputs, outputs, batch, sink);
                    });
                    prop_assert_eq!(bits(&grad), bits(&oracle::csr_weight_grad(&s, &dy, &x, outputs, batch)));

                    let (x, dy) = (&x[..inputs], &dy[..outputs]);
                    let mut dx = vec![f32::NAN; inputs];
                    let mut sink = Spoil { values: s.w.clone(), collect: Collect(vec![None; s.w.len()]) };
                    kernels::csr_single_gradients(s.pattern(), dy, x, &mut dx, inputs, outputs, &mut sink);
                    prop_assert_eq!(bits(&dx), bits(&oracle::input_grad(&s, dy, inputs, outputs, 1)));
                    let grad: Vec<f32> = sink.collect.0.into_iter().map(|g| g.expect("every coordinate comes")).collect();
                    prop_assert_eq!(bits(&grad), bits(&oracle::csr_weight_grad(&s, dy, x, outputs, 1)));
                }

                #[test]
                fn blocks((inputs, groups, batch, density, mut seed) in layer(), with_bias: bool) {
                    if missing() { return Ok(()) }
                    let outputs = 4 * groups;
                    let s = Blocks::new(&mut seed, groups, inputs, density);
                    let bias = if with_bias { values(&mut seed, outputs) } else { vec![] };
                    let (x, dy) = (values(&mut seed, inputs * batch), values(&mut seed, outputs * batch));

                    let mut y = vec![f32::NAN; outputs * batch];
                    kernels::block_forward(s.pattern(), &s.w, &bias, &x, &mut y, inputs, outputs, batch);
                    prop_assert_eq!(bits(&y), bits(&oracle::forward(&s.sparse, &bias, &x, outputs, batch)));

                    let mut dx = vec![f32::NAN; inputs * batch];
                    kernels::block_input_grad(s.pattern(), &s.w, &dy, &mut dx, inputs, outputs, batch);
                    prop_assert_eq!(bits(&dx), bits(&oracle::input_grad(&s.sparse, &dy, inputs, outputs, batch)));

                    let grad = collected(s.w.len(), |sink| {
                        kernels::block_weight_grad(s.pattern(), &dy, &x, inputs, outputs, batch, sink);
                    });
                    let grad: Vec<f32> = s.place.iter().map(|&k| grad[k]).collect();
                    prop_assert_eq!(bits(&grad), bits(&oracle::csr_weight_grad(&s.sparse, &dy, &x, outputs, batch)));
                }

                #[test]
                fn convolutions((g, batch, density, mut seed) in convolution()) {
                    if missing() { return Ok(()) }
                    let inputs = g.in_channels * g.in_h * g.in_w * batch;
                    let outputs = g.out_channels * g.out_h().unwrap() * g.out_w().unwrap() * batch;
                    let bias = values(&mut seed, g.out_channels);
                    let (x, dy) = (values(&mut seed, inputs), values(&mut seed, outputs));
                    let live = Sparse::new(&mut seed, g.out_channels, g.taps(), density);
                    let full = Sparse::full(&mut seed, g.out_channels, g.taps());

                    let mut y = vec![f32::NAN; outputs];
                    kernels::conv_forward(&g, &full.w, &bias, &x, &mut y, batch);
                    prop_assert_eq!(bits(&y), bits(&oracle::conv_forward(&full, &g, &bias, &x, batch)));
                    kernels::csr_conv_forward(live.pattern(), &g, &live.w, &bias, &x, &mut y, batch);
                    prop_assert_eq!(bits(&y), bits(&oracle::conv_forward(&live, &g, &bias, &x, batch)));

                    let mut dx = vec![f32::NAN; inputs];
                    kernels::conv_input_grad(&g, &full.w, &dy, &mut dx, batch);
                    prop_assert_eq!(bits(&dx), bits(&oracle::conv_input_grad(&full, &g, &dy, batch)));
                    kernels::csr_conv_input_grad(live.pattern(), &g, &live.w, &dy, &mut dx, batch);
                    prop_assert_eq!(bits(&dx), bits(&oracle::conv_input_grad(&live, &g, &dy, batch)));

                    let grad = collected(full.w.len(), |sink| kernels::conv_weight_grad(&g, &dy, &x, batch, sink));
                    prop_assert_eq!(bits(&grad), bits(&oracle::conv_weight_grad(&full, &g, &dy, &x, batch)));
                    let grad = collected(live.w.len(), |sink| {
                        kernels::csr_conv_weight_grad(live.pattern(), &g, &dy, &x, batch, sink);
                    });
                    prop_assert_eq!(bits(&grad), bits(&oracle::conv_weight_grad(&live, &g, &dy, &x, batch)));
                }

                #[test]
                fn pools(g in pooling(), batch in 1usize..20, mut seed: u64) {
                    if missing() { return Ok(()) }
                    let inputs = g.channels * g.in_h * g.in_w * batch;
                    let outputs = g.channels * g.out_h().unwrap() * g.out_w().unwrap() * batch;
                    // Few different values, so that most windows have a tie.
                    let ties: Vec<f32> = (0..inputs)
                        .map(|_| [-1.0, -0.0, 0.0, 1.0, 2.0, f32::NAN, f32::NEG_INFINITY][random(&mut seed) as usize % 7])
                        .collect();
                    let dy = values(&mut seed, outputs);
                    let (expected_y, expected_dx) = oracle::max_pool(&g, &ties, &dy, batch);

                    let mut y = vec![9.0; outputs];
                    kernels::max_pool_forward(&g, &ties, &mut y, batch);
                    prop_assert_eq!(bits(&y), bits(&expected_y));
                    let mut dx = vec![9.0; inputs];
                    kernels::max_pool_backward(&g, &ties, &y, &dy, &mut dx, batch);
                    prop_assert_eq!(bits(&dx), bits(&expected_dx));

                    let x = values(&mut seed, inputs);
                    for padded in [false, true] {
                        let (expected_y, expected_dx) = oracle::avg_pool(&g, padded, &x, &dy, batch);
                        kernels::avg_pool_forward(&g, padded, &x, &mut y, batch);
                        prop_assert_eq!(bits(&y), bits(&expected_y));
                        kernels::avg_pool_backward(&g, padded, &dy, &mut dx, batch);
                        prop_assert_eq!(bits(&dx), bits(&expected_dx));
                    }

                    let window = [g.in_h, g.in_w];
                    let all = PoolGeometry { kernel: window, stride: [1; 2], padding: [0; 4], dilation: [1; 2], ..g };
                    let dy = values(&mut seed, g.channels * batch);
                    let (expected_y, expected_dx) = oracle::avg_pool(&all, false, &x, &dy, batch);
                    let mut y = vec![9.0; g.channels * batch];
                    kernels::global_avg_pool_forward(&x, &mut y, g.channels, g.in_h * g.in_w, batch);
                    prop_assert_eq!(bits(&y), bits(&expected_y));
                    kernels::global_avg_pool_backward(&dy, &mut dx, g.channels, g.in_h * g.in_w, batch);
                    prop_assert_eq!(bits(&dx), bits(&expected_dx));
                }
            }

            /// A pattern that names a column past the end is refused before anything is read or written there.
            #[test]
            fn broken_patterns() {
                if missing() { return }
                let (inputs, outputs) = (5, 4);
                for batch in [1, 2, 7, 8, 10, 16, 32, 40, 70] {
                    for column in [5, 6, 300, u16::MAX] {
                        let (x, dy) = (vec![1.0; inputs * batch], vec![1.0; outputs * batch]);
                        let (mut y, mut dx) = (dy.clone(), x.clone());
                        let rows = Pattern { row_ptr: &[0, 1, 1, 2, 2], cols: &[0, column] };
                        let blocks = BlockPattern { row_ptr: &[0, 2], cols: &[0, column] };
                        let w = [1.0; 8];
                        let panics = |run: &mut dyn FnMut()| {
                            let run = std::panic::AssertUnwindSafe(run);
                            assert!(std::panic::catch_unwind(|| { let run = run; (run.0)() }).is_err(), "{batch} {column}");
                        };
                        panics(&mut || kernels::csr_forward(rows, &w[..2], &[], &x, &mut y, inputs, outputs, batch));
                        panics(&mut || kernels::csr_input_grad(rows, &w[..2], &dy, &mut dx, inputs, outputs, batch));
                        let sink = &mut Collect(vec![None; 8]);
                        panics(&mut || kernels::csr_weight_grad(rows, &dy, &x, inputs, outputs, batch, sink));
                        let (dy, x, dx) = (&dy[..outputs], &x[..inputs], &mut dx[..inputs]);
                        let sink = &mut Spoil { values: vec![1.0; 2], collect: Collect(vec![None; 2]) };
                        panics(&mut || kernels::csr_single_gradients(rows, dy, x, dx, inputs, outputs, sink));
                        let (dy, x) = (vec![1.0; outputs * batch], vec![1.0; inputs * batch]);
                        let mut dx = x.clone();
                        panics(&mut || kernels::block_forward(blocks, &w, &[], &x, &mut y, inputs, outputs, batch));
                        panics(&mut || kernels::block_input_grad(blocks, &w, &dy, &mut dx, inputs, outputs, batch));
                        let sink = &mut Collect(vec![None; 8]);
                        panics(&mut || kernels::block_weight_grad(blocks, &dy, &x, inputs, outputs, batch, sink));
                    }
                }
            }

            /// A convolution with more weights a channel than are decoded at once, and rows longer than a run.
            #[test]
            fn large_convolution() {
                if missing() { return }
                for (padding, dilation, batch) in [(0, 1, 8), (1, 1, 10), (2, 2, 3)] {
                    let g = ConvGeometry {
                        in_channels: 18, in_h: 9, in_w: 19, out_channels: 4, kernel: [5; 2], stride: [1; 2],
                        padding: [padding; 4], dilation: [dilation; 2], groups: 2,
                    };
                    let mut seed = 7;
                    let s = Sparse::new(&mut seed, 4, g.taps(), 4);
                    let inputs = g.in_channels * g.in_h * g.in_w * batch;
                    let outputs = 4 * g.out_h().unwrap() * g.out_w().unwrap() * batch;
                    let (x, bias) = (values(&mut seed, inputs), values(&mut seed, 4));
                    let mut y = vec![0.0; outputs];
                    kernels::csr_conv_forward(s.pattern(), &g, &s.w, &bias, &x, &mut y, batch);
                    assert_eq!(bits(&y), bits(&oracle::conv_forward(&s, &g, &bias, &x, batch)));
                    let dy = values(&mut seed, outputs);
                    let mut dx = vec![0.0; inputs];
                    kernels::csr_conv_input_grad(s.pattern(), &g, &s.w, &dy, &mut dx, batch);
                    assert_eq!(bits(&dx), bits(&oracle::conv_input_grad(&s, &g, &dy, batch)));
                    let grad = collected(s.w.len(), |sink| {
                        kernels::csr_conv_weight_grad(s.pattern(), &g, &dy, &x, batch, sink);
                    });
                    assert_eq!(bits(&grad), bits(&oracle::conv_weight_grad(&s, &g, &dy, &x, batch)));
                }
            }
        }
    };
}

variant_tests!(portable, true, dispatch::portable);
variant_tests!(scalar, true, dispatch::scalar);
variant_tests!(dispatched, true, dispatch);
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
variant_tests!(avx2, crate::model::kernel::dispatch::has_avx2(), dispatch::checked::avx2);
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
variant_tests!(avx512, crate::model::kernel::dispatch::has_avx512(), dispatch::checked::avx512);
