//! Frames of any content to a session in any stage, and to a round: nothing panics, the session ends.
//!
//! The input is the number of honest steps before, then records: kind, length (two bytes), body. Kinds: 0 a framed body to
//! the device, 1 the same in pieces of 7 bytes, 2 raw bytes to the device, 3 a framed body to the server, others 5 honest
//! steps.
#![no_main]

#[path = "../../host/device.rs"]
#[allow(dead_code)]
mod device;
#[path = "../../host/problem.rs"]
#[allow(dead_code)]
mod problem;

use device::{Lent, Line};
use libfuzzer_sys::fuzz_target;
use problem::{Profile, config, profiles, rng};
use siskin::session::Session;
use siskin::wire::{FRAME_OVERHEAD, encode_frame};
use std::sync::OnceLock;

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0; FRAME_OVERHEAD + body.len()];
    out[FRAME_OVERHEAD..].copy_from_slice(body);
    encode_frame(&mut out, body.len()).unwrap();
    out
}

fuzz_target!(|bytes: &[u8]| {
    static PROFILE: OnceLock<Profile> = OnceLock::new();
    let profile = PROFILE.get_or_init(|| profiles().remove(3));
    let Some((steps, mut rest)) = bytes.split_first() else { return };
    let round = profile.round(1024);
    let examples = profile.examples(1);
    let mut lent = Lent::for_plan(&round.offer.plan, 1024);
    let mut session = Session::new(lent.bytes(), config(1024), &mut rng(1)).unwrap();
    let mut line = Line::new(&round, usize::MAX);
    let mut honest = |session: &mut Session<'_>, steps: usize| {
        (0..steps).any(|_| line.step(session, &mut examples.store()).is_some())
    };
    honest(&mut session, usize::from(steps % 64));
    let mut out = Vec::new();
    while let Some(([kind, low, high], more)) = rest.split_first_chunk::<3>() {
        let n = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
        let (body, after) = more.split_at(n);
        rest = after;
        match kind {
            0 => {
                session.receive(&framed(body));
            }
            1 => framed(body).chunks(7).for_each(|piece| {
                session.receive(piece);
            }),
            2 => {
                session.receive(body);
            }
            3 => {
                round.handle(1, &framed(body), &mut out);
            }
            _ => {
                honest(&mut session, 5);
            }
        }
    }
    assert!(honest(&mut session, 10_000), "the session hangs");
});
