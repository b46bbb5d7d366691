//! The forward pass.

use super::pool::{one, several};
use super::{Draw, Parameters};
use crate::checkin::{LayerSpec, parts};
use crate::model::graph::{is_elementwise, is_view};
use crate::model::layers::{
    attention, conv2d, dense, embedding, join, normalize, pointwise, pooling, rearrange, recurrent, softmax,
};
use crate::model::{Graph, Node, Role};
use core::ops::Range;

/// Computes the logits or predictions, `[class][position][batch]`, of the batch at the front of `activations`.
pub fn forward<'b>(
    graph: &Graph,
    parameters: &Parameters<'_>,
    activations: &'b mut [f32],
    batch: usize,
) -> &'b mut [f32] {
    run(graph, parameters, activations, batch, None)
}

/// As [`forward`], with the layers that are random in training drawing from `draw`.
pub fn forward_training<'b>(
    graph: &Graph,
    parameters: &Parameters<'_>,
    activations: &'b mut [f32],
    batch: usize,
    draw: Draw,
) -> &'b mut [f32] {
    run(graph, parameters, activations, batch, Some(draw))
}

/// Where a node's numbers lie, for a batch.
impl Graph {
    pub(super) fn output_range(&self, node: &Node, batch: usize) -> Range<usize> {
        let at = node.y as usize * batch;
        at..at + node.output.features() * batch
    }

    pub(super) fn input_range(&self, node: &Node, input: usize, batch: usize) -> Range<usize> {
        let at = self.place_of(node.sources[input]) * batch;
        at..at + self.shape_of(node.sources[input]).features() * batch
    }
}

fn run<'b>(
    graph: &Graph,
    parameters: &Parameters<'_>,
    activations: &'b mut [f32],
    batch: usize,
    draw: Option<Draw>,
) -> &'b mut [f32] {
    for (index, node) in graph.nodes.iter().enumerate() {
        let input = graph.input_of(node);
        let [x, second] = [0, 1].map(|k| graph.input_range(node, k, batch));
        let (y, rest) = one(activations, graph.output_range(node, batch));
        if is_view(&node.spec) {
            continue;
        }
        // Layers that work in place find their input there.
        if is_elementwise(&node.spec) && !node.in_place {
            y.copy_from_slice(rest.get(x.clone()));
        }
        let weights = |role| parameters.matrix(graph, node, role);
        let vector = |role| parameters.vector(graph, node, role);
        match node.spec {
            LayerSpec::Dense { .. } => dense::forward(&weights(Role::Weight), rest.get(x), y, batch),
            LayerSpec::Conv2d { .. } if parts::CONV.here => {
                conv2d::forward(node, input, &weights(Role::Weight), rest.get(x), y, batch);
            }
            LayerSpec::Embedding { .. } if parts::EMBEDDING.here => {
                embedding::forward(&weights(Role::Weight), rest.get(x), y);
            }
            LayerSpec::MaxPool(_) | LayerSpec::AveragePool { .. } | LayerSpec::GlobalAveragePool
                if parts::CONV.here =>
            {
                pooling::forward(node, input, rest.get(x), y, batch);
            }
            LayerSpec::Gelu | LayerSpec::HardSwish if parts::ACTIVATIONS.here => {
                pointwise::forward_apart(&node.spec, rest.get(x), y);
            }
            LayerSpec::Dropout { rate } => {
                if let Some(draw) = draw {
                    pointwise::dropout(rate, draw, index, y);
                }
            }
            LayerSpec::Offset if parts::BRANCHES.here => pointwise::offset(vector(Role::Offset), y, batch),
            LayerSpec::Softmax { .. } | LayerSpec::LogSoftmax if parts::ATTENTION.here || parts::ACTIVATIONS.here => {
                softmax::forward(&node.spec, input, y, batch);
            }
            LayerSpec::BatchNorm | LayerSpec::LayerNorm { .. } | LayerSpec::GroupNorm { .. } if parts::NORM.here => {
                let ranges = [x, graph.output_range(node, batch), super::saved_range(node, input, batch)];
                let [x, y, saved] = several(activations, ranges);
                normalize::forward(&node.spec, input, vector, x, (y, saved), batch);
            }
            LayerSpec::Add if parts::BRANCHES.here => join::add(node.output, rest.get(second), y, batch),
            LayerSpec::Mul if parts::BRANCHES.here => join::mul(node.output, rest.get(x), rest.get(second), y, batch),
            LayerSpec::Concat if parts::BRANCHES.here => join::concat(rest.get(x), rest.get(second), y),
            LayerSpec::Transpose { .. } | LayerSpec::Last if parts::BRANCHES.here => {
                rearrange::forward(&node.spec, input, rest.get(x), y, batch);
            }
            LayerSpec::Scores { .. } | LayerSpec::Context { .. } if parts::ATTENTION.here => {
                attention::forward(node, input, rest.get(x), rest.get(second), y, batch);
            }
            LayerSpec::Gru { .. } | LayerSpec::Lstm { .. } if parts::RECURRENT.here => {
                let saved = super::saved_range(node, input, batch);
                let work = super::forward_work_range(node, input, batch);
                let y = graph.output_range(node, batch);
                let [x, y, saved, work] = several(activations, [x, y, saved, work]);
                let matrices = [weights(Role::Weight), weights(Role::Recurrent)];
                recurrent::forward(&node.spec, input, &matrices, (x, y), (saved, work), batch);
            }
            _ => pointwise::forward(&node.spec, y),
        }
    }
    let last = graph.nodes.last().map_or(0..0, |n| graph.output_range(n, batch));
    &mut activations[last]
}
