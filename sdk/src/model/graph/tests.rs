//! Shapes, places and costs of small networks.

use super::*;
use crate::checkin::{Path, Window};
use std::vec::Vec;

const ANY: Storage = Storage { live: 1, path: Path::Dense };

fn dense(outputs: u16, live: u32) -> Layer {
    LayerSpec::Dense { outputs, bias: true, weights: Storage { live, path: Path::Dense } }.into()
}

fn lay_out(input: [u16; 3], layers: &[Layer]) -> Result<Graph, PlanError> {
    Graph::new(&ModelSpec { input, layers: layers.iter().copied().collect(), loss: Loss::SoftmaxCrossEntropy })
}

/// Offset and length of every buffer of the forward pass, and when it is needed, straight from the definition.
fn live_at(graph: &Graph, time: usize) -> Vec<(usize, usize)> {
    let n = graph.nodes.len();
    let backward = |i: usize| 2 * n - i;
    let mut buffers = Vec::new();
    for source in 0..=n {
        let (start, place, shape) = match source {
            0 => (0, 0, graph.input),
            s => (s - 1, graph.nodes[s - 1].y as usize, graph.nodes[s - 1].output),
        };
        let uses = graph.nodes.iter().enumerate().filter(|(_, c)| c.sources.contains(&(source as u8)));
        let last = uses
            .map(|(i, c)| match c.spec {
                LayerSpec::Dense { .. } if c.active => backward(i),
                _ => i,
            })
            .max()
            .unwrap_or(n);
        if (start..=last).contains(&time) {
            buffers.push((place, shape.features()));
        }
    }
    buffers
}

#[test]
fn a_chain_reuses_what_is_no_longer_needed() {
    let all = [dense(40, 400), dense(30, 1200), dense(20, 600), dense(3, 60)];
    let graph = lay_out([10, 1, 1], &all).unwrap();
    assert_eq!(
        graph.activation_features(),
        10 + 40 + 30 + 20 + 3,
        "all but the logits are needed in the backward pass"
    );
    // Only the last layer trains: before it, a layer's input is free as soon as its output is there.
    let frozen: Vec<Layer> = all.iter().map(|l| Layer { train: Train::Nothing, ..*l }).collect();
    let last = [&frozen[..3], &all[3..]].concat();
    let graph = lay_out([10, 1, 1], &last).unwrap();
    assert_eq!(graph.activation_features(), 10 + 40 + 30, "the third fits nowhere before the second; the fourth does");
    assert_eq!(graph.gradient_features(), 3, "nothing flows below the last layer");
    assert_eq!((graph.trained, graph.stored, graph.live), (63, 440 + 1230 + 620 + 63, 63));
    assert_eq!(graph.tensors.iter().map(|t| t.at).collect::<Vec<_>>(), [63, 463, 503, 1703, 1733, 2333, 0, 60]);
    for time in 0..=2 * graph.nodes.len() {
        let mut buffers = live_at(&graph, time);
        buffers.sort_unstable();
        assert!(buffers.windows(2).all(|w| w[0].0 + w[0].1 <= w[1].0), "at {time}: {buffers:?}");
    }
}

#[test]
fn work_in_place_where_nothing_is_lost() {
    let in_place = |layers: &[Layer]| -> Vec<bool> {
        lay_out([4, 1, 1], layers).unwrap().nodes.iter().map(|n| n.in_place).collect()
    };
    let relu = Layer::from(LayerSpec::Relu);
    let add = Layer { from: [0, 1], ..LayerSpec::Add.into() };
    assert_eq!(in_place(&[dense(4, 16), relu, dense(4, 16)]), [false, true, false]);
    assert_eq!(in_place(&[relu, dense(4, 16)]), [false, false], "the example stays");
    assert_eq!(in_place(&[dense(4, 16), LayerSpec::Gelu.into(), relu, dense(4, 16)]), [false, false, true, false]);
    // The sum takes the place of its first input, the rectifier may not: its input is needed by the sum.
    let twice = Layer { from: [0, 0], ..LayerSpec::Add.into() };
    assert_eq!(in_place(&[dense(4, 16), relu, add, dense(4, 16)]), [false, false, false, false]);
    assert_eq!(
        in_place(&[dense(4, 16), twice, dense(4, 16)]),
        [false, false, false],
        "an input that is added to itself"
    );
    let pool = LayerSpec::MaxPool(Window::square(1, 1, 0));
    let layers = [dense(4, 16), LayerSpec::Reshape { shape: [1, 4, 1] }.into(), pool.into(), relu];
    let layers = [&layers[..], &[LayerSpec::Flatten.into(), dense(4, 16)]].concat();
    assert_eq!(
        in_place(&layers),
        [false, true, false, false, true, false],
        "pooling compares its output in the backward pass"
    );
}

#[test]
fn what_does_not_fit_is_named() {
    let refused = |layers: &[Layer]| match lay_out([4, 3, 2], layers) {
        Err(PlanError::Layer { index, what, expected, got }) => (index, what, expected, got),
        other => panic!("{other:?}"),
    };
    let add = |from| Layer { from, ..LayerSpec::Add.into() };
    assert_eq!(refused(&[dense(3, 72), add([0, 2])]), (1, "layers to reach back", 1, 2));
    assert_eq!(refused(&[dense(3, 72), add([0, 1])]), (1, "channels of the second input", 3, 4));
    assert_eq!(refused(&[dense(3, 73)]), (0, "live weights", 72, 73));
    assert_eq!(refused(&[dense(0, 1)]), (0, "features of its output", 1 << 22, 0));
    let skip = Layer { from: [1, 0], ..dense(3, 72) };
    assert_eq!(refused(&[dense(3, 72), skip]), (0, "layers that take its output", 1, 0));
    let conv = |groups, window| -> Layer {
        LayerSpec::Conv2d { outputs: 4, groups, window, bias: false, weights: ANY }.into()
    };
    assert_eq!(refused(&[conv(3, Window::POINT)]), (0, "groups of input channels", 4, 3));
    assert_eq!(refused(&[conv(1, Window::square(4, 1, 0))]), (0, "window", 3, 4));
    assert_eq!(
        refused(&[conv(1, Window { stride: [1, 0], ..Window::POINT })]).1,
        "kernel, stride and dilation (at least 1)"
    );
    let gru = LayerSpec::Gru { hidden: 2, reset_after: true, bias: true, weights: ANY, recurrent: ANY };
    assert_eq!(refused(&[gru.into()]), (0, "width of a sequence", 1, 2));
    let embedding = LayerSpec::Embedding { rows: 9, dims: 2, weights: ANY };
    assert_eq!(
        refused(&[LayerSpec::Relu.into(), embedding.into()]).1,
        "the input of an embedding is the example: layers before it"
    );
    assert_eq!(lay_out([4, 1, 1], &[Layer { train: Train::Nothing, ..dense(3, 12) }]), Err(PlanError::Empty));
    assert!(matches!(
        lay_out([4, 1, 1], &[LayerSpec::Dropout { rate: 1.0 }.into()]),
        Err(PlanError::OutOfRange { .. })
    ));
}

#[test]
fn multiply_adds_count_what_runs() {
    let graph = lay_out([10, 1, 1], &[dense(5, 50), LayerSpec::Relu.into(), dense(3, 15)]).unwrap();
    assert_eq!(graph.multiply_adds(), (65, 50 + 50 + 3 * 15), "no gradient of the example");
    let frozen = [Layer { train: Train::Nothing, ..dense(5, 50) }, LayerSpec::Relu.into(), dense(3, 15)];
    assert_eq!(lay_out([10, 1, 1], &frozen).unwrap().multiply_adds(), (65, 50 + 15 + 15));
    let window = Window::square(3, 1, 1);
    let conv = LayerSpec::Conv2d {
        outputs: 4,
        groups: 2,
        window,
        bias: true,
        weights: Storage { live: 36, path: Path::Dense },
    };
    let graph = lay_out([2, 8, 8], &[conv.into()]).unwrap();
    assert_eq!(graph.multiply_adds(), (36 * 64, 2 * 36 * 64));
}
