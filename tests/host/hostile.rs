//! Saved bytes, responses and requests that mean ill, in every stage of a session and of a round.

use crate::ask::{ask, check_in};
use crate::device::{Lent, Line};
use crate::problem::{POPULATION, Profile, config, profiles, rng};
use crate::untrusted::{mutate, mutations};
use proptest::prelude::*;
use siskin::arena::{ArenaError, required_bytes};
use siskin::checkin::{Policy, PolicyViolation, Population, Reason, Rejection, RetryWindow};
use siskin::session::{Config, Outcome, SaveError, Session};
use siskin::wire::{Capabilities, Frame, Request, Response, UploadStatus, WireError, checksum};
use siskin_server::round::Answer;

const FRAME: usize = 1024;

/// Saved bytes of every stage: check-in, download (at each piece), training (each step), upload.
fn saves(profile: &Profile) -> Vec<Vec<u8>> {
    let round = profile.round(FRAME);
    let examples = profile.examples(1);
    let mut lent = Lent::for_plan(&round.offer.plan, FRAME);
    let mut session = Session::new(lent.bytes(), config(FRAME), &mut rng(1)).unwrap();
    let mut line = Line::new(&round, 300);
    let mut all = Vec::new();
    loop {
        let mut bytes = vec![0; session.save_bound()];
        if let Ok(n) = session.save(&mut bytes) {
            all.push(bytes[..n].to_vec());
        }
        if line.step(&mut session, &mut examples.store()).is_some() {
            all.dedup();
            return all;
        }
    }
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 4;
    let sum = checksum(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn every_damaged_byte_of_a_save_is_noticed() {
    let saves = saves(&profiles()[3]);
    assert!(saves.len() > 8);
    for saved in &saves {
        let mut lent = Lent::new(100_000);
        for at in (0..saved.len()).step_by(1 + saved.len() / 97) {
            let mut bad = saved.clone();
            bad[at] ^= 4;
            let e = Session::restore(lent.bytes(), config(FRAME), &bad).unwrap_err();
            assert_eq!(e, SaveError::Wire(WireError::Checksum));
        }
        for cut in [0, 3, 4, saved.len() - 1] {
            assert!(matches!(Session::restore(lent.bytes(), config(FRAME), &saved[..cut]), Err(SaveError::Wire(_))));
        }
    }
}

#[test]
fn a_restored_plan_meets_the_policy_and_the_memory_again() {
    let profile = &profiles()[0];
    let round = profile.round(FRAME);
    let required = required_bytes(&round.offer.plan, FRAME).unwrap();
    for saved in saves(profile) {
        let mut lent = Lent::new(required);
        let Ok(session) = Session::restore(lent.bytes(), config(FRAME), &saved) else { panic!("a good save") };
        if session.plan().is_none() {
            continue;
        }
        drop(session);
        let strict = Policy { least_noise_multiplier: 1.0, ..Policy::permissive() };
        let e = Session::restore(lent.bytes(), Config { policy: strict, ..config(FRAME) }, &saved).unwrap_err();
        assert_eq!(e, SaveError::Policy(PolicyViolation::Noise { least: 1.0, plan: 0.0 }));
        let other = Config { population: Population::try_from("others").unwrap(), ..config(FRAME) };
        assert_eq!(Session::restore(lent.bytes(), other, &saved).unwrap_err(), SaveError::Population);
        let e = Session::restore(Lent::new(required - 1).bytes(), config(FRAME), &saved).unwrap_err();
        assert_eq!(e, SaveError::Memory(ArenaError::TooSmall { required, lent: required - 1 }));
    }
}

fn any_response() -> impl Strategy<Value = (Response, Vec<u8>)> {
    let number = || prop_oneof![0u32..2000, any::<u32>(), Just(u32::MAX)];
    // 0 stands for the task that the device really has.
    let task = || prop_oneof![Just(0u64), any::<u64>()];
    let base = || prop_oneof![Just(None), any::<Option<u32>>()];
    let window = || (any::<u32>(), any::<u32>()).prop_map(|(min_ms, max_ms)| RetryWindow { min_ms, max_ms });
    let status = prop_oneof![
        Just(UploadStatus::Partial),
        Just(UploadStatus::Partial),
        Just(UploadStatus::Accepted),
        Just(UploadStatus::Late)
    ];
    let response =
        prop_oneof![
            (task(), number(), base()).prop_map(|(task, checkpoint, base)| Response::Task {
                task,
                checkpoint,
                base,
                deadline_ms: 5
            }),
            (prop_oneof![Just(0u32), any::<u32>()], base(), number())
                .prop_map(|(round, base, offset)| Response::Piece { round, base, offset }),
            (prop_oneof![Just(0u32), any::<u32>()], base(), number())
                .prop_map(|(round, base, offset)| Response::Piece { round, base, offset }),
            (task(), number(), status).prop_map(|(task, upto, status)| Response::Received { task, upto, status }),
            window().prop_map(|retry| Response::Rejected(Rejection { reason: Reason::NoRound, retry })),
            (any::<u64>(), window()).prop_map(|(task, retry)| Response::Gone { task, retry }),
        ];
    (response, prop::collection::vec(any::<u8>(), 0..900))
}

/// Runs a session on an honest line until it ends; panics if it hangs.
fn finish(session: &mut Session<'_>, profile: &Profile, line: &mut Line<'_>) -> Outcome {
    let examples = profile.examples(1);
    (0..5000).find_map(|_| line.step(session, &mut examples.store())).expect("the session hangs")
}

fn task_in(frame: &[u8]) -> Option<u64> {
    let Frame::Whole { body, version, .. } = Frame::parse(frame, FRAME) else { return None };
    match Request::decode(body, version).ok()?.0 {
        Request::Fetch { task, .. } | Request::Upload { task, .. } => Some(task),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn restored_from_forged_bytes(
        which in 0usize..13, stage in any::<prop::sample::Index>(), mutations in mutations(), early in any::<bool>(),
    ) {
        let profile = &profiles()[which];
        let saves = saves(profile);
        let mut forged = saves[stage.index(saves.len())].clone();
        // The state is at the front; most of the rest are numbers.
        let end = if early { forged.len().min(160) } else { forged.len() } - 4;
        mutate(&mut forged[..end], &mutations);
        let forged = sealed(forged);
        let round = profile.round(FRAME);
        let mut lent = Lent::new(100_000);
        if let Ok(mut session) = Session::restore(lent.bytes(), config(FRAME), &forged) {
            // Whatever was forged, it ends in some way.
            let _ = session.save(&mut vec![0; session.save_bound()]).unwrap();
            let mut line = Line::new(&round, usize::MAX);
            finish(&mut session, profile, &mut line);
        }
    }

    /// Frames of a server that means ill, in every stage, whole and in pieces.
    #[test]
    fn responses_that_make_no_sense(
        which in 0usize..13,
        steps in 0usize..40,
        responses in prop::collection::vec(any_response(), 1..6),
        piece in prop_oneof![Just(usize::MAX), 1usize..100],
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let profile = &profiles()[which];
        let round = profile.round(FRAME);
        let examples = profile.examples(1);
        let mut lent = Lent::for_plan(&round.offer.plan, FRAME);
        let mut session = Session::new(lent.bytes(), config(FRAME), &mut rng(1)).unwrap();
        let mut line = Line::new(&round, usize::MAX);
        let mut known = 0;
        for _ in 0..steps {
            if line.step(&mut session, &mut examples.store()).is_some() {
                break;
            }
            known = task_in(session.outgoing()).unwrap_or(known);
        }
        for (response, payload) in responses {
            let response = match response {
                Response::Received { task: 0, upto, status } => Response::Received { task: known, upto, status },
                other => other,
            };
            let mut bytes = noise.clone();
            let mut frame = vec![0; 1100];
            let n = response.encode(&payload, &mut frame).unwrap();
            bytes.extend_from_slice(&frame[..n]);
            for part in bytes.chunks(piece.min(bytes.len())) {
                session.receive(part);
            }
            let _ = line.step(&mut session, &mut examples.store());
        }
        finish(&mut session, profile, &mut line);
    }

    #[test]
    fn requests_that_make_no_sense(
        requests in prop::collection::vec((0u8..4, any::<u64>(), any::<u32>(), any::<u32>(), any::<bool>()), 0..20),
        payload in prop::collection::vec(any::<u8>(), 0..400),
        raw in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let profile = &profiles()[1];
        let mut server = profile.server(FRAME);
        let round = server.open().unwrap();
        let mut out = Vec::new();
        prop_assert!(matches!(round.handle(0, &raw, &mut out), Answer::Ignored));
        let real = check_in(&round, 1);
        for (kind, number, a, b, ours) in requests {
            let task = if ours { real } else { number };
            let request = match kind {
                0 => Request::CheckIn {
                    protocol: a as u16,
                    capabilities: Capabilities(b),
                    population: if ours { POPULATION } else { "" },
                    session: number,
                    max_frame: a,
                    mask: ours.then_some(b),
                },
                1 => Request::Fetch { task, base: (b % 3 == 0).then_some(a), offset: if a % 2 == 0 { a % 2000 } else { a }, max_frame: b },
                2 => Request::Upload { task, total: if b % 2 == 0 { b % 500 } else { b }, offset: if a % 2 == 0 { a % 500 } else { a } },
                _ => Request::Abandon { task, cause: a as u8 },
            };
            ask(&round, 1, &request, &payload);
        }
        let closed = server.close(round, &mut rng(0)).unwrap();
        prop_assert_eq!(closed.counts.accepted, 0);
    }
}
