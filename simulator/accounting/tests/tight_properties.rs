//! What must hold of the tight accountant, over random parameters; and what it refuses.

use proptest::prelude::*;
use siskin_accounting::pld::Composed;
use siskin_accounting::{Accountant, Adjacency, Composition, Counted, Error, Method, Prepared, Release, calibrate};

/// Computed epsilons may wobble by this much, relatively, where they ought to be equal.
const WOBBLE: f64 = 1.0 + 1e-7;

fn log_uniform(least: f64, most: f64) -> impl Strategy<Value = f64> {
    (least.log10()..most.log10()).prop_map(|x| 10.0_f64.powf(x))
}

fn uls(noise_multiplier: f64, rate: f64) -> Release {
    Release::Uls { noise_multiplier, rate }
}

/// A coarse grid, for speed; it is as valid as a fine one.
const COARSE: Method = Method { interval: 1e-3, refine: false, accountant: None };

fn epsilon(release: Release, rounds: u64, delta: f64) -> f64 {
    Composition::of(Adjacency::AddOrRemove, release, rounds).account_by(delta, COARSE).unwrap().epsilon
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn epsilon_falls_with_noise_and_delta_and_rises_with_rounds_and_rate(
        z in log_uniform(0.5, 10.0), q in log_uniform(1e-4, 0.9), rounds in 1_u64..3000,
        delta in log_uniform(1e-12, 1e-2), more in 1.1_f64..2.0, extra in 1_u64..3000,
    ) {
        let base = epsilon(uls(z, q), rounds, delta);
        // The grid spreads each round's loss by up to half a gap, so all of them by some root of the rounds.
        let slack = 1e-3 * ((rounds + extra) as f64).sqrt();
        prop_assert!(base >= 0.0 && base.is_finite());
        prop_assert!(epsilon(uls(z * more, q), rounds, delta) <= base * WOBBLE + slack);
        prop_assert!(epsilon(uls(z, q), rounds, (delta * more).min(0.5)) <= base * WOBBLE);
        prop_assert!(epsilon(uls(z, (q * more).min(1.0)), rounds, delta) * WOBBLE + slack >= base);
        prop_assert!(epsilon(uls(z, q), rounds + extra, delta) * WOBBLE >= base);
        let plain = epsilon(Release::Gaussian { noise_multiplier: z }, rounds, delta);
        prop_assert!(base <= plain * WOBBLE + slack);
        let renyi = Composition::of(Adjacency::AddOrRemove, uls(z, q), rounds).rdp_epsilon(delta).unwrap().unwrap();
        prop_assert!(base <= renyi * WOBBLE + slack, "{} by Renyi {}", base, renyi);
    }

    #[test]
    fn halves_make_the_whole(
        z in log_uniform(0.6, 8.0), q in log_uniform(1e-3, 0.5), half in 1_u64..1000, delta in log_uniform(1e-10, 1e-3),
    ) {
        let whole = epsilon(uls(z, q), 2 * half, delta);
        // Kept apart as two parts with spectra of their own; and as far apart as the type allows.
        let events = vec![Counted { rounds: half, release: uls(z, q) }; 2];
        let apart = Composition { adjacency: Adjacency::AddOrRemove, events }.account_by(delta, COARSE).unwrap();
        prop_assert!((apart.epsilon - whole).abs() <= 1e-7 * whole + 1e-9, "{} or {}", apart.epsilon, whole);
        let other = Release::Els { noise_multiplier: z, rate: q, group: 1 };
        let events = vec![Counted { rounds: half, release: uls(z, q) }, Counted { rounds: half, release: other }];
        let mixed = Composition { adjacency: Adjacency::ZeroOut, events }.account_by(delta, COARSE).unwrap();
        prop_assert!((mixed.epsilon - whole).abs() <= 1e-6 * whole + 1e-8, "{} or {}", mixed.epsilon, whole);
    }

    #[test]
    fn a_coarse_grid_is_above_a_fine_one(
        z in log_uniform(0.6, 5.0), q in log_uniform(1e-3, 0.9), group in 1_u32..12, rounds in 1_u64..500,
        delta in log_uniform(1e-9, 1e-3),
    ) {
        let composition = Composition::of(
            Adjacency::AddOrRemove, Release::Els { noise_multiplier: z * f64::from(group), rate: q, group }, rounds,
        );
        let at = |interval| composition.account_by(delta, Method { interval, ..COARSE }).unwrap();
        let (coarse, fine) = (at(4e-3), at(1e-3));
        // The fine grid's points contain the coarse one's, so its majorant lies below.
        prop_assert!(coarse.remove_epsilon * WOBBLE + 1e-9 >= fine.remove_epsilon, "{:?} {:?}", coarse, fine);
        prop_assert!(coarse.add_epsilon * WOBBLE + 1e-9 >= fine.add_epsilon, "{:?} {:?}", coarse, fine);
    }

    #[test]
    fn epsilon_and_delta_invert_each_other(
        z in log_uniform(0.6, 8.0), q in log_uniform(1e-3, 0.5), rounds in 1_u64..1000, delta in log_uniform(1e-14, 1e-3),
    ) {
        let composition = Composition::of(Adjacency::AddOrRemove, uls(z, q), rounds);
        let account = composition.account_by(delta, COARSE).unwrap();
        if account.epsilon > 1e-3 {
            let back = composition.dp_delta(account.epsilon, COARSE).unwrap();
            prop_assert!((back / delta - 1.0).abs() < 1e-5, "{} came back as {}", delta, back);
        }
    }

    #[test]
    fn masses_sum_to_one(
        z in log_uniform(0.5, 8.0), q in log_uniform(1e-3, 0.9), group in 1_u32..20, sensitivity in 1_u32..4,
    ) {
        let releases = [
            uls(z, q),
            Release::Els { noise_multiplier: z * f64::from(group), rate: q, group },
            Release::DiscreteGaussian { sigma: z * f64::from(sensitivity), sensitivity, rate: q },
            Release::DiscreteLaplace { decay: 1.0 / z, sensitivity, rate: q },
            Release::Laplace { scale: z, sensitivity: 1.0 },
            Release::TruncatedUls { noise_multiplier: 2.0 * z, rate: q, population: 1000, cap: 300 },
            Release::EpsilonDelta { epsilon: z, dp_delta: 1e-7 },
        ];
        for release in releases {
            let composition = Composition::of(Adjacency::AddOrRemove, release, 1);
            let prepared = Prepared::new(&composition, 1e-10, COARSE).unwrap();
            for directions in prepared.losses() {
                for pmf in [&directions.remove, directions.adding()] {
                    let sum: f64 = pmf.atoms().map(|(_, mass)| mass).sum::<f64>() + pmf.infinity();
                    prop_assert!((sum - 1.0).abs() < 1e-9, "{:?}: {}", composition, sum);
                    prop_assert!(pmf.atoms().all(|(_, mass)| mass >= 0.0));
                    // Composing with nothing is what it was.
                    let once = Composed::new(&[(pmf, 1)]).dp_delta(0.5);
                    prop_assert!(once.is_some_and(|delta| (0.0..=1.0).contains(&delta)));
                }
            }
        }
    }
}

#[test]
fn a_gaussian_has_one_direction() {
    let method = Method { accountant: Some(Accountant::Pld), ..COARSE };
    let release = Release::Gaussian { noise_multiplier: 3.0 };
    let account = Composition::of(Adjacency::AddOrRemove, release, 10).account_by(1e-6, method).unwrap();
    assert_eq!(account.remove_epsilon, account.add_epsilon);
    let sampled = Composition::of(Adjacency::AddOrRemove, uls(1.0, 0.1), 10).account_by(1e-6, method).unwrap();
    assert!(sampled.add_epsilon < sampled.remove_epsilon);
    let replaced = Composition::of(Adjacency::ReplaceOne, uls(1.0, 0.1), 10).account_by(1e-6, method).unwrap();
    assert!(replaced.add_epsilon == replaced.remove_epsilon && replaced.epsilon > sampled.epsilon);
}

#[test]
fn a_cap_that_never_bites_costs_nothing_and_one_that_does_costs() {
    let capped = |cap| {
        let release = Release::TruncatedUls { noise_multiplier: 1.5, rate: 0.1, population: 100, cap };
        epsilon(release, 10, 1e-6)
    };
    assert_eq!(capped(100), epsilon(uls(1.5, 0.1), 10, 1e-6));
    assert!(capped(20) > capped(30) && capped(30) > capped(100));
}

#[test]
fn a_curve_ends_at_the_account() {
    let events = vec![
        Counted { rounds: 50, release: uls(1.0, 0.05) },
        Counted { rounds: 1, release: Release::Gaussian { noise_multiplier: 10.0 } },
        Counted { rounds: 50, release: uls(2.0, 0.05) },
    ];
    let composition = Composition { adjacency: Adjacency::AddOrRemove, events };
    let curve = composition.curve(1e-6, &[0, 1, 50, 51, 70, 101, 500]).unwrap();
    assert!(curve[0].epsilon == 0.0 && curve.windows(2).all(|pair| pair[0].epsilon <= pair[1].epsilon));
    assert_eq!(curve[6].rounds, 101);
    let account = composition.account(1e-6).unwrap();
    assert!((curve[5].epsilon - account.epsilon).abs() < 1e-9, "{curve:?} {account:?}");
}

#[test]
fn compositions_survive_json_and_typing_errors_do_not() {
    let text = r#"{"adjacency": "zero_out", "events": [{"rounds": 3, "release": {"mechanism": "uls", "noise_multiplier": 1, "rate": 0.1}}]}"#;
    let composition: Composition = serde_json::from_str(text).unwrap();
    let again: Composition = serde_json::from_str(&serde_json::to_string(&composition).unwrap()).unwrap();
    assert_eq!(composition, again);
    let account = composition.account(1e-5).unwrap();
    let back: siskin_accounting::Account = serde_json::from_str(&serde_json::to_string(&account).unwrap()).unwrap();
    assert_eq!(account, back);
    for (from, to, complaint) in [
        ("uls", "ulsx", "unknown variant `ulsx`"),
        ("\"rate\": 0.1", "\"rate\": 0.1, \"cap\": 7", "unknown field `cap`"),
        ("\"rate\": 0.1", "\"rat\": 0.1", "unknown field `rat`"),
        ("\"rounds\": 3,", "", "missing field `rounds`"),
        ("\"rounds\": 3,", "\"rounds\": -3,", "-3"),
        ("zero_out", "somehow", "unknown variant `somehow`"),
    ] {
        let error = serde_json::from_str::<Composition>(&text.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(complaint), "{to}: {error}");
    }
}

#[test]
fn bad_numbers_are_refused_with_the_number() {
    let account = |release: Release| Composition::of(Adjacency::AddOrRemove, release, 5).account(1e-6);
    let nan = f64::NAN;
    assert_eq!(account(uls(-1.0, 0.1)), Err(Error::NoiseMultiplier { got: -1.0 }));
    assert!(matches!(account(uls(nan, 0.1)), Err(Error::NoiseMultiplier { got }) if got.is_nan()));
    assert_eq!(account(uls(1.0, 1.5)), Err(Error::Rate { got: 1.5 }));
    assert!(matches!(account(uls(1.0, nan)), Err(Error::Rate { .. })));
    let mixture = |weights: &[f64], norms: &[f64]| {
        account(Release::MixtureOfGaussians { noise_multiplier: 1.0, weights: weights.into(), norms: norms.into() })
    };
    assert_eq!(mixture(&[0.5, 0.4], &[0.0, 1.0]), Err(Error::WeightSum { got: 0.9 }));
    assert_eq!(mixture(&[1.0], &[0.0, 1.0]), Err(Error::WeightCount { weights: 1, norms: 2 }));
    assert_eq!(mixture(&[], &[]), Err(Error::WeightCount { weights: 0, norms: 0 }));
    assert_eq!(mixture(&[1.5, -0.5], &[0.0, 1.0]), Err(Error::Rate { got: 1.5 }));
    assert_eq!(mixture(&[0.5, 0.5], &[0.0, -1.0]), Err(Error::Parameter { name: "norm", got: -1.0 }));
    let laplace = |scale, sensitivity| account(Release::Laplace { scale, sensitivity });
    assert_eq!(laplace(0.0, 1.0), Err(Error::Parameter { name: "scale", got: 0.0 }));
    assert_eq!(laplace(1.0, f64::INFINITY), Err(Error::Parameter { name: "sensitivity", got: f64::INFINITY }));
    let fixed = Release::FixedSize { noise_over_sensitivity: 1.0, population: 10, cohort: 11 };
    assert_eq!(account(fixed.clone()), Err(Error::Cohort { cohort: 11, population: 10 }));
    let fixed = Release::FixedSize { noise_over_sensitivity: 1.0, population: 10, cohort: 5 };
    let refused = Error::Unsupported { mechanism: "fixed_size", adjacency: Adjacency::AddOrRemove };
    assert_eq!(account(fixed.clone()), Err(refused));
    let boxed = Release::EpsilonDelta { epsilon: 1.0, dp_delta: 1.0 };
    assert_eq!(account(boxed), Err(Error::DpDelta { got: 1.0 }));

    let good = Composition::of(Adjacency::AddOrRemove, uls(1.0, 0.1), 5);
    for got in [0.0, 1.0, 1.5, -1.0] {
        assert_eq!(good.account(got), Err(Error::DpDelta { got }));
    }
    assert_eq!(good.dp_delta(-1.0, COARSE), Err(Error::Epsilon { got: -1.0 }));
    let none = Composition::of(Adjacency::AddOrRemove, uls(1.0, 0.1), 0);
    assert_eq!(none.account(1e-6), Err(Error::Rounds { got: 0 }));
    let empty = Composition { adjacency: Adjacency::AddOrRemove, events: Vec::new() };
    assert_eq!(empty.account(1e-6), Err(Error::Rounds { got: 0 }));
    let method = Method { interval: 0.0, ..COARSE };
    assert_eq!(good.account_by(1e-6, method), Err(Error::Interval { got: 0.0 }));

    // Two mechanisms that no accountant knows together.
    let rho = Counted { rounds: 1, release: Release::Zcdp { rho: 0.1 } };
    let els = Release::Els { noise_multiplier: 1.0, rate: 0.1, group: 2 };
    let mixed =
        Composition { adjacency: Adjacency::AddOrRemove, events: vec![rho, Counted { rounds: 1, release: els }] };
    assert_eq!(mixed.account(1e-6), Err(Error::NoAccountant { mechanism: "els" }));
    assert_eq!(calibrate::noise(&mixed, 1.0, 1e-6, COARSE), Err(Error::NoNoise { mechanism: "zcdp" }));
    let target = calibrate::noise(&good, 0.0, 1e-6, COARSE);
    assert_eq!(target, Err(Error::Epsilon { got: 0.0 }));
}

#[test]
fn the_ends_are_exact() {
    let account = |release: Release| Composition::of(Adjacency::AddOrRemove, release, 5).account(1e-6).unwrap().epsilon;
    assert_eq!(account(uls(0.0, 0.1)), f64::INFINITY);
    assert_eq!(account(uls(1.0, 0.0)), 0.0);
    assert_eq!(account(uls(2.0, 1.0)), account(Release::Gaussian { noise_multiplier: 2.0 }));
    assert_eq!(account(Release::EpsilonDelta { epsilon: 0.0, dp_delta: 0.0 }), 0.0);
    assert_eq!(account(Release::EpsilonDelta { epsilon: 0.1, dp_delta: 1e-6 }), f64::INFINITY);
    // A pure mechanism never exceeds the sum of its epsilons.
    let pure = account(Release::Laplace { scale: 20.0, sensitivity: 1.0 });
    assert!(pure > 0.0 && pure <= 0.25, "{pure}");
    let rounds =
        |epsilon| calibrate::rounds(&uls(1.0, 0.01), Adjacency::AddOrRemove, epsilon, 1e-6, Method::default()).unwrap();
    assert_eq!(rounds(0.1), 0);
    let forever = calibrate::rounds(&uls(1.0, 0.0), Adjacency::AddOrRemove, 0.1, 1e-6, Method::default()).unwrap();
    assert_eq!(forever, u64::MAX);
    let most = rounds(1.0);
    let at = |rounds| Composition::of(Adjacency::AddOrRemove, uls(1.0, 0.01), rounds).account(1e-6).unwrap().epsilon;
    assert!(at(most) <= 1.0 && at(most + 1) > 1.0);
}
