//! Scores and masks.

use super::{Case, LOST_EDGE, Mask, bools, close, data, mask_of, real, shape};
use siskin::model::sparsity::{
    Draw, GlobalTensor, Pooling, Scores, SparsityError, SparsityType, apply_mask, fisher_scores, global_mask,
    is_prunable, magnitude_mask, magnitude_scores, num_ones, saliency_scores, static_random_mask,
};

/// The sparsity type that a case asks for.
fn kind_of(case: &Case) -> SparsityType {
    let input = &case.input;
    let short = |v: &serde_json::Value| u16::try_from(v.as_u64().unwrap()).unwrap();
    let axis = || i32::try_from(input["axis"].as_i64().unwrap()).unwrap();
    if input.get("m").is_some() {
        return SparsityType::NOfM { n: short(&input["n"]), m: short(&input["m"]), axis: axis() };
    }
    if let Some(block) = input.get("block") {
        let pooling = if input["avg_pool"].as_bool().unwrap() { Pooling::Mean } else { Pooling::Max };
        return SparsityType::Block { rows: short(&block[0]), cols: short(&block[1]), pooling };
    }
    match input.get("axis") {
        Some(_) => SparsityType::Channel { axis: axis() },
        None => SparsityType::Unstructured,
    }
}

pub(super) fn of_a_type(case: &Case) {
    let tensor = &case.input["scores"];
    let scores = data(tensor);
    let all = Scores::new(scores.len(), |i| scores[i]);
    let mask = mask_of(kind_of(case), &all, &shape(tensor), real(&case.input["sparsity"]));
    let expected = &case.expected["mask"];
    if LOST_EDGE.contains(&case.name.as_str()) {
        assert_ne!(shape(expected), shape(tensor), "{}: upstream's mask has another shape", case.name);
        assert!(mask.view().count() > 0 && mask.view().count() < scores.len(), "{}", case.name);
        return;
    }
    assert_eq!(shape(expected), shape(tensor), "{}", case.name);
    assert_eq!(mask.bits(), bools(&expected["data"]), "{}", case.name);
    if let Some(ones) = case.expected.get("num_ones") {
        assert_eq!(mask.view().count() as u64, ones.as_u64().unwrap(), "{}", case.name);
    }
}

pub(super) fn refused(case: &Case) {
    let error = kind_of(case).scratch_len(&shape(&case.input)).unwrap_err();
    let expected = match case.name.as_str() {
        "nm_err_not_divisible" => SparsityError::NotDivisible { expected: 4, got: 5 },
        "nm_err_n_gt_m" => SparsityError::NOfM { n: 4, m: 2 },
        other => panic!("{other}"),
    };
    assert_eq!(error, expected, "{}", case.name);
}

pub(super) fn counts(case: &Case) {
    let rows = case.expected["rows_n_sparsity_k"].as_array().unwrap();
    assert_eq!(rows.len(), 220);
    for row in rows {
        let n = row[0].as_u64().unwrap() as usize;
        assert_eq!(num_ones(n, real(&row[1])), Ok(row[2].as_u64().unwrap() as usize), "{row}");
    }
}

pub(super) fn scores(case: &Case) {
    let params = data(&case.input["params"]);
    fn values<F: Fn(usize) -> f32>(scores: &Scores<F>) -> Vec<f32> {
        (0..scores.len()).map(|i| scores.get(i).unwrap()).collect()
    }
    let got = if let Some(grads) = case.input.get("grads") {
        values(&saliency_scores(&params, &data(grads)).unwrap())
    } else if let Some(nu) = case.input.get("nu") {
        values(&fisher_scores(&params, &data(nu)).unwrap())
    } else {
        values(&magnitude_scores(&params))
    };
    close(&case.name, &got, &data(&case.expected["scores"]));
}

pub(super) fn global(case: &Case) {
    // The order of the sorted names, as upstream's.
    let tensors = case.input["params"].as_object().unwrap();
    let mut names: Vec<&String> = tensors.keys().collect();
    names.sort();
    let mut params: Vec<Vec<f32>> = names.iter().map(|name| data(&tensors[*name])).collect();
    let mut masks: Vec<Mask> = params.iter().map(|p| Mask::full(p.len())).collect();
    let prunable: Vec<bool> = names.iter().map(|name| is_prunable(&shape(&tensors[*name]))).collect();
    let mut parts: Vec<_> = params
        .iter()
        .zip(&mut masks)
        .zip(&prunable)
        .filter(|(_, prunable)| **prunable)
        .map(|((p, m), _)| GlobalTensor::new(magnitude_scores(p), m.edit()).unwrap())
        .collect();
    let normalize = case.input["normalize"].as_bool().unwrap();
    global_mask(&mut parts, normalize, real(&case.input["sparsity"]), &mut [0; 64]).unwrap();
    drop(parts);
    for ((name, mask), prunable) in names.into_iter().zip(&masks).zip(prunable) {
        let expected = &case.expected["masks"][name];
        assert_eq!(expected.is_null(), !prunable, "{}: {name}", case.name);
        if prunable {
            assert_eq!(mask.bits(), bools(&expected["data"]), "{}: {name}", case.name);
        }
        let p = &mut params.remove(0);
        apply_mask(p, mask.view()).unwrap();
        close(&case.name, p, &data(&case.expected["params"][name]));
    }
}

/// Only the number of ones is the same: the generators differ.
pub(super) fn fixed(case: &Case) {
    let n = shape(&case.input).iter().product();
    let mut mask = Mask::full(n);
    let draw = Draw { seed: 8, tensor: 0, step: 0 };
    let ones = static_random_mask(draw, real(&case.input["sparsity"]), &mut vec![0; n], &mut mask.edit());
    assert_eq!(ones.map(|n| n as u64), Ok(case.expected["nnz"].as_u64().unwrap()), "{}", case.name);
    assert_eq!(Ok(mask.view().count()), ones);
}

/// Upstream packs the most significant bit first.
pub(super) fn packed(case: &Case) {
    let mut params = data(&case.input["w"]);
    let mut mask = Mask::full(params.len());
    let sparsity = real(&case.input["sparsity"]);
    magnitude_mask(&params, sparsity, &mut vec![0; params.len()], &mut mask.edit()).unwrap();
    apply_mask(&mut params, mask.view()).unwrap();
    close(&case.name, &params, &data(&case.expected["w"]));
    let expected = case.expected["packed_mask_bytes"]["data"].as_array().unwrap();
    let bytes: Vec<u64> = mask.bytes.iter().map(|b| b.reverse_bits().into()).collect();
    assert_eq!(bytes, expected.iter().map(|b| b.as_u64().unwrap()).collect::<Vec<_>>(), "{}", case.name);
}
