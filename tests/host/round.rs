//! Whole rounds: what a model becomes, and what becomes of every device.

use crate::device::{Lent, play, play_in};
use crate::problem::{self, Examples, config, distributed, mlp, momentum, profiles, rng, server, settings};
use crate::reference;
use siskin::checkin::{Clipping, Privacy, Profile, Quantization, Rounding, ShareNoise, Weighting};
use siskin::quantize::Carried;
use siskin::quantize::Step;
use siskin::range_coder::Start;
use siskin::report::Report;
use siskin::session::Outcome;
use siskin_server::round::Settings;

const WIDTHS: [usize; 3] = [16, 12, 4];

/// Full batches, so that the reference needs no order.
fn full_batch(mut s: Settings) -> Settings {
    (s.training.batch, s.training.epochs) = (64, 4);
    s
}

fn live_of(server: &siskin_server::round::Server) -> Vec<bool> {
    server.model().tensors().flat_map(|t| t.live.to_vec()).collect()
}

/// A round of four devices with 9 to 30 examples each; the model must be the reference's.
fn a_round_gives_the_mean(settings: Settings, max_frame: usize, piece: usize) {
    let settings = full_batch(settings);
    let mut server = server(settings.clone(), &mlp(), max_frame);
    let (before, live) = (server.model().params().to_vec(), live_of(&server));
    let round = server.open().unwrap();
    let fleet: Vec<Examples> = (0..4).map(|d| Examples::new(&mlp(), d, 9 + 7 * d as usize)).collect();
    let (mut mean, mut total, mut clipped) = (vec![0.0; before.len()], 0.0, 0);
    for (d, examples) in fleet.iter().enumerate() {
        let mut lent = Lent::for_plan(&round.offer.plan, max_frame);
        let played = play_in(lent.bytes(), &round, &config(max_frame), d as u64, &mut examples.store(), piece);
        assert_eq!(played.outcome, Outcome::Accepted, "device {d}");
        let report = played.report.unwrap();
        assert!(report.len() <= settings.upload.max_bytes as usize);
        assert!(
            played.session.sent > report.len() && played.session.sent < report.len() + 120 * played.session.requests
        );
        let egress = played.session.egress.expect("a report left the device");
        assert_eq!((egress.bytes as usize, egress.round, egress.plan), (report.len(), 0, round.offer.fingerprint));
        let weight = match settings.upload.weighting {
            Weighting::Uniform => 1,
            Weighting::Examples { cap } => (examples.len() as u32).min(cap),
        };
        assert_eq!(Report::parse(&report).unwrap().header.weight, weight);
        assert_eq!(played.session.metrics.examples as usize, examples.len());

        let mut delta = reference::delta(&before, &live, &WIDTHS, &settings.training, examples);
        let norm = reference::norm(&delta);
        assert!((f64::from(played.session.metrics.norm) / norm - 1.0).abs() < 1e-4, "{norm}");
        assert_eq!(played.session.metrics.clipped, norm > f64::from(settings.privacy.clip_norm));
        clipped += u64::from(played.session.metrics.clipped);
        reference::clip(&mut delta, f64::from(settings.privacy.clip_norm));
        mean.iter_mut().zip(&delta).for_each(|(m, d)| *m += d * f64::from(weight));
        total += f64::from(weight);
    }
    let closed = server.close(round, &mut rng(9)).unwrap();
    assert!(closed.stepped);
    assert_eq!(closed.counts.accepted, 4);
    // What an honest device sends keeps the bound, rounding and all.
    assert_eq!(closed.reclipped, 0, "{clipped} clipped on devices");
    assert_eq!((closed.counts.late, closed.counts.duplicate, closed.counts.refused), (0, 0, 0));
    assert!(closed.counts.abandoned.is_empty());
    // Half a step of rounding, and single precision.
    let tolerance = f64::from(settings.quantization.step) * 0.5 + 2e-5;
    let mut moved = 0.0f64;
    for (i, (after, before)) in server.model().params().iter().zip(&before).enumerate() {
        let want = if live[i] { f64::from(*before) - mean[i] / total } else { 0.0 };
        assert!((f64::from(*after) - want).abs() <= tolerance, "param {i}: {after} for {want}");
        moved = moved.max((mean[i] / total).abs());
    }
    assert!(moved > 20.0 * tolerance, "the tolerance hides the change: {moved}");
}

fn fine(mut s: Settings) -> Settings {
    s.quantization = Quantization { step: 1e-4, rounding: Rounding::Nearest, keep: 1.0 };
    s
}

#[test]
fn dense_in_small_and_large_frames() {
    a_round_gives_the_mean(fine(settings()), 1024, usize::MAX);
    a_round_gives_the_mean(fine(settings()), 16 * 1024, usize::MAX);
    a_round_gives_the_mean(fine(settings()), 1024, 13);
}

#[test]
fn sparse_and_masked() {
    a_round_gives_the_mean(problem::pruned(fine(settings()), 0.8, 1.0), 1024, 100);
    a_round_gives_the_mean(problem::pruned(fine(settings()), 0.5, 0.0), 1024, 100);
}

#[test]
fn proximal_without_momentum_clipped() {
    let mut s = fine(settings());
    (s.training.optimizer, s.training.proximal, s.training.learning_rate) = (momentum(0.0), 1.0, 0.4);
    s.privacy.clip_norm = 0.3;
    s.quantization.step = 3e-5;
    a_round_gives_the_mean(s, 1024, usize::MAX);
}

#[test]
fn weighted_by_examples_up_to_a_cap() {
    let mut s = fine(settings());
    s.upload.weighting = Weighting::Examples { cap: 20 };
    a_round_gives_the_mean(s, 1024, usize::MAX);
}

#[test]
fn every_profile_is_accepted_and_its_report_decodes() {
    for profile in profiles() {
        let mut server = profile.server(1024);
        let round = server.open().unwrap();
        for d in 0..4 {
            let played = play(&round, &config(1024), d, &mut profile.examples(d).store());
            assert_eq!(played.outcome, Outcome::Accepted, "{} device {d}", profile.name);
            assert!(played.report.unwrap().len() > 24, "{}", profile.name);
        }
        let closed = server.close(round, &mut rng(1)).unwrap();
        assert_eq!((closed.stepped, closed.counts.accepted), (true, 4), "{}", profile.name);
        // The next round starts from the new model.
        let round = server.open().unwrap();
        assert_eq!(round.offer.plan.round, 1);
        let played = play(&round, &config(1024), 0, &mut profile.examples(0).store());
        assert_eq!(played.outcome, Outcome::Accepted, "{} second round", profile.name);
    }
}

/// With noise on the devices, the server must not cut it off again: the mean keeps the signal, and the sum carries the
/// noise that the profile promises, all of it from each device or a share.
#[test]
fn noise_on_the_device_arrives_whole() {
    let cohort = 64u32;
    // The noise on the sum, in clip norms; on the grid of 500 steps a share has 2.2 and more.
    for (profile, multiplier, on_the_sum) in [
        (Profile::Local, 0.1f32, 0.8),
        (distributed(cohort, 24, ShareNoise::DiscreteGaussian), 1.0, 1.0),
        (distributed(cohort / 4, 24, ShareNoise::DiscreteGaussian), 1.0, 2.0),
        (distributed(cohort, 24, ShareNoise::Skellam), 0.1, 0.1),
    ] {
        let clip_norm = 0.5f32;
        let mut s = full_batch(settings());
        s.cohort = cohort;
        s.privacy = Privacy { noise_multiplier: multiplier, ..Privacy::new(clip_norm, profile) };
        s.quantization = Quantization { step: 1e-3, rounding: Rounding::Stochastic, keep: 1.0 };
        let mut server = server(s.clone(), &mlp(), 1024);
        let (before, live) = (server.model().params().to_vec(), live_of(&server));
        let examples = Examples::new(&mlp(), 0, 20);
        let mut signal = reference::delta(&before, &live, &WIDTHS, &s.training, &examples);
        reference::clip(&mut signal, f64::from(clip_norm));
        let round = server.open().unwrap();
        for d in 0..u64::from(cohort) {
            assert_eq!(play(&round, &config(1024), d, &mut examples.store()).outcome, Outcome::Accepted);
        }
        let closed = server.close(round, &mut rng(0)).unwrap();
        let needed = if profile == Profile::Local { 32 } else { profile_shares(profile) };
        assert_eq!((closed.stepped, closed.reclipped, closed.needed), (true, 0, needed.max(32)));
        // Each coordinate of the mean: signal, and noise of the promised deviation over the cohort, with that of stochastic
        // rounding (a quarter at the most for each report).
        let noise = on_the_sum * f64::from(clip_norm) / f64::from(cohort);
        let rounding = 0.4 * 1e-3 / f64::from(cohort).sqrt();
        let sigma = noise.hypot(rounding);
        let after = server.model().params();
        let residual: Vec<f64> =
            (0..before.len()).map(|i| (f64::from(before[i]) - f64::from(after[i]) - signal[i]) / sigma).collect();
        let n = residual.len() as f64;
        let chi: f64 = residual.iter().map(|r| r * r).sum();
        // Chi-square with n degrees of freedom, normal approximation, two-sided alpha = 0.001.
        assert!(((chi - n) / (2.0 * n).sqrt()).abs() < 3.29, "{profile:?}: {chi} for {n}");
        let along: f64 = residual.iter().zip(&signal).map(|(r, s)| r * s).sum::<f64>() / reference::norm(&signal);
        assert!(along.abs() < 3.29, "{profile:?}: the signal is kept: {along}");
    }
}

fn profile_shares(profile: Profile) -> u64 {
    match profile {
        Profile::Distributed(distributed) => distributed.shares.into(),
        _ => 0,
    }
}

/// Where examples are clipped, the model moves by one step of the mean of clipped gradients over a public number of examples.
#[test]
fn clipped_examples_make_one_step() {
    let mut s = settings();
    (s.training.epochs, s.training.batch, s.training.max_examples) = (1, 1, 30);
    (s.training.optimizer, s.training.learning_rate) = (momentum(0.0), 0.5);
    let fleet: Vec<Examples> = (0..2).map(|d| Examples::new(&mlp(), d, 12 + 9 * d as usize)).collect();
    let model = problem::model(&mlp());
    let global: Vec<f64> = model.params().iter().map(|v| f64::from(*v)).collect();
    let live = vec![true; global.len()];
    let rows = fleet.iter().flat_map(Examples::rows);
    let mut gradients: Vec<Vec<f64>> =
        rows.map(|(row, label)| reference::gradient_of(&global, &live, &WIDTHS, row, label)).collect();
    let mut norms: Vec<f64> = gradients.iter().map(|g| reference::norm(g)).collect();
    norms.sort_by(f64::total_cmp);
    // Half of the examples are clipped.
    let norm = norms[norms.len() / 2] as f32;
    s.privacy = Privacy { clipping: Clipping::Examples { norm }, ..Privacy::new(10.0 * norm, Profile::Central) };
    s.quantization = Quantization { step: 1e-6, rounding: Rounding::Nearest, keep: 1.0 };
    let mut server = server(s.clone(), &mlp(), 1024);
    let before = server.model().params().to_vec();
    let round = server.open().unwrap();
    for (d, examples) in fleet.iter().enumerate() {
        assert_eq!(play(&round, &config(1024), d as u64, &mut examples.store()).outcome, Outcome::Accepted);
    }
    let mut want = vec![0.0; before.len()];
    for gradient in &mut gradients {
        reference::clip(gradient, f64::from(norm));
        want.iter_mut().zip(gradient).for_each(|(w, g)| *w += 0.5 / 30.0 * *g / 2.0);
    }
    assert!(server.close(round, &mut rng(0)).unwrap().stepped);
    for (i, (after, before)) in server.model().params().iter().zip(&before).enumerate() {
        let moved = f64::from(*before) - f64::from(*after);
        assert!((moved - want[i]).abs() < 2e-6 + 1e-4 * want[i].abs(), "param {i}: {moved} for {}", want[i]);
    }

    // A plan under which one example would be seen with others, or shortened with them, is refused.
    let refused = |change: fn(&mut Settings)| {
        let mut s = s.clone();
        change(&mut s);
        siskin_server::round::Server::new(s, 1000, 1000, problem::model(&mlp()), 1024).unwrap_err().to_string()
    };
    assert!(refused(|s| s.training.batch = 2).contains("training.batch, with clipped examples"));
    assert!(refused(|s| s.training.epochs = 2).contains("training.epochs, with clipped examples"));
    assert!(refused(|s| s.training.optimizer = momentum(0.5)).contains("moments"));
    assert!(refused(|s| s.privacy.clip_norm *= 0.04).contains("privacy.clip_norm"));
    // With noise the bound is that of what is sent, rounding and all.
    let coarse = |s: &mut Settings| {
        s.privacy.noise_multiplier = 1.0;
        s.quantization.step = s.privacy.clip_norm / 2.0;
    };
    assert!(refused(coarse).contains("privacy.clip_norm"));
}

/// A server takes the reports of its own profile only, and says so before it opens a round whose sums would wrap.
#[test]
fn profiles_do_not_mix() {
    let with = |profile| {
        let mut s = settings();
        s.privacy = Privacy { noise_multiplier: 0.125, ..Privacy::new(0.5, profile) };
        s
    };
    let all = [
        Profile::Central,
        Profile::Local,
        distributed(2, 20, ShareNoise::DiscreteGaussian),
        distributed(2, 20, ShareNoise::Skellam),
        distributed(2, 21, ShareNoise::DiscreteGaussian),
        distributed(3, 20, ShareNoise::DiscreteGaussian),
    ];
    let promises = all.map(|profile| server(with(profile), &mlp(), 1024).promise().unwrap());
    assert!(promises.iter().all(|p| (p.sensitivity, p.noise_multiplier()) == (0.5, 0.125)));
    assert_eq!(
        promises.map(|p| (p.shares, p.modulus_bits)),
        [(1, None), (1, None), (2, Some(20)), (2, Some(20)), (2, Some(21)), (3, Some(20)),]
    );
    let mut s = with(distributed(4, 8, ShareNoise::DiscreteGaussian));
    s.cohort = 4;
    let wraps = siskin_server::round::Server::new(s, 1000, 1000, problem::model(&mlp()), 1024).unwrap_err();
    assert!(wraps.to_string().contains("the modulus 2^8 has 128"), "{wraps}");
}

#[test]
fn a_decoded_report_is_the_reference_on_the_grid() {
    let s = full_batch(fine(settings()));
    let server = server(s.clone(), &mlp(), 1024);
    let round = server.open().unwrap();
    let examples = Examples::new(&mlp(), 2, 20);
    let bytes = play(&round, &config(1024), 2, &mut examples.store()).report.unwrap();
    let report = Report::parse(&bytes).unwrap();
    let delta = reference::delta(server.model().params(), &live_of(&server), &WIDTHS, &s.training, &examples);
    let mut decoded = vec![0.0; delta.len()];
    let step = Step::new(s.quantization.step).unwrap();
    let mut scratch = vec![0; 8192];
    report
        .symbols(&round.offer.graph, &round.offer.patterns(), (&Carried::All, Start::NONE), &mut scratch, |i, q| {
            decoded[i] = step.dequantize(q);
        })
        .unwrap();
    for (i, (got, want)) in decoded.iter().zip(&delta).enumerate() {
        assert!((f64::from(*got) - want).abs() < 0.51e-4 + 2e-6, "coordinate {i}: {got} for {want}");
    }
}
