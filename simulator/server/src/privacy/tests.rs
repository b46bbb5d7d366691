//! The noise is what it says, and cannot be avoided.

use super::*;
use crate::aggregate::{Closed, NormBound, Sum, SumPlan};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// Two-sided normal quantile of alpha = 1e-6: each statistical test below fails a correct sampler once in a million
/// seeds. The seeds are fixed, so that a failure is a change of code and not of luck.
const Z: f64 = 4.892;

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn promised(live: usize, noise_multiplier: f64, clip_norm: f32, step: f32, max_weight: u32) -> PromisedSum {
    let bound = NormBound::new(clip_norm, step).unwrap();
    let plan = SumPlan::new(bound, max_weight).unwrap().with_noise(NoiseMultiplier::new(noise_multiplier).unwrap());
    match Sum::new(live, plan).close() {
        Closed::Promised(sum) => sum,
        Closed::Plain(_) => panic!("the plan promised noise"),
    }
}

/// The noise alone, in standard deviations as the plan defines them.
fn standardised(n: usize, seed: u64) -> Vec<f64> {
    let (noise_multiplier, clip_norm, step, max_weight) = (0.7, 1.5, 0.01, 3);
    let sum = promised(n, noise_multiplier, clip_norm, step, max_weight).noise(&mut rng(seed)).unwrap();
    let sigma = noise_multiplier * f64::from(clip_norm) * f64::from(max_weight);
    sum.values().iter().map(|&v| v as f64 * f64::from(step) / 65536.0 / sigma).collect()
}

#[test]
fn mean_and_variance() {
    let n = 200_000;
    let x = standardised(n, 1);
    let mean = x.iter().sum::<f64>() / n as f64;
    assert!(mean.abs() < Z / (n as f64).sqrt(), "mean {mean}");
    // Sum of squares is chi-square with n degrees of freedom, normal for such n: mean n, variance 2n.
    let chi_square = x.iter().map(|v| v * v).sum::<f64>();
    let z = (chi_square - n as f64) / (2.0 * n as f64).sqrt();
    assert!(z.abs() < Z, "chi-square {chi_square}, z {z}");
    // Fourth moment 3, whose estimate has variance 96 / n: the tails are there.
    let fourth = x.iter().map(|v| v.powi(4)).sum::<f64>() / n as f64;
    assert!((fourth - 3.0).abs() < Z * (96.0 / n as f64).sqrt(), "fourth moment {fourth}");
}

#[test]
fn shape_is_normal() {
    // Kolmogorov-Smirnov: P(sqrt(n) D > 2.693) = 2 exp(-2 * 2.693^2) = 1e-6.
    let n = 50_000;
    let mut x = standardised(n, 2);
    x.sort_by(f64::total_cmp);
    let distance = x.iter().enumerate().fold(0.0f64, |worst, (i, &v)| {
        let below = 0.5 * libm::erfc(-v / std::f64::consts::SQRT_2);
        worst.max((below - i as f64 / n as f64).abs()).max(((i + 1) as f64 / n as f64 - below).abs())
    });
    assert!(distance * (n as f64).sqrt() < 2.693, "distance {distance}");
}

#[test]
fn coordinates_are_uncorrelated() {
    // Lags 1 (the two deviates of a pair) and 2 (neighbouring pairs), of the deviates and of their squares; each
    // correlation is about N(0, 1/n) when they are independent.
    let n = 200_000;
    let x = standardised(n, 3);
    let squares: Vec<f64> = x.iter().map(|v| (v * v - 1.0) / std::f64::consts::SQRT_2).collect();
    for series in [&x, &squares] {
        for lag in [1, 2] {
            let r = series.iter().zip(&series[lag..]).map(|(a, b)| a * b).sum::<f64>() / n as f64;
            assert!(r.abs() < Z / (n as f64).sqrt(), "lag {lag}: {r}");
        }
    }
}

#[test]
fn deterministic_given_the_generator() {
    let noise = |seed| promised(9, 1.0, 1.0, 0.1, 1).noise(&mut rng(seed)).unwrap().values().to_vec();
    assert_eq!(noise(4), noise(4));
    assert_ne!(noise(4), noise(5));
}

#[test]
fn noise_is_added_to_the_sum() {
    let bound = NormBound::new(1.0, 0.125).unwrap();
    let noise = NoiseMultiplier::new(1e-3).unwrap();
    let mut sum = Sum::new(3, SumPlan::new(bound, 1).unwrap().with_noise(noise));
    sum.add([(0, 8)], 1).unwrap();
    sum.add([(2, -4)], 1).unwrap();
    let Closed::Promised(promised) = sum.close() else { panic!("the plan promised noise") };
    assert_eq!(promised.counts().reports, 2);
    assert!(!format!("{promised:?}").contains(&(8i64 << 16).to_string()), "the sum is printed");
    let noised = promised.noise(&mut rng(6)).unwrap();
    let applied = noised.applied();
    assert_eq!((applied.noise_multiplier, applied.clip_norm, applied.max_weight), (1e-3, 1.0, 1));
    assert_eq!((applied.sigma, applied.coordinates), (1e-3, 3));
    let mean = noised.mean(NonZeroU64::new(2).unwrap());
    for (got, exact) in mean.iter().zip([0.5, 0.0, -0.25]) {
        assert!(*got != exact && (got - exact).abs() < 0.005, "{mean:?}");
    }
}

#[test]
fn refuses_what_is_no_noise() {
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(NoiseMultiplier::new(bad), Err(NoiseError::Multiplier { .. })));
    }
    assert!(serde_json::from_str::<NoiseMultiplier>("-1.0").is_err());
    let huge = promised(1, 1e6, 1.0, 1e-12, 1);
    assert!(matches!(huge.noise(&mut rng(0)), Err(NoiseError::TooLarge { .. })));
}

/// All ones and all zeros: the ends of the range of the radius.
struct Constant(u64);
impl rand_core::TryRng for Constant {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.0 as u32)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.0)
    }
    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Self::Error> {
        to.fill(self.0 as u8);
        Ok(())
    }
}
impl rand_core::TryCryptoRng for Constant {}

#[test]
fn extreme_random_bits_give_finite_deviates() {
    for (bits, largest) in [(0, 9.42), (u64::MAX, 0.0)] {
        let mut constant = Constant(bits);
        assert_eq!(constant.next_u64(), bits);
        let mut deviates = Gaussian::new(&mut constant);
        for _ in 0..4 {
            let deviate = deviates.sample();
            assert!(deviate.abs() <= largest, "{bits:x}: {deviate}");
        }
    }
}

/// The same stream by the definition and the platform's own functions, which may differ from ours in the last bits; and
/// our bits themselves, which must be the same on every platform, or a resumed server would go on with other params.
#[test]
fn deviates_do_not_depend_on_the_platform() {
    let (mut generator, mut words) = (rng(7), rng(7));
    let mut deviates = Gaussian::new(&mut generator);
    let mut word = || words.next_u64();
    let mut bits = Vec::new();
    for _ in 0..2 {
        let radius = (-2.0 * ((word() as f64 + 1.0) / 2f64.powi(64)).ln()).sqrt();
        let angle = std::f64::consts::TAU * ((word() >> 11) as f64 / 2f64.powi(53));
        for expected in [radius * angle.cos(), radius * angle.sin()] {
            let got = deviates.sample();
            assert!((got - expected).abs() < 1e-14, "{got} for {expected}");
            bits.push(got.to_bits());
        }
    }
    assert_eq!(bits, [13836582282866125526, 13826874407621366300, 13812832917831638960, 4599231036400763078]);
}
