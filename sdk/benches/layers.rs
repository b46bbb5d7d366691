//! Time of attention and recurrent layers, forward and backward. Throughput is in multiply-adds of the products.
//!
//! `cargo bench -p siskin --bench layers`

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use siskin::model::kernel::{
    self, AttentionGeometry, GruGeometry, LstmGeometry, Pattern, RecurrentWeight, sigmoid_forward, tanh_forward,
};

fn values(n: usize, scale: f32) -> Vec<f32> {
    let mut seed = 1u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((seed >> 8) as f32 / 8_388_608.0 - 1.0) * scale
    };
    (0..n).map(|_| next()).collect()
}

/// One attention without its softmax.
fn attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    for (positions, size, batch) in [(12, 16, 4), (80, 16, 1), (80, 16, 3), (80, 16, 4), (80, 32, 8)] {
        for causal in [false, true] {
            let g = AttentionGeometry { heads: 4, size, positions, causal };
            let [q, k, v, dy] = [(); 4].map(|()| values(g.features() * batch, 1.0));
            let (mut s, mut o) = (vec![0.0; g.scores() * batch], vec![0.0; g.features() * batch]);
            let (mut ds, mut dx) = (s.clone(), o.clone());
            group.throughput(Throughput::Elements((g.scores() * size * batch) as u64));
            let name = |what| format!("{what} T={positions} d={size} batch={batch} causal={causal}");
            group.bench_function(name("scores"), |b| {
                b.iter(|| kernel::scores_forward(black_box(&g), 0.25, &q, &k, &mut s, batch));
            });
            group.bench_function(name("context"), |b| {
                b.iter(|| kernel::context_forward(black_box(&g), &s, &v, &mut o, batch));
            });
            group.bench_function(name("backward weights"), |b| {
                b.iter(|| kernel::context_backward_weights(black_box(&g), &v, &dy, &mut ds, batch));
            });
            group.bench_function(name("backward query"), |b| {
                b.iter(|| kernel::scores_backward_query(black_box(&g), 0.25, &k, &ds, &mut dx, batch));
            });
            group.bench_function(name("backward key"), |b| {
                b.iter(|| kernel::scores_backward_key(black_box(&g), 0.25, &q, &ds, &mut dx, batch));
            });
        }
    }
    group.finish();
}

/// A recurrent weight of `[rows, hidden]` of which every `1 / density`-th column of a row lives.
struct Sparse {
    row_ptr: Vec<u32>,
    cols: Vec<u16>,
    values: Vec<f32>,
    dense: bool,
}

impl Sparse {
    fn new(rows: usize, hidden: usize, density: f32) -> Self {
        let every = (1.0 / density) as usize;
        let (mut row_ptr, mut cols) = (vec![0], vec![]);
        for row in 0..rows {
            cols.extend((row % every..hidden).step_by(every).map(|i| i as u16));
            row_ptr.push(cols.len() as u32);
        }
        let values = values(cols.len(), 0.2);
        Self { row_ptr, cols, values, dense: density == 1.0 }
    }

    fn weight(&self) -> RecurrentWeight<'_> {
        let pattern = Pattern { row_ptr: &self.row_ptr, cols: &self.cols };
        RecurrentWeight { values: &self.values, pattern: (!self.dense).then_some(pattern) }
    }
}

/// Hidden 128 over 80 positions: the recurrence only, without the products of the input and the weights' gradients.
fn recurrent(c: &mut Criterion) {
    let (hidden, positions) = (128, 80);
    let mut group = c.benchmark_group("recurrent");
    for batch in [1, 4, 8] {
        for density in [1.0, 0.2] {
            let name = |what| format!("{what} batch={batch} density={density}");
            for reset_after in [true, false] {
                let g = GruGeometry { hidden, positions, reset_after };
                let r = Sparse::new(3 * hidden, hidden, density);
                let (a, dy) = (values(3 * hidden * positions * batch, 1.0), values(hidden * positions * batch, 1.0));
                let (mut saved, mut y) = (vec![0.0; g.saved_len() * batch], dy.clone());
                let mut scratch = vec![0.0; g.backward_scratch_len() * batch];
                let which = if reset_after { "gru" } else { "gru reset before" };
                group.throughput(Throughput::Elements((r.values.len() * positions * batch) as u64));
                group.bench_function(name(format!("{which} forward")), |b| {
                    b.iter(|| {
                        saved[..a.len()].copy_from_slice(&a);
                        kernel::gru_forward(&g, &r.weight(), &[], &mut saved, &mut y, &mut scratch, batch);
                    });
                });
                let ready = saved.clone();
                group.bench_function(name(format!("{which} backward")), |b| {
                    b.iter(|| {
                        saved.copy_from_slice(&ready);
                        kernel::gru_backward(&g, &r.weight(), &y, &dy, &mut saved, &mut scratch, batch);
                    });
                });
            }
            let g = LstmGeometry { hidden, positions };
            let r = Sparse::new(4 * hidden, hidden, density);
            let (a, dy) = (values(4 * hidden * positions * batch, 1.0), values(hidden * positions * batch, 1.0));
            let (mut saved, mut y) = (vec![0.0; g.saved_len() * batch], dy.clone());
            let mut scratch = vec![0.0; g.backward_scratch_len() * batch];
            group.throughput(Throughput::Elements((r.values.len() * positions * batch) as u64));
            group.bench_function(name("lstm forward".into()), |b| {
                b.iter(|| {
                    saved[..a.len()].copy_from_slice(&a);
                    kernel::lstm_forward(&g, &r.weight(), &[], &mut saved, &mut y, &mut scratch, batch);
                });
            });
            let ready = saved.clone();
            group.bench_function(name("lstm backward".into()), |b| {
                b.iter(|| {
                    saved.copy_from_slice(&ready);
                    kernel::lstm_backward(&g, &r.weight(), &y, &dy, &mut saved, &mut scratch, batch);
                });
            });
        }
        // The functions of a GRU's pass alone, a step at a time.
        let start = values(2 * hidden * batch, 1.0);
        let mut gates = start.clone();
        group.throughput(Throughput::Elements((3 * hidden * positions * batch) as u64));
        group.bench_function(format!("functions of a gru forward batch={batch}"), |b| {
            b.iter(|| {
                for _ in 0..positions {
                    gates.copy_from_slice(&start);
                    sigmoid_forward(black_box(&mut gates));
                    tanh_forward(black_box(&mut gates[..hidden * batch]));
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = layers;
    config = Criterion::default().warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400));
    targets = attention, recurrent
}
criterion_main!(layers);
