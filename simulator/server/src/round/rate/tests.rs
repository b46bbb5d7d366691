//! The controller on made-up rate curves.

use super::*;
use crate::round::{AdaptiveClip, Close, Optimizer, Pruning, Selection};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use siskin::checkin::{Privacy, Quantization, Training, Upload, Weighting};

fn settings(rate: Rate, noise_multiplier: f32, cohort: u32) -> Settings {
    Settings {
        population: "t".parse().unwrap(),
        cohort,
        cohort_cap: None,
        over_selection: 1.0,
        min_fraction: 0.0,
        deadline_ms: 1,
        selection: Selection::Fixed,
        close: Close::Deadline,
        training: Training::sgd(1, 1, 0.1),
        privacy: Privacy { noise_multiplier, ..Privacy::new(1.0, Profile::Central) },
        adaptive: AdaptiveClip::default(),
        noise: crate::privacy::Noise::Independent,
        quantization: Quantization { step: 0.05, rounding: Rounding::Stochastic, keep: 1.0 },
        rate,
        upload: Upload { weighting: Weighting::Uniform, max_bytes: 100_000, probe: 0, start: 0 },
        starts: false,
        value_step: 0.0,
        optimizer: Optimizer::FedAvg(Default::default()),
        pruning: Pruning::at_once(0.0),
        dp_delta: 1e-5,
    }
}

fn bits(bits: f64) -> Rate {
    Rate::Bits(Budget { bits, keep: None })
}

/// A fleet whose bits a coordinate are a bent line in the controller's own coordinates, and a few bytes more.
#[derive(Debug, Clone, Copy)]
struct Curve {
    slope: f64,
    bend: f64,
    /// Root mean square of a delta over the clip norm, and what it is multiplied by each round.
    rms: f64,
    growth: f64,
    /// Relative deviation of one report's size.
    spread: f64,
}

const LIVE: usize = 4000;

impl Curve {
    fn bits(&self, ratio: f64, round: u32) -> f64 {
        let x = (ratio / (self.rms * self.growth.powi(round as i32))).ln();
        let y = 0.3 - self.slope * x - self.bend * x * x.abs() / 4.0;
        y.exp().ln_1p() / LN_2 + 24.0 / LIVE as f64
    }
}
use std::f64::consts::LN_2;

fn uniform(rng: &mut ChaCha20Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// What reports have in the mean, round by round; `reports` of each round.
fn played(settings: &Settings, curve: Curve, seed: u64, reports: &[u32]) -> Vec<f64> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut settings = settings.clone();
    settings.check(100_000).unwrap();
    settings.quantization.keep = settings.rate.first_part(&settings);
    let mut state = RateState::new(&settings);
    let mut all = Vec::new();
    for (round, &reports) in reports.iter().enumerate() {
        let ratio = f64::from(settings.quantization.step) / f64::from(settings.privacy.clip_norm);
        let expected = curve.bits(ratio, round as u32) * f64::from(settings.quantization.keep);
        all.push(expected);
        let mut sizes = Sizes::new(&settings, LIVE, state.is_first());
        for _ in 0..reports {
            // Uniform, of this deviation.
            let size = expected * (1.0 + curve.spread * 3f64.sqrt() * (2.0 * uniform(&mut rng) - 1.0));
            sizes.add((size * LIVE as f64 / 8.0).round() as usize, &[]);
        }
        state.follow(&settings, &sizes, &Trial::default(), &mut rng);
        settings.quantization.keep = state.part().unwrap_or(settings.quantization.keep);
        let next = state.ratio(&settings, round as u32 + 1).unwrap();
        settings.quantization.step = (next * f64::from(settings.privacy.clip_norm)) as f32;
    }
    all
}

fn curve() -> impl Strategy<Value = Curve> {
    (0.6f64..1.1, -0.04f64..0.04, -2.0f64..0.5, 0.98f64..1.02, 0.02f64..0.4).prop_map(
        |(slope, bend, rms, growth, spread)| Curve { slope, bend, rms: 0.02 * 10f64.powf(rms), growth, spread },
    )
}

proptest! {
    /// From round 5 on within a tenth of the budget, whatever the curve and wherever it starts: in at least 9 rounds of 10 where sizes
    /// of a round are off by up to 4 % by chance and deltas shrink or grow by up to 2 % a round, and in the mean. (The controller runs behind
    /// deltas that grow steadily, by about 1.4 times what they grow in a round: by 6 % where that is 4 %, which leaves chance too little.)
    #[test]
    fn the_budget_is_held(curve in curve(), target in 0.03f64..4.0, seed in any::<u64>()) {
        let all = played(&settings(bits(target), 0.0, 100), curve, seed, &[100; 40]);
        let off: Vec<f64> = all.iter().map(|b| (b / target - 1.0).abs()).collect();
        let outside = off[4..].iter().filter(|off| **off > 0.1).count();
        prop_assert!(outside <= 3 && off[4..].iter().all(|off| *off < 0.25), "{:?}", all);
        let mean = all[4..].iter().sum::<f64>() / 36.0;
        prop_assert!((mean / target - 1.0).abs() < 0.07, "{} {:?}", mean, all);
    }

    /// Rounds without reports or with few of them: it never runs away, and comes back.
    #[test]
    fn few_reports_and_none(curve in curve(), target in 0.03f64..4.0, seed in any::<u64>()) {
        let mut rng = ChaCha20Rng::seed_from_u64(!seed);
        let reports: Vec<u32> = (0..60).map(|round| match rng.next_u32() % 4 {
            _ if round < 4 => 30,
            0 => 0,
            1 => 2,
            _ => 30,
        }).collect();
        let curve = Curve { growth: curve.growth.sqrt(), ..curve };
        let all = played(&settings(bits(target), 0.0, 30), curve, seed, &reports);
        let near = all[4..].iter().filter(|b| (*b / target - 1.0).abs() < 0.2).count();
        prop_assert!(near >= 45, "{:?}", all);
        prop_assert!(all[4..].iter().all(|b| *b < 2.5 * target && *b > target / 2.5), "{:?}", all);
    }

    /// Through noise: the mean is the budget.
    #[test]
    fn noised_sizes_hold_it_too(curve in curve(), target in 0.3f64..2.0, seed in any::<u64>()) {
        // A bounded report is not a part of this: the curve stays where steps are below the clip norm.
        let curve = Curve { rms: 0.01, ..curve };
        let all = played(&settings(bits(target), 2.0, 500), curve, seed, &[500; 60]);
        let late = &all[4..];
        let mean = late.iter().sum::<f64>() / late.len() as f64;
        prop_assert!((mean / target - 1.0).abs() < 0.1, "{} {:?}", mean, all);
        prop_assert!(late.iter().filter(|b| (*b / target - 1.0).abs() < 0.15).count() >= 50, "{:?}", all);
    }
}

#[test]
fn a_lie_of_few_moves_little() {
    let curve = Curve { slope: 0.8, bend: 0.0, rms: 0.002, growth: 1.0, spread: 0.2 };
    let s = settings(bits(0.5), 0.0, 100);
    let mut state = RateState::new(&s);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut s = s;
    for round in 0..30 {
        let mut sizes = Sizes::new(&s, LIVE, state.is_first());
        let honest = curve.bits(f64::from(s.quantization.step), round);
        (0..98).for_each(|_| sizes.add((honest * LIVE as f64 / 8.0) as usize, &[]));
        (0..2).for_each(|_| sizes.add(100_000, &[]));
        state.follow(&s, &sizes, &Trial::default(), &mut rng);
        s.quantization.step = state.ratio(&s, round + 1).unwrap() as f32;
    }
    let honest = curve.bits(f64::from(s.quantization.step), 30);
    // Two count for four budgets each.
    assert!((0.5 * 0.92..0.5).contains(&honest), "{honest}");
}

/// Noise on the sum that hides a step which is far too coarse must not keep the controller from leaving it.
#[test]
fn noised_sizes_lead_out_of_a_step_that_is_too_coarse() {
    let mut s = settings(bits(0.03), 2.0, 500);
    s.quantization.step = 0.9;
    let mut state = RateState::new(&s);
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let mut all = Vec::new();
    for round in 0..40 {
        // As the square of the step: of a report that is cut to its bound.
        let expected = 0.004 / f64::from(s.quantization.step).powi(2);
        all.push(expected);
        let mut sizes = Sizes::new(&s, LIVE, state.is_first());
        (0..500).for_each(|_| sizes.add((expected * LIVE as f64 / 8.0).round() as usize, &[]));
        state.follow(&s, &sizes, &Trial::default(), &mut rng);
        s.quantization.step = state.ratio(&s, round + 1).unwrap() as f32;
    }
    assert!(all[4..].iter().all(|b| (b / 0.03 - 1.0).abs() < 0.25), "{all:?}");
}

#[test]
fn reports_that_were_too_large_count() {
    let s = settings(bits(0.5), 0.0, 100);
    let mut sizes = Sizes::new(&s, LIVE, false);
    assert_eq!(sizes.mean(), None);
    sizes.abandoned(3);
    assert_eq!(sizes.mean(), None);
    sizes.abandoned(8);
    assert_eq!(sizes.mean().unwrap().0, 2.0);
}

#[test]
fn the_order_of_reports_is_none() {
    let s = settings(bits(0.5), 0.0, 100);
    let sizes = |order: &[usize]| {
        let mut sizes = Sizes::new(&s, LIVE, false);
        order.iter().for_each(|bytes| sizes.add(*bytes, &[(0, *bytes as i32)]));
        sizes
    };
    assert_eq!(sizes(&[1, 250, 77, 3000]), sizes(&[3000, 77, 1, 250]));
}

/// For a Laplace source the slope is known from the curves of bits and error: the step that is found has it.
#[test]
fn the_slope_is_held() {
    // Uniform magnitudes below a step: E|q| = m / step, D = step m - m^2 per coordinate; bits as the inverse of the step.
    let (mean, wanted) = (0.001f64, 2e-6f64);
    let mut s = settings(Rate::Slope(wanted), 0.0, 50);
    let mut state = RateState::new(&s);
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let mut last = Followed { bits: None, slope: None };
    let bits = |step: f64| 3.0 * mean / step;
    for round in 0..40 {
        let step = f64::from(s.quantization.step);
        let mut sizes = Sizes::new(&s, LIVE, false);
        for _ in 0..50 {
            sizes.add(
                (bits(step) * LIVE as f64 / 8.0).round() as usize,
                &[(0, (mean / step * LIVE as f64).round() as i32)],
            );
        }
        last = state.follow(&s, &sizes, &Trial::default(), &mut rng);
        s.quantization.step = state.ratio(&s, round + 1).unwrap() as f32;
    }
    assert!((last.slope.unwrap() / wanted - 1.0).abs() < 0.1, "{last:?}");
    // dD / dR = step^2 / 3 here, bits being 3 mean / step.
    let step = f64::from(s.quantization.step);
    assert!((step * step / 3.0 / wanted - 1.0).abs() < 0.3, "{step}");
}

#[test]
fn a_part_travels_where_the_server_may_choose() {
    let first = |rate: Rate, noise| {
        let s = settings(rate, noise, 10);
        (rate.first_part(&s), RateState::new(&s).part())
    };
    assert_eq!(first(bits(0.05), 0.0), (0.1, Some(0.1)));
    assert_eq!(first(bits(2.0), 0.0), (1.0, Some(1.0)));
    assert_eq!(first(bits(0.05), 1.0), (1.0, None));
    assert_eq!(first(Rate::Bits(Budget { bits: 0.01, keep: Some(1.0) }), 0.0), (1.0, None));
    assert_eq!(first(Rate::Bits(Budget { bits: 1.0, keep: Some(0.5) }), 0.0), (0.5, None));
    assert_eq!(first(Rate::Fixed, 0.0), (1.0, None));
    let mut s = settings(bits(0.05), 0.0, 10);
    s.quantization.rounding = Rounding::Nearest;
    assert_eq!(
        (s.rate.first_part(&s), RateState::new(&s).part()),
        (1.0, None),
        "halves are unbiased of stochastic rounding only"
    );
}

/// The product of bits and squares as reports of a made-up source say it: least at `best` octaves from where it begins.
#[test]
fn step_and_part_come_to_where_bits_say_most() {
    let budget = 0.02;
    for best in [-4.0, -1.0, 0.0, 2.0, 3.5f64] {
        let mut s = settings(bits(budget), 0.0, 50);
        let start = f64::from(s.quantization.step);
        s.quantization.keep = s.rate.first_part(&s);
        let mut state = RateState::new(&s);
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        for round in 0..25 {
            let octaves = libm::log2(f64::from(s.quantization.step) / start);
            // 0.4 bits there, less by a third for each octave; the product is a parabola.
            let rate = |octaves: f64| 0.4 * 0.67f64.powf(octaves - best);
            let product = |octaves: f64| libm::exp2(0.08 * (octaves - best).powi(2));
            let report = rate(octaves) * f64::from(s.quantization.keep);
            if round >= 4 {
                assert!((report / budget - 1.0).abs() < 0.1, "{best}, round {round}: {report}");
            }
            let mut sizes = Sizes::new(&s, LIVE, state.is_first());
            (0..50).for_each(|_| sizes.add((report * LIVE as f64 / 8.0).round() as usize, &[]));
            let ratio = product(octaves + 1.0) / product(octaves) * rate(octaves) / rate(octaves + 1.0);
            let trial = Trial::of([1e6 * rate(octaves), 1e6 * rate(octaves + 1.0)], [1e9, 1e9 * ratio / 4.0]);
            state.follow(&s, &sizes, &trial, &mut rng);
            s.quantization.step = state.ratio(&s, round + 1).unwrap() as f32;
            s.quantization.keep = state.part().unwrap();
        }
        let octaves = libm::log2(f64::from(s.quantization.step) / start);
        assert!((octaves - best).abs() < 0.3, "{octaves}, not {best}");
        assert!(
            (f64::from(s.quantization.keep) / (budget / 0.4) - 1.0).abs() < 0.25,
            "{best}: {}",
            s.quantization.keep
        );
    }
    // With bits for all, all travel, whatever the product says.
    let mut s = settings(bits(3.0), 0.0, 50);
    let mut state = RateState::new(&s);
    let mut sizes = Sizes::new(&s, LIVE, true);
    (0..50).for_each(|_| sizes.add(3 * LIVE / 8, &[]));
    state.follow(&s, &sizes, &Trial::of([2e6, 1e6], [1e9, 3e8]), &mut ChaCha20Rng::seed_from_u64(3));
    s.quantization.keep = state.part().unwrap();
    assert_eq!(s.quantization.keep, 1.0);
}

/// A clip norm that nothing comes near, and a step in proportion: where so few symbols are not zero, the product falls by the same little
/// for each halving of the step, however many are to come.
#[test]
fn a_step_that_is_far_too_coarse_is_left_in_a_few_rounds() {
    let budget = 0.02;
    let mut s = settings(bits(budget), 0.0, 50);
    s.quantization.keep = s.rate.first_part(&s);
    let mut state = RateState::new(&s);
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    for round in 0..6 {
        // Twelve octaves above 0.6 bits.
        let octaves = libm::log2(f64::from(s.quantization.step) / 0.05) + 12.0;
        let rate = |octaves: f64| 0.6 * 0.6f64.powf(octaves);
        let report = rate(octaves) * f64::from(s.quantization.keep);
        let mut sizes = Sizes::new(&s, LIVE, state.is_first());
        (0..50).for_each(|_| sizes.add((report * LIVE as f64 / 8.0).ceil() as usize, &[]));
        let trial = Trial::of([1e6, 1e6 * 0.6], [1e9, 1e9 * 1.1 / 0.6 / 4.0]);
        state.follow(&s, &sizes, &trial, &mut rng);
        s.quantization.step = state.ratio(&s, round + 1).unwrap() as f32;
        s.quantization.keep = state.part().unwrap();
        if round >= 4 {
            let bits = rate(libm::log2(f64::from(s.quantization.step) / 0.05) + 12.0);
            assert!(LIKELY_BITS.contains(&bits), "round {round}: {bits} bits a coordinate that travels");
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let error = |rate, change: fn(&mut Settings)| {
        let mut s = settings(rate, 1.0, 10);
        change(&mut s);
        s.check(1000).unwrap_err().to_string()
    };
    let distributed = |s: &mut Settings| {
        let noise = siskin::checkin::ShareNoise::DiscreteGaussian;
        let shared = siskin::checkin::Distributed { shares: 10, bits: 16, noise, rotation: 0 };
        s.privacy.profile = Profile::Distributed(shared);
    };
    assert!(error(bits(0.1), distributed).contains("distributed profile"));
    assert!(error(bits(0.1), |s| s.privacy.profile = Profile::Local).contains("at least 3.1"));
    assert!(error(Rate::Slope(1.0), |_| ()).contains("with noise"));
    assert!(error(bits(0.0), |_| ()).contains("bits per param is 0"));
    assert!(error(bits(f64::NAN), |_| ()).contains("NaN"));
    let part = Rate::Bits(Budget { bits: 0.1, keep: Some(0.5) });
    assert!(error(part, |_| ()).contains("keep is 0.5"));
    let clipping = |s: &mut Settings| s.privacy.clipping = siskin::checkin::Clipping::Examples { norm: 1.0 };
    assert!(error(bits(0.1), clipping).contains("examples are clipped"));
    let schedule = Rate::Schedule(StepSchedule::Halving { every: 10, least: 0.1 });
    settings(schedule, 1.0, 10).check(1000).unwrap();
}

#[test]
fn noise_of_sizes_is_a_half_percent() {
    let s = settings(bits(0.1), 2.0, 10);
    // 1 / z^2 + 1 / (10 z)^2 of what is left.
    let left = 2.0 * s.noise_beside_sizes();
    assert!((1.0 / (left * left) - (1.0 / 4.0 + 1.0 / 400.0)).abs() < 1e-12);
    assert_eq!(settings(bits(0.1), 0.0, 10).noise_beside_sizes(), 1.0);
    assert_eq!(settings(Rate::Fixed, 2.0, 10).noise_beside_sizes(), 1.0);
}

/// Of the least budget and a large model, a plan that a device takes.
#[test]
fn the_least_part_of_signs_is_one_that_a_plan_may_have() {
    let mut s = settings(bits(1e-4), 0.0, 10);
    s.quantization.rounding = Rounding::Rotated;
    s.lay_signs(1 << 21);
    assert_eq!(f64::from(s.quantization.keep), LEAST_PART);
    s.lay_signs(1000);
    assert_eq!(f64::from(s.quantization.keep), 1.0 / 1024.0);
}
