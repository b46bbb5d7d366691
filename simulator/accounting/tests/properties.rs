//! What must hold of any accountant, over random parameters.

use proptest::prelude::*;
use siskin_accounting::{Adjacency, Enforcement, Event, Ledger, analytic, calibrate};

/// Computed epsilons may wobble by this much, relatively, where they ought to be equal.
const WOBBLE: f64 = 1.0 + 1e-9;

fn sampled(noise_multiplier: f64, rate: f64, rounds: u64, dp_delta: f64) -> f64 {
    let mut ledger = Ledger::poisson(Adjacency::AddOrRemove, Enforcement::Enforced).unwrap();
    ledger.observe_many(Event::PoissonGaussian { noise_multiplier, rate }, rounds).unwrap();
    ledger.guarantee(dp_delta).unwrap().epsilon
}

fn exact(noise_multiplier: f64, rounds: u64, dp_delta: f64) -> f64 {
    let mut ledger = Ledger::unsampled(Adjacency::ZeroOut, rounds).unwrap();
    ledger.observe_many(Event::Gaussian { noise_multiplier }, rounds).unwrap();
    ledger.guarantee(dp_delta).unwrap().epsilon
}

/// 10^x with x uniform.
fn log_uniform(least: f64, most: f64) -> impl Strategy<Value = f64> {
    (least.log10()..most.log10()).prop_map(|x| 10.0_f64.powf(x))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn epsilon_falls_with_noise_and_delta_and_rises_with_rounds_and_rate(
        z in log_uniform(0.3, 30.0), q in log_uniform(1e-5, 1.0), rounds in 1_u64..5000,
        delta in log_uniform(1e-12, 1e-2), more in 1.0_f64..2.0, extra in 0_u64..5000,
    ) {
        let base = sampled(z, q, rounds, delta);
        prop_assert!(base >= 0.0 && base.is_finite());
        prop_assert!(sampled(z * more, q, rounds, delta) <= base * WOBBLE);
        prop_assert!(sampled(z, q, rounds, delta * more) <= base * WOBBLE);
        prop_assert!(sampled(z, (q * more).min(1.0), rounds, delta) * WOBBLE >= base);
        prop_assert!(sampled(z, q, rounds + extra, delta) * WOBBLE >= base);
        // Sampling never hurts.
        prop_assert!(base <= sampled(z, 1.0, rounds, delta) * WOBBLE);
    }

    #[test]
    fn at_rate_one_the_sampled_gaussian_is_the_gaussian_and_above_the_exact_value(
        z in log_uniform(1.0, 300.0), rounds in 1_u64..1000, delta in log_uniform(1e-12, 1e-2),
    ) {
        let mut plain = Ledger::poisson(Adjacency::AddOrRemove, Enforcement::Enforced).unwrap();
        plain.observe_many(Event::Gaussian { noise_multiplier: z }, rounds).unwrap();
        let bound = plain.guarantee(delta).unwrap().epsilon;
        prop_assert_eq!(sampled(z, 1.0, rounds, delta), bound);
        prop_assert!(exact(z, rounds, delta) <= bound * WOBBLE);
        // No jump at the end of the range of rates either.
        prop_assert!(sampled(z, 1.0 - 1e-12, rounds, delta) >= bound * (1.0 - 1e-6));
    }

    #[test]
    fn the_exact_epsilon_is_monotone_and_inverts(
        z in log_uniform(1e-2, 1e4), k in 1_u64..100, delta in log_uniform(1e-15, 0.3), more in 1.001_f64..2.0,
    ) {
        let epsilon = exact(z, k, delta);
        prop_assert!(exact(z * more, k, delta) <= epsilon);
        prop_assert!(exact(z, k + 1, delta) >= epsilon);
        prop_assert!(exact(z, k, (delta * more).min(0.5)) <= epsilon);
        if epsilon > 0.0 {
            let mu = analytic::mu(Adjacency::ZeroOut, z, k).unwrap();
            let back = analytic::dp_delta(mu, epsilon).unwrap();
            prop_assert!((back / delta - 1.0).abs() < 1e-7, "dp_delta {} came back as {}", delta, back);
            let noise = analytic::noise_multiplier(Adjacency::ZeroOut, epsilon, delta, k).unwrap();
            prop_assert!((noise / z - 1.0).abs() < 1e-9, "noise {} came back as {}", z, noise);
        }
    }

    #[test]
    fn replace_one_is_twice_the_sensitivity(z in log_uniform(0.1, 100.0), delta in log_uniform(1e-12, 0.1)) {
        let replaced = analytic::mu(Adjacency::ReplaceOne, 2.0 * z, 1).unwrap();
        let zeroed = analytic::mu(Adjacency::ZeroOut, z, 1).unwrap();
        prop_assert_eq!(analytic::epsilon(replaced, delta).unwrap(), analytic::epsilon(zeroed, delta).unwrap());
    }

    #[test]
    fn a_ledger_does_not_care_how_rounds_are_grouped(
        z in log_uniform(0.3, 10.0), q in log_uniform(1e-4, 1.0), rounds in 1_u64..300,
    ) {
        let mut one_by_one = Ledger::poisson(Adjacency::AddOrRemove, Enforcement::Assumed).unwrap();
        for _ in 0..rounds {
            one_by_one.observe(Event::PoissonGaussian { noise_multiplier: z, rate: q }).unwrap();
        }
        let at_once = sampled(z, q, rounds, 1e-6);
        let epsilon = one_by_one.guarantee(1e-6).unwrap().epsilon;
        prop_assert!((epsilon - at_once).abs() <= 1e-9 * at_once, "{} or {}", epsilon, at_once);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn calibration_meets_its_target(
        epsilon in log_uniform(0.05, 50.0), q in log_uniform(1e-4, 1.0), rounds in 1_u64..3000,
    ) {
        let z = calibrate::poisson_noise_multiplier(epsilon, 1e-7, q, rounds).unwrap();
        prop_assert!(sampled(z, q, rounds, 1e-7) <= epsilon);
        prop_assert!(sampled(z * 0.999, q, rounds, 1e-7) > epsilon);
    }
}
