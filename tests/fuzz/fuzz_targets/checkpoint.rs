//! A checkpoint of any bytes, downloaded by a session in pieces: it trains, or names what is wrong.
//!
//! The first byte of the input says whether the masks come whole, as what changed in those that the device kept, or whole with
//! coded values and a start of the coder, or as coded changes with coded values.
#![no_main]

#[path = "../../host/device.rs"]
#[allow(dead_code)]
mod device;
#[path = "../../host/moved.rs"]
#[allow(dead_code)]
mod moved;
#[path = "../../host/problem.rs"]
#[allow(dead_code)]
mod problem;

use device::Lent;
use libfuzzer_sys::fuzz_target;
use moved::Moved;
use problem::{Profile, config, profiles, rng};
use siskin::checkin::{KeptMask, Plan};
use siskin::session::{Abandoned, Outcome, Poll, Session};
use siskin::wire::{Frame, Request, Response, UploadStatus};
use std::sync::OnceLock;

/// A round, the length of its checkpoint, and the masks that the device kept.
struct Case {
    profile: Profile,
    plan: Plan,
    encoded: Vec<u8>,
    length: usize,
    kept: Option<Vec<u8>>,
}

fn cases() -> [Case; 4] {
    // Half of the weights live, in masked dense tensors; the sparse profile reads the same patterns.
    let profile = profiles().remove(3);
    let offer = profile.round(1024).offer;
    let length = offer.checkpoint.len();
    let whole = Case { profile, plan: offer.plan, encoded: offer.plan_bytes, length, kept: None };
    let [changes, coded_changes] = [Moved::new(1024), Moved::coded(1024)].map(|moved| {
        let Moved { profile, round, kept, changes, .. } = moved;
        let (plan, encoded) = (round.offer.plan.clone(), round.offer.plan_bytes.clone());
        Case { profile, plan, encoded, length: changes.len(), kept: Some(kept) }
    });
    let coded = profiles().into_iter().find(|p| p.name == "mlp-blocks-rigl-70-coded-started").unwrap();
    let offer = coded.round(1024).offer;
    let length = offer.checkpoint.len();
    let coded = Case { profile: coded, plan: offer.plan, encoded: offer.plan_bytes, length, kept: None };
    [whole, changes, coded, coded_changes]
}

fuzz_target!(|bytes: &[u8]| {
    static CASES: OnceLock<[Case; 4]> = OnceLock::new();
    let Some((form, bytes)) = bytes.split_first() else { return };
    let Case { profile, plan, encoded, length, kept } = &CASES.get_or_init(cases)[usize::from(form % 4)];
    let kept = kept.as_ref().map(|kept| KeptMask::parse(kept).unwrap());
    let base = kept.map(|kept| kept.fingerprint());
    let mut checkpoint = bytes.to_vec();
    checkpoint.resize(*length, 0);
    let examples = profile.examples(1);
    let mut lent = Lent::for_plan(plan, 1024);
    let mut session = Session::new(lent.bytes(), config(1024), &mut rng(1)).unwrap();
    if let Some(kept) = kept {
        session = session.with_mask(kept);
    }
    let mut out = vec![0; 4096];
    for now in 0..1000 {
        match session.poll(now, &mut examples.store()) {
            Poll::Finished(outcome) => {
                assert!(matches!(
                    outcome,
                    Outcome::Accepted | Outcome::Abandoned { cause: Abandoned::Checkpoint(_), .. }
                ));
                return;
            }
            Poll::Working { .. } | Poll::Receive { .. } | Poll::Persist => {}
            Poll::Send => {
                let request = session.outgoing().to_vec();
                session.sent();
                let Frame::Whole { body, version, .. } = Frame::parse(&request, 1024) else { panic!("no frame") };
                let n = match Request::decode(body, version).unwrap().0 {
                    Request::CheckIn { .. } => {
                        let task = Response::Task { task: 7, checkpoint: *length as u32, base, deadline_ms: 1 };
                        task.encode(encoded, &mut out).unwrap()
                    }
                    Request::Fetch { offset, .. } => {
                        let rest = &checkpoint[offset as usize..];
                        // Pieces of changing lengths, which split masks and values anywhere.
                        let piece = &rest[..rest.len().min(1 + (offset as usize * 31 + bytes.len()) % 300)];
                        Response::Piece { round: plan.round, base, offset }.encode(piece, &mut out).unwrap()
                    }
                    Request::Upload { task, total, .. } => {
                        Response::Received { task, upto: total, status: UploadStatus::Accepted }
                            .encode(&[], &mut out)
                            .unwrap()
                    }
                    Request::Abandon { .. } => 0,
                };
                session.receive(&out[..n]);
            }
        }
    }
    panic!("the session hangs");
});
