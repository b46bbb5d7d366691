//! Distributions and schedules.

use super::{Case, real, whole};
use serde_json::Value;
use siskin::model::sparsity::{
    Distribution, DropFraction, Schedule, ScheduleError, TensorShape, distribute, overall_sparsity,
};

/// Shares `sparsity` out over the shapes of the case and compares; the overall sparsity.
fn shared(case: &Case, distribution: Distribution) -> f64 {
    let shapes: Vec<(&String, Vec<usize>)> = case.input["shapes"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, s)| (name, s.as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect()))
        .collect();
    let custom = |name: &str| case.input.get("custom").and_then(|c| c.get(name)).map(|v| v.as_f64().unwrap());
    let tensors: Vec<_> = shapes.iter().map(|(name, shape)| TensorShape { shape, custom: custom(name) }).collect();
    let mut out = vec![None; tensors.len()];
    distribute(distribution, &tensors, case.input["sparsity"].as_f64().unwrap(), &mut out).unwrap();
    for ((name, _), got) in shapes.iter().zip(&out) {
        let expected = &case.expected["sparsities"][name.as_str()];
        match (got, expected.as_f64()) {
            (None, None) => assert!(expected.is_null(), "{}: {name}", case.name),
            (Some(g), Some(e)) => assert!((g - e).abs() <= 1e-6 * e, "{}: {name}: {g} for {e}", case.name),
            _ => panic!("{}: {name}: {got:?} for {expected}", case.name),
        }
    }
    overall_sparsity(&tensors, &out)
}

pub(super) fn uniform(case: &Case) {
    shared(case, Distribution::Uniform);
}

pub(super) fn erk(case: &Case) {
    let distribution = if case.input["include_kernel"].as_bool().unwrap() {
        Distribution::ErdosRenyiKernel { power: case.input["power"].as_f64().unwrap() }
    } else {
        Distribution::ErdosRenyi
    };
    let (got, expected) = (shared(case, distribution), case.expected["overall_sparsity"].as_f64().unwrap());
    assert!((got - expected).abs() <= 1e-6 * expected, "{}: {got} for {expected}", case.name);
}

/// The sparsity agrees to the last bit.
pub(super) fn polynomial(case: &Case) {
    let field = |name: &str| whole(&case.input[name]);
    let target = real(&case.input["target"]);
    let schedule =
        Schedule::polynomial(target, field("update_freq"), field("start"), field("end"), field("power")).unwrap();
    for row in rows(case) {
        let step = whole(&row["step"]);
        assert_eq!(schedule.is_update(step), row["is_update"].as_bool().unwrap(), "{} step {step}", case.name);
        assert_eq!(schedule.sparsity(step), real(&row["sparsity"]), "{} step {step}", case.name);
    }
}

pub(super) fn steps(case: &Case) {
    let schedule: Result<Schedule, ScheduleError> = match case.input.get("target_step") {
        Some(step) => Schedule::one_shot(0.5, whole(step)),
        None => {
            let end = case.input.get("end").filter(|v| !v.is_null()).map(whole);
            Schedule::periodic(0.5, whole(&case.input["update_freq"]), whole(&case.input["start"]), end)
        }
    };
    let schedule = schedule.unwrap();
    let fired: Vec<u32> = (0..200).filter(|&step| schedule.is_update(step)).collect();
    let expected: Vec<u32> = case.expected["update_steps"].as_array().unwrap().iter().map(whole).collect();
    assert_eq!(fired, expected, "{}", case.name);
    assert_eq!(schedule.sparsity(0), 0.5);
}

pub(super) fn drop_fraction(case: &Case) {
    let schedule = DropFraction::cosine(real(&case.input["init"]), whole(&case.input["decay_steps"])).unwrap();
    for row in rows(case) {
        let (got, expected) = (schedule.at(whole(&row[0])), real(&row[1]));
        assert!((got - expected).abs() <= 1e-6 * expected, "{}: {got} for {row}", case.name);
    }
}

fn rows(case: &Case) -> &Vec<Value> {
    case.expected["rows"].as_array().unwrap()
}
