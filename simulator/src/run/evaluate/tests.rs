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

#[test]
fn halving_takes_the_smaller_half_of_one_layer() {
    let shape = InputShape { channels: 1, height: 4, width: 1 };
    let spec = architecture("dense:4,relu,dense", &Problem { shape, tokens: false, classes: 4, targets: 1 }).unwrap();
    let params: Vec<f32> = (0..40).map(|i| if i % 2 == 0 { (i + 1) as f32 } else { -((i + 1) as f32) }).collect();
    let model = GlobalModel::from_params(&spec, params.clone()).unwrap();
    let settings = RunConfig::default().server_settings("p", model.live());
    let offer = Offer::new(&settings, &model, 0, crate::run::MAX_FRAME).unwrap();
    let evaluator = Evaluator::new(&offer, &model);
    let (with, without): (Vec<_>, Vec<_>) =
        (0..offer.graph.nodes.len()).partition(|i| offer.graph.nodes[*i].tensors > 0);
    assert_eq!(with.len(), 2);
    assert!(without.into_iter().chain([99]).all(|layer| evaluator.halved(layer).is_none()));
    for layer in with {
        let halved = evaluator.halved(layer).unwrap();
        let tensor = offer.graph.tensors_of(&offer.graph.nodes[layer])[0];
        assert_eq!(halved.values.iter().filter(|v| **v == 0.0).count(), 8);
        let values = &halved.values[tensor.range()];
        assert!(values[..8].iter().all(|v| *v == 0.0) && values[8..16].iter().all(|v| *v != 0.0));
    }
}
