//! Against JaxPruner's own output (`jaxpruner_golden.json`) and against a sort.

use super::*;
use proptest::prelude::*;
use serde_json::Value;
use std::{path::PathBuf, println, string::String, vec, vec::Vec};

/// The cases whose name begins with `prefix`; none, said aloud, where the shared data is absent.
fn golden(prefix: &str) -> Vec<(String, Value)> {
    let shared = std::env::var_os("SISKIN_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let path = shared.join("golden/jaxpruner_golden.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} not found", path.display());
        return Vec::new();
    };
    let root: Value = serde_json::from_str(&text).unwrap();
    let cases: Vec<_> = root["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| (case["name"].as_str().unwrap().into(), case.clone()))
        .filter(|(name, _): &(String, _)| name.starts_with(prefix))
        .collect();
    assert!(!cases.is_empty(), "no case {prefix}* in {}", path.display());
    cases
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn bools(value: &Value) -> Vec<bool> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() == 1).collect()
}

fn step_of(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn mask_of(scores: &[f32], sparsity: f32) -> (usize, Vec<bool>) {
    let mut bytes = vec![0xff; bitmap_bytes(scores.len())];
    let mut mask = BitmapMut::new(&mut bytes, scores.len()).unwrap();
    let ones = top_k_mask_by(|i| scores[i], sparsity, &mut vec![7; scores.len()], &mut mask).unwrap();
    assert_eq!(mask.as_bitmap().count(), ones);
    (ones, mask.as_bitmap().iter().collect())
}

#[test]
fn unstructured_masks_agree_with_jaxpruner() {
    let mut tables = 0;
    for (name, case) in golden("uns_") {
        if case["kind"] == "num_ones" {
            tables += 1;
            let rows = case["expected"]["rows_n_sparsity_k"].as_array().unwrap();
            assert_eq!(rows.len(), 220);
            for row in rows {
                let (n, s) = (row[0].as_u64().unwrap() as usize, row[1].as_f64().unwrap() as f32);
                assert_eq!(num_ones(n, s).unwrap() as u64, row[2].as_u64().unwrap(), "{name}: n {n} s {s}");
            }
            continue;
        }
        let scores = floats(&case["input"]["scores"]["data"]);
        let (ones, mask) = mask_of(&scores, case["input"]["sparsity"].as_f64().unwrap() as f32);
        assert_eq!(mask, bools(&case["expected"]["mask"]["data"]), "{name}");
        assert_eq!(ones as u64, case["expected"]["num_ones"].as_u64().unwrap(), "{name}");
        tables += 1;
    }
    assert!(tables == 0 || tables == 13, "{tables} cases");
}

#[test]
fn schedules_agree_with_jaxpruner() {
    for (name, case) in golden("poly_") {
        let input = &case["input"];
        let schedule = Schedule::polynomial(
            input["target"].as_f64().unwrap() as f32,
            step_of(&input["update_freq"]),
            step_of(&input["start"]),
            step_of(&input["end"]),
            step_of(&input["power"]),
        )
        .unwrap();
        for row in case["expected"]["rows"].as_array().unwrap() {
            let step = step_of(&row["step"]);
            assert_eq!(schedule.is_update(step), row["is_update"].as_bool().unwrap(), "{name} step {step}");
            let expected = row["sparsity"].as_f64().unwrap() as f32;
            assert_eq!(schedule.sparsity(step), expected, "{name} step {step}");
        }
    }
    for (name, case) in golden("periodic_").into_iter().chain(golden("oneshot_")) {
        let input = &case["input"];
        let schedule = if name.starts_with("oneshot_") {
            Schedule::one_shot(0.5, step_of(&input["target_step"]))
        } else {
            let end = input.get("end").filter(|v| !v.is_null()).map(step_of);
            Schedule::periodic(0.5, step_of(&input["update_freq"]), step_of(&input["start"]), end)
        }
        .unwrap();
        let fired: Vec<u32> = (0..200).filter(|&step| schedule.is_update(step)).collect();
        let expected: Vec<u32> = case["expected"]["update_steps"].as_array().unwrap().iter().map(step_of).collect();
        assert_eq!(fired, expected, "{name}");
    }
}

/// Twelve steps of SGD with pruning: the mask comes from the params before the step, and is applied after it.
#[test]
fn magnitude_training_agrees_with_jaxpruner() {
    for (name, case) in golden("train_magnitude_sgd") {
        let (mut params, target) = (floats(&case["input"]["w0"]["data"]), floats(&case["input"]["target"]["data"]));
        let config = &case["input"]["config"];
        let (every, start, end) = (&config["update_freq"], &config["update_start_step"], &config["update_end_step"]);
        let sparsity = config["sparsity"].as_f64().unwrap() as f32;
        let schedule = Schedule::polynomial(sparsity, step_of(every), step_of(start), step_of(end), 3).unwrap();
        let mut bytes = vec![0; bitmap_bytes(params.len())];
        let mut mask = BitmapMut::new(&mut bytes, params.len()).unwrap();
        mask.fill(true);
        let mut scratch = vec![0; params.len()];
        for row in case["expected"]["rows"].as_array().unwrap() {
            let step = step_of(&row["step"]);
            if schedule.is_update(step) {
                magnitude_mask(&params, schedule.sparsity(step), &mut scratch, &mut mask).unwrap();
            }
            for (w, t) in params.iter_mut().zip(&target) {
                *w -= 0.1 * (*w - t);
            }
            apply_mask(&mut params, mask.as_bitmap()).unwrap();
            assert_eq!(mask.as_bitmap().iter().collect::<Vec<_>>(), bools(&row["mask"]), "{name} step {step}");
            for (got, expected) in params.iter().zip(floats(&row["params"])) {
                assert!((got - expected).abs() <= 1e-6 * expected.abs().max(0.1), "{name} step {step}");
            }
        }
    }
}

#[test]
fn nan_infinity_and_signed_zero() {
    let nan = f32::NAN;
    assert_eq!(mask_of(&[nan, 1.0, nan, -f32::INFINITY], 0.5), (2, vec![false, true, false, true]));
    // Fewer numbers than places: the numbers stay, the count says so.
    assert_eq!(mask_of(&[nan, 1.0, nan, nan], 0.5), (1, vec![false, true, false, false]));
    assert_eq!(mask_of(&[nan, nan], 0.0), (2, vec![true, true]));
    assert_eq!(mask_of(&[-0.0, 0.0, -0.0], 0.7), (1, vec![true, false, false]));
    assert_eq!(mask_of(&[], 0.5), (0, vec![]));
    let mut params = [nan, -1.0, f32::INFINITY, 2.0];
    apply_mask(&mut params, Bitmap::new(&[0b1000], 4).unwrap()).unwrap();
    assert_eq!(params.map(f32::to_bits), [0.0f32, 0.0, 0.0, 2.0].map(f32::to_bits));
}

#[test]
fn refusals_write_nothing() {
    for bad in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
        assert!(matches!(num_ones(4, bad), Err(SparsityError::SparsityOutOfRange { .. })), "{bad}");
        assert!(matches!(Schedule::one_shot(bad, 1), Err(ScheduleError::TargetOutOfRange { .. })), "{bad}");
    }
    let mut bytes = [0b0110];
    let mut mask = BitmapMut::new(&mut bytes, 4).unwrap();
    assert_eq!(
        magnitude_mask(&[1.0; 4], 0.5, &mut [0; 3], &mut mask),
        Err(SparsityError::ScratchTooSmall { expected: 4, got: 3 })
    );
    assert_eq!(
        magnitude_mask(&[1.0; 5], 0.5, &mut [0; 5], &mut mask),
        Err(SparsityError::MaskLength { expected: 5, got: 4 })
    );
    assert_eq!(bytes, [0b0110]);
    assert_eq!(Schedule::polynomial(0.5, 0, 0, 1, 3), Err(ScheduleError::ZeroFrequency));
    assert_eq!(Schedule::polynomial(0.5, 1, 2, 2, 3), Err(ScheduleError::EmptyRange { start: 2, end: 2 }));
    assert_eq!(Schedule::polynomial(0.5, 1, 0, 2, 0), Err(ScheduleError::PowerOutOfRange { got: 0 }));
    assert_eq!(Schedule::periodic(0.5, 1, 3, Some(2)), Err(ScheduleError::EmptyRange { start: 3, end: 2 }));
}

#[test]
fn extremes_of_the_schedule() {
    let schedule = Schedule::polynomial(1.0, 1, 0, u32::MAX, 16).unwrap();
    assert_eq!(schedule.sparsity(u32::MAX), 1.0);
    assert!(schedule.sparsity(0) >= 0.0);
    assert!(!Schedule::never(0.5).unwrap().is_update(0));
    // Beyond 2^24 the f32 product may exceed n.
    assert_eq!(num_ones((1 << 24) + 3, f32::MIN_POSITIVE), Ok((1 << 24) + 3));
}

/// The documented rule, by a stable sort.
fn oracle(scores: &[f32], sparsity: f32) -> Vec<bool> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap());
    let mut mask = vec![false; scores.len()];
    for &i in &order[..num_ones(scores.len(), sparsity).unwrap()] {
        mask[i] = true;
    }
    mask
}

proptest! {
    #[test]
    fn agrees_with_a_stable_sort(
        scores in proptest::collection::vec(prop_oneof![(-3i8..3).prop_map(f32::from), -2.0f32..2.0], 1..300),
        sparsity in 0.0f32..=1.0,
    ) {
        let (ones, mask) = mask_of(&scores, sparsity);
        prop_assert_eq!(ones, num_ones(scores.len(), sparsity).unwrap());
        prop_assert_eq!(mask, oracle(&scores, sparsity));
    }
}
