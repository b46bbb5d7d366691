//! Speed of quantiser and coder on the 101,770 params of a 784-128-10 network, at three rates.
//!
//! `cargo bench -p siskin --bench codec`; criterion prints coordinates a second as elements.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use siskin::quantize::{MAX_SYMBOL, Rounding, Step, Uniform, quantize_in_place};
use siskin::range_coder::{EntropyCoder, RowColumn, Support, decode, encode};
use std::hint::black_box;

const DENSE: [Support<'static>; 4] = [
    Support::Dense { rows: 128, cols: 784 },
    Support::Dense { rows: 1, cols: 128 },
    Support::Dense { rows: 10, cols: 128 },
    Support::Dense { rows: 1, cols: 10 },
];
const LIVE: usize = 128 * 784 + 128 + 10 * 128 + 10;

/// Laplacian reals of scale 1, independent: rows and columns teach the coder nothing, which is the slow case.
fn laplace(seed: u64, len: usize) -> Vec<f32> {
    let uniform = Uniform::new(seed);
    (0..len as u32)
        .map(|i| {
            let u = uniform.at(i) - 0.5 + 1.0 / 33_554_432.0;
            -(1.0 - 2.0 * u.abs()).ln() * u.signum()
        })
        .collect()
}

fn symbols(step: f32) -> Vec<i32> {
    let mut values = laplace(1, LIVE);
    let rounding = Rounding::Stochastic { seed: 2, first: 0 };
    quantize_in_place(&mut values, Step::new(step).unwrap(), rounding).symbols.to_vec()
}

fn coder(c: &mut Criterion) {
    // Every third coordinate lives: the same numbers of symbols in compressed rows.
    let columns: Vec<u16> = (0..LIVE as u32).map(|i| (i % 257 * 3) as u16).collect();
    let row_ptr: Vec<u32> = (0..=LIVE as u32 / 257).map(|r| r * 257).chain([LIVE as u32]).collect();
    let csr = [Support::csr(&row_ptr, &columns, 784).unwrap()];
    let mut scratch = vec![0u32; RowColumn::required_scratch(784).div_ceil(4)];
    let scratch = bytemuck::cast_slice_mut(&mut scratch);
    let mut out = vec![0; RowColumn::encoded_bound(LIVE)];
    for (name, step) in [("0.1%", 1000.0), ("1%", 100.0), ("0.1bit", 90.0), ("1bit", 3.6)] {
        let symbols = symbols(step);
        let nonzero = symbols.iter().filter(|&&q| q != 0).count();
        assert!(symbols.iter().all(|q| q.abs() <= MAX_SYMBOL));
        for (layout, tensors) in [("dense", &DENSE[..]), ("csr", &csr[..])] {
            let length = encode::<RowColumn>(tensors, &symbols, &mut out, scratch).unwrap();
            println!(
                "{layout} {name}: {:.2} % nonzero, {length} bytes, {:.4} bits a param",
                100.0 * nonzero as f64 / LIVE as f64,
                8.0 * length as f64 / LIVE as f64
            );
            let bytes = out[..length].to_vec();
            let mut group = c.benchmark_group(format!("{layout} {name}"));
            group.throughput(Throughput::Elements(LIVE as u64));
            group.bench_function("encode", |b| {
                b.iter(|| encode::<RowColumn>(tensors, black_box(&symbols), &mut out, scratch).unwrap());
            });
            group.bench_function("decode", |b| {
                b.iter(|| {
                    let mut sum = 0i64;
                    decode::<RowColumn>(tensors, black_box(&bytes), scratch, |i, q| sum += i as i64 ^ i64::from(q))
                        .unwrap();
                    sum
                });
            });
            group.finish();
        }
    }
}

fn quantiser(c: &mut Criterion) {
    let values = laplace(3, LIVE);
    let step = Step::new(3.0).unwrap();
    let mut copy = values.clone();
    let mut group = c.benchmark_group("quantize");
    group.throughput(Throughput::Elements(LIVE as u64));
    group.bench_function("copy alone", |b| b.iter(|| black_box(&mut copy).copy_from_slice(&values)));
    for (name, rounding) in [("nearest", Rounding::Nearest), ("stochastic", Rounding::Stochastic { seed: 4, first: 0 })]
    {
        group.bench_function(name, |b| {
            b.iter(|| {
                copy.copy_from_slice(&values);
                quantize_in_place(black_box(&mut copy), step, rounding).saturated
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(std::time::Duration::from_millis(300)).measurement_time(std::time::Duration::from_secs(1)).sample_size(30);
    targets = coder, quantiser
}
criterion_main!(benches);
