//! Privacy-loss distributions against dp_accounting's; see `tests/vectors/accounting/README.md`.

use serde_json::Value;
use siskin_accounting::{Accountant, Adjacency, Composition, Counted, Method, Release, analytic, calibrate};

const GOLDEN: &str = include_str!("../../../tests/vectors/accounting/dp_accounting.json");

/// The grid of the goldens; a finer one is tighter, and would not agree.
const METHOD: Method = Method { interval: 1e-4, refine: false, accountant: None };

fn records(mechanisms: &[&str], least: usize) -> Vec<Value> {
    let mut golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let Value::Array(all) = golden["records"].take() else { panic!("no records") };
    let picked: Vec<_> = all.into_iter().filter(|r| mechanisms.contains(&r["mechanism"].as_str().unwrap())).collect();
    assert!(picked.len() >= least, "only {} records of {mechanisms:?}", picked.len());
    picked
}

fn number(record: &Value, field: &str) -> f64 {
    record[field].as_f64().unwrap_or_else(|| panic!("{}: no {field}", record["id"]))
}

fn count(record: &Value, field: &str) -> u64 {
    record[field].as_u64().unwrap_or_else(|| panic!("{}: no {field}", record["id"]))
}

fn group(record: &Value) -> u32 {
    u32::try_from(count(record, "group_size")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn adjacency(record: &Value) -> Adjacency {
    match record["adjacency"].as_str().unwrap_or("add_or_remove_one") {
        "add_or_remove_one" => Adjacency::AddOrRemove,
        "replace_special" => Adjacency::ZeroOut,
        "replace_one" => Adjacency::ReplaceOne,
        other => panic!("adjacency {other}"),
    }
}

/// The composition of a record, without its target.
fn composition(record: &Value) -> Composition {
    let sigma = || number(record, "sigma");
    let rate = || number(record, "sampling_prob");
    let sensitivity = || u32::try_from(count(record, "sensitivity")).unwrap();
    let release = match record["mechanism"].as_str().unwrap() {
        "gaussian" => Release::Gaussian { noise_multiplier: sigma() },
        "poisson_gaussian" => Release::Uls { noise_multiplier: sigma(), rate: rate() },
        "mixture_of_gaussians_binomial" | "els_vs_group_privacy" => {
            Release::Els { noise_multiplier: sigma(), rate: rate(), group: group(record) }
        }
        "mixture_of_gaussians_device_then_example" => Release::DeviceThenExample {
            noise_multiplier: sigma(),
            device_rate: number(record, "device_sampling_prob"),
            example_rate: number(record, "example_sampling_prob"),
            group: group(record),
        },
        "mixture_of_gaussians" => Release::MixtureOfGaussians {
            noise_multiplier: sigma(),
            weights: numbers(&record["probs"]),
            norms: numbers(&record["sensitivities"]),
        },
        "truncated_poisson_gaussian" => Release::TruncatedUls {
            noise_multiplier: sigma(),
            rate: rate(),
            population: count(record, "dataset_size"),
            cap: count(record, "truncated_batch_size"),
        },
        "laplace" => Release::Laplace { scale: number(record, "scale"), sensitivity: number(record, "l1_sensitivity") },
        "discrete_gaussian_scalar" => {
            Release::DiscreteGaussian { sigma: sigma(), sensitivity: sensitivity(), rate: rate() }
        }
        "discrete_laplace_scalar" => {
            Release::DiscreteLaplace { decay: number(record, "a"), sensitivity: sensitivity(), rate: 1.0 }
        }
        "epsilon_delta_blackbox" => {
            Release::EpsilonDelta { epsilon: number(record, "epsilon0"), dp_delta: number(record, "delta0") }
        }
        "fixed_size_without_replacement_gaussian" => Release::FixedSize {
            noise_over_sensitivity: sigma(),
            population: count(record, "dataset_size"),
            cohort: count(record, "sample_size"),
        },
        other => panic!("mechanism {other}"),
    };
    Composition::of(adjacency(record), release, count(record, "steps"))
}

/// The parts of a description such as `uls(1.0,0.01)x300 + laplace(10)x5`.
fn described(record: &Value) -> Composition {
    let events = record["description"].as_str().unwrap().split(" + ").map(|part| {
        let (name, rest) = part.split_once('(').unwrap();
        let (inside, rounds) = rest.split_once(")x").unwrap();
        let named = |text: &str| text.rsplit('=').next().unwrap().parse::<f64>().unwrap();
        let numbers: Vec<f64> = inside.split(',').map(named).collect();
        let release = match (name, numbers.as_slice()) {
            ("uls", &[noise_multiplier, rate]) => Release::Uls { noise_multiplier, rate },
            ("els", &[group, rate, noise_multiplier]) => Release::Els { noise_multiplier, rate, group: group as u32 },
            ("gaussian", &[noise_multiplier]) => Release::Gaussian { noise_multiplier },
            ("laplace", &[scale]) => Release::Laplace { scale, sensitivity: 1.0 },
            other => panic!("{other:?}"),
        };
        Counted { rounds: rounds.parse().unwrap(), release }
    });
    Composition { adjacency: adjacency(record), events: events.collect() }
}

fn assert_close(got: f64, want: f64, tolerance: f64, what: &Value) {
    assert!((got / want - 1.0).abs() <= tolerance, "{what}: {got}, want {want} within {tolerance:e}");
}

/// All records with a tight epsilon agree; also both directions where they are known, and the bound by Renyi
/// divergences, where there is one, is above.
#[test]
fn tight_epsilons_agree_and_are_below_renyi() {
    let mut seen = (0, 0, 0);
    let mut golden: Value = serde_json::from_str(GOLDEN).unwrap();
    for record in golden["records"].as_array_mut().unwrap() {
        let Some(want) = record["eps_ref"].as_f64() else { continue };
        let composed = record["mechanism"] == "composed";
        let composition = if composed { described(record) } else { composition(record) };
        let account = composition.account_by(number(record, "delta"), METHOD).unwrap();
        assert_close(account.epsilon, want, number(record, "rtol_suggested"), &record["id"]);
        seen.0 += 1;
        if let (Some(remove), Some(add)) = (record["eps_indep_remove"].as_f64(), record["eps_indep_add"].as_f64()) {
            let plain_fft = if number(record, "delta") < 1e-7 { 1e-4 } else { 2e-6 };
            assert_close(account.remove_epsilon, remove, plain_fft, &record["id"]);
            assert_close(account.add_epsilon, add, plain_fft, &record["id"]);
            seen.1 += 1;
        }
        if let Some(renyi) = composition.rdp_epsilon(number(record, "delta")).unwrap() {
            assert!(account.epsilon <= renyi * (1.0 + 1e-6), "{}: {account:?}, by Renyi {renyi}", record["id"]);
            seen.2 += 1;
        }
    }
    assert!(seen.0 >= 75 && seen.1 >= 40 && seen.2 >= 40, "{seen:?}");
}

#[test]
fn deltas_agree_also_where_a_plain_fft_has_lost_them() {
    let mut deltas: Vec<(Composition, f64, f64, f64)> =
        records(&["poisson_gaussian", "mixture_of_gaussians_binomial"], 50)
            .iter()
            .filter(|record| record["delta_pld"].is_f64())
            .map(|record| {
                let tilted = record["delta_ref_tilted"].as_f64();
                // A tilted reference is good to all its digits; a plain one to some 1e-15 absolutely.
                let want = tilted.unwrap_or_else(|| number(record, "delta_pld"));
                (composition(record), number(record, "epsilon"), want, 2e-6_f64.max(3e-15 / want))
            })
            .collect();
    assert!(deltas.len() >= 5);
    // By numpy with the same grid, an own tilt of 5 and P's tail cut at 14 deviations.
    let uls = Composition::of(Adjacency::AddOrRemove, Release::Uls { noise_multiplier: 1.0, rate: 0.01 }, 1000);
    deltas.push((uls.clone(), 3.0, 9.22262e-10, 1e-6));
    deltas.push((uls.clone(), 6.0, 1.649760146e-19, 1e-6));
    deltas.push((uls, 8.0, 3.142285772e-26, 1e-6));
    for (composition, epsilon, want, tolerance) in deltas {
        let got = composition.dp_delta(epsilon, METHOD).unwrap();
        let what = Value::from(format!("{composition:?} at {epsilon}"));
        assert_close(got, want, tolerance, &what);
        let back = composition.account_by(got, METHOD).unwrap().epsilon;
        assert_close(back, epsilon, 1e-6, &what);
    }
}

#[test]
fn noise_and_rounds_are_calibrated() {
    for record in records(&["poisson_gaussian_inverse", "mixture_of_gaussians_binomial_inverse"], 12) {
        let (target, delta) = (number(&record, "target_epsilon"), number(&record, "delta"));
        let rate = number(&record, "sampling_prob");
        let release = match record["group_size"].as_u64() {
            None => Release::Uls { noise_multiplier: 1.0, rate },
            Some(_) => Release::Els { noise_multiplier: 1.0, rate, group: group(&record) },
        };
        let template = Composition::of(Adjacency::AddOrRemove, release, count(&record, "steps"));
        let found = calibrate::noise(&template, target, delta, METHOD).unwrap();
        assert!(found.account.epsilon <= target, "{}: {found:?}", record["id"]);
        assert_eq!(template.with_noise(found.noise).unwrap().account_by(delta, METHOD), Ok(found.account));
        // The recorded search ended up to 1e-5 below its target; ours is not looser than 1e-6.
        assert_close(found.account.epsilon, target, 2e-6, &record["id"]);
        assert_close(found.noise, number(&record, "sigma"), 5e-6, &record["id"]);

        let release = template.with_noise(found.noise).unwrap().events.remove(0).release;
        let rounds = calibrate::rounds(&release, Adjacency::AddOrRemove, target, delta, METHOD).unwrap();
        assert_eq!(rounds, count(&record, "steps"), "{}", record["id"]);
    }
}

#[test]
fn fixed_cohorts_trees_and_concentrated_privacy_agree_by_renyi() {
    for record in records(&["fixed_size_without_replacement_gaussian"], 2) {
        let account = composition(&record).account(number(&record, "delta")).unwrap();
        assert_eq!(account.accountant, Accountant::Rdp);
        assert_close(account.epsilon, number(&record, "eps_rdp"), 1e-6, &record["id"]);
    }
    for record in records(&["zcdp"], 5) {
        let release = Release::Zcdp { rho: number(&record, "rho") };
        let account = Composition::of(Adjacency::AddOrRemove, release, 1).account(number(&record, "delta")).unwrap();
        assert_close(account.epsilon, number(&record, "eps_rdp"), 1e-6, &record["id"]);
        let release = Release::Gaussian { noise_multiplier: (0.5 / number(&record, "rho")).sqrt() };
        let account = Composition::of(Adjacency::AddOrRemove, release, 1).account(number(&record, "delta")).unwrap();
        assert_close(account.epsilon, number(&record, "eps_pld_if_gaussian"), 1e-6, &record["id"]);
    }
    for record in records(&["tree_aggregation"], 4) {
        let (noise_multiplier, steps) = (number(&record, "noise_multiplier"), count(&record, "steps_per_tree"));
        let release = Release::Tree { noise_multiplier, steps };
        let trees = Composition::of(Adjacency::ZeroOut, release, count(&record, "trees"));
        let renyi = trees.rdp_epsilon(number(&record, "delta")).unwrap().unwrap();
        assert_close(renyi, number(&record, "eps_rdp"), 1e-6, &record["id"]);
        let exact = trees.account(number(&record, "delta")).unwrap();
        assert!(exact.accountant == Accountant::AnalyticGaussian && exact.epsilon < renyi, "{exact:?}");
    }
}

/// A group of examples by the group-privacy lemma, as in the reference's table: far above the mixture.
#[test]
fn examples_of_a_user_are_accounted_for_better_than_as_a_group() {
    for record in records(&["els_vs_group_privacy"], 10) {
        let coarse = Method { interval: 2e-4, ..METHOD };
        let epsilon = composition(&record).account_by(number(&record, "delta"), coarse).unwrap().epsilon;
        assert!((epsilon - number(&record, "eps_mog")).abs() < 6e-5, "{}: {epsilon}", record["id"]);
        if let Some(lemma) = record["eps_group_privacy_lemma"].as_f64() {
            assert!(epsilon <= lemma + 1e-4, "{}: {epsilon}", record["id"]);
        }
    }
}

/// Discretised at ten times the grid and composed by FFT, a Gaussian is still its closed form.
#[test]
fn the_grid_agrees_with_the_analytic_gaussian() {
    let method = Method { accountant: Some(Accountant::Pld), ..METHOD };
    for (noise_multiplier, rounds, delta) in [(1.0, 1, 1e-5), (5.0, 100, 1e-6), (50.0, 100, 1e-10), (20.0, 1000, 1e-6)]
    {
        let release = Release::Gaussian { noise_multiplier };
        let account = Composition::of(Adjacency::ZeroOut, release, rounds).account_by(delta, method).unwrap();
        assert_eq!(account.accountant, Accountant::Pld);
        let mu = analytic::mu(Adjacency::ZeroOut, noise_multiplier, rounds).unwrap();
        let exact = analytic::epsilon(mu, delta).unwrap();
        assert!(
            account.epsilon >= exact && account.epsilon <= exact * (1.0 + 1e-6) + 1e-7,
            "{account:?}, exact {exact}"
        );
    }
}
