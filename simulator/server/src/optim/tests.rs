//! Against `fedopt_golden.json` (a float64 derivation that cites the source of each variant), and masks.

use super::*;
use crate::aggregate::{Closed, Denominator, NormBound, Sum, SumPlan};
use proptest::prelude::*;
use serde_json::Value;
use siskin::model::sparsity::bitmap_bytes;
use std::path::PathBuf;

/// All cases; none, said aloud, where the shared data is absent.
fn golden() -> Vec<Value> {
    let shared = std::env::var_os("SISKIN_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    let path = shared.join("golden/fedopt_golden.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} not found", path.display());
        return Vec::new();
    };
    serde_json::from_str(&text).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// The golden values are f64 from f64 inputs; ours go through f32 deltas and params, so within 4 roundings of f32.
fn close<T: Copy + Into<f64>>(got: &[T], expected: &[f64], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (&got, expected) in got.iter().zip(expected) {
        let got: f64 = got.into();
        assert!(
            (got - expected).abs() <= 4.0 * f64::from(f32::EPSILON) * expected.abs() + 1e-12,
            "{what}: {got} for {expected}"
        );
    }
}

/// The weighted mean of a case's deltas, turned into pseudo-gradients, by way of the integer sum.
fn mean_delta(input: &Value, weights: &[f64]) -> Vec<f32> {
    // A grid on which the deltas of the file, multiples of 0.05, are whole: 0.05 itself, rounded to f32.
    let step = 0.05f32;
    let bound = NormBound::new(100.0, step).unwrap();
    let deltas: Vec<Vec<f64>> = input["deltas"].as_array().unwrap().iter().map(floats).collect();
    let mut sum = Sum::new(deltas[0].len(), SumPlan::new(bound, 1000).unwrap());
    for (delta, &weight) in deltas.iter().zip(weights) {
        let symbols: Vec<_> =
            delta.iter().map(|d| (-d / 0.05).round() as i32).enumerate().filter(|s| s.1 != 0).collect();
        assert!(!sum.add(symbols, weight as u32).unwrap().clipped);
    }
    let Closed::Plain(sum) = sum.close() else { panic!("no noise was promised") };
    sum.mean(Denominator::Realised).unwrap()
}

fn fed_adam(name: &str, lr: f64) -> FedAdamConfig {
    match name {
        "fedadam_reddi_tau1e-3" => FedAdamConfig::reddi(lr),
        "fedadam_reddi_m2_tau1e-3" => {
            FedAdamConfig { second_moment: SecondMoment::Momentum, ..FedAdamConfig::reddi(lr) }
        }
        "fedadam_flower" => FedAdamConfig::flower(lr),
        "fedadam_tff" => FedAdamConfig::tff(lr),
        _ => panic!("no preset for {name}"),
    }
}

/// Cases that this module does not answer for, each with its reason.
fn not_applicable(name: &str) -> Option<&'static str> {
    Some(match name {
        n if n.starts_with("fedyogi_") => "FedYogi is not offered",
        n if n.starts_with("fedadagrad_") => "FedAdagrad is not offered",
        n if n.starts_with("fedfish_") => "an aggregation with Fisher weights, not a server optimizer",
        "fednova_sgd" => "an aggregation that normalises step counts, not a server optimizer",
        "fedbuff" => "asynchronous aggregation with real-valued weights, not a server optimizer",
        "fedprox_grad" | "mime_grad" => "a client's gradient",
        "scaffold_option2" | "feddyn" => "needs state on each client",
        _ => return None,
    })
}

#[test]
fn agrees_with_golden_values() {
    let (mut checked, mut left_out) = (0, 0);
    let cases = golden();
    for case in &cases {
        let (name, input, expected) = (case["name"].as_str().unwrap(), &case["input"], &case["expected"]);
        if let Some(reason) = not_applicable(name) {
            println!("not applicable: {name}: {reason}");
            left_out += 1;
            continue;
        }
        checked += 1;
        let weights = floats(&input["num_examples"]);
        let start = single(&floats(&input["x"]));
        if name.starts_with("fedavg_") {
            let uniform = name == "fedavg_uniform";
            let mean = mean_delta(input, if uniform { &[1.0; 3] } else { &weights });
            close(&mean.iter().map(|d| -d).collect::<Vec<_>>(), &floats(&expected["delta"]), name);
            if !uniform {
                let mut params = start;
                FedAvg::new(4, FedAvgConfig::default()).unwrap().step(&mut params, &mean).unwrap();
                close(&params, &floats(&expected["x"]), name);
            }
            continue;
        }
        let config = fed_adam(name, input["eta"].as_f64().unwrap());
        // The presets' constants are those of the file.
        assert_eq!((config.beta1, config.beta2), (input["beta1"].as_f64().unwrap(), input["beta2"].as_f64().unwrap()));
        assert_eq!(config.tau, input["tau"].as_f64().or(input["eps"].as_f64()).unwrap());
        let mut optimizer = FedAdam::new(4, config).unwrap();
        let (mut params, mean) = (start, mean_delta(input, &weights));
        for row in expected["rounds"].as_array().unwrap() {
            // "delta in round t is wavg/t"
            let t = row["round"].as_f64().unwrap();
            let delta: Vec<f32> = mean.iter().map(|d| (f64::from(*d) / t) as f32).collect();
            optimizer.step(&mut params, &delta).unwrap();
            let first: Vec<f64> = optimizer.first_moment().iter().map(|m| -m).collect();
            close(&params, &floats(&row["x"]), name);
            close(&first, &floats(&row["m"]), name);
            close(optimizer.second_moment(), &floats(&row["v"]), name);
        }
        assert_eq!(optimizer.rounds(), 3);
    }
    assert_eq!((checked, left_out), if cases.is_empty() { (0, 0) } else { (6, cases.len() - 6) });
}

/// By hand, with powers of two: exact in every float.
#[test]
fn fed_avg_with_momentum() {
    let mut optimizer = FedAvg::new(2, FedAvgConfig { lr: 0.5, momentum: 0.5 }).unwrap();
    let mut params = [1.0, -1.0];
    optimizer.step(&mut params, &[1.0, -2.0]).unwrap();
    assert_eq!((params, optimizer.velocity()), ([0.5, 0.0], &[1.0, -2.0][..]));
    optimizer.step(&mut params, &[1.0, 0.0]).unwrap();
    assert_eq!((params, optimizer.velocity()), ([-0.25, 0.5], &[1.5, -1.0][..]));
}

#[test]
fn settings_out_of_range_are_refused() {
    let adam = FedAdamConfig::reddi(0.1);
    for bad in [
        FedAdamConfig { lr: 0.0, ..adam },
        FedAdamConfig { lr: f64::NAN, ..adam },
        FedAdamConfig { beta1: 1.0, ..adam },
        FedAdamConfig { beta2: -0.1, ..adam },
        FedAdamConfig { tau: 0.0, ..adam },
        FedAdamConfig { initial_second_moment: -1.0, ..adam },
        FedAdamConfig { initial_second_moment: f64::INFINITY, ..adam },
    ] {
        assert!(matches!(FedAdam::new(1, bad), Err(OptimError::Config { .. })), "{bad:?}");
    }
    for (lr, momentum) in [(-1.0, 0.0), (1.0, 1.0), (1.0, f64::NAN)] {
        assert!(matches!(FedAvg::new(1, FedAvgConfig { lr, momentum }), Err(OptimError::Config { .. })));
    }
}

fn optimizers(len: usize) -> [Box<dyn ServerOptimizer>; 5] {
    [
        Box::new(FedAvg::new(len, FedAvgConfig::default()).unwrap()),
        Box::new(FedAvg::new(len, FedAvgConfig { lr: 0.3, momentum: 0.9 }).unwrap()),
        Box::new(FedAdam::new(len, FedAdamConfig::reddi(0.1)).unwrap()),
        Box::new(FedAdam::new(len, FedAdamConfig::flower(0.1)).unwrap()),
        Box::new(FedAdam::new(len, FedAdamConfig::tff(0.1)).unwrap()),
    ]
}

#[test]
fn a_refused_step_changes_nothing() {
    for (mut tried, mut fresh) in optimizers(2).into_iter().zip(optimizers(2)) {
        let mut params = [1.0, 2.0];
        for (delta, error) in [
            (vec![0.0], OptimError::Length { what: "mean delta", expected: 2, got: 1 }),
            (vec![0.5, f32::NAN], OptimError::DeltaNotFinite { index: 1 }),
            (vec![f32::INFINITY, 0.0], OptimError::DeltaNotFinite { index: 0 }),
        ] {
            assert_eq!(tried.step(&mut params, &delta), Err(error));
        }
        let mut short = [1.0];
        let length = |what| OptimError::Length { what, expected: 2, got: 1 };
        assert_eq!(tried.step(&mut short, &[0.0, 0.0]), Err(length("params")));
        assert_eq!(tried.set_mask(Bitmap::new(&[1], 1).unwrap()), Err(length("mask")));
        // The second param would overflow only after the first was computed.
        let mut full = [0.0, f32::MAX];
        if tried.step(&mut full, &[0.5, -f32::MAX]).is_err() {
            assert_eq!(full, [0.0, f32::MAX]);
        } else {
            fresh.step(&mut [0.0, f32::MAX], &[0.5, -f32::MAX]).unwrap();
        }
        let mut same = params;
        tried.step(&mut params, &[0.25, -0.5]).unwrap();
        fresh.step(&mut same, &[0.25, -0.5]).unwrap();
        assert_eq!(params, same);
    }
    let mut sgd = FedAvg::new(1, FedAvgConfig::default()).unwrap();
    let infinite = OptimError::ParamNotFinite { index: 0, value: f32::INFINITY };
    assert_eq!(sgd.step(&mut [f32::MAX], &[-f32::MAX]), Err(infinite));
}

proptest! {
    /// Pruned params are +0.0 after a step, whatever they held and whatever the momentum; the others go on as if the
    /// pruned had never been; and one that comes back starts from cleared moments.
    #[test]
    fn pruned_params_are_gone(
        bits in proptest::collection::vec(any::<bool>(), 1..20),
        deltas in proptest::collection::vec(-1.0f32..1.0, 60),
        which in 0usize..5,
    ) {
        let n = bits.len();
        let mut bytes = vec![0; bitmap_bytes(n)];
        bits.iter().enumerate().filter(|b| *b.1).for_each(|(i, _)| bytes[i / 8] |= 1 << (i % 8));
        let (mut masked, mut dense) = (&mut optimizers(n)[which], &mut optimizers(n)[which]);
        let (mut params, mut reference) = (vec![0.5; n], vec![0.5; n]);
        for (optimizer, params) in [(&mut masked, &mut params), (&mut dense, &mut reference)] {
            optimizer.step(params, &deltas[..n]).unwrap();
        }
        masked.set_mask(Bitmap::new(&bytes, n).unwrap()).unwrap();
        params.iter_mut().zip(&bits).filter(|p| !p.1).for_each(|(p, _)| *p = f32::NAN);
        for (optimizer, params) in [(&mut masked, &mut params), (&mut dense, &mut reference)] {
            optimizer.step(params, &deltas[n..2 * n]).unwrap();
        }
        for i in 0..n {
            let expected = if bits[i] { reference[i] } else { 0.0 };
            prop_assert_eq!(params[i].to_bits(), expected.to_bits());
        }
        // All live again: a zero delta moves no param whose moments were cleared.
        let all: Vec<u8> = (0..bytes.len()).map(|b| if 8 * b + 8 <= n { 0xff } else { (1u8 << (n % 8)) - 1 }).collect();
        masked.set_mask(Bitmap::new(&all, n).unwrap()).unwrap();
        masked.step(&mut params, &vec![0.0; n]).unwrap();
        prop_assert!(params.iter().zip(&bits).filter(|p| !p.1).all(|(p, _)| *p == 0.0));
    }
}

#[test]
fn state_survives_serialisation() {
    let mut before = FedAdam::new(3, FedAdamConfig::flower(0.1)).unwrap();
    let mut params = [0.1, 0.2, 0.3];
    before.step(&mut params, &[0.3, -0.2, 0.1]).unwrap();
    let mut after: FedAdam = serde_json::from_str(&serde_json::to_string(&before).unwrap()).unwrap();
    let mut same = params;
    before.step(&mut params, &[0.1, 0.1, 0.1]).unwrap();
    after.step(&mut same, &[0.1, 0.1, 0.1]).unwrap();
    assert_eq!((params, &before), (same, &after));

    let good = serde_json::to_value(&before).unwrap();
    for (key, value) in
        [("first", serde_json::json!([0.0])), ("second", serde_json::json!([])), ("live", serde_json::json!([true]))]
    {
        let mut bad = good.clone();
        bad[key] = value;
        assert!(serde_json::from_value::<FedAdam>(bad).is_err(), "{key}");
    }
    let mut bad = good;
    bad["config"]["beta1"] = serde_json::json!(1.0);
    assert!(serde_json::from_value::<FedAdam>(bad).is_err());

    let mut before = FedAvg::new(2, FedAvgConfig { lr: 0.5, momentum: 0.9 }).unwrap();
    before.step(&mut [0.0; 2], &[1.0, 2.0]).unwrap();
    let good = serde_json::to_value(&before).unwrap();
    assert_eq!(serde_json::from_value::<FedAvg>(good.clone()).unwrap(), before);
    let mut bad = good;
    bad["velocity"] = serde_json::json!([1.0]);
    assert!(serde_json::from_value::<FedAvg>(bad).is_err());
}

/// Pruned and revived between two rounds: the moments are cleared by the mask itself, not only by a step under it.
#[test]
fn a_mask_clears_at_once() {
    let (none, all) = (Bitmap::new(&[0], 1).unwrap(), Bitmap::new(&[1], 1).unwrap());
    let mut adam = FedAdam::new(1, FedAdamConfig::reddi(0.1)).unwrap();
    let mut avg = FedAvg::new(1, FedAvgConfig { lr: 1.0, momentum: 0.9 }).unwrap();
    for optimizer in [&mut adam as &mut dyn ServerOptimizer, &mut avg] {
        optimizer.step(&mut [1.0], &[1.0]).unwrap();
        optimizer.set_mask(none).unwrap();
        optimizer.set_mask(all).unwrap();
    }
    assert_eq!((adam.first_moment(), adam.second_moment()), (&[0.0][..], &[1e-3 * 1e-3][..]));
    assert_eq!(avg.velocity(), [0.0]);
}
