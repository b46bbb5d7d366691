//! The same plan, checkpoint, examples and seed give the same bits: in frames of any length, with any instructions, in
//! any build profile, on any machine (the digests are checked in).

use crate::device::{Lent, play, play_in};
use crate::moved::Moved;
use crate::portable::Net;
use crate::problem::{Profile, config, profiles, rng};
use std::collections::BTreeMap;
use std::fmt::Write;

#[test]
fn the_length_of_frames_and_pieces_does_not_matter() {
    for profile in profiles() {
        let examples = profile.examples(2);
        let report = |frame: usize, piece: usize| {
            let round = profile.round(frame);
            let mut lent = Lent::for_plan(&round.offer.plan, frame);
            play_in(lent.bytes(), &round, &config(frame), 2, &mut examples.store(), piece).report.unwrap()
        };
        let want = report(1024, usize::MAX);
        for (frame, piece) in [(16 * 1024, usize::MAX), (1024, 1), (1500, 64), (4096, 777)] {
            assert_eq!(report(frame, piece), want, "{}: frames of {frame}, pieces of {piece}", profile.name);
        }
        // Another seed, another report: where anything is random. The order of clipped examples leaves no trace in their sum.
        let other = play(&profile.round(1024), &config(1024), 3, &mut examples.store()).report.unwrap();
        let random = !matches!(profile.settings.privacy.clipping, siskin::checkin::Clipping::Examples { .. });
        assert_eq!(other != want, random, "{}", profile.name);
    }
}

#[test]
fn portable_kernels_give_the_bits_of_the_fast_ones() {
    let mut seen = 0;
    // Every pair of a block size and a rest.
    for batch in [1usize, 3, 8, 21, 64] {
        for profile in profiles() {
            let server = profile.server(1024);
            let offer = server.open().unwrap().offer;
            if offer.graph.tensors.iter().any(|t| t.is_masked()) {
                continue;
            }
            let patterns = offer.patterns();
            let values = offer.values(server.model());
            let net = Net {
                spec: offer.plan.model.clone(),
                graph: offer.graph.clone(),
                row_ptrs: patterns.row_ptrs.to_vec(),
                columns: patterns.columns.to_vec(),
                values,
            };
            let mut training = offer.plan.training;
            (training.optimizer, training.proximal) = (crate::problem::momentum(0.9), 0.0);
            let examples = crate::problem::Examples::new(&profile.architecture, 5, batch);
            let mut x = vec![0.0; net.graph.input.features() * batch];
            let mut labels = Vec::new();
            for (b, (row, label)) in examples.rows().enumerate() {
                row.iter().enumerate().for_each(|(f, v)| x[f * batch + b] = *v);
                labels.push(label);
            }
            let bits = |values: Vec<f32>| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let (fast, portable) =
                (net.train(&training, 3, &x, &labels), net.train_portable(&training, 3, &x, &labels));
            assert_ne!(bits(net.values.clone()), bits(fast.clone()));
            assert_eq!(bits(fast), bits(portable), "{} batch {batch}", profile.name);
            seen += 1;
        }
    }
    assert_eq!(seen, 120, "all profiles without dense masks");
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// Reports of two devices in the first round, and the model after it.
fn digests(profile: &Profile) -> Vec<(String, u64)> {
    let mut server = profile.server(1024);
    let round = server.open().unwrap();
    let mut lines = vec![(format!("{} checkpoint", profile.name), digest(round.offer.checkpoint.iter().copied()))];
    for d in 0..2 {
        let report = play(&round, &config(1024), d, &mut profile.examples(d).store()).report.unwrap();
        lines.push((format!("{} report-{d}", profile.name), digest(report)));
    }
    assert!(server.close(round, &mut rng(0)).unwrap().stepped);
    let bytes = server.model().params().iter().flat_map(|v| v.to_bits().to_le_bytes());
    lines.push((format!("{} model", profile.name), digest(bytes)));
    lines
}

/// What a device keeps of a round's masks, and what the next round's checkpoint says of them.
fn changes() -> [(String, u64); 3] {
    let (moved, coded) = (Moved::new(1024), Moved::coded(1024));
    [
        ("wide-set-90 kept".into(), digest(moved.kept)),
        ("wide-set-90 changes".into(), digest(moved.changes)),
        ("wide-set-90 coded-changes".into(), digest(coded.changes)),
    ]
}

#[test]
fn reports_have_the_recorded_bits() {
    let recorded = include_str!("../vectors/report_digests.txt");
    let recorded: BTreeMap<&str, &str> =
        recorded.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.rsplit_once(' ')).collect();
    let mut differ = String::new();
    let mut all = String::new();
    for (name, digest) in profiles().iter().flat_map(digests).chain(changes()) {
        let digest = format!("{digest:016x}");
        writeln!(all, "{name} {digest}").unwrap();
        if recorded.get(name.as_str()) != Some(&digest.as_str()) {
            writeln!(differ, "{name}").unwrap();
        }
    }
    assert!(
        differ.is_empty(),
        "these differ from tests/vectors/report_digests.txt:\n{differ}\nall of them now:\n{all}"
    );
    assert_eq!(recorded.len(), all.lines().count(), "a recorded digest is of nothing");
}
