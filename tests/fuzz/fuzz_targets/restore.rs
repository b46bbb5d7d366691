//! A saved session of any bytes with a right checksum: refused, or it goes on to some end.
#![no_main]

#[path = "../../host/device.rs"]
#[allow(dead_code)]
mod device;
#[path = "../../host/problem.rs"]
#[allow(dead_code)]
mod problem;

use device::{Lent, Line};
use libfuzzer_sys::fuzz_target;
use problem::{Profile, config, profiles};
use siskin::session::Session;
use siskin::wire::checksum;
use std::sync::OnceLock;

fuzz_target!(|bytes: &[u8]| {
    static PROFILE: OnceLock<Profile> = OnceLock::new();
    let profile = PROFILE.get_or_init(|| profiles().remove(3));
    let mut saved = bytes.to_vec();
    saved.extend(checksum(bytes).to_le_bytes());
    let mut lent = Lent::new(1 << 16);
    let Ok(mut session) = Session::restore(lent.bytes(), config(1024), &saved) else { return };
    // A forged plan may ask for a million steps; that is long, not wrong.
    if session.plan().is_some_and(|p| p.training.epochs > 20) {
        return;
    }
    let mut again = vec![0; session.save_bound()];
    session.save(&mut again).expect("what was restored can be saved");
    let round = profile.round(1024);
    let examples = profile.examples(1);
    let mut line = Line::new(&round, usize::MAX);
    for _ in 0..10_000 {
        if line.step(&mut session, &mut examples.store()).is_some() {
            return;
        }
    }
    panic!("the session hangs");
});
