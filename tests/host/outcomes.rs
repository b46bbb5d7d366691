//! What becomes of every device, and how the server counts it.

use crate::ask::{ask, check_in, upload};
use crate::device::{Lent, Line, MANY_POLLS, play, play_in};
use crate::problem::{Examples, config, mlp, rng, server, settings};
use crate::reference;
use siskin::arena::{ArenaError, required_bytes};
use siskin::checkin::{Policy, PolicyViolation, Reason};
use siskin::data::StoreError;
use siskin::report::ReportError;
use siskin::session::{Abandoned, Config, Outcome, Session};
use siskin::wire::{Request, Response, UploadStatus};
use siskin_server::aggregate::NormBound;
use siskin_server::round::{Close, Round, Settings};

/// Plays a device and closes the round.
fn one(round: &Round, d: u64) -> Outcome {
    play(round, &config(1024), d, &mut Examples::new(&mlp(), d, 20).store()).outcome
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
    let Abandoned::Report(ReportError::TooLarge { limit, got }) = cause else { panic!("{cause:?}") };
    assert!(limit == 64 && got > 64);
}

/// A device that does not clip: its report is made under a laxer plan and sent under the strict one's name.
#[test]
fn the_server_clips_again_and_counts_it() {
    let mut strict = settings();
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
    // Without noise, what rounding may add is allowed on top of the clip norm: here half a step for each coordinate.
    let bound = NormBound::of(&strict.privacy, &strict.quantization, before.len()).unwrap();
    let allowed = bound.units() as f64 * bound.unit();
    assert!(0.05 < allowed && allowed < 0.06, "{allowed}");
    assert!((reference::norm(&moved) / allowed - 1.0).abs() < 1e-3, "{} of {allowed}", reference::norm(&moved));
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
