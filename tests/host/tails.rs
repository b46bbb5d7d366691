//! What comes behind the tensors of a checkpoint: the start of the reports' coder, and coded values.

use crate::device::{Lent, Line, MANY_POLLS, play};
use crate::moved::{Moved, moving};
use crate::problem::{Profile, config, mlp, model, plan_of, profiles, rng, settings};
use siskin::checkin::{KeptMask, PlanError, Privacy, Profile as Who, Rounding, Values, checkpoint_len};
use siskin::session::{Outcome, Session};
use siskin_server::round::{Algorithm, Round, Server, Settings};

const FRAME: usize = 1024;

fn profile(change: impl FnOnce(&mut Settings)) -> Profile {
    let mut settings = settings();
    change(&mut settings);
    Profile { name: "tails", architecture: mlp(), settings }
}

/// One round of four devices; gives the bytes of their reports.
fn round(server: &mut Server, profile: &Profile) -> usize {
    let round = server.open().unwrap();
    let report = |device| {
        let played = play(&round, &config(FRAME), device, &mut profile.examples(device).store());
        assert_eq!(played.outcome, Outcome::Accepted);
        played.report.unwrap().len()
    };
    let bytes = (0..4).map(report).sum();
    assert_eq!(server.close(round, &mut rng(0)).unwrap().counts.accepted, 4);
    bytes
}

#[test]
fn a_round_learns_what_the_next_begins_with() {
    let plain = profile(|s| s.quantization.step = 0.05);
    let started = profile(|s| (s.starts, s.quantization.step) = (true, 0.05));
    let (mut without, mut with) = (plain.server(FRAME), server_without_start(&started));
    let mut bytes = [0, 0];
    for number in 0..4 {
        let offer = with.open().unwrap().offer;
        assert_eq!(offer.start().bytes().is_empty(), number == 0);
        assert_eq!(usize::from(offer.plan.upload.start), offer.start().bytes().len());
        let sizes = [round(&mut without, &plain), round(&mut with, &started)];
        if number > 0 {
            bytes.iter_mut().zip(sizes).for_each(|(sum, size)| *sum += size);
        }
        // The grid is the nearest one, so that nothing else hangs on the plan.
        assert_eq!(without.model().params(), with.model().params());
    }
    // Of 12 reports of 256 coordinates, after four that taught.
    assert!(bytes[1] + 12 <= bytes[0], "{bytes:?}");
}

/// A profile's own servers begin with one.
fn server_without_start(profile: &Profile) -> Server {
    let mut server = profile.server(FRAME);
    server.set_start(&[]);
    server
}

#[test]
fn what_the_noise_does_not_cover_is_not_learned() {
    let shared = profiles().into_iter().find(|p| p.name == "mlp-sparse-80-shared").unwrap().settings.privacy;
    let central = Privacy { noise_multiplier: 0.5, ..Privacy::new(0.5, Who::Central) };
    for privacy in [shared, central] {
        let profile = profile(|s| (s.starts, s.privacy) = (true, privacy));
        let refused = Server::new(profile.settings, 1000, 1000, model(&mlp()), FRAME).unwrap_err();
        assert!(refused.to_string().starts_with("starts is 1, it must be 0 (off) where noise"), "{refused}");
    }
    let signs = profile(|s| (s.starts, s.quantization.rounding) = (true, Rounding::Rotated));
    assert!(signs.server(FRAME).open().unwrap().offer.start().bytes().is_empty());
}

#[test]
fn plans_that_start_from_what_no_noise_covers_are_refused() {
    let plan = |change: &dyn Fn(&mut siskin::checkin::Plan)| {
        let offer = profile(|_| ()).round(FRAME).offer;
        let mut plan = plan_of(offer.plan.model);
        plan.upload.start = 200;
        change(&mut plan);
        match plan.validate() {
            Err(PlanError::OutOfRange { field, .. }) => field,
            Ok(()) => "",
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(plan(&|_| ()), "");
    assert_eq!(plan(&|p| p.upload.start = 2), "upload.start");
    assert_eq!(plan(&|p| p.upload.start = 5000), "upload.start");
    let central = "upload.start, with noise of the server or shared noise";
    assert_eq!(plan(&|p| p.privacy.noise_multiplier = 0.5), central);
    assert_eq!(
        plan(&|p| p.privacy.profile = crate::problem::distributed(2, 20, siskin::checkin::ShareNoise::Skellam)),
        central
    );
    assert_eq!(plan(&|p| p.quantization.rounding = Rounding::Rotated), "upload.start, with signs of rotated deltas");
    for step in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(plan(&|p| p.values = Values::Coded { step }), "values.step");
    }
}

fn distance(a: &Server, b: &Server) -> f64 {
    let both = a.model().params().iter().zip(b.model().params());
    let (far, long) = both.fold((0.0, 0.0), |(far, long), (a, b)| {
        let (a, b) = (f64::from(*a), f64::from(*b));
        (far + (a - b) * (a - b), long + a * a)
    });
    (far / long).sqrt()
}

#[test]
fn coded_values_come_in_a_third_of_the_bytes_and_train_as_well() {
    let plain = profile(|_| ());
    let (mut floats, mut last) = (plain.server(FRAME), f64::MAX);
    let coded: Vec<Profile> = [0.5, 0.1, 0.02].map(|step| profile(|s| s.value_step = step)).into();
    let mut servers: Vec<Server> = coded.iter().map(|p| p.server(FRAME)).collect();
    for _ in 0..3 {
        round(&mut floats, &plain);
        for (server, profile) in servers.iter_mut().zip(&coded) {
            let offer = server.open().unwrap().offer;
            assert!(matches!(offer.plan.values, Values::Coded { .. }));
            assert!(3 * offer.checkpoint.len() < checkpoint_len(&offer.graph), "{}", offer.checkpoint.len());
            round(server, profile);
        }
    }
    for server in &servers {
        let far = distance(&floats, server);
        assert!(far < last / 2.0, "{far} after {last}");
        last = far;
    }
    assert!(last < 0.01, "{last}");
}

/// A device that kept its masks gets changes and coded values, and sends the same report.
#[test]
fn coded_values_behind_changes() {
    let mut settings = moving(Algorithm::Set, 0.9, 1.0);
    (settings.value_step, settings.starts) = (0.05, true);
    let moved = Moved::of(settings, FRAME);
    let offer = &moved.round.offer;
    assert!(matches!(offer.plan.values, Values::Coded { .. }) && offer.plan.upload.start > 0);
    assert!(moved.changes.len() < offer.checkpoint.len());
    let report = |kept: Option<KeptMask<'_>>| {
        let mut lent = Lent::for_plan(&offer.plan, FRAME);
        let session = Session::new(lent.bytes(), config(FRAME), &mut rng(3)).unwrap();
        let mut session = match kept {
            Some(kept) => session.with_mask(kept),
            None => session,
        };
        let mut line = Line::new(&moved.round, usize::MAX);
        let mut report = None;
        for _ in 0..MANY_POLLS {
            if line.step(&mut session, &mut moved.profile.examples(1).store()).is_some() {
                return report.unwrap();
            }
            report = session.report().map(<[u8]>::to_vec).or(report);
        }
        panic!("the session hangs")
    };
    assert_eq!(report(Some(KeptMask::parse(&moved.kept).unwrap())), report(None));
}

/// What changes of masks cost by themselves: coded at least a quarter less than as gaps.
#[test]
fn coded_changes_take_fewer_bytes_than_gaps() {
    for algorithm in [Algorithm::Set, Algorithm::RigL] {
        let bytes = [0.0, 0.05].map(|value_step| {
            let mut settings = Settings { value_step, ..moving(algorithm, 0.9, 1.0) };
            settings.pruning.drop_fraction = 0.3;
            let moved = Moved::of(settings, FRAME);
            let (offer, base) = (&moved.round.offer, KeptMask::parse(&moved.kept).unwrap().fingerprint());
            // The header of changes has 8 bytes more than that of whole masks.
            let rest = offer.checkpoint.len() - siskin::checkin::masks_len(&offer.graph) + 8;
            assert_eq!(offer.checkpoint_for(Some(base)), moved.changes);
            moved.changes.len() as f64 - rest as f64
        });
        println!("{algorithm:?}: {bytes:?}");
        assert!(bytes[0] > 0.0 && bytes[1] < 0.75 * bytes[0], "{bytes:?}");
    }
}

/// Frozen weights are most of this model, and reports too short for its values: they come as floats.
#[test]
fn values_that_no_device_has_room_for_come_as_floats() {
    use siskin::checkin::Train;
    let mut architecture = crate::moved::wide();
    architecture.layers[0].train = Train::Nothing;
    let mut settings = settings();
    settings.value_step = 0.01;
    let profile = Profile { name: "frozen", architecture, settings };
    let round: Round = profile.round(FRAME);
    assert_eq!(round.offer.plan.values, Values::Floats);
    assert_eq!(round.offer.checkpoint.len(), checkpoint_len(&round.offer.graph));
    assert_eq!(play(&round, &config(FRAME), 1, &mut profile.examples(1).store()).outcome, Outcome::Accepted);
}
