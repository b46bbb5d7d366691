//! Correlated noise over rounds of real devices: cohorts keep their distance, the run is certified from who took part, and
//! nothing is released of a round that breaks the rule.

use crate::device::play;
use crate::problem::{Examples, config, mlp, model, rng, settings};
use siskin::checkin::{Privacy, Profile};
use siskin::session::Outcome;
use siskin_server::accounting::correlated::{Blt, Participation, Tree, Violation};
use siskin_server::privacy::Noise;
use siskin_server::round::{Algorithm, Closed, Pruning, Selection, Server, ServerError, Settings};

const DEVICES: usize = 23;
const ROUNDS: u32 = 12;
const FRAME: usize = 1024;

fn rule() -> Participation {
    Participation::new(ROUNDS, 4, 3).unwrap()
}

fn blt() -> Noise {
    Noise::Blt { blt: Blt::new(&[0.9, 0.3], &[0.25, 0.3]).unwrap(), participation: rule() }
}

fn noisy(noise: Noise) -> Settings {
    let privacy = Privacy { noise_multiplier: 0.5, ..Privacy::new(1.0, Profile::Central) };
    Settings { privacy, noise, ..settings() }
}

fn server(settings: Settings) -> Result<Server, ServerError> {
    Server::new(settings, DEVICES, ROUNDS, model(&mlp()), FRAME)
}

/// Plays a round with these devices and closes it.
fn round(server: &mut Server, devices: &[usize], noise: u64) -> Result<Closed, ServerError> {
    let open = server.open().unwrap();
    for (session, device) in (1000 * u64::from(server.round())..).zip(devices) {
        let examples = Examples::new(&mlp(), *device as u64, 21);
        assert_eq!(play(&open, &config(FRAME), session, &mut examples.store()).outcome, Outcome::Accepted);
    }
    let named: Vec<u64> = devices.iter().map(|device| *device as u64).collect();
    server.close_of(open, &named, &mut rng(noise))
}

#[test]
fn cohorts_keep_their_distance_and_the_run_is_certified() {
    let tree = Noise::Tree { tree: Tree::Honaker, participation: rule() };
    for (noise, selection) in [(blt(), Selection::Fixed), (blt(), Selection::Poisson), (tree, Selection::Fixed)] {
        let mut server = server(Settings { selection, min_fraction: 0.0, ..noisy(noise) }).unwrap();
        let mut spent = 0.0;
        for number in 0..ROUNDS {
            let selected = server.select(&mut rng(100 + u64::from(number)));
            assert!(selection == Selection::Poisson || selected.len() == 4, "{selected:?}");
            let closed = round(&mut server, &selected, u64::from(number)).unwrap();
            assert_eq!(closed.stepped, !selected.is_empty());
            assert!(closed.guarantee.epsilon >= spent);
            spent = closed.guarantee.epsilon;
        }
        let log = server.participation();
        assert_eq!((log.rounds(), log.keeps(rule())), (ROUNDS, Ok(())));
        assert!(log.least_separation().is_some_and(|apart| apart >= 4) && log.most_participations() > 1);
        // What happened is no worse than what might have, and what might have is what z was chosen for.
        let certified = server.certify().unwrap();
        assert!(certified.epsilon > 0.0 && certified.epsilon <= spent * (1.0 + 1e-12));
        assert!(certified.to_string().contains("by the log of who took part"), "{certified}");
        let one = siskin_server::accounting::analytic::epsilon(1.0 / 0.5, settings().dp_delta).unwrap();
        assert!((spent / one - 1.0).abs() < 1e-9, "{spent} for {one}");
    }
}

#[test]
fn a_round_that_breaks_the_rule_releases_nothing() {
    let mut server = server(noisy(blt())).unwrap();
    round(&mut server, &[0, 1, 2, 3], 0).unwrap();
    let before = server.model().clone();
    let refused = |server: &mut Server, devices: &[usize]| match round(server, devices, 1) {
        Err(ServerError::Violation(violation)) => violation,
        other => panic!("{other:?}"),
    };
    let soon = refused(&mut server, &[4, 5, 2, 6]);
    assert!(matches!(soon, Violation::Separation { user: 2, round: 0, again: 1, min_separation: 4, .. }), "{soon:?}");
    let twice = refused(&mut server, &[4, 5, 6, 6]);
    assert!(matches!(twice, Violation::Separation { user: 6, .. }), "{twice:?}");
    // Reports that nobody is named for.
    let open = server.open().unwrap();
    let examples = Examples::new(&mlp(), 9, 21);
    for session in 0..4 {
        play(&open, &config(FRAME), session, &mut examples.store());
    }
    let unnamed = server.close(open, &mut rng(1));
    assert!(matches!(unnamed, Err(ServerError::Participants { named: 0, accepted: 4 })), "{unnamed:?}");
    assert_eq!((server.model(), server.round()), (&before, 1));
    assert_eq!(server.participation().rounds(), 1);
    round(&mut server, &[4, 5, 6, 7], 1).unwrap();
    assert!(server.model() != &before && server.certify().is_ok());
}

/// Three rounds, of which the second is given up, against the same three with noise of its own in each: by the same
/// generators the params end equal, up to the rounding of each round's mean.
#[test]
fn what_a_given_up_round_owes_comes_with_the_next() {
    let run = |middle: &[usize]| {
        let mut server = server(Settings { min_fraction: 0.5, cohort: 4, ..noisy(blt()) }).unwrap();
        for (number, devices) in [&[0, 1, 2, 3], middle, &[8, 9, 10, 11]].into_iter().enumerate() {
            let closed = round(&mut server, devices, number as u64).unwrap();
            assert_eq!(closed.stepped, devices.len() > 1, "{closed:?}");
        }
        assert_eq!(server.correlated_noise().map(|noise| noise.rounds()), Some(3));
        server.model().params().to_vec()
    };
    let noiseless = |middle: &[usize]| {
        let quiet = Settings { min_fraction: 0.5, cohort: 4, ..noisy(Noise::Independent) };
        let privacy = Privacy { noise_multiplier: 1e-6, ..quiet.privacy };
        let mut server = server(Settings { privacy, ..quiet }).unwrap();
        for (number, devices) in [&[0, 1, 2, 3], middle, &[8, 9, 10, 11]].into_iter().enumerate() {
            round(&mut server, devices, number as u64).unwrap();
        }
        server.model().params().to_vec()
    };
    // The noise of the params, but for what training on noised params changes.
    let noise_of =
        |middle: &[usize]| -> Vec<f32> { run(middle).iter().zip(noiseless(middle)).map(|(a, b)| a - b).collect() };
    let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
    let (whole, given_up) = (noise_of(&[4, 5, 6, 7]), noise_of(&[4]));
    let difference: Vec<f32> = whole.iter().zip(&given_up).map(|(a, b)| a - b).collect();
    // Deltas of norm 1 at most, a quarter of each, tell the two apart; without what was owed the noise of a round would.
    assert!(norm(&whole) > 5.0 && norm(&difference) < 0.25 * norm(&whole), "{} {}", norm(&difference), norm(&whole));
}

#[test]
fn masks_may_move() {
    let pruning = Pruning { algorithm: Algorithm::Set, end: 100, ..Pruning::at_once(0.5) };
    let mut server = server(Settings { pruning, ..noisy(blt()) }).unwrap();
    let mut masks = vec![server.model().mask()];
    for number in 0..5u32 {
        let selected = server.select(&mut rng(u64::from(number)));
        round(&mut server, &selected, u64::from(number)).unwrap();
        masks.push(server.model().mask());
        let noise = server.correlated_noise().unwrap();
        assert_eq!(noise.bytes(), 2 * 8 * server.model().carried());
    }
    masks.dedup();
    assert!(masks.len() > 3, "the mask moved {} times", masks.len() - 1);
}

#[test]
fn settings_that_cannot_keep_the_rule_are_refused() {
    let error = |settings: Settings| server(settings).err().map(|error| error.to_string()).unwrap_or_default();
    let with = |rounds, b, k| {
        let blt = Blt::new(&[0.9], &[0.3]).unwrap();
        noisy(Noise::Blt { blt, participation: Participation::new(rounds, b, k).unwrap() })
    };
    // 23 devices, 4 a round: 5 rounds apart at the most, and 12 rounds need three participations of somebody.
    assert_eq!(error(with(12, 5, 3)), "");
    let far = error(with(12, 6, 3));
    assert!(far.contains("minimum separation is 6") && far.contains("at most 5"), "{far}");
    let rare = error(with(12, 1, 2));
    assert!(rare.contains("most participations of a device is 2") && rare.contains("at least 3"), "{rare}");
    for privacy in [
        Privacy { noise_multiplier: 0.0, ..noisy(blt()).privacy },
        Privacy { profile: Profile::Local, ..noisy(blt()).privacy },
    ] {
        let none = error(Settings { privacy, ..noisy(blt()) });
        assert!(none.contains("noise multiplier") && none.contains("the server's"), "{none}");
    }
}
