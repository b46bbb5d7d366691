//! The exact samplers: the same integers of the same words everywhere.

use core::num::NonZeroU32;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use siskin::privacy::sample::{DiscreteGaussian, DiscreteLaplace, Skellam, Variance};
use siskin::privacy::{rotate, rotate_back};

use crate::models::Pieces;
use crate::numbers::Numbers;
use crate::{Bench, Case, Digest, Outcome};

pub(crate) const CASES: &[Case] =
    &[Case { name: "noise_samplers", run: samplers }, Case { name: "noise_rotation", run: rotation }];

fn samplers(bench: &mut Bench<'_>) -> Outcome {
    let mut words = ChaCha20Rng::from_seed([5; 32]);
    let mut of = |sample: &mut dyn FnMut(&mut ChaCha20Rng) -> i64, variance: f64| {
        let (mut digest, mut squares) = (Digest::EMPTY, 0.0);
        for _ in 0..SAMPLES {
            let x = sample(&mut words);
            digest = digest.and_bytes(&x.to_le_bytes());
            squares += (x * x) as f64;
        }
        let measured = squares / SAMPLES as f64 / variance;
        // Five deviations of a chi-square of 400, and more of one with heavier tails.
        if (0.5..2.0).contains(&measured) { Ok(digest) } else { Err("a sampler's variance is off") }
    };
    for (what, deviation) in [("gaussian of 0.7", 0.7), ("gaussian of 12.5", 12.5), ("gaussian of 65536", 65_536.0)] {
        let variance = Variance::of_deviation(deviation).map_err(|_| "a deviation")?;
        let sampler = DiscreteGaussian::new(variance);
        bench.digest(what, of(&mut |words| sampler.sample(words), variance.get())?);
    }
    let variance = Variance::of_deviation(5.5).map_err(|_| "a deviation")?;
    let skellam = Skellam::new(variance).map_err(|_| "a deviation")?;
    bench.digest("skellam of 5.5", of(&mut |words| skellam.sample(words), variance.get())?);
    let laplace = DiscreteLaplace::new(NonZeroU32::new(20).ok_or("no scale")?, NonZeroU32::new(3).ok_or("no scale")?);
    bench.digest("laplace of 20/3", of(&mut |words| laplace.sample(words), 2.0 * 400.0 / 9.0)?);
    Ok(())
}

const SAMPLES: usize = 400;

fn rotation(bench: &mut Bench<'_>) -> Outcome {
    let mut pieces = Pieces(&mut *bench.arena);
    let values = pieces.take::<f32>(1024)?;
    let mut numbers = Numbers(12);
    values.iter_mut().for_each(|v| *v = numbers.next_f32());
    let first = values[0];
    rotate(values, 3, 9);
    let rotated = Digest::f32s(values);
    rotate_back(values, 3, 9);
    if (values[0] - first).abs() > 1e-5 {
        return Err("it does not come back");
    }
    let back = Digest::f32s(values);
    bench.digest("rotated", rotated);
    bench.digest("back", back);
    Ok(())
}
