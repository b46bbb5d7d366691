//! Whole rounds: what a model becomes, and what becomes of every device.

use crate::device::{Lent, Line, MANY_POLLS, play, play_in};
use crate::problem::{self, Examples, POPULATION, config, mlp, profiles, rng, server, settings};
use crate::reference;
use siskin::arena::{ArenaError, required_bytes};
use siskin::checkin::{NoiseSource, Policy, PolicyViolation, Privacy, Quantization, Reason, Rounding, Weighting};
use siskin::data::StoreError;
use siskin::quantize::Step;
use siskin::report::Report;
use siskin::session::{Abandoned, Config, Outcome, Session};
use siskin::wire::{Frame, Request, Response, UploadStatus};
use siskin_server::round::{Answer, Close, Round, Settings};

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
    (s.training.momentum, s.training.proximal, s.training.learning_rate) = (0.0, 1.0, 0.4);
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

/// Plays a device and closes the round.
fn one(round: &Round, d: u64) -> Outcome {
    play(round, &config(1024), d, &mut Examples::new(&mlp(), d, 20).store()).outcome
}

/// Sends one request as its frame; the response.
fn ask(round: &Round, now: u64, request: &Request<'_>, payload: &[u8]) -> Option<Response> {
    let mut frame = vec![0; payload.len() + 256];
    let n = request.encode(payload, &mut frame).unwrap();
    let mut out = Vec::new();
    match round.handle(now, &frame[..n], &mut out) {
        Answer::Send(bytes, _) => {
            let Frame::Whole { body, version, .. } = Frame::parse(bytes, usize::MAX) else { panic!("no frame") };
            Some(Response::decode(body, version).unwrap().0)
        }
        _ => None,
    }
}

/// Checks a made-up session in; its task.
fn check_in(round: &Round, session: u64) -> u64 {
    let (protocol, capabilities) = (siskin::wire::PROTOCOL_VERSION, siskin::wire::Capabilities::ALL);
    let request = Request::CheckIn { protocol, capabilities, population: POPULATION, session, max_frame: 4096 };
    match ask(round, 1, &request, &[]) {
        Some(Response::Task { task, .. }) => task,
        other => panic!("{other:?}"),
    }
}

fn upload(round: &Round, now: u64, task: u64, report: &[u8]) -> UploadStatus {
    let request = Request::Upload { task, total: report.len() as u32, offset: 0 };
    match ask(round, now, &request, report) {
        Some(Response::Received { task: t, status, .. }) if t == task => status,
        other => panic!("{other:?}"),
    }
}

/// The report of device `d`, without sending it.
fn report_of(settings: &Settings, d: u64) -> Vec<u8> {
    let round = server(settings.clone(), &mlp(), 1024).open().unwrap();
    play(&round, &config(1024), d, &mut Examples::new(&mlp(), d, 20).store()).report.unwrap()
}

#[test]
fn the_same_upload_again_counts_once() {
    let mut server = server(settings(), &mlp(), 1024);
    let round = server.open().unwrap();
    let report = report_of(&settings(), 3);
    let tasks: Vec<u64> = (0..2).map(|s| check_in(&round, s)).collect();
    assert_ne!(tasks[0], tasks[1]);
    assert_eq!(check_in(&round, 0), tasks[0], "a repeated check-in is the same check-in");
    for &task in &tasks {
        assert_eq!(upload(&round, 1, task, &report), UploadStatus::Accepted);
        assert_eq!(upload(&round, 2, task, &report), UploadStatus::Duplicate);
        // A device that gives a counted task back changes nothing.
        assert_eq!(ask(&round, 2, &Request::Abandon { task, cause: 7 }, &[]), None);
        assert_eq!(upload(&round, 3, task, &report), UploadStatus::Duplicate);
    }
    let counts = server.close(round, &mut rng(0)).unwrap().counts;
    assert_eq!((counts.accepted, counts.duplicate, counts.refused), (2, 4, 0));
    assert!(counts.abandoned.is_empty());
}

#[test]
fn late_by_the_clock_and_by_the_goal() {
    let report = report_of(&settings(), 3);
    let mut server_ = server(settings(), &mlp(), 1024);
    let round = server_.open().unwrap();
    let tasks: Vec<u64> = (0..3).map(|s| check_in(&round, s)).collect();
    assert_eq!(upload(&round, 600_000, tasks[0], &report), UploadStatus::Accepted, "on the deadline is in time");
    assert_eq!(upload(&round, 600_001, tasks[1], &report), UploadStatus::Late);
    assert_eq!(upload(&round, 600_001, tasks[1], &report), UploadStatus::Late);
    assert_eq!(upload(&round, 600_001, tasks[0], &report), UploadStatus::Duplicate);
    let closed = server_.close(round, &mut rng(0)).unwrap();
    assert_eq!((closed.counts.accepted, closed.counts.late, closed.counts.duplicate), (1, 1, 1));
    assert_eq!(closed.closed_ms, 600_000);

    let mut goal = settings();
    goal.close = Close::Goal;
    let report = report_of(&goal, 3);
    let mut server = server(goal, &mlp(), 1024);
    let round = server.open().unwrap();
    let tasks: Vec<u64> = (0..6).map(|s| check_in(&round, s)).collect();
    for (i, &task) in tasks.iter().enumerate() {
        let want = if i < 4 { UploadStatus::Accepted } else { UploadStatus::Late };
        assert_eq!(upload(&round, 100 + i as u64, task, &report), want);
    }
    let closed = server.close(round, &mut rng(0)).unwrap();
    assert_eq!((closed.counts.accepted, closed.counts.late, closed.closed_ms), (4, 2, 103));
}

#[test]
fn a_device_that_is_late_learns_so() {
    let mut s = settings();
    s.deadline_ms = 10;
    let round = server(s, &mlp(), 1024).open().unwrap();
    let mut lent = Lent::for_plan(&round.offer.plan, 1024);
    let examples = Examples::new(&mlp(), 0, 20);
    let mut session = Session::new(lent.bytes(), config(1024), &mut rng(0)).unwrap();
    let mut line = Line::new(&round, usize::MAX);
    line.now = 11;
    let outcome = (0..MANY_POLLS).find_map(|_| line.step(&mut session, &mut examples.store()));
    assert_eq!(outcome, Some(Outcome::Late));
}

#[test]
fn a_damaged_report_is_refused_wherever_the_damage_is() {
    let s = settings();
    let report = report_of(&s, 3);
    let mut server = server(s, &mlp(), 1024);
    let before = server.model().params().to_vec();
    let round = server.open().unwrap();
    for at in 0..report.len() {
        let mut bad = report.clone();
        bad[at] ^= 0x10;
        let task = check_in(&round, 1000 + at as u64);
        assert_eq!(upload(&round, 1, task, &bad), UploadStatus::Refused, "byte {at}");
        // What was refused stays refused.
        assert_eq!(upload(&round, 1, task, &report), UploadStatus::Refused, "byte {at}");
    }
    let (cut, longer) = (&report[..report.len() - 1], [&report[..], &[0]].concat());
    assert_eq!(upload(&round, 1, check_in(&round, 1), cut), UploadStatus::Refused);
    assert_eq!(upload(&round, 1, check_in(&round, 2), &longer), UploadStatus::Refused);
    assert_eq!(upload(&round, 1, check_in(&round, 3), &[]), UploadStatus::Refused);
    assert_eq!(upload(&round, 1, check_in(&round, 4), &vec![0; 100_001]), UploadStatus::Refused, "over max_bytes");
    assert_eq!(
        ask(&round, 1, &Request::Upload { task: 5, total: 9, offset: 0 }, &report)
            .map(|r| matches!(r, Response::Gone { .. })),
        Some(true)
    );
    let closed = server.close(round, &mut rng(0)).unwrap();
    assert_eq!((closed.counts.refused, closed.counts.accepted), (report.len() as u64 + 4, 0));
    assert!(!closed.stepped, "no report, no step");
    assert_eq!(server.model().params(), before, "the model is as it was");
    assert_eq!(server.round(), 1, "the number is used up");
}

#[test]
fn too_few_reports_leave_the_model_as_it_was() {
    let mut s = settings();
    s.min_fraction = 0.75;
    let mut server = server(s, &mlp(), 1024);
    let before = server.model().params().to_vec();
    for (reports, stepped) in [(2, false), (3, true)] {
        let round = server.open().unwrap();
        for d in 0..reports {
            assert_eq!(one(&round, d), Outcome::Accepted);
        }
        let closed = server.close(round, &mut rng(0)).unwrap();
        assert_eq!((closed.stepped, closed.needed, closed.counts.accepted), (stepped, 3, reports));
        assert_eq!(server.model().params() == before, !stepped);
    }
}

/// A round that must end in `cause`; fetches counted.
fn abandons(round: &Round, config: &Config, memory: &mut [u8], examples: &Examples, fetches: bool) -> Abandoned {
    let played = play_in(memory, round, config, 5, &mut examples.store(), usize::MAX);
    let Outcome::Abandoned { cause, retry_ms } = played.outcome else { panic!("{:?}", played.outcome) };
    assert!((11_520_000..=17_280_000).contains(&retry_ms), "{retry_ms}");
    assert!(played.session.egress.is_none() && played.report.is_none(), "nothing left the device");
    // Check-in and the word that the task is given back.
    assert_eq!(played.session.requests > 2, fetches, "{} requests", played.session.requests);
    cause
}

#[test]
fn tasks_given_back_and_why() {
    let s = settings();
    let mut server = server(s, &mlp(), 1024);
    let round = server.open().unwrap();
    let plan = round.offer.plan.clone();
    let required = required_bytes(&plan, 1024).unwrap();
    let good = Examples::new(&mlp(), 0, 20);
    let roomy = || Lent::new(required);

    // One byte too few: refused with both numbers, before a byte of the checkpoint is asked for. Exactly enough: fine.
    let cause = abandons(&round, &config(1024), Lent::new(required - 1).bytes(), &good, false);
    assert_eq!(cause, Abandoned::Memory(ArenaError::TooSmall { required, lent: required - 1 }));
    let played = play_in(roomy().bytes(), &round, &config(1024), 6, &mut good.store(), usize::MAX);
    assert_eq!(played.outcome, Outcome::Accepted);

    let policy = Policy { least_noise_multiplier: 0.5, ..Policy::permissive() };
    let cause = abandons(&round, &Config { policy, ..config(1024) }, roomy().bytes(), &good, false);
    assert_eq!(cause, Abandoned::Policy(PolicyViolation::Noise { least: 0.5, plan: 0.0 }));
    let bytes = round.offer.checkpoint.len() as u32;
    let policy = Policy { largest_download: bytes - 1, ..Policy::permissive() };
    let cause = abandons(&round, &Config { policy, ..config(1024) }, roomy().bytes(), &good, false);
    assert_eq!(cause, Abandoned::Policy(PolicyViolation::Download { allowed: bytes - 1, plan: bytes }));

    let cause = abandons(&round, &config(1024), roomy().bytes(), &Examples::new(&mlp(), 0, 0), false);
    assert_eq!(cause, Abandoned::NoExamples);
    let mut bad = Examples::new(&mlp(), 0, 20);
    bad.features_mut()[5 * 16 + 3] = f32::NAN;
    let cause = abandons(&round, &config(1024), roomy().bytes(), &bad, true);
    assert_eq!(cause, Abandoned::Store(StoreError::NotFinite { index: 5, feature: 3 }));
    let mut bad = Examples::new(&mlp(), 0, 20);
    bad.labels_mut()[7] = 4;
    let cause = abandons(&round, &config(1024), roomy().bytes(), &bad, true);
    assert_eq!(cause, Abandoned::Store(StoreError::Label { index: 7, label: 4, classes: 4 }));

    // One session after the other had a random number of its own, but the same generator: they are the same check-in.
    let counts = server.close(round, &mut rng(0)).unwrap().counts;
    assert_eq!(counts.accepted, 1);
    assert_eq!(counts.abandoned.values().sum::<u64>(), 1);
}

#[test]
fn every_cause_is_counted_under_its_code() {
    let s = settings();
    let mut server = server(s, &mlp(), 1024);
    let round = server.open().unwrap();
    for (session, cause) in [(1, 3u8), (2, 4), (3, 4), (4, 7)] {
        let task = check_in(&round, session);
        for _ in 0..3 {
            assert_eq!(ask(&round, 1, &Request::Abandon { task, cause }, &[]), None);
        }
    }
    // A task that nobody has cannot be given back.
    ask(&round, 1, &Request::Abandon { task: 12, cause: 1 }, &[]);
    let counts = server.close(round, &mut rng(0)).unwrap().counts;
    assert_eq!(counts.abandoned.into_iter().collect::<Vec<_>>(), [(3, 1), (4, 2), (7, 1)]);
}

#[test]
fn another_population_is_turned_away() {
    let round = server(settings(), &mlp(), 1024).open().unwrap();
    let other = Config::new("others", Policy::permissive());
    let mut lent = Lent::new(100_000);
    let played = play_in(lent.bytes(), &round, &other, 0, &mut Examples::new(&mlp(), 0, 9).store(), usize::MAX);
    let Outcome::Rejected { reason, retry_ms } = played.outcome else { panic!("{:?}", played.outcome) };
    assert_eq!(reason, Reason::UnknownPopulation);
    assert!((11_520_000..=17_280_000).contains(&retry_ms));
}

#[test]
fn a_report_over_the_limit_is_not_sent() {
    let mut s = settings();
    s.upload.max_bytes = 64;
    let round = server(s, &mlp(), 1024).open().unwrap();
    let mut lent = Lent::for_plan(&round.offer.plan, 1024);
    let cause = abandons(&round, &config(1024), lent.bytes(), &Examples::new(&mlp(), 0, 20), true);
    let Abandoned::Report(siskin::report::ReportError::TooLarge { limit, got }) = cause else { panic!("{cause:?}") };
    assert!(limit == 64 && got > 64);
}

/// A device that does not clip: its report is made under a laxer plan and sent under the strict one's name.
#[test]
fn the_server_clips_again_and_counts_it() {
    let mut strict = fine(settings());
    strict.privacy.clip_norm = 0.05;
    strict.min_fraction = 0.25;
    let honest = report_of(&strict, 3);
    let mut lax = strict.clone();
    lax.privacy.clip_norm = 100.0;
    let wild = report_of(&lax, 3);
    let mut server = server(strict.clone(), &mlp(), 1024);
    let before = server.model().params().to_vec();
    let round = server.open().unwrap();
    // The fingerprint follows magic and version, as a variable-length integer: the header is written again with the right one.
    let forged = with_fingerprint(&wild, round.offer.fingerprint);
    assert_eq!(upload(&round, 1, check_in(&round, 1), &wild), UploadStatus::Refused, "of another plan");
    assert_eq!(upload(&round, 1, check_in(&round, 2), &forged), UploadStatus::Accepted);
    let closed = server.close(round, &mut rng(0)).unwrap();
    assert_eq!((closed.counts.accepted, closed.reclipped), (1, 1));
    let moved: Vec<f64> =
        server.model().params().iter().zip(&before).map(|(a, b)| f64::from(*b) - f64::from(*a)).collect();
    assert!((reference::norm(&moved) / 0.05 - 1.0).abs() < 1e-3, "{}", reference::norm(&moved));
    assert!(!honest.is_empty());
}

fn with_fingerprint(report: &[u8], fingerprint: u32) -> Vec<u8> {
    let end = 5 + report[5..].iter().position(|b| b & 0x80 == 0).unwrap() + 1;
    let mut out = report[..5].to_vec();
    let mut rest = fingerprint;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out.extend_from_slice(&report[end..]);
    out
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

#[test]
fn a_store_that_is_emptied_on_the_way_ends_the_round() {
    let round = server(settings(), &mlp(), 1024).open().unwrap();
    let (full, empty) = (Examples::new(&mlp(), 0, 20), Examples::new(&mlp(), 0, 0));
    let mut lent = Lent::for_plan(&round.offer.plan, 1024);
    let mut session = Session::new(lent.bytes(), config(1024), &mut rng(0)).unwrap();
    let mut line = Line::new(&round, usize::MAX);
    while session.metrics().loss == 0.0 {
        assert_eq!(line.step(&mut session, &mut full.store()), None);
    }
    let outcome = (0..MANY_POLLS).find_map(|_| line.step(&mut session, &mut empty.store()));
    assert!(matches!(outcome, Some(Outcome::Abandoned { cause: Abandoned::NoExamples, .. })), "{outcome:?}");
}
