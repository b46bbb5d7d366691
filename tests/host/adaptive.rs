//! The clip norm goes where the norms of the deltas are.

use crate::device::{Played, play};
use crate::problem::{Examples, chain, config, distributed, rng, server, settings};
use siskin::checkin::{
    Clipping, LayerSpec, ModelSpec, Path, Policy, PolicyViolation, Privacy, Profile, Quantization, Rounding,
    ShareNoise, Storage, Training,
};
use siskin::session::{Config, Outcome};
use siskin_accounting::correlated::{Participation, Tree};
use siskin_server::optim::FedAvgConfig;
use siskin_server::privacy::Noise;
use siskin_server::round::{AdaptiveClip, Optimizer, Round, Server, Settings, bit_share};

const DEVICES: u64 = 21;
const FRAME: usize = 1024;

/// 16 inputs, 4 classes, no bias: of one example and one step, the delta is as long as the example, times a factor near 1.
/// The 64 coordinates are a power of two, so that the bit alone doubles a rotated report.
fn linear() -> ModelSpec {
    let weights = Storage { live: 1, path: Path::Dense };
    chain([16, 1, 1], &[LayerSpec::Dense { outputs: 4, bias: false, weights }])
}

/// The one example of a device: each is 4% longer than the one before it.
fn example(device: u64) -> Examples {
    let mut examples = Examples::new(&linear(), device, 1);
    let norm = examples.features_mut().iter().map(|v| v * v).sum::<f32>().sqrt();
    let wanted = 0.3 * 1.04f32.powi(device as i32 - DEVICES as i32 / 2);
    examples.features_mut().iter_mut().for_each(|v| *v *= wanted / norm);
    examples
}

fn adaptive(profile: Profile, noise_multiplier: f32, clip_norm: f32) -> Settings {
    let privacy = Privacy { noise_multiplier, ..Privacy::new(clip_norm, profile) };
    let step = clip_norm / 100.0;
    let bit_share = bit_share(&privacy, step, DEVICES as u32);
    Settings {
        cohort: DEVICES as u32,
        training: Training::sgd(1, 1, 1.0),
        privacy: Privacy { clipping: Clipping::Adaptive { bit_share }, ..privacy },
        adaptive: AdaptiveClip { target: 0.5, rate: 0.5 },
        quantization: Quantization { step, rounding: Rounding::Stochastic, keep: 1.0 },
        // The model stays, so that the deltas do.
        optimizer: Optimizer::FedAvg(FedAvgConfig { lr: 1e-12, momentum: 0.0 }),
        ..settings()
    }
}

fn adaptive_server(profile: Profile, noise_multiplier: f32, clip_norm: f32) -> Server {
    server(adaptive(profile, noise_multiplier, clip_norm), &linear(), FRAME)
}

fn played(round: &Round, device: u64) -> Played {
    let played = play(round, &config(FRAME), device, &mut example(device).store());
    assert_eq!(played.outcome, Outcome::Accepted);
    played
}

/// From a hundred times too high and too low, under every profile: after `ln(100) / 0.25` rounds on the way it stays within a
/// few of the 4% between two devices, and the grid is as fine as it was.
#[test]
fn the_norm_goes_to_the_median() {
    let norms = |round: &Round| (0..DEVICES).map(|d| played(round, d).session.metrics.norm).collect::<Vec<_>>();
    let mut sorted = norms(&adaptive_server(Profile::Central, 0.0, 1.0).open().unwrap());
    sorted.sort_by(f32::total_cmp);
    let median = sorted[DEVICES as usize / 2];
    assert!((0.1..0.4).contains(&median) && sorted[20] / sorted[0] > 1.5, "{sorted:?}");
    for (profile, noise) in [
        (Profile::Central, 0.0),
        (Profile::Central, 1.0),
        (Profile::Local, 0.3),
        (distributed(DEVICES as u32, 24, ShareNoise::DiscreteGaussian), 1.0),
    ] {
        for start in [100.0 * median, median / 100.0] {
            let mut server = adaptive_server(profile, noise, start);
            let (mut on_the_way, mut late) = (0, Vec::new());
            for number in 0..36 {
                let round = server.open().unwrap();
                let privacy = round.offer.plan.privacy;
                let before = privacy.clip_norm;
                assert!((before / round.offer.plan.quantization.step - 100.0).abs() < 1e-3);
                if let Some(promise) = server.promise() {
                    assert!((promise.noise_multiplier() - f64::from(noise)).abs() < 1e-9, "one mechanism, as it was");
                    assert!((promise.sensitivity - f64::from(before)).abs() < 1e-9);
                }
                // What the bit is compared with is the delta's part of the bound.
                let share = privacy.bit_share().unwrap();
                let bound = before * (1.0 - share * share).sqrt() * (1.0 - 1e-6);
                let mut whole = 0;
                for device in 0..DEVICES {
                    let metrics = played(&round, device).session.metrics;
                    assert_eq!(metrics.clipped, metrics.norm > bound);
                    whole += u64::from(!metrics.clipped);
                }
                let closed = server.close(round, &mut rng(number)).unwrap();
                assert_eq!(closed.reclipped, 0);
                let estimate = closed.unclipped.expect("an estimate");
                if noise == 0.0 {
                    assert!((estimate - whole as f64 / DEVICES as f64).abs() < 1e-6, "{estimate} {whole}");
                }
                let after = server.settings().privacy.clip_norm;
                let expected = f64::from(before) * (-0.5 * (estimate - 0.5)).exp();
                assert!((f64::from(after) / expected - 1.0).abs() < 1e-6);
                on_the_way += u32::from((after / median).ln().abs() > 0.7);
                if number >= 26 {
                    late.push(f64::from(after).ln());
                }
            }
            let share = f64::from(server.settings().privacy.bit_share().unwrap());
            // What follows the median is the part of the bound that is the delta's.
            let mean = late.iter().sum::<f64>() / late.len() as f64;
            let off = mean - (f64::from(median) / (1.0 - share * share).sqrt()).ln();
            assert!((14..22).contains(&on_the_way), "{profile:?} from {start}: {on_the_way} rounds on the way");
            assert!(off.abs() < 0.1, "{profile:?}, noise {noise}, from {start}: off by {off}");
        }
    }
}

/// The app's largest clip norm holds for a norm that moved there, bit and all.
#[test]
fn the_policy_bounds_a_norm_that_moves() {
    let mut s = adaptive(Profile::Central, 0.0, 0.01);
    s.adaptive.rate = 2.0;
    let mut server = server(s, &linear(), FRAME);
    let policy = Policy { largest_clip_norm: 0.011, ..Policy::permissive() };
    let config = Config { policy, ..config(FRAME) };
    let round = server.open().unwrap();
    for device in 0..DEVICES {
        let played = play(&round, &config, device, &mut example(device).store());
        assert_eq!(played.outcome, Outcome::Accepted);
    }
    assert_eq!(server.close(round, &mut rng(3)).unwrap().unclipped, Some(0.0));
    let round = server.open().unwrap();
    let (allowed, plan) = (0.011, round.offer.plan.privacy.clip_norm);
    assert_eq!(policy.check(&round.offer.plan), Err(PolicyViolation::ClipNorm { allowed, plan }));
    let played = play(&round, &config, 1, &mut example(1).store());
    assert!(played.report.is_none() && matches!(played.outcome, Outcome::Abandoned { .. }), "{:?}", played.outcome);
}

/// Correlated noise has one more coordinate too.
#[test]
fn correlated_noise_covers_the_bit() {
    let mut s = adaptive(Profile::Central, 1.0, 0.25);
    s.noise = Noise::Tree { tree: Tree::Binary, participation: Participation::new(8, 8, 1).unwrap() };
    let mut server = server(s, &linear(), FRAME);
    for number in 0..4u64 {
        let round = server.open().unwrap();
        (0..DEVICES).for_each(|device| drop(played(&round, device)));
        let users: Vec<u64> = (0..DEVICES).map(|device| number * DEVICES + device).collect();
        let closed = server.close_of(round, &users, &mut rng(number)).unwrap();
        assert!(closed.stepped && closed.unclipped.is_some());
    }
}
