//! Every variant against loops that follow the definitions word by word, compared by their bits.

mod oracle;
mod pointwise;

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::{ConvGeometry, GradSink, Pattern, PoolGeometry};

/// SplitMix64.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Mostly of the order of 1, with zeros of both signs, so that a zero added or left out shows in a sign, and rare
/// infinities, so that a lane that reads its neighbour shows.
fn values(seed: &mut u64, n: usize) -> Vec<f32> {
    (0..n)
        .map(|_| match random(seed) {
            z if z >> 60 == 0 => 0.0,
            z if z >> 60 == 1 => -0.0,
            z if z >> 54 == 1023 => f32::INFINITY,
            z => ((z & 0xFF_FFFF) as f32 / 8_388_608.0 - 1.0) * 1.7,
        })
        .collect()
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

fn collected(n: usize, run: impl FnOnce(&mut Collect)) -> Vec<f32> {
    let mut sink = Collect(vec![None; n]);
    run(&mut sink);
    sink.0.into_iter().map(|g| g.expect("every coordinate comes")).collect()
}

/// A sparse tensor.
struct Sparse {
    row_ptr: Vec<u32>,
    cols: Vec<u16>,
    w: Vec<f32>,
}

impl Sparse {
    /// Keeps about `eighths / 8` of the weights; some rows stay empty and some full.
    fn new(seed: &mut u64, rows: usize, cols: usize, eighths: u64) -> Self {
        let mut sparse = Self { row_ptr: vec![0], cols: vec![], w: vec![] };
        for _ in 0..rows {
            let keep = match random(seed) >> 61 {
                0 => 0,
                1 => 8,
                _ => eighths,
            };
            for col in 0..cols {
                if random(seed) >> 61 < keep {
                    sparse.cols.push(u16::try_from(col).unwrap());
                }
            }
            sparse.row_ptr.push(u32::try_from(sparse.cols.len()).unwrap());
        }
        sparse.w = values(seed, sparse.cols.len());
        sparse
    }

    /// Every weight lives.
    fn full(seed: &mut u64, rows: usize, cols: usize) -> Self {
        let row_ptr = (0..=rows).map(|r| u32::try_from(r * cols).unwrap()).collect();
        let all = (0..rows).flat_map(|_| 0..u16::try_from(cols).unwrap()).collect();
        Self { row_ptr, cols: all, w: values(seed, rows * cols) }
    }

    fn pattern(&self) -> Pattern<'_> {
        Pattern { row_ptr: &self.row_ptr, cols: &self.cols }
    }

    /// `(k, column)` of the live weights of a row.
    fn row(&self, row: usize) -> impl Iterator<Item = (usize, usize)> {
        (self.row_ptr[row] as usize..self.row_ptr[row + 1] as usize).map(|k| (k, usize::from(self.cols[k])))
    }
}

/// Inputs, outputs, batch, density in eighths, seed.
fn layer() -> impl Strategy<Value = (usize, usize, usize, u64, u64)> {
    let size = || prop_oneof![Just(1usize), 2usize..12, 12usize..90];
    let batch = prop_oneof![1usize..20, Just(8), Just(10), Just(16), Just(32), Just(64), 20usize..70];
    (size(), size(), batch, 0u64..9, any::<u64>())
}

/// A convolution whose kernel fits, batch, density in eighths, seed.
fn convolution() -> impl Strategy<Value = (ConvGeometry, usize, u64, u64)> {
    let shape = (1usize..5, 1usize..13, 1usize..13, 1usize..6);
    let window = (1usize..5, 1usize..5, prop_oneof![Just(1usize), 1usize..4], prop_oneof![Just(0usize), 0usize..4]);
    (shape, window, prop_oneof![1usize..12, Just(16), Just(33)], 0u64..9, any::<u64>()).prop_filter_map(
        "the kernel must fit",
        |((in_channels, in_h, in_w, out_channels), (kernel_h, kernel_w, stride, padding), batch, density, seed)| {
            let g = ConvGeometry { in_channels, in_h, in_w, out_channels, kernel_h, kernel_w, stride, padding };
            g.out_h().and(g.out_w()).map(|_| (g, batch, density, seed))
        },
    )
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
                fn pooling(
                    (channels, in_h, in_w) in (1usize..4, 1usize..10, 1usize..10),
                    (window, stride) in (1usize..4, 1usize..4),
                    batch in 1usize..20,
                    mut seed: u64,
                ) {
                    if missing() { return Ok(()) }
                    let g = PoolGeometry { channels, in_h, in_w, window, stride };
                    prop_assume!(g.out_h().and(g.out_w()).is_some());
                    // Few different values, so that most windows have a tie.
                    let x: Vec<f32> = (0..channels * in_h * in_w * batch)
                        .map(|_| [-1.0, -0.0, 0.0, 1.0, 2.0, f32::NAN, f32::NEG_INFINITY][random(&mut seed) as usize % 7])
                        .collect();
                    let outputs = channels * g.out_h().unwrap() * g.out_w().unwrap() * batch;
                    let dy = values(&mut seed, outputs);
                    let (expected_y, expected_dx) = oracle::pool(&g, &x, &dy, batch);

                    let mut y = vec![9.0; outputs];
                    kernels::max_pool_forward(&g, &x, &mut y, batch);
                    prop_assert_eq!(bits(&y), bits(&expected_y));
                    let mut dx = vec![9.0; x.len()];
                    kernels::max_pool_backward(&g, &x, &y, &dy, &mut dx, batch);
                    prop_assert_eq!(bits(&dx), bits(&expected_dx));
                }
            }

            /// A convolution with more weights a channel than are decoded at once, and rows longer than a run.
            #[test]
            fn large_convolution() {
                if missing() { return }
                for (padding, batch) in [(0, 8), (1, 10), (2, 3)] {
                    let g = ConvGeometry {
                        in_channels: 9, in_h: 7, in_w: 19, out_channels: 3, kernel_h: 5, kernel_w: 5, stride: 1, padding,
                    };
                    let mut seed = 7;
                    let s = Sparse::new(&mut seed, 3, g.taps(), 4);
                    let inputs = g.in_channels * g.in_h * g.in_w * batch;
                    let outputs = 3 * g.out_h().unwrap() * g.out_w().unwrap() * batch;
                    let (x, bias) = (values(&mut seed, inputs), values(&mut seed, 3));
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
