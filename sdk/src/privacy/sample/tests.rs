//! Against the exact probabilities, with fixed seeds. A two-sided level of 0.001 is 3.29 deviations of a normal variable.

use super::skellam::poisson;
use super::*;
use core::num::NonZeroU32;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::vec::Vec;

const LEVEL: f64 = 3.29;
const SAMPLES: usize = 200_000;

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// What a chi-square variable of so many degrees of freedom exceeds with probability 0.001 (Wilson & Hilferty 1931).
fn limit(freedom: f64) -> f64 {
    let spread = 2.0 / (9.0 * freedom);
    freedom * (1.0 - spread + 3.09 * spread.sqrt()).powi(3)
}

/// Compares samples with `weight` (unnormalised) over `-reach..=reach`: chi-square of the cells that expect at least ten,
/// the rest of each side in one cell; then mean, variance and the mass of both tails beyond two deviations.
fn fits(name: &str, samples: &[i64], reach: i64, weight: impl Fn(i64) -> f64) {
    let weights: Vec<f64> = (-reach..=reach).map(&weight).collect();
    let total: f64 = weights.iter().sum();
    let pmf: Vec<f64> = weights.iter().map(|w| w / total).collect();
    let n = samples.len() as f64;
    let mut counts = std::vec![0.0; pmf.len()];
    for &x in samples {
        assert!(x.abs() <= reach, "{name}: {x} is beyond what the test looks at");
        counts[(x + reach) as usize] += 1.0;
    }
    let (mut chi, mut cells, mut rare, mut rare_seen) = (0.0, 0.0, 0.0, 0.0);
    for (&p, &seen) in pmf.iter().zip(&counts) {
        if n * p >= 10.0 {
            chi += (seen - n * p).powi(2) / (n * p);
            cells += 1.0;
        } else {
            (rare, rare_seen) = (rare + n * p, rare_seen + seen);
        }
    }
    if rare > 5.0 {
        chi += (rare_seen - rare).powi(2) / rare;
        cells += 1.0;
    }
    assert!(cells < 2.0 || chi < limit(cells - 1.0), "{name}: chi-square {chi} of {}", cells - 1.0);

    let moment = |k: i32| pmf.iter().enumerate().map(|(i, p)| p * ((i as i64 - reach) as f64).powi(k)).sum::<f64>();
    let seen = |k: i32| samples.iter().map(|x| (*x as f64).powi(k)).sum::<f64>() / n;
    let (mean, square, fourth) = (moment(1), moment(2), moment(4));
    let off = (seen(1) - mean) / ((square - mean * mean) / n).sqrt();
    assert!(off.abs() < LEVEL, "{name}: mean off by {off} deviations");
    let off = (seen(2) - square) / ((fourth - square * square) / n).sqrt();
    assert!(off.abs() < LEVEL, "{name}: second moment off by {off} deviations");
    // Neighbours are equal as often as independence says, and have no correlation.
    let alike: f64 = pmf.iter().map(|p| p * p).sum();
    let equal = samples.windows(2).filter(|w| w[0] == w[1]).count() as f64;
    let off = (equal - n * alike) / (n * alike * (1.0 - alike)).sqrt();
    assert!(off < 2.0 * LEVEL, "{name}: equal neighbours off by {off} deviations");
    let lag: f64 = samples.windows(2).map(|w| (w[0] as f64 - mean) * (w[1] as f64 - mean)).sum();
    let off = lag / (square - mean * mean) / n.sqrt();
    assert!(off.abs() < LEVEL, "{name}: lag off by {off} deviations");
    let far = (2.0 * square.sqrt()) as i64;
    let tail: f64 = pmf.iter().enumerate().filter(|(i, _)| (*i as i64 - reach).abs() > far).map(|(_, p)| p).sum();
    let beyond = samples.iter().filter(|x| x.abs() > far).count() as f64;
    let off = (beyond - n * tail) / (n * tail * (1.0 - tail)).sqrt();
    assert!(n * tail < 10.0 || off.abs() < LEVEL, "{name}: tails off by {off} deviations");
}

#[test]
fn uniform_integers_fill_their_range_evenly() {
    let mut words = rng(1);
    for n in [1u128, 2, 3, 7, 1000] {
        let mut counts = std::vec![0f64; n as usize];
        (0..50_000).for_each(|_| counts[below(n, &mut words) as usize] += 1.0);
        let expected = 50_000.0 / n as f64;
        let chi: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
        assert!(n == 1 || chi < limit(n as f64 - 1.0), "{n}: {chi}");
    }
    // Ranges of more than a word: the upper half is hit half of the time.
    for n in [(1u128 << 64) + 12_345, (3u128 << 100) + 1, u128::MAX] {
        let high = (0..20_000).filter(|_| below(n, &mut words) >= n / 2).count() as f64;
        assert!(((high - 10_000.0) / 5000f64.sqrt()).abs() < LEVEL, "{n}: {high}");
    }
    assert_eq!(below(0, &mut words), 0);
}

#[test]
fn coins_have_their_probability() {
    let mut words = rng(2);
    let n = 50_000;
    for (a, b) in [(0u128, 1u128), (1, 1000), (1, 3), (1, 1), (5, 2), (9, 2), (7 << 90, 4 << 90)] {
        let p = (-(a as f64) / b as f64).exp();
        let seen = (0..n).filter(|_| bernoulli_exp(a, b, &mut words)).count() as f64;
        let deviation = (f64::from(n) * p * (1.0 - p)).sqrt();
        assert!((seen - f64::from(n) * p).abs() <= LEVEL * deviation, "exp(-{a}/{b}): {seen}");
    }
    assert!(bernoulli(3, 2, &mut words) && !bernoulli(0, 2, &mut words));
}

#[test]
fn laplace_has_its_distribution() {
    for (t, s) in [(1, 1), (5, 1), (7, 3), (1, 2), (40, 1)] {
        let sampler = DiscreteLaplace::new(NonZeroU32::new(t).unwrap(), NonZeroU32::new(s).unwrap());
        let mut words = rng(3);
        let samples: Vec<i64> = (0..SAMPLES).map(|_| sampler.sample(&mut words)).collect();
        let rate = f64::from(s) / f64::from(t);
        fits(&std::format!("laplace {t}/{s}"), &samples, (30.0 / rate) as i64, |x| (-(x.abs() as f64) * rate).exp());
    }
}

#[test]
fn gaussian_has_its_distribution() {
    for (i, deviation) in [0.05, 0.5, 1.0, 1.8, 10.0, 123.4].into_iter().enumerate() {
        let variance = Variance::of_deviation(deviation).unwrap();
        let sampler = DiscreteGaussian::new(variance);
        let mut words = rng(10 + i as u8);
        let samples: Vec<i64> = (0..SAMPLES).map(|_| sampler.sample(&mut words)).collect();
        fits(&std::format!("gaussian {deviation}"), &samples, (12.0 * deviation) as i64 + 3, |x| {
            (-(x as f64).powi(2) / (2.0 * variance.get())).exp()
        });
    }
}

/// The largest deviation: no product overflows (tests check), and the variance is right.
#[test]
fn the_widest_gaussian_works() {
    let sampler = DiscreteGaussian::new(Variance::of_deviation(MAX_DEVIATION).unwrap());
    let mut words = rng(20);
    let n = 20_000;
    let chi: f64 = (0..n).map(|_| (sampler.sample(&mut words) as f64 / MAX_DEVIATION).powi(2)).sum();
    assert!(((chi - f64::from(n)) / (2.0 * f64::from(n)).sqrt()).abs() < LEVEL, "{chi}");
    // The worst ratio that is allowed: both numbers at their limit.
    let sampler = DiscreteGaussian::new(Variance::of_ratio(1 << 33, 1 << 40).unwrap());
    assert!((0..1000).all(|_| sampler.sample(&mut words).abs() <= 2));
}

fn poisson_pmf(mean: f64, most: usize) -> Vec<f64> {
    let mut pmf = std::vec![(-mean).exp()];
    for k in 1..=most {
        pmf.push(pmf[k - 1] * mean / k as f64);
    }
    pmf
}

#[test]
fn poisson_and_skellam_have_their_distribution() {
    for (i, (a, b)) in [(1u128, 10u128), (1, 1), (7, 3), (40, 1)].into_iter().enumerate() {
        let mut words = rng(30 + i as u8);
        let samples: Vec<i64> = (0..SAMPLES).map(|_| poisson(a, b, &mut words)).collect();
        let pmf = poisson_pmf(a as f64 / b as f64, 200);
        fits(&std::format!("poisson {a}/{b}"), &samples, 200, |k| if k < 0 { 0.0 } else { pmf[k as usize] });
    }
    for (i, deviation) in [0.3, 1.0, 3.7].into_iter().enumerate() {
        let variance = Variance::of_deviation(deviation).unwrap();
        let sampler = Skellam::new(variance).unwrap();
        let mut words = rng(40 + i as u8);
        let samples: Vec<i64> = (0..SAMPLES).map(|_| sampler.sample(&mut words)).collect();
        let pmf = poisson_pmf(variance.get() / 2.0, 120);
        fits(&std::format!("skellam {deviation}"), &samples, 60, |x| {
            (0..=60).map(|k| pmf[k] * pmf.get(k + x.unsigned_abs() as usize).copied().unwrap_or(0.0)).sum()
        });
    }
}

#[test]
fn deviations_out_of_range_are_refused_with_numbers() {
    for got in [0.0, -1.0, f64::NAN, f64::INFINITY, MAX_DEVIATION * 1.000_001] {
        let error = Variance::of_deviation(got).unwrap_err();
        assert_eq!((error.limit, error.got.to_bits()), (MAX_DEVIATION, got.to_bits()));
    }
    let wide = Variance::of_deviation(65.0).unwrap();
    assert_eq!(Skellam::new(wide).unwrap_err().limit, MAX_SKELLAM_DEVIATION);
    assert!(Skellam::new(Variance::of_deviation(64.0).unwrap()).is_ok());
    assert_eq!(
        (Variance::of_ratio(0, 1), Variance::of_ratio(1, 0), Variance::of_ratio(1 << 34, 1)),
        (None, None, None)
    );
}

proptest! {
    #[test]
    fn a_variance_is_rounded_up_by_little(deviation in prop_oneof![1e-3f64..2.0, 1.0..65_536.0, 1e-9..1e-3]) {
        let variance = Variance::of_deviation(deviation).unwrap();
        prop_assert!(variance.get() >= deviation * deviation);
        if deviation >= 1e-3 {
            prop_assert!(variance.get() <= deviation * deviation * (1.0 + 2f64.powi(-19)));
        }
        prop_assert!(Variance::of_ratio(variance.numerator(), variance.denominator()).is_some());
    }
}

/// What the samplers make of a seed is part of a report: any change is seen here.
#[test]
fn samples_of_a_seed_do_not_change() {
    let mut words = rng(7);
    let gaussian = DiscreteGaussian::new(Variance::of_deviation(10.0).unwrap());
    let samples: Vec<i64> = (0..8).map(|_| gaussian.sample(&mut words)).collect();
    let skellam = Skellam::new(Variance::of_deviation(10.0).unwrap()).unwrap();
    let more: Vec<i64> = (0..8).map(|_| skellam.sample(&mut words)).collect();
    assert_eq!(
        (&samples[..], &more[..]),
        (&[-11, -11, 8, 8, 8, -24, -1, 1][..], &[-13, 9, -1, 4, -10, -15, 1, -1][..])
    );
}
