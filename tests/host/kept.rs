//! Devices that kept the masks of an earlier round: they download what changed, and make the same report to the byte.

use crate::answers::{Answers, FRAME, device, refused};
use crate::ask::{ask, check_in};
use crate::device::{Lent, Line, MANY_POLLS};
use crate::moved::{Moved, moving, wide};
use crate::problem::{Profile, blocks, config, pruned, rigl, rng, settings};
use proptest::prelude::*;
use siskin::checkin::{
    CheckpointError, KeptMask, Policy, PolicyViolation, checkpoint_len, checkpoint_masks, masks_len,
};
use siskin::session::{Abandoned, Config, KeepError, Outcome, Poll, SaveError, Session};
use siskin::wire::{Capabilities, Frame, PROTOCOL_VERSION, Request, Response};
use siskin_server::round::{Algorithm, Round, Server, Settings};

struct Played {
    outcome: Outcome,
    report: Option<Vec<u8>>,
    kept: Option<Vec<u8>>,
    /// Bytes to the device, and those of masks among them.
    got: (usize, usize),
}

fn play(round: &Round, device: u64, kept: Option<&[u8]>, profile: &Profile, config: &Config) -> Played {
    let mut lent = Lent::for_plan(&round.offer.plan, config.max_frame);
    let mut session = Session::new(lent.bytes(), config.clone(), &mut rng(device)).unwrap();
    if let Some(kept) = kept {
        session = session.with_mask(KeptMask::parse(kept).unwrap());
    }
    let mut line = Line::new(round, 77);
    let (mut report, mut new) = (None, None);
    for _ in 0..MANY_POLLS {
        let ended = line.step(&mut session, &mut profile.examples(device).store());
        if let (None, Some(length)) = (&new, session.kept_mask_len()) {
            let mut out = vec![0xee; length + 1];
            let error = KeepError::Capacity { required: length, got: length - 1 };
            assert_eq!(session.keep_mask(&mut out[..length - 1]), Err(error));
            assert!(out.iter().all(|b| *b == 0xee), "nothing is written");
            assert_eq!((session.keep_mask(&mut out), out.pop()), (Ok(length), Some(0xee)));
            new = Some(out);
        }
        report = report.or_else(|| session.report().map(<[u8]>::to_vec));
        if let Some(outcome) = ended {
            return Played { outcome, report, kept: new, got: (line.got, line.masks) };
        }
    }
    panic!("the session hangs");
}

/// Several rounds on two servers: devices of the one keep masks, those of the other do not. Gives how many downloads had
/// changes, and how many masks changed.
fn side_by_side(name: &'static str, settings: Settings) -> (usize, usize) {
    let profile = Profile { name, architecture: wide(), settings };
    let (mut with, mut without) = (profile.server(FRAME), profile.server(FRAME));
    let mut kept: [Option<Vec<u8>>; 5] = Default::default();
    let (mut changes, mut moved) = (0, 0);
    for number in 0..7u64 {
        let (a, b) = (with.open().unwrap(), without.open().unwrap());
        for device in 0..5 {
            // The last comes only now and then: its mask is some rounds old.
            if device == 4 && number % 3 != 0 {
                continue;
            }
            let mask = kept[device as usize].take();
            let one = play(&a, device, mask.as_deref(), &profile, &config(FRAME));
            let other = play(&b, device, None, &profile, &config(FRAME));
            assert_eq!((one.outcome, other.outcome), (Outcome::Accepted, Outcome::Accepted), "{name}");
            assert!(one.report.is_some() && one.report == other.report, "{name}, round {number}, device {device}");
            assert_eq!(one.kept, other.kept, "{name}");
            assert_eq!(other.got.1, masks_len(&b.offer.graph), "whole masks");
            if one.got.1 < other.got.1 {
                assert!(one.got.0 < other.got.0 - (other.got.1 - one.got.1) + 60, "{:?} {:?}", one.got, other.got);
                changes += 1;
            } else {
                assert_eq!(one.got.1, other.got.1);
            }
            moved += usize::from(mask.is_some() && mask != one.kept);
            kept[device as usize] = one.kept;
        }
        let (a, b) = (with.close(a, &mut rng(0)).unwrap(), without.close(b, &mut rng(0)).unwrap());
        assert_eq!(a.counts, b.counts);
        let bits = |server: &Server| server.model().params().iter().map(|p| p.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&with), bits(&without), "{name}: the model after round {number}");
    }
    (changes, moved)
}

#[test]
fn rounds_are_the_same_with_changes_as_with_whole_masks() {
    for crossover in [0.0, 1.0] {
        // 31 sessions in all; the first of each of the five has nothing to change.
        assert_eq!(side_by_side("set", moving(Algorithm::Set, 0.9, crossover)), (26, 26));
        assert_eq!(side_by_side("rigl", moving(Algorithm::RigL, 0.9, crossover)), (26, 26));
        assert_eq!(
            side_by_side("at once", pruned(settings(), 0.9, crossover)),
            (26, 0),
            "nothing changes, nothing comes"
        );
        let (changes, moved) = side_by_side("gradual", moving(Algorithm::Magnitude, 0.9, crossover));
        assert!(changes > 8 && moved > 8, "{changes} of {moved}");
        for algorithm in [Algorithm::Set, Algorithm::RigL] {
            let settings = blocks(moving(algorithm, 0.9, crossover), 0.9, crossover);
            let (changes, moved) = side_by_side("in blocks", settings);
            assert!(changes > 20 && moved > 20, "{changes} of {moved}");
        }
    }
    assert_eq!(side_by_side("dense", settings()), (0, 0));
}

#[test]
fn rounds_are_the_same_with_coded_changes_as_with_whole_masks() {
    let coded = |settings: Settings| Settings { value_step: 0.05, ..settings };
    for crossover in [0.0, 1.0] {
        assert_eq!(side_by_side("set", coded(moving(Algorithm::Set, 0.9, crossover))), (26, 26));
        assert_eq!(side_by_side("rigl", coded(moving(Algorithm::RigL, 0.9, crossover))), (26, 26));
        assert_eq!(side_by_side("at once", coded(pruned(settings(), 0.9, crossover))), (26, 0));
        let (changes, moved) = side_by_side("gradual", coded(moving(Algorithm::Magnitude, 0.9, crossover)));
        assert!(changes > 8 && moved > 8, "{changes} of {moved}");
        let settings = coded(blocks(moving(Algorithm::RigL, 0.9, crossover), 0.9, crossover));
        let (changes, moved) = side_by_side("in blocks", settings);
        assert!(changes > 20 && moved > 20, "{changes} of {moved}");
    }
}

#[test]
fn devices_that_keep_masks_send_their_fingerprint_and_others_nothing() {
    let moved = Moved::new(FRAME);
    let kept = KeptMask::parse(&moved.kept).unwrap();
    for (kept, expected) in [(Some(kept), Some(kept.fingerprint())), (None, None)] {
        let mut lent = Lent::for_plan(&moved.round.offer.plan, FRAME);
        let mut session = Session::new(lent.bytes(), config(FRAME), &mut rng(1)).unwrap();
        if let Some(kept) = kept {
            session = session.with_mask(kept);
        }
        assert_eq!(session.keep_mask(&mut [0; 1000]), Err(KeepError::NoMask));
        assert_eq!(session.poll(0, &mut moved.profile.examples(1).store()), Poll::Send);
        let Frame::Whole { body, version, .. } = Frame::parse(session.outgoing(), FRAME) else { panic!("no frame") };
        let Ok((Request::CheckIn { mask, .. }, _)) = Request::decode(body, version) else { panic!("no check-in") };
        assert_eq!(mask, expected);
    }
}

/// The answer to a check-in of a device that has these masks: the length of its checkpoint and the form.
fn offered(round: &Round, mask: Option<u32>) -> (u32, Option<u32>) {
    let (protocol, capabilities, population) = (PROTOCOL_VERSION, Capabilities::ALL, crate::problem::POPULATION);
    let request = Request::CheckIn { protocol, capabilities, population, session: 9, max_frame: 4096, mask };
    match ask(round, 1, &request, &[]) {
        Some(Response::Task { checkpoint, base, .. }) => (checkpoint, base),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_server_remembers_as_many_masks_as_it_is_told() {
    for remembered in [0usize, 1, 3] {
        let mut settings = moving(Algorithm::Set, 0.9, 1.0);
        settings.pruning.remembered = remembered as u32;
        let profile = Profile { name: "wide", architecture: wide(), settings };
        let mut server = profile.server(FRAME);
        let mut masks = Vec::new();
        for _ in 0..6 {
            let round = server.open().unwrap();
            let whole = round.offer.checkpoint.len() as u32;
            for (age, mask) in masks.iter().rev().enumerate() {
                let (length, base) = offered(&round, Some(*mask));
                assert_eq!(base, (age < remembered).then_some(*mask), "{age} of {remembered}");
                assert!(if base.is_some() { length < whole } else { length == whole });
            }
            assert_eq!(offered(&round, None), (whole, None));
            assert_eq!(offered(&round, Some(77)), (whole, None), "nobody knows these masks");
            let bits = checkpoint_masks(&round.offer.graph, &round.offer.checkpoint).unwrap();
            masks.push(siskin::wire::checksum(&bits.collect::<Vec<_>>().concat()));
            for device in 0..2 {
                play(&round, device, None, &profile, &config(FRAME));
            }
            server.close(round, &mut rng(0)).unwrap();
        }
    }
}

#[test]
fn changes_longer_than_whole_masks_are_not_offered() {
    // Nearly every weight of these small layers changes its place.
    let mut settings = rigl(settings(), 0.5, 1.0);
    settings.pruning.drop_fraction = 1.0;
    let profile = Profile { name: "small", architecture: crate::problem::mlp(), settings };
    let mut server = profile.server(FRAME);
    let round = server.open().unwrap();
    let kept = (0..4).map(|device| play(&round, device, None, &profile, &config(FRAME)).kept.unwrap()).last().unwrap();
    server.close(round, &mut rng(0)).unwrap();
    let round = server.open().unwrap();
    let fingerprint = KeptMask::parse(&kept).unwrap().fingerprint();
    assert_eq!(offered(&round, Some(fingerprint)), (round.offer.checkpoint.len() as u32, None));
    assert_eq!(play(&round, 1, Some(&kept), &profile, &config(FRAME)).outcome, Outcome::Accepted);
}

/// A device with `kept` against a server that sends this, in pieces of `chunk` bytes.
fn with_changes(
    moved: &Moved,
    kept: Option<&[u8]>,
    task: (u32, Option<u32>),
    checkpoint: &[u8],
    chunk: usize,
) -> Outcome {
    let mut lent = Lent::for_plan(&moved.round.offer.plan, FRAME);
    let mut session = device(lent.bytes());
    if let Some(kept) = kept {
        session = session.with_mask(KeptMask::parse(kept).unwrap());
    }
    let offer = &moved.round.offer;
    let (plan, round) = (&offer.plan_bytes[..], offer.plan.round);
    let answers = Answers { plan, task, checkpoint, chunk, round, stale: true };
    answers.play(&mut session, &mut moved.profile.examples(1).store()).0
}

#[test]
fn a_task_that_lies_about_changes_is_refused() {
    let moved = Moved::new(FRAME);
    let base = moved.base();
    let good = moved.changes.clone();
    let (len, whole) = (good.len() as u32, moved.round.offer.checkpoint.len() as u32);
    assert_eq!(checkpoint_len(&moved.round.offer.graph) as u32, whole);
    let kept = Some(&moved.kept[..]);
    for chunk in [1, 9, 500] {
        assert_eq!(with_changes(&moved, kept, (len, Some(base)), &good, chunk), Outcome::Accepted);
        assert_eq!(with_changes(&moved, kept, (whole, None), &moved.round.offer.checkpoint, chunk), Outcome::Accepted);
    }
    let lie = |kept, length, base| refused(with_changes(&moved, kept, (length, base), &good, 100));
    // No masks, other masks, masks of another network.
    assert_eq!(lie(None, len, Some(base)), CheckpointError::Base { kept: None, got: base });
    assert_eq!(lie(kept, len, Some(base ^ 1)), CheckpointError::Base { kept: Some(base), got: base ^ 1 });
    let mut short = moved.kept.clone();
    short.pop();
    let sum = siskin::wire::checksum(&short[12..]);
    short[8..12].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(lie(Some(&short), len, Some(sum)), CheckpointError::Base { kept: Some(sum), got: sum });
    // Lengths: of whole masks, longer, hardly more than nothing, a byte too few or too many.
    let length = |got| match lie(kept, got, Some(base)) {
        CheckpointError::Length { expected, got } => (expected, got),
        other => panic!("{other:?}"),
    };
    assert_eq!(length(whole), (whole - 1, whole));
    assert_eq!(length(u32::MAX), (whole - 1, u32::MAX));
    let values = 4 * moved.round.offer.graph.values as u32;
    assert_eq!(length(0), (24 + 2 + values, 0));
    assert_eq!(length(24 + 1 + values), (24 + 2 + values, 24 + 1 + values));
    assert_eq!(length(len - 1).0, len - 1, "a piece goes beyond the end");
    let longer = [&good[..], &[0; 9]].concat();
    let outcome = with_changes(&moved, kept, (len + 9, Some(base)), &longer, 100);
    assert_eq!(refused(outcome), CheckpointError::Length { expected: len, got: len + 9 });
    // Whole masks that say they are changes, and the other way round.
    assert_eq!(
        refused(with_changes(&moved, kept, (len, Some(base)), &moved.round.offer.checkpoint, 100)),
        CheckpointError::Header
    );
    assert_eq!(refused(with_changes(&moved, kept, (whole, None), &good, 100)), CheckpointError::Header);
    // The app's floor.
    let policy = Policy { largest_download: len - 1, ..Policy::permissive() };
    let played = play(&moved.round, 1, kept, &moved.profile, &Config { policy, ..config(FRAME) });
    let cause = Abandoned::Policy(PolicyViolation::Download { allowed: len - 1, plan: len });
    assert!(matches!(played.outcome, Outcome::Abandoned { cause: got, .. } if got == cause), "{:?}", played.outcome);
}

#[test]
fn a_form_that_nobody_was_offered_is_not_sent() {
    let moved = Moved::new(FRAME);
    let task = check_in(&moved.round, 9);
    let request = Request::Fetch { task, base: Some(5), offset: 0, max_frame: 1024 };
    assert!(matches!(ask(&moved.round, 1, &request, &[]), Some(Response::Gone { .. })));
}

#[test]
fn masks_can_be_kept_until_the_memory_is_another() {
    let moved = Moved::new(FRAME);
    let plan = &moved.round.offer.plan;
    let (mut lent, mut other) = (Lent::for_plan(plan, FRAME), Lent::for_plan(plan, FRAME));
    let mut session = Session::new(lent.bytes(), config(FRAME), &mut rng(1)).unwrap();
    let mut line = Line::new(&moved.round, usize::MAX);
    let (mut first, mut bytes) = (None, vec![0; 1000]);
    while line.step(&mut session, &mut moved.profile.examples(1).store()).is_none() {
        let mut saved = vec![0; session.save_bound()];
        let Ok(n) = session.save(&mut saved) else { break };
        let restored = Session::restore(other.bytes(), config(FRAME), &saved[..n]).unwrap();
        match session.keep_mask(&mut bytes) {
            Err(e) => assert_eq!((e, first.is_none()), (KeepError::NoMask, true)),
            Ok(n) => {
                let first = first.get_or_insert_with(|| bytes[..n].to_vec());
                assert_eq!(first[..], bytes[..n], "the masks of a round do not change");
                let uploads = session.report().is_some();
                assert_eq!(restored.kept_mask_len(), (!uploads).then_some(n));
                assert_eq!(restored.keep_mask(&mut bytes).is_ok(), !uploads);
            }
        }
    }
    assert_eq!(first.map(|bytes| bytes.len()), Some(12 + masks_len(&moved.round.offer.graph)));
    // A network in which nothing is pruned has none.
    let profile = Profile { name: "dense", architecture: wide(), settings: settings() };
    let dense = profile.round(FRAME);
    assert_eq!((play(&dense, 1, None, &profile, &config(FRAME)).kept, masks_len(&dense.offer.graph)), (None, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changes_with_some_bytes_changed(
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        early in any::<bool>(), chunk in 1usize..700, coded in any::<bool>(),
    ) {
        let moved = shared(coded);
        let base = moved.base();
        let mut bad = moved.changes.clone();
        // The header and the changes of the first mask are at the front.
        let end = if early { 70 } else { bad.len() };
        for (at, byte) in mutations {
            bad[at.index(end)] = byte;
        }
        let outcome = with_changes(moved, Some(&moved.kept), (bad.len() as u32, Some(base)), &bad, chunk);
        prop_assert!(
            matches!(outcome, Outcome::Accepted | Outcome::Abandoned { cause: Abandoned::Checkpoint(_), .. }),
            "{:?}", outcome
        );
    }

    /// Saves that were forged while changes came end in some way: refused, or gone on with.
    #[test]
    fn forged_saves_among_changes(
        stop in 1usize..60, chunk in 1usize..300, coded in any::<bool>(),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), early in any::<bool>(),
    ) {
        let moved = shared(coded);
        let kept = KeptMask::parse(&moved.kept).unwrap();
        let mut lent = Lent::for_plan(&moved.round.offer.plan, FRAME);
        let mut session = Session::new(lent.bytes(), config(FRAME), &mut rng(1)).unwrap().with_mask(kept);
        let mut line = Line::new(&moved.round, chunk);
        for _ in 0..stop {
            if session.memory().is_some() && line.got > 600 {
                break;
            }
            let _ = line.step(&mut session, &mut moved.profile.examples(1).store());
        }
        let mut saved = vec![0; session.save_bound()];
        let Ok(n) = session.save(&mut saved) else { return Ok(()) };
        let end = if early { 90 } else { n - 4 };
        for (at, byte) in mutations {
            saved[at.index(end)] = byte;
        }
        let sum = siskin::wire::checksum(&saved[..n - 4]);
        saved[n - 4..n].copy_from_slice(&sum.to_le_bytes());
        let mut other = Lent::new(200_000);
        match Session::restore_with_mask(other.bytes(), config(FRAME), &saved[..n], kept) {
            Err(SaveError::Finished | SaveError::Capacity { .. }) => prop_assert!(false, "not while restoring"),
            Err(_) => {}
            Ok(mut session) => {
                let examples = moved.profile.examples(1);
                let mut line = Line::new(&moved.round, usize::MAX);
                let ended = (0..5000).find_map(|_| line.step(&mut session, &mut examples.store()));
                prop_assert!(ended.is_some(), "the session hangs");
            }
        }
    }
}

fn shared(coded: bool) -> &'static Moved {
    static MOVED: std::sync::OnceLock<[Moved; 2]> = std::sync::OnceLock::new();
    &MOVED.get_or_init(|| [Moved::new(FRAME), Moved::coded(FRAME)])[usize::from(coded)]
}
