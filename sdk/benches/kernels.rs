//! Time of the training loops. Throughput is in multiply-adds, `Gelem/s` is billions of them a second.
//!
//! `cargo bench -p siskin --bench kernels`

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use siskin::model::kernel::{
    self, ConvGeometry, GradSink, Pattern, PoolGeometry, portable, relu_backward, relu_forward, softmax_cross_entropy,
};

/// Plain gradient descent, in place.
struct Sgd<'a>(&'a mut [f32], f32);

impl GradSink for Sgd<'_> {
    #[inline(always)]
    fn take(&mut self, offset: usize, grad: &[f32]) {
        for (w, g) in self.0[offset..offset + grad.len()].iter_mut().zip(grad) {
            *w -= self.1 * g;
        }
    }
}

/// Small steps: the benchmark runs many and must not diverge.
const LR: f32 = 1e-6;

fn random(seed: &mut u32) -> f32 {
    *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*seed >> 8) as f32 / 8_388_608.0 - 1.0
}

fn values(n: usize, scale: f32) -> Vec<f32> {
    let mut seed = 1;
    (0..n).map(|_| random(&mut seed) * scale).collect()
}

struct Sparse {
    row_ptr: Vec<u32>,
    cols: Vec<u16>,
    w: Vec<f32>,
    bias: Vec<f32>,
}

impl Sparse {
    fn new(inputs: usize, outputs: usize, density: f32) -> Self {
        let mut seed = 2;
        let mut s = Self { row_ptr: vec![0], cols: vec![], w: vec![], bias: vec![0.1; outputs] };
        for _ in 0..outputs {
            for i in 0..inputs {
                if (random(&mut seed) + 1.0) / 2.0 < density {
                    s.cols.push(i as u16);
                    s.w.push(random(&mut seed) * 0.2);
                }
            }
            s.row_ptr.push(s.cols.len() as u32);
        }
        s
    }

    fn pattern(&self) -> Pattern<'_> {
        Pattern { row_ptr: &self.row_ptr, cols: &self.cols }
    }
}

macro_rules! variant {
    ($variant:ident, $($k:ident)::+) => {
        mod $variant {
            use super::*;
            use super::$($k)::+ as k;

            /// 784-128-10, batch 10, two steps of SGD: what a phone does with 20 digits.
            pub(super) fn dense_mlp(c: &mut Criterion) {
                let (n, h, m, batch) = (784, 128, 10, 10);
                let (mut w1, mut w2) = (values(n * h, 0.05), values(h * m, 0.1));
                let (mut b1, mut b2) = (vec![0.0; h], vec![0.0; m]);
                let x = values(n * batch, 1.0);
                let labels: Vec<u32> = (0..batch as u32).collect();
                let (mut y1, mut y2, mut d1) = (vec![0.0; h * batch], vec![0.0; m * batch], vec![0.0; h * batch]);
                let mut group = c.benchmark_group(stringify!($variant));
                group.throughput(Throughput::Elements(2 * batch as u64 * (2 * n * h + 3 * h * m) as u64));
                group.bench_function("MLP 784-128-10 dense, update of 2 steps, batch 10", |bencher| bencher.iter(|| {
                    for _ in 0..2 {
                        k::dense_forward(&w1, &b1, &x, &mut y1, n, h, batch);
                        relu_forward(&mut y1);
                        k::dense_forward(&w2, &b2, &y1, &mut y2, h, m, batch);
                        black_box(softmax_cross_entropy(&mut y2, &labels, m, batch));
                        k::dense_input_grad(&w2, &y2, &mut d1, h, m, batch);
                        relu_backward(&y1, &mut d1);
                        k::bias_grad(&y2, m, batch, &mut Sgd(&mut b2, LR));
                        k::dense_weight_grad(&y2, &y1, h, m, batch, &mut Sgd(&mut w2, LR));
                        k::bias_grad(&d1, h, batch, &mut Sgd(&mut b1, LR));
                        k::dense_weight_grad(&d1, &x, n, h, batch, &mut Sgd(&mut w1, LR));
                    }
                }));
                group.finish();
            }

            pub(super) fn dense_layers(c: &mut Criterion) {
                let (n, h) = (784, 128);
                let mut group = c.benchmark_group(concat!(stringify!($variant), " dense 784-128"));
                for batch in [1, 4, 10, 16, 32] {
                    let mut w = values(n * h, 0.05);
                    let bias = vec![0.0; h];
                    let (x, dy) = (values(n * batch, 1.0), values(h * batch, 1.0));
                    let (mut y, mut dx) = (vec![0.0; h * batch], vec![0.0; n * batch]);
                    group.throughput(Throughput::Elements((n * h * batch) as u64));
                    group.bench_function(format!("forward, batch {batch}"), |b| {
                        b.iter(|| k::dense_forward(&w, &bias, black_box(&x), &mut y, n, h, batch));
                    });
                    group.bench_function(format!("input grad, batch {batch}"), |b| {
                        b.iter(|| k::dense_input_grad(&w, black_box(&dy), &mut dx, n, h, batch));
                    });
                    group.bench_function(format!("weight grad, batch {batch}"), |b| {
                        b.iter(|| k::dense_weight_grad(black_box(&dy), &x, n, h, batch, &mut Sgd(&mut w, LR)));
                    });
                }
                group.finish();
            }

            /// 64-128-64-10: the middle layer, and a whole step.
            pub(super) fn sparse_mlp(c: &mut Criterion) {
                let mut group = c.benchmark_group(concat!(stringify!($variant), " sparse 128-64 at 80 %"));
                for batch in [1, 4, 8, 10, 16, 32] {
                    let (n, h) = (128, 64);
                    let mut s = Sparse::new(n, h, 0.2);
                    let (x, dy) = (values(n * batch, 1.0), values(h * batch, 1.0));
                    let (mut y, mut dx) = (vec![0.0; h * batch], vec![0.0; n * batch]);
                    group.throughput(Throughput::Elements((s.w.len() * batch) as u64));
                    group.bench_function(format!("forward, batch {batch}"), |b| {
                        b.iter(|| k::csr_forward(s.pattern(), &s.w, &s.bias, black_box(&x), &mut y, n, h, batch));
                    });
                    group.bench_function(format!("input grad, batch {batch}"), |b| {
                        b.iter(|| k::csr_input_grad(s.pattern(), &s.w, black_box(&dy), &mut dx, n, h, batch));
                    });
                    group.bench_function(format!("weight grad, batch {batch}"), |b| {
                        b.iter(|| {
                            let pattern = Pattern { row_ptr: &s.row_ptr, cols: &s.cols };
                            k::csr_weight_grad(pattern, black_box(&dy), &x, n, h, batch, &mut Sgd(&mut s.w, LR));
                        });
                    });
                }
                for batch in [8, 16] {
                    let sizes = [64, 128, 64, 10];
                    let mut layers: Vec<Sparse> = sizes.windows(2).map(|s| Sparse::new(s[0], s[1], 0.2)).collect();
                    let mut acts: Vec<Vec<f32>> = sizes.iter().map(|s| values(s * batch, 1.0)).collect();
                    let mut grads = acts.clone();
                    let labels: Vec<u32> = (0..batch).map(|b| (b % 10) as u32).collect();
                    let nnz: Vec<usize> = layers.iter().map(|l| l.w.len()).collect();
                    group.throughput(Throughput::Elements((batch * (3 * (nnz[1] + nnz[2]) + 2 * nnz[0])) as u64));
                    group.bench_function(format!("step of MLP 64-128-64-10, batch {batch}"), |b| b.iter(|| {
                        for (l, s) in layers.iter().enumerate() {
                            let (x, y) = acts.split_at_mut(l + 1);
                            k::csr_forward(s.pattern(), &s.w, &s.bias, &x[l], &mut y[0], sizes[l], sizes[l + 1], batch);
                            if l < 2 {
                                relu_forward(&mut y[0]);
                            }
                        }
                        grads[3].copy_from_slice(&acts[3]);
                        black_box(softmax_cross_entropy(&mut grads[3], &labels, 10, batch));
                        for (l, s) in layers.iter_mut().enumerate().rev() {
                            let (dx, dy) = grads.split_at_mut(l + 1);
                            if l > 0 {
                                k::csr_input_grad(s.pattern(), &s.w, &dy[0], &mut dx[l], sizes[l], sizes[l + 1], batch);
                                relu_backward(&acts[l], &mut dx[l]);
                            }
                            k::bias_grad(&dy[0], sizes[l + 1], batch, &mut Sgd(&mut s.bias, LR));
                            let pattern = Pattern { row_ptr: &s.row_ptr, cols: &s.cols };
                            let sink = &mut Sgd(&mut s.w, LR);
                            k::csr_weight_grad(pattern, &dy[0], &acts[l], sizes[l], sizes[l + 1], batch, sink);
                        }
                    }));
                }
                group.finish();
            }

            /// The convolutions of a small LeNet on 28x28 digits, dense and at 80 %.
            pub(super) fn convolutions(c: &mut Criterion) {
                let mut group = c.benchmark_group(concat!(stringify!($variant), " conv"));
                let conv = |in_channels, size, out_channels, kernel, padding| ConvGeometry {
                    in_channels, in_h: size, in_w: size, out_channels, kernel: [kernel; 2], stride: [1; 2],
                    padding: [padding; 4], dilation: [1; 2], groups: 1,
                };
                let (conv1, conv2, same) = (conv(1, 28, 8, 5, 0), conv(8, 12, 16, 5, 0), conv(8, 14, 8, 3, 1));
                for (name, g, density) in [
                    ("28x28x1 5x5 8, 80 %", conv1, 0.2),
                    ("12x12x8 5x5 16, 80 %", conv2, 0.2),
                    ("12x12x8 5x5 16, all live", conv2, 2.0),
                    ("14x14x8 3x3 8 padded, 80 %", same, 0.2),
                    ("14x14x8 3x3 8 padded, all live", same, 2.0),
                ] {
                    for batch in [1, 8, 10, 16] {
                        let pixels = g.out_h().unwrap() * g.out_w().unwrap();
                        let mut s = Sparse::new(g.taps(), g.out_channels, density);
                        let x = values(g.in_channels * g.in_h * g.in_w * batch, 1.0);
                        let dy = values(g.out_channels * pixels * batch, 1.0);
                        let (mut y, mut dx) = (dy.clone(), x.clone());
                        group.throughput(Throughput::Elements((s.w.len() * pixels * batch) as u64));
                        group.bench_function(format!("{name}, forward, batch {batch}"), |b| {
                            b.iter(|| k::csr_conv_forward(s.pattern(), &g, &s.w, &s.bias, black_box(&x), &mut y, batch));
                        });
                        group.bench_function(format!("{name}, input grad, batch {batch}"), |b| {
                            b.iter(|| k::csr_conv_input_grad(s.pattern(), &g, &s.w, black_box(&dy), &mut dx, batch));
                        });
                        group.bench_function(format!("{name}, weight grad, batch {batch}"), |b| {
                            b.iter(|| {
                                let pattern = Pattern { row_ptr: &s.row_ptr, cols: &s.cols };
                                k::csr_conv_weight_grad(pattern, &g, black_box(&dy), &x, batch, &mut Sgd(&mut s.w, LR));
                            });
                        });
                    }
                }
                for batch in [1, 8, 16] {
                    let g = PoolGeometry {
                        channels: 8, in_h: 24, in_w: 24, kernel: [2; 2], stride: [2; 2], padding: [0; 4], dilation: [1; 2],
                    };
                    let x = values(8 * 24 * 24 * batch, 1.0);
                    let dy = values(8 * 12 * 12 * batch, 1.0);
                    let (mut y, mut dx) = (dy.clone(), x.clone());
                    group.throughput(Throughput::Elements((8 * 24 * 24 * batch) as u64));
                    group.bench_function(format!("max pool 24x24x8 2, forward, batch {batch}"), |b| {
                        b.iter(|| k::max_pool_forward(&g, black_box(&x), &mut y, batch));
                    });
                    group.bench_function(format!("max pool 24x24x8 2, backward, batch {batch}"), |b| {
                        b.iter(|| k::max_pool_backward(&g, black_box(&x), &y, &dy, &mut dx, batch));
                    });
                }
                group.finish();
            }

            /// Position-wise layers of a language model, 80 positions, and depthwise ones of an image network.
            pub(super) fn grouped(c: &mut Criterion) {
                let mut group = c.benchmark_group(concat!(stringify!($variant), " conv"));
                let plain = ConvGeometry {
                    in_channels: 128, in_h: 1, in_w: 80, out_channels: 128, kernel: [1; 2], stride: [1; 2],
                    padding: [0; 4], dilation: [1; 2], groups: 1,
                };
                let depthwise = |channels, size, stride| ConvGeometry {
                    in_channels: channels, in_h: size, in_w: size, out_channels: channels, kernel: [3; 2],
                    stride: [stride; 2], padding: [1; 4], dilation: [1; 2], groups: channels,
                };
                for (name, g, density) in [
                    ("80 positions 128-128", plain, None),
                    ("80 positions 256-256", ConvGeometry { in_channels: 256, out_channels: 256, ..plain }, None),
                    ("80 positions 256-256, 80 %", ConvGeometry { in_channels: 256, out_channels: 256, ..plain }, Some(0.2)),
                    ("depthwise 14x14x64 3x3", depthwise(64, 14, 1), None),
                    ("depthwise 14x14x64 3x3, 50 %", depthwise(64, 14, 1), Some(0.5)),
                    ("depthwise 28x28x16 3x3 by 2", depthwise(16, 28, 2), None),
                ] {
                    for batch in [1, 4, 8] {
                        let pixels = g.out_h().unwrap() * g.out_w().unwrap();
                        let mut s = Sparse::new(g.taps(), g.out_channels, density.unwrap_or(2.0));
                        let x = values(g.in_channels * g.in_h * g.in_w * batch, 1.0);
                        let dy = values(g.out_channels * pixels * batch, 1.0);
                        let (mut y, mut dx) = (dy.clone(), x.clone());
                        group.throughput(Throughput::Elements((s.w.len() * pixels * batch) as u64));
                        group.bench_function(format!("{name}, forward, batch {batch}"), |b| {
                            b.iter(|| match density {
                                None => k::conv_forward(&g, &s.w, &s.bias, black_box(&x), &mut y, batch),
                                Some(_) => {
                                    k::csr_conv_forward(s.pattern(), &g, &s.w, &s.bias, black_box(&x), &mut y, batch);
                                }
                            });
                        });
                        group.bench_function(format!("{name}, input grad, batch {batch}"), |b| {
                            b.iter(|| match density {
                                None => k::conv_input_grad(&g, &s.w, black_box(&dy), &mut dx, batch),
                                Some(_) => {
                                    k::csr_conv_input_grad(s.pattern(), &g, &s.w, black_box(&dy), &mut dx, batch);
                                }
                            });
                        });
                        group.bench_function(format!("{name}, weight grad, batch {batch}"), |b| {
                            b.iter(|| {
                                let pattern = Pattern { row_ptr: &s.row_ptr, cols: &s.cols };
                                let sink = &mut Sgd(&mut s.w, LR);
                                match density {
                                    None => k::conv_weight_grad(&g, black_box(&dy), &x, batch, sink),
                                    Some(_) => k::csr_conv_weight_grad(pattern, &g, black_box(&dy), &x, batch, sink),
                                }
                            });
                        });
                    }
                }
                group.finish();
            }
        }
    };
}

variant!(dispatched, kernel);
variant!(baseline, portable);

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
        .sample_size(20)
}

criterion_group! {
    name = benches;
    config = quick();
    targets = dispatched::dense_mlp, baseline::dense_mlp, dispatched::dense_layers, baseline::dense_layers,
        dispatched::sparse_mlp, baseline::sparse_mlp, dispatched::convolutions, baseline::convolutions,
        dispatched::grouped, baseline::grouped
}
criterion_main!(benches);
