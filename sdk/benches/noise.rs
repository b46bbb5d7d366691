//! Cost of a sample of noise, and of the way from a clipped delta to noised symbols.
//!
//! `cargo bench -p siskin --bench noise`; criterion prints samples a second as elements.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use siskin::privacy::rotate;
use siskin::privacy::sample::{DiscreteGaussian, Skellam, Variance};
use std::hint::black_box;

const SAMPLES: u64 = 4096;

fn samplers(c: &mut Criterion) {
    let mut words = ChaCha20Rng::from_seed([1; 32]);
    let mut group = c.benchmark_group("noise");
    group.throughput(Throughput::Elements(SAMPLES));
    group.bench_function("a word of the generator", |b| {
        b.iter(|| (0..SAMPLES).fold(0, |sum, _| sum ^ words.next_u64()));
    });
    for deviation in [0.5, 2.0, 50.0, 1000.0, 65_536.0] {
        let sampler = DiscreteGaussian::new(Variance::of_deviation(deviation).unwrap());
        group.bench_function(format!("discrete gaussian of {deviation}"), |b| {
            b.iter(|| (0..SAMPLES).fold(0, |sum, _| sum ^ sampler.sample(&mut words)));
        });
    }
    for deviation in [0.5, 2.0, 10.0, 64.0] {
        let sampler = Skellam::new(Variance::of_deviation(deviation).unwrap()).unwrap();
        group.bench_function(format!("skellam of {deviation}"), |b| {
            b.iter(|| (0..SAMPLES).fold(0, |sum, _| sum ^ sampler.sample(&mut words)));
        });
    }
    group.finish();
}

fn rotation(c: &mut Criterion) {
    let mut group = c.benchmark_group("rotation");
    for log in [12, 17] {
        let mut values = vec![1.0f32; 1 << log];
        group.throughput(Throughput::Elements(1 << log));
        group.bench_function(format!("2^{log}"), |b| b.iter(|| rotate(black_box(&mut values), 1, 2)));
    }
    group.finish();
}

criterion_group!(benches, samplers, rotation);
criterion_main!(benches);
