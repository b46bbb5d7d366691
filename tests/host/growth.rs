//! The growth probe: what a device says of where gradients are largest, and what the server makes of it.

use crate::ask::{check_in, upload};
use crate::device::{play, play_in};
use crate::problem::{Examples, Profile, config, mlp, plan_of, profiles, rigl, rng, settings};
use siskin::checkin::{Path, Plan, PlanError, Policy, PolicyViolation};
use siskin::model::sparsity::SparsityType;
use siskin::model::{Buffers, Draw, Graph, Role, backward};
use siskin::optim::Gradients;
use siskin::report::{GrowthError, Header, Report};
use siskin::session::{Abandoned, Outcome};
use siskin::wire::{UploadStatus, checksum};
use siskin_server::round::{Round, Server};
use std::collections::BTreeMap;

const FRAME: usize = 1024;

fn probing() -> Vec<Profile> {
    profiles().into_iter().filter(|p| p.name.contains("rigl")).collect()
}

fn report_of(profile: &Profile, device: u64) -> Vec<u8> {
    play(&profile.round(FRAME), &config(FRAME), device, &mut profile.examples(device).store()).report.unwrap()
}

/// `(tensor, place) -> level`.
fn levels(round: &Round, report: &[u8]) -> Result<BTreeMap<(usize, u32), u8>, GrowthError> {
    let offer = &round.offer;
    let mut found = BTreeMap::new();
    Report::parse(report).unwrap().growth(&offer.graph, &offer.patterns(), offer.plan.upload.probe, |t, p, l| {
        assert!(found.insert((t, p), l).is_none());
    })?;
    Ok(found)
}

/// The gradient of one example by the loops over every weight, with zeros where pruned.
fn dense_gradient(server: &Server, examples: &Examples) -> Vec<Vec<f32>> {
    let plan = server.open().unwrap().offer.plan;
    let mut spec = plan.model;
    for storage in spec.layers.iter_mut().flat_map(|l| l.spec.storages_mut()) {
        (storage.path, storage.live) = (Path::Dense, 1);
    }
    let sizes: Vec<_> = server.model().tensors().filter(|t| t.role.prunes()).map(|t| t.values.len() as u32).collect();
    for (storage, size) in spec.layers.iter_mut().flat_map(|l| l.spec.storages_mut()).zip(sizes) {
        storage.live = size;
    }
    let graph = Graph::new(&spec).unwrap();
    let mut gradients = vec![0.0; graph.trained];
    // As devices get them.
    let values: Vec<f32> = server.model().params().iter().map(|value| plan.values.as_received(*value)).collect();
    let mut activations = vec![0.0; graph.activation_features()];
    let (row, label) = examples.rows().next().unwrap();
    activations[..row.len()].copy_from_slice(row);
    let buffers = Buffers { activations: &mut activations, gradients: &mut vec![0.0; graph.gradient_features()] };
    let mut learner = Gradients { values: &values, gradients: &mut gradients };
    backward(&graph, spec.loss, Draw { seed: 0, step: 0 }, (&[], &[]), &mut learner, buffers, &[label], 1);
    graph.tensors.iter().map(|t| gradients[t.range()].to_vec()).collect()
}

#[test]
fn a_device_says_the_largest_gradients_of_what_does_not_live() {
    for mut profile in probing() {
        profile.settings.training.batch = 1;
        let server = profile.server(FRAME);
        let round = server.open().unwrap();
        // One example, so that there is one first batch.
        let examples = Examples::new(&profile.architecture, 3, 1);
        let played = play(&round, &config(FRAME), 1, &mut examples.store());
        let report = played.report.unwrap();
        let said = levels(&round, &report).unwrap();
        let growth = Report::parse(&report).unwrap().growth.len() as u32;
        assert_eq!((played.session.egress.unwrap().growth, growth > 20), (growth, true), "{}", profile.name);
        let mut matrices = 0;
        for ((index, gradient), view) in
            dense_gradient(&server, &examples).iter().enumerate().zip(server.model().tensors())
        {
            let mut dead: Vec<usize> = (0..gradient.len()).filter(|i| !view.live[*i] && gradient[*i] != 0.0).collect();
            if !view.role.prunes() {
                assert!(dead.is_empty() && said.keys().all(|(t, _)| *t != index));
                continue;
            }
            matrices += 1;
            dead.sort_by(|a, b| gradient[*b].abs().total_cmp(&gradient[*a].abs()).then(a.cmp(b)));
            dead.truncate(round.offer.plan.upload.probe as usize);
            let largest = gradient[dead[0]].abs();
            let level = |i: usize| (255.0 * (gradient[i].abs() / largest)).round_ties_even() as u8;
            let want: BTreeMap<u32, u8> =
                dead.iter().map(|i| (*i as u32, level(*i))).filter(|(_, level)| *level > 0).collect();
            let got: BTreeMap<u32, u8> =
                said.iter().filter(|((t, _), _)| *t == index).map(|((_, p), l)| (*p, *l)).collect();
            if profile.name.contains("masked") {
                assert_eq!(got, want, "{} tensor {index}", profile.name);
            } else {
                // The sparse loops add in another order.
                assert!(got.iter().all(|(place, l)| l.abs_diff(level(*place as usize)) <= 1), "{got:?} for {want:?}");
                assert!(got.len().abs_diff(want.len()) <= 1, "{got:?} for {want:?}");
            }
        }
        assert!(matrices >= 2, "{}", profile.name);
    }
}

#[test]
fn what_is_said_does_not_depend_on_pieces_and_only_a_probe_changes_a_report() {
    for mut profile in probing() {
        // The coins of stochastic rounding are of the plan, and the plans differ.
        profile.settings.quantization.rounding = siskin::checkin::Rounding::Nearest;
        let round = profile.round(FRAME);
        let examples = profile.examples(2);
        let with = play(&round, &config(FRAME), 2, &mut examples.store()).report.unwrap();
        let mut lent = crate::device::Lent::for_plan(&round.offer.plan, FRAME);
        let again = play_in(lent.bytes(), &round, &config(FRAME), 2, &mut examples.store(), 7).report.unwrap();
        assert_eq!(with, again);
        // The same mask that stays: the same symbols, and nothing behind them.
        let mut without = profile.settings.clone();
        without.pruning.algorithm = siskin_server::round::Algorithm::Static;
        let still = Profile { settings: without, ..profile };
        let still = report_of(&still, 2);
        let (with, still) = (Report::parse(&with).unwrap(), Report::parse(&still).unwrap());
        assert_eq!((with.payload, still.growth.len()), (still.payload, 0));
        assert!(!with.growth.is_empty());
    }
}

#[test]
fn the_mask_moves_to_where_most_devices_point_whatever_the_order() {
    for profile in probing() {
        let closed = |order: [u64; 4]| {
            let mut server = profile.server(FRAME);
            let round = server.open().unwrap();
            let before = server.model().clone();
            let mut sums = BTreeMap::new();
            for device in order {
                let played = play(&round, &config(FRAME), device, &mut profile.examples(device).store());
                assert_eq!(played.outcome, Outcome::Accepted);
                for (key, level) in levels(&round, &played.report.unwrap()).unwrap() {
                    *sums.entry(key).or_insert(0u64) += u64::from(level);
                }
            }
            assert!(server.close(round, &mut rng(0)).unwrap().stepped);
            (before, server.model().clone(), sums)
        };
        let (before, after, sums) = closed([0, 1, 2, 3]);
        assert_eq!(closed([3, 1, 0, 2]).1, after, "{}", profile.name);
        let mut moved = 0;
        for (index, (old, new)) in before.tensors().zip(after.tensors()).enumerate() {
            let live = |t: &[bool]| t.iter().filter(|l| **l).count();
            assert_eq!(live(old.live), live(new.live));
            let named = |i: usize| sums.get(&(index, i as u32)).copied().unwrap_or(0);
            let cols = old.shape[1];
            let sum = |i: usize| match profile.settings.pruning.kind {
                SparsityType::Block { .. } => (0..4).map(|r| named((i / cols / 4 * 4 + r) * cols + i % cols)).sum(),
                _ => named(i),
            };
            let grown: Vec<usize> = (0..old.live.len()).filter(|i| new.live[*i] && !old.live[*i]).collect();
            moved += grown.len();
            let least = grown.iter().map(|i| sum(*i)).min().unwrap_or(u64::MAX);
            for i in (0..old.live.len()).filter(|i| !old.live[*i] && !new.live[*i]) {
                assert!(sum(i) <= least, "{} tensor {index}: {i} has {} and {least} grew", profile.name, sum(i));
            }
            assert!(grown.iter().all(|i| new.values[*i] == 0.0), "what grows begins at 0");
            assert!((0..old.live.len()).all(|i| new.live[i] || new.values[i] == 0.0));
        }
        assert!(moved > 5, "{}: {moved}", profile.name);
    }
}

/// The report with another probe, header and checksum to match.
fn with_growth(report: &[u8], growth: &[u8]) -> Vec<u8> {
    let parsed = Report::parse(report).unwrap();
    let content = [parsed.payload, growth].concat();
    let header = Header { growth: growth.len() as u32, checksum: checksum(&content), ..parsed.header };
    let head = postcard::to_slice(&header, &mut [0; 128]).unwrap().to_vec();
    [&report[..5], &head, &content].concat()
}

#[test]
fn a_probe_that_is_not_one_is_refused() {
    let profile = &probing()[0];
    let round = profile.round(FRAME);
    let report = report_of(profile, 1);
    let good = Report::parse(&report).unwrap().growth.to_vec();
    assert_eq!(with_growth(&report, &good), report);
    let offer = &round.offer;
    let matrix = offer.graph.tensors.iter().find(|t| t.role == Role::Weight).unwrap();
    let row = &offer.patterns().columns[..offer.patterns().row_ptrs[1] as usize];
    let (live, dead) = (row[0], (0..16u8).find(|c| !row.contains(&u16::from(*c))).unwrap());
    let (size, most) = (matrix.size() as u32, offer.plan.upload.probe);
    assert!(size == 192 && live < 16 && most < 100);
    let first = usize::from(good[0]);
    // The second matrix says nothing.
    let one = |bytes: &[u8]| [bytes, &[0]].concat();
    let empty: [(Vec<u8>, GrowthError); 11] = [
        (vec![], GrowthError::Malformed),
        (vec![0x80, 0], GrowthError::Malformed),
        (good[..good.len() - 1].to_vec(), GrowthError::Malformed),
        ([&good[..], &[0]].concat(), GrowthError::Trailing { bytes: 1 }),
        (one(&[most as u8 + 1]), GrowthError::Count { limit: most, got: most + 1 }),
        (one(&[1, 0xc0, 1, 255]), GrowthError::Place { limit: size, got: 192 }),
        (one(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f, 255]), GrowthError::Place { limit: size, got: u64::from(u32::MAX) }),
        (one(&[1, live as u8, 255]), GrowthError::Live { got: u32::from(live) }),
        (one(&[1, dead, 0]), GrowthError::Level),
        (one(&[1, dead, 254]), GrowthError::Level),
        ([&[first as u8][..], &good[1..3]].concat(), GrowthError::Malformed),
    ];
    let mut server = profile.server(FRAME);
    let open = server.open().unwrap();
    for (i, (growth, error)) in empty.into_iter().enumerate() {
        let forged = with_growth(&report, &growth);
        assert_eq!(levels(&round, &forged).unwrap_err(), error, "case {i}");
        let task = check_in(&open, i as u64);
        assert_eq!(upload(&open, 1, task, &forged), UploadStatus::Refused, "case {i}");
    }
    // A length that is not there, and a probe that nobody asked for.
    let mut cut = report.clone();
    cut.truncate(report.len() - 1);
    assert!(Report::parse(&cut).is_err());
    let plain = &profiles()[2];
    let unasked = with_growth(&report_of(plain, 1), &good);
    assert_eq!(levels(&plain.round(FRAME), &unasked).unwrap_err(), GrowthError::Trailing { bytes: good.len() as u32 });
    let closed = server.close(open, &mut rng(0)).unwrap();
    assert_eq!((closed.counts.accepted, closed.counts.refused), (0, 11));
    assert_eq!(server.model(), profile.server(FRAME).model(), "nothing of them was used");
}

#[test]
fn noise_and_a_probe_do_not_go_together() {
    let mut plan = plan_of(mlp());
    plan.upload.probe = 9;
    plan.privacy.noise_multiplier = 0.5;
    let mut bytes = vec![0; 1024];
    let n = plan.encode(&mut bytes).unwrap();
    let error = PlanError::ProbeWithNoise { entries: 9, noise_multiplier: 0.5 };
    assert_eq!(Plan::decode(&bytes[..n]), Err(error));
    assert!(error.to_string().contains("growth probe of 9 entries"));
    plan.privacy.noise_multiplier = 0.0;
    plan.upload.probe = 65_537;
    assert_eq!(plan.validate(), Err(PlanError::OutOfRange { field: "upload.probe", got: 65_537.0 }));
    let mut noisy = rigl(settings(), 0.5, 1.0);
    noisy.privacy.noise_multiplier = 1.0;
    let refused = noisy.check(1000).unwrap_err().to_string();
    assert!(refused.contains("`set` moves a mask without"), "{refused}");
}

#[test]
fn an_app_says_whether_a_probe_may_leave() {
    let profile = &probing()[0];
    let policy = Policy { growth_probe: false, ..Policy::permissive() };
    let strict = siskin::session::Config { policy, ..config(FRAME) };
    let played = play(&profile.round(FRAME), &strict, 1, &mut profile.examples(1).store());
    let cause = Abandoned::Policy(PolicyViolation::GrowthProbe);
    assert!(matches!(played.outcome, Outcome::Abandoned { cause: c, .. } if c == cause), "{:?}", played.outcome);
    assert!(played.report.is_none());
    let plain = &profiles()[2];
    let played = play(&plain.round(FRAME), &strict, 1, &mut plain.examples(1).store());
    assert_eq!((played.outcome, played.session.egress.unwrap().growth), (Outcome::Accepted, 0));
}
