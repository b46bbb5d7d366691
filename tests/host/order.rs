//! Reports that arrive in any order, in pieces that mix, from devices that work in slices: the same model to the bit.

use crate::ask::{ask, check_in};
use crate::device::{Lent, Line, play};
use crate::problem::{Profile, config, profiles, rng};
use proptest::prelude::*;
use siskin::session::{Outcome, Session};
use siskin::wire::{Request, Response, UploadStatus};

const FRAME: usize = 1024;
const DEVICES: u64 = 5;

fn bits(params: &[f32]) -> Vec<u32> {
    params.iter().map(|v| v.to_bits()).collect()
}

/// Profiles that touch every part of the sum: fractions of a step, masks, noise.
fn chosen() -> Vec<Profile> {
    let mut profiles = profiles();
    profiles.retain(|p| ["mlp-sparse-80", "cnn-masked-50-noise"].contains(&p.name));
    for profile in &mut profiles {
        // Clipped on the device; the server finds nothing to clip again.
        profile.settings.privacy.clip_norm = 0.25;
    }
    profiles
}

/// Reports of all devices, and the model after they came one after the other.
fn in_order(profile: &Profile) -> (Vec<Vec<u8>>, Vec<u32>) {
    let mut server = profile.server(FRAME);
    let round = server.open().unwrap();
    let reports = (0..DEVICES)
        .map(|d| play(&round, &config(FRAME), d, &mut profile.examples(d).store()).report.unwrap())
        .collect();
    assert!(server.close(round, &mut rng(0)).unwrap().stepped);
    (reports, bits(server.model().params()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each step brings some bytes of some report: from where the server says, or from too early, or with a gap.
    #[test]
    fn pieces_in_any_order(
        which in 0usize..2,
        steps in proptest::collection::vec((0..DEVICES as usize, 1usize..300, 0u8..10), 0..60),
        permutation in Just((0..DEVICES as usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let profile = &chosen()[which];
        let (reports, want) = in_order(profile);
        let mut server = profile.server(FRAME);
        let round = server.open().unwrap();
        let tasks: Vec<u64> = (0..DEVICES).map(|session| check_in(&round, session)).collect();
        let mut known = [0usize; DEVICES as usize];
        let upload = |d: usize, offset: usize, n: usize, known: &mut [usize]| {
            let report = &reports[d];
            let offset = offset.min(report.len());
            let piece = &report[offset..report.len().min(offset + n)];
            let request = Request::Upload { task: tasks[d], total: report.len() as u32, offset: offset as u32 };
            match ask(&round, 1, &request, piece) {
                Some(Response::Received { upto, status, .. }) => {
                    known[d] = upto as usize;
                    assert!(matches!(status, UploadStatus::Partial | UploadStatus::Accepted | UploadStatus::Duplicate));
                    assert_eq!(status == UploadStatus::Partial, known[d] < report.len());
                }
                other => panic!("{other:?}"),
            }
        };
        for (d, n, how) in steps {
            let offset = match how {
                0 => known[d].saturating_sub(n / 2),
                1 => known[d] + n,
                2 => 0,
                _ => known[d],
            };
            upload(d, offset, n, &mut known);
        }
        for d in permutation {
            while known[d] < reports[d].len() {
                upload(d, known[d], 333, &mut known);
            }
        }
        let closed = server.close(round, &mut rng(0)).unwrap();
        prop_assert_eq!(closed.counts.accepted, DEVICES);
        prop_assert_eq!(closed.counts.refused, 0);
        prop_assert_eq!(closed.reclipped, 0);
        prop_assert_eq!(bits(server.model().params()), want);
    }

    /// Whole devices that take turns, each restored from its saved bytes for every slice of a few polls.
    #[test]
    fn devices_in_slices(
        which in 0usize..2, turns in proptest::collection::vec((0..DEVICES as usize, 1usize..9), 0..60),
    ) {
        let profile = &chosen()[which];
        let (_, want) = in_order(profile);
        let mut server = profile.server(FRAME);
        let round = server.open().unwrap();
        let mut lines: Vec<Line<'_>> = (0..DEVICES).map(|_| Line::new(&round, 200)).collect();
        let mut saved: Vec<Option<Vec<u8>>> = vec![None; DEVICES as usize];
        let mut ended = [false; DEVICES as usize];
        let rest = (0..DEVICES as usize).cycle().map(|d| (d, 6)).take(2000);
        for (d, polls) in turns.into_iter().chain(rest) {
            if ended[d] {
                continue;
            }
            let mut lent = Lent::for_plan(&round.offer.plan, FRAME);
            let mut session = match &saved[d] {
                None => Session::new(lent.bytes(), config(FRAME), &mut rng(d as u64)).unwrap(),
                Some(bytes) => Session::restore(lent.bytes(), config(FRAME), bytes).unwrap(),
            };
            let examples = profile.examples(d as u64);
            let outcome = (0..polls).find_map(|_| lines[d].step(&mut session, &mut examples.store()));
            let mut bytes = vec![0; session.save_bound()];
            match (outcome, session.save(&mut bytes)) {
                (None, Ok(n)) => {
                    bytes.truncate(n);
                    saved[d] = Some(bytes);
                }
                (outcome, _) => {
                    let outcome = outcome.or_else(|| lines[d].step(&mut session, &mut examples.store()));
                    prop_assert!(matches!(outcome, Some(Outcome::Accepted | Outcome::Duplicate)), "{:?}", outcome);
                    ended[d] = true;
                }
            }
        }
        prop_assert_eq!(ended, [true; DEVICES as usize]);
        drop(lines);
        prop_assert_eq!(server.close(round, &mut rng(0)).unwrap().counts.accepted, DEVICES);
        prop_assert_eq!(bits(server.model().params()), want);
    }
}
