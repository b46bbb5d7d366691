use super::*;
use crate::config::{RunConfig, architecture};
use crate::data::{InputShape, Problem};

const POSITIONS: usize = 5;

/// A model whose logits at a position are the row of its token, and windows of tokens 0 to 3 with targets.
fn scored(targets: [[u32; POSITIONS]; 40]) -> Score {
    let shape = InputShape { channels: 1, height: POSITIONS, width: 1 };
    let problem = Problem { shape, tokens: true, classes: 4, targets: POSITIONS };
    let spec = architecture("embedding:4", &problem).unwrap();
    // Row t has 2 at class t, 0 elsewhere.
    let rows: Vec<f32> = (0..16).map(|i| if i / 4 == i % 4 { 2.0 } else { 0.0 }).collect();
    let model = GlobalModel::from_params(&spec, rows).unwrap();
    let settings = RunConfig::default().server_settings("p", model.live());
    let offer = Offer::new(&settings, &model, 0, crate::run::MAX_FRAME).unwrap();
    let evaluator = Evaluator::new(&offer, &model);
    evaluator.score(targets.len(), |i, features, to| {
        for (p, feature) in features.iter_mut().enumerate() {
            *feature = ((i + p) % 4) as f32;
        }
        to.copy_from_slice(&targets[i]);
    })
}

#[test]
fn positions_count_and_those_without_a_label_do_not() {
    let right = std::array::from_fn(|i| std::array::from_fn(|p| ((i + p) % 4) as u32));
    let own = f64::from(2.0f32);
    let loss = libm::log(libm::exp(0.0) + 3.0 * libm::exp(-own));
    let all = scored(right);
    assert_eq!((all.examples, all.targets, all.right, all.accuracy()), (40, 200, 200, Some(1.0)));
    assert!((all.mean_loss().unwrap() - loss).abs() < 1e-12);
    let mut some = right;
    some[3][2] = IGNORE;
    some[39] = [IGNORE; POSITIONS];
    some[35][4] = (some[35][4] + 1) % 4;
    let score = scored(some);
    assert_eq!((score.examples, score.targets, score.right), (40, 194, 193));
    assert!((score.loss - (194.0 * loss + own)).abs() < 1e-9, "a wrong label costs its distance to the largest logit");
    let none = scored([[IGNORE; POSITIONS]; 40]);
    assert_eq!((none.targets, none.accuracy(), none.mean_loss()), (0, None, None));
}
