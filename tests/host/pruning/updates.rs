//! Masks that move, and whole trainings.

use super::{ABSORBED, Case, Mask, bools, close, data, floats, real, whole};
use siskin::model::sparsity::{
    Schedule, Scores, apply_mask, drop_and_grow, magnitude_mask, magnitude_ste, reset_activated, rigl_update,
    saliency_scores, top_k_mask_by,
};

/// The update by given scores.
pub(super) fn masks(case: &Case) {
    let (keep, grow) = (data(&case.input["drop_score"]), data(&case.input["grow_score"]));
    let n = keep.len();
    let old = Mask::of(&bools(&case.input["old_mask"]["data"]));
    let mut new = Mask::full(n);
    let (keep, grow) = (Scores::new(n, |i| keep[i]), Scores::new(n, |i| grow[i]));
    let fraction = real(&case.input["drop_fraction"]);
    drop_and_grow(&keep, &grow, fraction, old.view(), &mut vec![0; n], &mut new.edit()).unwrap();
    let expected = bools(&case.expected["mask"]["data"]);
    assert_eq!(new.view().count(), old.view().count(), "{}", case.name);
    if case.name == ABSORBED {
        // Upstream grows 0 and 1, and loses 4 and 7: a kept param ties with the gradients of 3000. Only the smallest live
        // param, 4, should die, and only one place is free.
        assert_eq!(expected, [true, true, false, false, false, true, true, false]);
        assert_eq!(new.bits(), [true, false, false, false, false, true, true, true]);
        return;
    }
    assert_eq!(new.bits(), expected, "{}", case.name);
}

/// A step in which RigL moves the mask: the params and the optimizer stand still but for what died or grew.
pub(super) fn step(case: &Case) {
    let (mut params, grads) = (data(&case.input["params"]), data(&case.input["grads"]));
    let n = params.len();
    let old = Mask::of(&bools(&case.input["mask"]["data"]));
    let mut new = Mask::full(n);
    let fraction = real(&case.input["drop_fraction"]);
    rigl_update(&params, &grads, fraction, old.view(), &mut vec![0; n], &mut new.edit()).unwrap();
    assert_eq!(new.bits(), bools(&case.expected["mask"]["data"]), "{}", case.name);
    let mut states = 0;
    for (name, start) in [("mu", "mu0"), ("nu", "nu0"), ("trace", "trace0")] {
        if let Some(expected) = case.expected.get(name) {
            let mut state = vec![real(&case.input[start]); n];
            reset_activated(&mut state, old.view(), new.view()).unwrap();
            close(&format!("{} {name}", case.name), &state, &data(expected));
            states += 1;
        }
    }
    assert!(states > 0, "{}", case.name);
    assert!(data(&case.expected["updates"]).iter().all(|u| *u == 0.0), "{}", case.name);
    apply_mask(&mut params, new.view()).unwrap();
    close(&case.name, &params, &data(&case.expected["params_after_post"]));
}

/// Twelve steps of SGD at rate 0.1 on half the squared distance to a target: the mask comes from the params before the step,
/// and is applied after it; straight through, the forward pass alone is masked.
pub(super) fn train(case: &Case) {
    let (mut params, target) = (data(&case.input["w0"]), data(&case.input["target"]));
    let n = params.len();
    let config = &case.input["config"];
    let field = |name: &str| whole(&config[name]);
    let (every, start, end) = (field("update_freq"), field("update_start_step"), field("update_end_step"));
    let schedule = Schedule::polynomial(real(&config["sparsity"]), every, start, end, 3).unwrap();
    let algorithm = config["algorithm"].as_str().unwrap();
    let straight_through = algorithm == "magnitude_ste";
    let (mut mask, mut scratch) = (Mask::full(n), vec![0; n]);
    let rows = case.expected["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 12);
    for row in rows {
        let step = whole(&row["step"]);
        let name = format!("{} step {step}", case.name);
        let sparsity = schedule.sparsity(step);
        let mut forward = params.clone();
        if straight_through {
            magnitude_ste(&params, sparsity, &mut scratch, &mut mask.edit(), &mut forward).unwrap();
        }
        let ones = |values: &[f32]| values.iter().filter(|v| **v != 0.0).count() as u64;
        assert_eq!(ones(&forward), row["fwd_nnz"].as_u64().unwrap(), "{name}");
        let grads: Vec<f32> = forward.iter().zip(&target).map(|(w, t)| w - t).collect();
        if schedule.is_update(step) {
            match algorithm {
                "magnitude" => magnitude_mask(&params, sparsity, &mut scratch, &mut mask.edit()).map(drop),
                "saliency" => {
                    let scores = saliency_scores(&params, &grads).unwrap();
                    top_k_mask_by(|i| scores.get(i).unwrap(), sparsity, &mut scratch, &mut mask.edit()).map(drop)
                }
                _ => Ok(()),
            }
            .unwrap();
        }
        params.iter_mut().zip(&grads).for_each(|(w, g)| *w -= 0.1 * g);
        if !straight_through {
            apply_mask(&mut params, mask.view()).unwrap();
            assert_eq!(mask.bits(), bools(&row["mask"]), "{name}");
        }
        assert_eq!(ones(&params), row["nnz"].as_u64().unwrap(), "{name}");
        let expected = floats(&row["params"]);
        close(&name, &params, &expected);
    }
}
