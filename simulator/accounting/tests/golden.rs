//! Against numbers that other programs made; see `tests/vectors/accounting/README.md`.

use serde_json::Value;
use siskin_accounting::rdp::Curve;
use siskin_accounting::{Adjacency, Enforcement, Event, Ledger, analytic, calibrate};

const GOLDEN: &str = include_str!("../../../tests/vectors/accounting/dp_accounting.json");
const MPMATH: &str = include_str!("../../../tests/vectors/accounting/mpmath.json");

/// Relative tolerance of `eps_rdp` where all orders have closed forms; the goldens have 9 digits.
const RDP: f64 = 2e-8;

/// How far below `eps_rdp` ours may be at a fractional order under sampling: there dp_accounting 0.6 adds the terms of
/// the series by absolute value, although those past the order alternate in sign, which costs up to 0.16 % here. The
/// exact values are in `mpmath.json`.
const RDP_SERIES: f64 = 2e-3;

/// One record, whose fields are read by name.
struct Record(Value);

impl Record {
    fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or("")
    }

    fn number(&self, field: &str) -> f64 {
        self.get(field).unwrap_or_else(|| panic!("{}: no {field}", self.0))
    }

    fn get(&self, field: &str) -> Option<f64> {
        self.0[field].as_f64()
    }

    fn count(&self, field: &str) -> u64 {
        self.0[field].as_u64().unwrap_or_else(|| panic!("{}: no {field}", self.0))
    }
}

/// The records of these mechanisms; `least` guards against a test that passes because it read nothing.
fn records(mechanisms: &[&str], least: usize) -> Vec<Record> {
    let mut golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let Value::Array(all) = golden["records"].take() else { panic!("no records") };
    let picked: Vec<_> = all.into_iter().map(Record).filter(|r| mechanisms.contains(&r.text("mechanism"))).collect();
    assert!(picked.len() >= least, "only {} records of {mechanisms:?}", picked.len());
    picked
}

fn assert_close(got: f64, want: f64, tolerance: f64, what: &str) {
    assert!((got / want - 1.0).abs() <= tolerance, "{what}: {got}, want {want} within {tolerance:e}");
}

fn adjacency(record: &Record) -> Adjacency {
    match record.text("adjacency") {
        "" | "add_or_remove_one" => Adjacency::AddOrRemove,
        "replace_special" => Adjacency::ZeroOut,
        "replace_one" => Adjacency::ReplaceOne,
        other => panic!("adjacency {other}"),
    }
}

fn event(record: &Record) -> Event {
    let noise_multiplier = record.number("sigma");
    match record.get("sampling_prob") {
        Some(rate) => Event::PoissonGaussian { noise_multiplier, rate },
        None => Event::Gaussian { noise_multiplier },
    }
}

fn rdp_of(rounds: &[(Event, u64)], adjacency: Adjacency) -> Curve {
    let mut curve = Curve::zero();
    for &(event, count) in rounds {
        curve.compose(&curve.of(event, adjacency).unwrap(), count);
    }
    curve
}

#[test]
fn rdp_agrees_with_dp_accounting_and_bounds_the_tight_value() {
    let vectors: Value = serde_json::from_str(MPMATH).unwrap();
    let exact_at_order = vectors["sampled"].as_array().unwrap();
    let (mut compared, mut exact) = (0, 0);
    for record in records(&["gaussian", "poisson_gaussian"], 30) {
        let (id, adjacency) = (record.text("id"), adjacency(&record));
        if adjacency == Adjacency::ReplaceOne && record.get("sampling_prob").is_some() {
            assert!(Curve::zero().of(event(&record), adjacency).is_err(), "{id}");
            continue;
        }
        let curve = rdp_of(&[(event(&record), record.count("steps"))], adjacency);
        let Some(delta) = record.get("delta") else {
            // Epsilon is given and delta asked for.
            let tight = record.get("delta_ref_tilted").unwrap_or_else(|| record.number("delta_pld"));
            let got = curve.dp_delta(record.number("epsilon")).unwrap().dp_delta;
            assert!(tight <= got && got < 30.0 * tight, "{id}: {got}, tight {tight}");
            continue;
        };
        let got = curve.epsilon(delta).unwrap();
        assert!(got.epsilon >= record.number("eps_ref"), "{id}: {got:?}, tight {}", record.number("eps_ref"));
        let Some(want) = record.get("eps_rdp") else { continue };
        assert_eq!(got.order, record.number("rdp_order"), "{id}");
        let mut below = RDP;
        if let Some(case) = exact_at_order.iter().find(|case| case["id"] == id) {
            assert_close(got.epsilon, case["epsilon"].as_f64().unwrap(), 1e-10, id);
            below = RDP_SERIES;
            exact += 1;
        }
        let ratio = got.epsilon / want;
        assert!(1.0 - below <= ratio && ratio <= 1.0 + RDP, "{id}: {got:?}, want {want}");
        compared += 1;
    }
    assert!(compared >= 28 && exact == exact_at_order.len() && exact >= 10, "{compared} compared, {exact} exactly");
}

#[test]
fn rdp_of_mixed_rounds_bounds_the_tight_value() {
    let sampled = |noise_multiplier, rate| Event::PoissonGaussian { noise_multiplier, rate };
    let plain = |noise_multiplier| Event::Gaussian { noise_multiplier };
    for record in records(&["composed"], 3) {
        let rounds = match record.text("description") {
            "uls(1.0,0.01)x500 + uls(2.0,0.01)x500" => vec![(sampled(1.0, 0.01), 500), (sampled(2.0, 0.01), 500)],
            "uls(1.2,0.01)x1000 + gaussian(20)x1" => vec![(sampled(1.2, 0.01), 1000), (plain(20.0), 1)],
            "uls(2,0.05)x200 + uls(2,0.1)x200 + gaussian(10)x2" => {
                vec![(sampled(2.0, 0.05), 200), (sampled(2.0, 0.1), 200), (plain(10.0), 2)]
            }
            // What is not a ledger's is in `tight.rs`.
            other => {
                assert!(other.contains("laplace") || other.contains("els"), "{other}");
                continue;
            }
        };
        let tight = record.number("eps_ref");
        let delta = record.number("delta");
        let epsilon = rdp_of(&rounds, Adjacency::AddOrRemove).epsilon(delta).unwrap().epsilon;
        assert!(tight <= epsilon && epsilon < 1.3 * tight, "{}: {epsilon}, tight {tight}", record.text("id"));
        let mut ledger = Ledger::poisson(Adjacency::AddOrRemove, Enforcement::Enforced).unwrap();
        rounds.iter().for_each(|&(event, count)| ledger.observe_many(event, count).unwrap());
        assert_close(ledger.guarantee(delta).unwrap().epsilon, tight, 1e-6, record.text("id"));
    }
}

#[test]
fn zcdp_and_trees_are_gaussians() {
    for record in records(&["zcdp"], 5) {
        let (rho, delta) = (record.number("rho"), record.number("delta"));
        let mu = (2.0 * rho).sqrt();
        let got =
            rdp_of(&[(Event::Gaussian { noise_multiplier: 1.0 / mu }, 1)], Adjacency::ZeroOut).epsilon(delta).unwrap();
        assert_close(got.epsilon, record.number("eps_rdp"), RDP, record.text("id"));
        // The reference is a PLD with interval 1e-4: an upper bound, up to some 1e-6.
        assert_close(
            analytic::epsilon(mu, delta).unwrap(),
            record.number("eps_pld_if_gaussian"),
            1e-6,
            record.text("id"),
        );
    }
    for record in records(&["tree_aggregation"], 4) {
        let nodes = record.count("depth") * record.count("trees");
        let event = Event::Gaussian { noise_multiplier: record.number("noise_multiplier") };
        let got = rdp_of(&[(event, nodes)], Adjacency::ZeroOut).epsilon(record.number("delta")).unwrap();
        assert_close(got.epsilon, record.number("eps_rdp"), RDP, record.text("id"));
    }
    for record in records(&["tree_aggregation_no_restart"], 1) {
        // The other one is a sensitivity only.
        if record.get("noise_multiplier").is_none() {
            continue;
        }
        let (z, nodes, delta) =
            (record.number("noise_multiplier"), record.count("sens2_lower"), record.number("delta"));
        let got =
            rdp_of(&[(Event::Gaussian { noise_multiplier: z }, nodes)], Adjacency::ZeroOut).epsilon(delta).unwrap();
        assert_close(got.epsilon, record.number("eps_rdp_recomputed_sens2_79"), RDP, record.text("id"));
        let exact = analytic::epsilon(analytic::mu(Adjacency::ZeroOut, z, nodes).unwrap(), delta).unwrap();
        assert_close(exact, record.number("eps_exact_gaussian_sens2_79"), 1e-6, record.text("id"));
    }
}

#[test]
fn the_analytic_gaussian_is_exact() {
    for record in records(&["gaussian_analytic"], 7) {
        let mu = analytic::mu(Adjacency::ZeroOut, record.number("sigma"), 1).unwrap();
        let epsilon = analytic::epsilon(mu, record.number("delta")).unwrap();
        assert_close(epsilon, record.number("eps_exact"), 1e-8, record.text("id"));
    }
    for record in records(&["gaussian"], 6) {
        let mu = analytic::mu(adjacency(&record), record.number("sigma"), record.count("steps")).unwrap();
        let epsilon = analytic::epsilon(mu, record.number("delta")).unwrap();
        assert_close(epsilon, record.number("eps_ref"), 1e-6, record.text("id"));
    }
    for record in records(&["gaussian_analytic_inverse"], 4) {
        let (epsilon, delta) = (record.number("epsilon"), record.number("delta"));
        let z = analytic::noise_multiplier(Adjacency::ZeroOut, epsilon, delta, 1).unwrap();
        assert_close(z, record.number("sigma_exact"), 1e-8, record.text("id"));
    }
}

#[test]
fn calibrated_noise_is_enough_and_not_lavish() {
    for record in records(&["poisson_gaussian_inverse"], 6) {
        let (epsilon, delta, id) = (record.number("target_epsilon"), record.number("delta"), record.text("id"));
        let (rate, rounds, tight) = (record.number("sampling_prob"), record.count("steps"), record.number("sigma"));
        let z = calibrate::poisson_noise_multiplier(epsilon, delta, rate, rounds).unwrap();
        let at = |noise_multiplier| {
            let mut ledger = Ledger::poisson(Adjacency::AddOrRemove, Enforcement::Enforced).unwrap();
            ledger.observe_many(Event::PoissonGaussian { noise_multiplier, rate }, rounds).unwrap();
            ledger.guarantee(delta).unwrap().epsilon
        };
        assert!(at(z) <= epsilon && at(z * (1.0 - 2e-6)) > epsilon, "{id}: {z}");
        assert_close(z, tight, 5e-6, id);
    }
}

#[test]
fn renyi_divergences_agree_with_quadrature() {
    let vectors: Value = serde_json::from_str(MPMATH).unwrap();
    let cases = vectors["renyi"].as_array().unwrap();
    assert!(cases.len() >= 60);
    for case in cases {
        let [rate, noise_multiplier, order, want] =
            ["rate", "noise_multiplier", "order", "renyi"].map(|field| case[field].as_f64().unwrap());
        let one = Curve::zero_over(&[order]).unwrap();
        let event = Event::PoissonGaussian { noise_multiplier, rate };
        let got = one.of(event, Adjacency::AddOrRemove).unwrap().divergences()[0];
        // What a fractional order may be too high by: 2e-14 in the log of the moment.
        let above = 1e-11 * want + if order.fract() == 0.0 { 0.0 } else { 3e-14 / (order - 1.0) };
        assert!(got >= want * (1.0 - 1e-13) && got <= want + above, "{case}: {got}");
    }
}

#[test]
fn exact_epsilons_agree_with_forty_digits() {
    let vectors: Value = serde_json::from_str(MPMATH).unwrap();
    let cases = vectors["gaussian"].as_array().unwrap();
    assert!(cases.len() >= 36);
    for case in cases {
        let [mu, delta, want] = ["mu", "dp_delta", "epsilon"].map(|field| case[field].as_f64().unwrap());
        let got = analytic::epsilon(mu, delta).unwrap();
        if want == 0.0 {
            assert_eq!(got, 0.0, "{case}");
            continue;
        }
        assert_close(got, want, 1e-11, &case.to_string());
        assert_close(analytic::dp_delta(mu, want).unwrap(), delta, 1e-9, &case.to_string());
        assert_close(analytic::mu_for(want, delta).unwrap(), mu, 1e-11, &case.to_string());
    }
}
