//! Whole rounds: what a model becomes, and what becomes of every device.

use crate::device::{Lent, play, play_in};
use crate::problem::{self, Examples, config, mlp, momentum, profiles, rng, server, settings};
use crate::reference;
use siskin::checkin::{NoiseSource, Privacy, Quantization, Rounding, Weighting};
use siskin::quantize::Step;
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
    // A delta that was clipped lies on the bound, where rounding to the grid may lift it a little above.
    assert!(closed.reclipped <= clipped, "{} clipped here, {clipped} there", closed.reclipped);
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
    s.quantization = Quantization { step: 1e-4, rounding: Rounding::Nearest };
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
            assert!(played.report.unwrap().len() > 40, "{}", profile.name);
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
/// noise that the plan promises.
#[test]
fn noise_on_the_device_arrives_whole() {
    let (cohort, clip_norm, multiplier) = (64u32, 0.5f32, 1.0f32);
    let mut s = full_batch(settings());
    s.cohort = cohort;
    s.privacy = Privacy { clip_norm, noise_multiplier: multiplier, source: NoiseSource::Device { shares: cohort } };
    s.quantization = Quantization { step: 1e-3, rounding: Rounding::Stochastic };
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
    assert_eq!((closed.stepped, closed.reclipped, closed.needed), (true, 0, u64::from(cohort)));
    // Each coordinate of the mean: signal, and noise of the promised deviation over the cohort.
    let sigma = f64::from(multiplier) * f64::from(clip_norm) / f64::from(cohort);
    let after = server.model().params();
    let residual: Vec<f64> =
        (0..before.len()).map(|i| (f64::from(before[i]) - f64::from(after[i]) - signal[i]) / sigma).collect();
    let n = residual.len() as f64;
    let chi: f64 = residual.iter().map(|r| r * r).sum();
    // Chi-square with n degrees of freedom, normal approximation, two-sided alpha = 0.001.
    assert!(((chi - n) / (2.0 * n).sqrt()).abs() < 3.29, "{chi} for {n}");
    let along: f64 = residual.iter().zip(&signal).map(|(r, s)| r * s).sum::<f64>() / reference::norm(&signal);
    assert!(along.abs() < 3.29, "the signal is kept: {along}");
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
        .symbols(&round.offer.graph, &round.offer.patterns(), &mut scratch, |i, q| decoded[i] = step.dequantize(q))
        .unwrap();
    for (i, (got, want)) in decoded.iter().zip(&delta).enumerate() {
        assert!((f64::from(*got) - want).abs() < 0.51e-4 + 2e-6, "coordinate {i}: {got} for {want}");
    }
}
