//! Cost of a sample of noise, and of the way from a clipped delta to noised symbols.
//!
//! `cargo bench -p siskin --bench noise`; criterion prints samples a second as elements.
//!
//! Measured once, `-- --warm-up-time 0.3 --measurement-time 1 --sample-size 20`, x86-64 (AMD EPYC), two shared cores at a load of
//! 8, so that the wall times are several times what an idle core takes, and good for their ratios only; ns a sample:
//!
//! | a word of ChaCha20 | `bernoulli_exp` of 1/1, 1/1000, 20/1, 2^90/2^95 | discrete Gaussian of 0.5, 2, 100, 1000, 65,536 | Skellam of 0.5, 2, 10, 64 |
//! |---|---|---|---|
//! | 19 | 112, 45, 147, 72 | 770, 670, 570, 410, 520 | 400, 760, 8,300, 250,000 |
//!
//! So a discrete Gaussian costs 22 to 40 words whatever its deviation is, and a Skellam grows nearly as its variance: above a
//! deviation of 10 it is no choice for a model. The rotation of 2^17 values took 8.2 ns a value in the same run.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use siskin::privacy::rotate;
use siskin::privacy::sample::{DiscreteGaussian, Skellam, Variance, bernoulli_exp};
use std::hint::black_box;

const SAMPLES: u64 = 4096;

fn samplers(c: &mut Criterion) {
    let mut words = ChaCha20Rng::from_seed([1; 32]);
    let mut group = c.benchmark_group("noise");
    group.throughput(Throughput::Elements(SAMPLES));
    group.bench_function("a word of the generator", |b| {
        b.iter(|| (0..SAMPLES).fold(0, |sum, _| sum ^ words.next_u64()));
    });
    for (a, b) in [(1, 1), (1, 1000), (20, 1), (1 << 90, 1 << 95)] {
        group.bench_function(format!("bernoulli_exp of {a}/{b}"), |bench| {
            bench.iter(|| (0..SAMPLES).filter(|_| bernoulli_exp(black_box(a), black_box(b), &mut words)).count());
        });
    }
    for deviation in [0.5, 2.0, 100.0, 1000.0, 65_536.0] {
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
