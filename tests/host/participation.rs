//! The device's ledger: debited before a byte leaves, whoever dies when; and what it costs, against the accountant.

use crate::device::{Lent, Line, MANY_POLLS};
use crate::kill::{FRAME, SEED, World, play_killed};
use crate::problem::{Examples, POPULATION, Profile, config, mlp, profiles, rng, server, settings};
use siskin::checkin::{
    Distributed, Limits, Policy, PolicyViolation, Privacy, Profile as Who, Profiles, Quantization, Rounding,
    ShareNoise, Weighting,
};
use siskin::privacy::{Ledger, Rho, population_id};
use siskin::session::{Abandoned, Config, Outcome, Session};
use siskin_accounting::{Adjacency, Event, Release, analytic, rdp::Curve};
use siskin_server::round::Round;

fn limited(limits: Limits) -> Config {
    Config { policy: Policy { limits, ..Policy::permissive() }, ..config(FRAME) }
}

/// Once in all, and far apart: whatever is counted twice is refused.
const STRICT: Limits = Limits {
    min_separation: 5,
    min_separation_ms: 1 << 40,
    most_participations: 1,
    most_participations_in_all: 1,
    ..Limits::NONE
};

fn strict<'r>(round: &'r Round, examples: &'r Examples) -> World<'r> {
    let mut world = World::new(round, examples);
    (world.config, world.ledger) = (limited(STRICT), Some(Ledger::new()));
    world
}

fn counted_once(world: &World<'_>, what: &str) {
    let ledger = world.ledger.as_ref().unwrap();
    assert_eq!((ledger.participations(), ledger.sequence()), (1, 1), "{what}");
}

/// `World` checks at every request that the stored ledger has the report.
#[test]
fn killed_at_every_moment_a_report_is_debited_once_and_before_it_leaves() {
    for profile in profiles() {
        let examples = profile.examples(SEED);
        let round = profile.round(FRAME);
        let mut plain = World::new(&round, &examples);
        play_killed(&mut plain, None, &|_| false);
        let round = profile.round(FRAME);
        let mut world = strict(&round, &examples);
        assert_eq!(play_killed(&mut world, None, &|_| false), (Outcome::Accepted, 0));
        assert_eq!(world.report, plain.report, "a ledger changes nothing of the report");
        counted_once(&world, profile.name);
        assert_eq!(world.moment, plain.moment + 3, "before, in and after the store");
        let saves = world.saves.len();
        for at in 1..=world.moment {
            let round = profile.round(FRAME);
            let mut world = strict(&round, &examples);
            let (outcome, deaths) = play_killed(&mut world, None, &|moment| moment == at);
            assert!(matches!(outcome, Outcome::Accepted | Outcome::Duplicate), "{} {at}: {outcome:?}", profile.name);
            assert_eq!(deaths, usize::from(at <= saves), "{} {at}", profile.name);
            assert_eq!(world.report, plain.report, "{} {at}", profile.name);
            counted_once(&world, profile.name);
        }
    }
}

/// The ledger is stored, and the host then dies and knows only an old save of the session.
#[test]
fn an_old_save_is_not_debited_again() {
    let profile = &profiles()[4];
    let examples = profile.examples(SEED);
    let round = profile.round(FRAME);
    let mut world = strict(&round, &examples);
    play_killed(&mut world, None, &|_| false);
    for saved in std::mem::take(&mut world.saves) {
        // The clock may have been set back meanwhile.
        world.now = 1;
        let (outcome, _) = play_killed(&mut world, Some(saved), &|_| false);
        assert_eq!(outcome, Outcome::Duplicate);
        counted_once(&world, "an old save");
    }
}

/// A device of this ledger in a round.
fn take_part<'r>(
    round: &'r Round,
    config: &Config,
    ledger: Option<Ledger>,
    seed: u64,
) -> (Outcome, Option<Ledger>, Line<'r>) {
    let examples = Examples::new(&mlp(), seed, 20);
    let mut lent = Lent::for_plan(&round.offer.plan, FRAME);
    let mut session = Session::new(lent.bytes(), config.clone(), &mut rng(seed)).unwrap();
    if let Some(ledger) = ledger {
        session.use_ledger(ledger, 1000);
    }
    let mut line = Line::new(round, usize::MAX);
    for _ in 0..MANY_POLLS {
        if let Some(outcome) = line.step(&mut session, &mut examples.store()) {
            return (outcome, session.ledger().cloned(), line);
        }
    }
    panic!("the session hangs");
}

fn refusal(outcome: Outcome) -> PolicyViolation {
    match outcome {
        Outcome::Abandoned { cause: Abandoned::Policy(violation), .. } => violation,
        other => panic!("{other:?}"),
    }
}

/// Round after round against the server's own numbers of rounds: every third may count, and a refused one costs no download.
#[test]
fn separation_is_kept_over_rounds_before_anything_is_downloaded() {
    let mut server = server(settings(), &mlp(), FRAME);
    let config = limited(Limits { min_separation: 3, ..Limits::NONE });
    let mut ledger = Ledger::new();
    for number in 0..8 {
        let round = server.open().unwrap();
        assert_eq!(round.offer.plan.round, number);
        let (outcome, after, line) = take_part(&round, &config, Some(ledger.clone()), 1 + u64::from(number));
        if number % 3 == 0 {
            assert_eq!(outcome, Outcome::Accepted, "{number}");
        } else {
            let last = number / 3 * 3;
            assert_eq!(refusal(outcome), PolicyViolation::Separation { least: 3, last, plan: number });
            assert_eq!((line.requests, after.as_ref()), (2, Some(&ledger)), "check-in and abandon, and no debit");
        }
        ledger = after.unwrap();
        // Four devices without a bound make the round complete.
        for seed in 100..104 {
            take_part(&round, &crate::problem::config(FRAME), None, seed);
        }
        server.close(round, &mut rng(0)).unwrap();
    }
    assert_eq!(ledger.of(population_id(POPULATION)).unwrap().count, 3);
}

#[test]
fn without_a_ledger_bounds_refuse() {
    let round = server(settings(), &mlp(), FRAME).open().unwrap();
    let (outcome, ..) = take_part(&round, &limited(STRICT), None, 1);
    assert_eq!(refusal(outcome), PolicyViolation::NoLedger);
    // A session that was saved with its report made, and wakes up without the ledger.
    let profile = Profile { name: "saved", architecture: mlp(), settings: settings() };
    let examples = profile.examples(SEED);
    let mut world = strict(&round, &examples);
    play_killed(&mut world, None, &|_| false);
    let saved = world.saves[world.saves.len() - 3].clone();
    world.ledger = None;
    let (outcome, _) = play_killed(&mut world, Some(saved.clone()), &|_| false);
    assert_eq!(refusal(outcome), PolicyViolation::NoLedger);
    // With a ledger that another session has spent in between, the report does not leave either.
    let (_, spent, _) = take_part(&round, &limited(STRICT), Some(Ledger::new()), 77);
    world.ledger = spent;
    let (outcome, _) = play_killed(&mut world, Some(saved), &|_| false);
    assert_eq!(refusal(outcome), PolicyViolation::Participations { most: 1, would_be: 2 });
    counted_once(&world, "spent elsewhere");
}

/// An epsilon as the accountant's, and a plan without noise has none.
#[test]
fn epsilon_of_a_period_and_in_all() {
    let mut noisy = settings();
    noisy.privacy.noise_multiplier = 4.0;
    let round = server(noisy, &mlp(), FRAME).open().unwrap();
    let one = Rho::of(&round.offer.plan).epsilon(1e-6);
    let period = Limits { period_ms: 1000, largest_epsilon_per_period: one * 1.2, dp_delta: 1e-6, ..Limits::NONE };
    let (outcome, ledger, _) = take_part(&round, &limited(period), Some(Ledger::new()), 1);
    assert_eq!(outcome, Outcome::Accepted);
    let (outcome, again, _) = take_part(&round, &limited(period), ledger.clone(), 2);
    let two = Rho::of(&round.offer.plan).plus(Rho::of(&round.offer.plan)).epsilon(1e-6);
    assert_eq!(refusal(outcome), PolicyViolation::EpsilonOfPeriod { largest: one * 1.2, would_be: two });
    assert_eq!(again, ledger);
    let all = Limits { largest_epsilon: one * 1.2, ..period };
    let short = Limits { period_ms: 0, ..all };
    let (outcome, ..) = take_part(&round, &limited(short), ledger, 2);
    assert_eq!(refusal(outcome), PolicyViolation::Epsilon { largest: one * 1.2, would_be: two });

    let bare = server(settings(), &mlp(), FRAME).open().unwrap();
    let (outcome, ..) = take_part(&bare, &limited(all), Some(Ledger::new()), 3);
    assert_eq!(refusal(outcome), PolicyViolation::EpsilonOfPeriod { largest: one * 1.2, would_be: f64::INFINITY });
}

#[test]
fn profiles_that_the_app_does_not_allow() {
    let with = |profile| {
        let mut settings = settings();
        settings.privacy = Privacy { noise_multiplier: 0.2, ..Privacy::new(0.5, profile) };
        settings.quantization = Quantization { step: 1e-3, rounding: Rounding::Stochastic, keep: 1.0 };
        server(settings, &mlp(), FRAME).open().unwrap()
    };
    let profiles = [
        (Who::Central, Profiles::CENTRAL),
        (Who::Local, Profiles::LOCAL),
        (
            Who::Distributed(Distributed { shares: 2, bits: 20, noise: ShareNoise::DiscreteGaussian, rotation: 1 }),
            Profiles::DISTRIBUTED,
        ),
    ];
    for (profile, plan) in profiles {
        for allowed in (0..8).filter_map(Profiles::from_bits) {
            let policy = Policy { profiles: allowed, ..Policy::permissive() };
            let round = with(profile);
            let (outcome, ..) = take_part(&round, &Config { policy, ..config(FRAME) }, None, 1);
            if allowed.has(plan) {
                assert_eq!(outcome, Outcome::Accepted);
            } else {
                assert_eq!(refusal(outcome), PolicyViolation::Profile { allowed, plan });
            }
        }
    }
    assert_eq!(Profiles::from_bits(8), None);
    assert_eq!(Profiles::ON_DEVICE.to_string(), "local, distributed");
}

/// What the device computes is an upper bound of the exact Gaussian's epsilon and no worse than the accountant's own Rényi bound
/// over its fixed orders.
#[test]
fn the_cost_is_between_the_exact_epsilon_and_the_accountants_bound() {
    let mut plan = server(settings(), &mlp(), FRAME).open().unwrap().offer.plan;
    let (mut closest, mut widest) = (f64::INFINITY, 0.0f64);
    for z in [0.3f32, 0.7, 1.0, 2.5, 4.0, 7.0, 30.0, 200.0] {
        plan.privacy.noise_multiplier = z;
        let rho = Rho::of(&plan);
        let exact_rho = 0.5 / f64::from(z).powi(2);
        assert!(rho.value() >= exact_rho && rho.value() <= exact_rho + 2f64.powi(-39), "{z}");
        for times in [1u32, 6, 100] {
            let sum = (0..times).fold(Rho::ZERO, |sum, _| sum.plus(rho));
            for dp_delta in [1e-3, 1e-6, 1e-10] {
                let ours = sum.epsilon(dp_delta);
                let mu = analytic::mu(Adjacency::ZeroOut, z.into(), times.into()).unwrap();
                let exact = analytic::epsilon(mu, dp_delta).unwrap();
                let mut curve = Curve::zero();
                let event = Event::Gaussian { noise_multiplier: z.into() };
                curve.compose(&curve.of(event, Adjacency::ZeroOut).unwrap(), times.into());
                let renyi = curve.epsilon(dp_delta).unwrap().epsilon;
                assert!(ours >= exact, "z {z}, {times} times, {dp_delta}: {ours} below {exact}");
                // Beyond, the best order is below 2, of which the device makes no use.
                if sum.value() > -dp_delta.ln() {
                    assert!(ours <= 2.0 * sum.value() - dp_delta.ln(), "z {z}, {times} times, {dp_delta}: {ours}");
                    continue;
                }
                assert!(
                    ours <= renyi * (1.0 + 1e-9) || renyi == 0.0,
                    "z {z}, {times} times, {dp_delta}: {ours} above {renyi}"
                );
                if exact > 0.01 {
                    (closest, widest) = (closest.min(ours / exact), widest.max(ours / exact));
                }
            }
        }
    }
    println!("the device's epsilon is {closest:.4} to {widest:.4} times the exact one");
    assert!(widest < 1.6, "{widest}");
    // The reference's values of the same conversion, `zcdp-01` and `zcdp-05`, over a grid of orders: within 1e-3 above ours.
    plan.privacy.noise_multiplier = 5f32.sqrt();
    for (rho, dp_delta, expected) in [(0.1, 1e-6, 2.14304), (0.25, 1e-10, 4.69693), (0.5, 1e-10, 6.83935)] {
        plan.privacy.noise_multiplier = (0.5f64 / rho).sqrt() as f32;
        let ours = Rho::of(&plan).epsilon(dp_delta);
        assert!((ours / expected - 1.0).abs() < 1e-3, "{rho}: {ours}, the reference has {expected}");
    }
}

/// A device charges Skellam noise by its proven bound: above the Gaussian's, and above what the accountant makes of the same theorem
/// at whole orders.
#[test]
fn skellam_noise_costs_what_is_proven_of_it() {
    let mut plan = server(settings(), &mlp(), FRAME).open().unwrap().offer.plan;
    let shared = |noise| Who::Distributed(Distributed { shares: 10, bits: 20, noise, rotation: 1 });
    for (z, steps) in [(1.0f32, 2.0f32), (1.0, 200.0), (4.0, 50.0)] {
        plan.quantization.step = 0.5 / steps;
        let mut of = |noise| {
            plan.privacy = Privacy { noise_multiplier: z, ..Privacy::new(0.5, shared(noise)) };
            Rho::of(&plan)
        };
        let (gaussian, skellam) = (of(ShareNoise::DiscreteGaussian), of(ShareNoise::Skellam));
        assert!(skellam.value() > 1.07 * gaussian.value() && skellam.value() < 2.7 * gaussian.value(), "z {z}");
        let (l2, variance) = (f64::from(steps), f64::from(z * steps).powi(2));
        let release = Release::Skellam { variance, l2, l1: l2 * l2 };
        let curve = Curve::zero().of_release(&release, Adjacency::ZeroOut).unwrap().unwrap();
        for times in [1u32, 10] {
            let sum = (0..times).fold(Rho::ZERO, |sum, _| sum.plus(skellam));
            let mut composed = Curve::zero();
            composed.compose(&curve, times.into());
            let (ours, theirs) = (sum.epsilon(1e-6), composed.epsilon(1e-6).unwrap());
            // Its orders are a grid, which is worth a percent.
            assert!(ours >= 0.99 * theirs.epsilon, "z {z}, {steps} steps: {ours} {}", theirs.epsilon);
            println!("z {z}, {steps} steps, {times} times: {ours:.4}, the accountant {:.4}", theirs.epsilon);
        }
    }
}

#[test]
fn what_no_noise_covers_costs_without_bound() {
    let mut plan = server(settings(), &mlp(), FRAME).open().unwrap().offer.plan;
    assert_eq!(Rho::of(&plan), Rho::INFINITE, "no noise");
    plan.privacy.noise_multiplier = 1.0;
    assert_eq!(Rho::of(&plan).value(), 0.5 + 2f64.powi(-40));
    plan.upload.weighting = Weighting::Examples { cap: 10 };
    assert_eq!(Rho::of(&plan), Rho::INFINITE, "the weight is not noised");
    plan.upload.weighting = Weighting::Uniform;
    plan.upload.probe = 1;
    assert_eq!(Rho::of(&plan), Rho::INFINITE, "the probe is not noised");
    assert_eq!(Rho::INFINITE.plus(Rho::ZERO).epsilon(0.5), f64::INFINITY);
}
