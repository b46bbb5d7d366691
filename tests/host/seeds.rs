//! The seeds of the fuzz targets are what real devices and servers make.

use crate::device::{Lent, Line, play};
use crate::moved::Moved;
use crate::problem::{Profile, config, profiles, rng};
use siskin::checkin::Limits;
use siskin::privacy::{LEDGER_BYTES, Ledger, Participation, Rho};
use siskin::report::{EGRESS_SLOT, EgressLog, Report};
use siskin::session::Session;
use siskin::wire::{Capabilities, FRAME_OVERHEAD, PROTOCOL_VERSION, Request, Response, UploadStatus};
use std::path::Path;

/// A frame's body.
fn body(encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut out = vec![0; 2048];
    let n = encode(&mut out);
    out[FRAME_OVERHEAD..n].to_vec()
}

/// A record of the target `frames`.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u16).to_le_bytes(), body].concat()
}

/// Saved sessions in training and in upload, without their checksums.
fn saves(profile: &Profile) -> Vec<Vec<u8>> {
    let round = profile.round(1024);
    let examples = profile.examples(1);
    let mut lent = Lent::for_plan(&round.offer.plan, 1024);
    let mut session = Session::new(lent.bytes(), config(1024), &mut rng(1)).unwrap();
    let mut line = Line::new(&round, usize::MAX);
    let mut all = Vec::new();
    loop {
        let mut bytes = vec![0; session.save_bound()];
        if let Ok(n) = session.save(&mut bytes) {
            all.push(bytes[..n - 4].to_vec());
        }
        if line.step(&mut session, &mut examples.store()).is_some() {
            all.dedup();
            let last = all.len() - 1;
            return [1, 4, 8, last].map(|i| all[i].clone()).to_vec();
        }
    }
}

/// A ledger of two populations, without its checksum.
fn ledger() -> Vec<u8> {
    let mut ledger = Ledger::new();
    for (population, round) in [(1, 0), (2, 4), (1, 9)] {
        let (rho, time_ms) = (Rho::ZERO, u64::from(round));
        let next = Participation { population, round, rho, session: 3, report: round, time_ms };
        ledger.debit(&Limits::NONE, &next).unwrap();
    }
    ledger.to_bytes()[..LEDGER_BYTES - 4].to_vec()
}

/// An egress log of one record and room for another.
fn log() -> Vec<u8> {
    let mut bytes = vec![0; 8 + 2 * EGRESS_SLOT];
    let played = play(&profiles()[0].round(1024), &config(1024), 1, &mut profiles()[0].examples(1).store());
    EgressLog::create(&mut bytes[..]).unwrap().append(&played.session.egress.unwrap());
    bytes
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let profiles = profiles();
    let masked = &profiles[3];
    let named = |name: &str| profiles.iter().position(|p| p.name == name).unwrap();
    let (adaptive, signs) = (named("mlp-dense-adaptive"), named("mlp-dense-signs"));
    let (dithered, optimised) = (named("mlp-sparse-80-dithered"), named("mlp-dense-optimised"));
    let mut seeds = Vec::new();
    let (coded, started) = (named("mlp-blocks-rigl-70-coded-started"), named("mlp-dense-started-optimised"));
    for i in [0, 2, 5, 7, adaptive, signs, dithered, optimised, coded] {
        let offer = profiles[i].round(1024).offer;
        seeds.push((format!("plan/{}", profiles[i].name), offer.plan_bytes));
    }
    let offer = masked.round(1024).offer;
    // The first byte: 0 for whole masks, 1 for what changed in kept ones, 2 for whole masks, coded values and a
    // start, 3 for coded changes and values.
    seeds.push(("checkpoint/masked".into(), [&[0][..], &offer.checkpoint].concat()));
    let moved = Moved::new(1024);
    seeds.push(("checkpoint/changes".into(), [&[1][..], &moved.changes].concat()));
    seeds.push(("checkpoint/coded-changes".into(), [&[3][..], &Moved::coded(1024).changes].concat()));
    let tail = profiles[coded].round(1024).offer.checkpoint;
    seeds.push(("checkpoint/coded".into(), [&[2][..], &tail].concat()));
    for (first, i) in [(0u8, 0), (1, 2), (2, adaptive), (3, signs), (4, dithered), (5, started)] {
        let report = play(&profiles[i].round(1024), &config(1024), 1, &mut profiles[i].examples(1).store()).report;
        let payload = Report::parse(report.as_ref().unwrap()).unwrap().payload.to_vec();
        seeds.push((format!("report/{}", profiles[i].name), [&[first][..], &payload].concat()));
    }
    for (i, saved) in saves(masked).into_iter().enumerate() {
        seeds.push((format!("restore/{i}"), saved));
    }
    seeds.push(("ledger/ledger".into(), ledger()));
    seeds.push(("ledger/log".into(), log()));
    let task = Response::Task { task: 1, checkpoint: offer.checkpoint.len() as u32, base: None, deadline_ms: 9 };
    let task = body(|out| task.encode(&offer.plan_bytes, out).unwrap());
    let piece =
        body(|out| Response::Piece { round: 0, base: None, offset: 0 }.encode(&offer.checkpoint[..400], out).unwrap());
    let received = Response::Received { task: 1, upto: 9, status: UploadStatus::Partial };
    let received = body(|out| received.encode(&[], out).unwrap());
    let check_in = Request::CheckIn {
        protocol: PROTOCOL_VERSION,
        capabilities: Capabilities::ALL,
        population: crate::problem::POPULATION,
        session: 5,
        max_frame: 1024,
        mask: None,
    };
    let check_in = body(|out| check_in.encode(&[], out).unwrap());
    let upload = body(|out| Request::Upload { task: 1, total: 99, offset: 0 }.encode(&[7; 50], out).unwrap());
    let session = [vec![1], record(0, &task), record(1, &piece), record(4, &[]), record(1, &received)].concat();
    let round = [vec![12], record(3, &check_in), record(3, &upload), record(0, &received), record(2, b"SK")].concat();
    // Two records of three bytes; one of two 32-bit floats.
    seeds.push(("idx/bytes".into(), vec![0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]));
    seeds.push(("idx/floats".into(), vec![0, 0, 13, 2, 0, 0, 0, 1, 0, 0, 0, 2, 63, 128, 0, 0, 64, 0, 0, 0]));
    seeds.push(("frames/session".into(), session));
    seeds.push(("frames/round".into(), round));
    seeds
}

/// To write them again after a change of a format: `SISKIN_WRITE_SEEDS=1 cargo test -p siskin-host-tests seeds`.
#[test]
fn fuzz_seeds_are_of_the_present_formats() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds"));
    for (name, bytes) in seeds() {
        let path = folder.join(&name);
        if std::env::var_os("SISKIN_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(bytes.len() <= 4096, "{name}: longer than an input");
        assert!(std::fs::read(&path).is_ok_and(|b| b == bytes), "{name} differs from what is made now");
    }
}
