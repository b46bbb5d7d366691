//! Forward and backward over a graph.

use super::kernel::{Pattern, softmax_cross_entropy};
use super::layers::{Weights, conv2d, dense, max_pool, relu};
use super::{Graph, Node, Op, Tensor, mask};
use crate::checkin::Training;
use crate::optim::Sgd;

impl Tensor {
    /// The live entries of this tensor, from the patterns of all.
    pub(crate) fn pattern<'a>(&self, row_ptrs: &'a [u32], columns: &'a [u16]) -> Pattern<'a> {
        if !self.has_pattern() {
            return Pattern { row_ptr: &[], cols: &[] };
        }
        Pattern {
            row_ptr: &row_ptrs[self.row_ptr_at..][..self.rows as usize + 1],
            cols: &columns[self.cols_at..][..self.live as usize],
        }
    }
}

/// The patterns of all tensors and their stored values.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// Row pointers, tensor after tensor.
    pub row_ptrs: &'a [u32],
    /// Columns, tensor after tensor.
    pub columns: &'a [u16],
    /// Values, tensor after tensor.
    pub values: &'a [f32],
}

impl<'a> Parameters<'a> {
    fn weights(&self, graph: &Graph, index: u8) -> Weights<'a> {
        let (tensor, bias) = (graph.tensors[usize::from(index)], &graph.tensors[usize::from(index) + 1]);
        Weights {
            tensor,
            values: &self.values[tensor.at..][..tensor.stored()],
            bias: &self.values[bias.at..][..bias.stored()],
            pattern: tensor.pattern(self.row_ptrs, self.columns),
        }
    }
}

/// Memory of one step.
#[derive(Debug)]
pub struct Buffers<'a> {
    /// Activations of all layers, `Graph::activations * batch`; the batch's features `[feature][batch]` at the front.
    pub activations: &'a mut [f32],
    /// Two gradient buffers, `2 * Graph::gradient * batch`.
    pub gradients: &'a mut [f32],
}

/// Computes the logits `[class][batch]` of the batch at the front of `activations`.
pub fn forward<'b>(
    graph: &Graph,
    parameters: &Parameters<'_>,
    activations: &'b mut [f32],
    batch: usize,
) -> &'b mut [f32] {
    for node in &graph.nodes {
        let (before, after) = activations.split_at_mut(node.y * batch);
        let y = &mut after[..node.output.features() * batch];
        match node.op {
            Op::Relu => relu::forward(y),
            Op::Flatten => {}
            op => {
                let x = &before[node.x * batch..][..node.input.features() * batch];
                match (op, node.weight) {
                    (Op::Conv(g), Some(w)) => conv2d::forward(&g, &parameters.weights(graph, w), x, y, batch),
                    (_, Some(w)) => dense::forward(&parameters.weights(graph, w), x, y, batch),
                    (Op::MaxPool { window, stride }, None) => max_pool::forward(node, window, stride, x, y, batch),
                    (_, None) => {}
                }
            }
        }
    }
    let last = graph.nodes.last().map_or(0, |n| n.y);
    &mut activations[last * batch..][..graph.classes as usize * batch]
}

/// One step of training on the batch at the front of the activations: forward, backward, update in place. Returns the
/// mean loss of the batch, nats.
///
/// Each layer's weights change as soon as the gradient of its input is known, so no gradient of a weight is stored.
pub fn train_step(
    graph: &Graph,
    training: &Training,
    (row_ptrs, columns): (&[u32], &[u16]),
    (local, global, velocity): (&mut [f32], &[f32], &mut [f32]),
    buffers: Buffers<'_>,
    labels: &[u32],
) -> f32 {
    let batch = labels.len();
    let activations = buffers.activations;
    let logits = forward(graph, &Parameters { row_ptrs, columns, values: local }, activations, batch);
    let (mut dy, mut dx) = buffers.gradients.split_at_mut(graph.gradient * batch);
    dy[..logits.len()].copy_from_slice(logits);
    let loss = softmax_cross_entropy(&mut dy[..logits.len()], labels, graph.classes as usize, batch);

    for node in graph.nodes.iter().rev() {
        let (inputs, outputs) = (node.input.features() * batch, node.output.features() * batch);
        let x = &activations[node.x * batch..][..inputs];
        let y = &activations[node.y * batch..][..outputs];
        match (node.op, node.weight) {
            (Op::Relu, _) => relu::backward(y, &mut dy[..outputs]),
            (Op::MaxPool { window, stride }, _) => {
                max_pool::backward(node, (window, stride), x, y, &dy[..outputs], &mut dx[..inputs], batch);
                core::mem::swap(&mut dy, &mut dx);
            }
            (_, None) => {}
            (op, Some(index)) => {
                let first = index == 0;
                if !first {
                    let weights = Parameters { row_ptrs, columns, values: local }.weights(graph, index);
                    let (dy, dx) = (&dy[..outputs], &mut dx[..inputs]);
                    match op {
                        Op::Conv(g) => conv2d::input_gradient(&g, &weights, dy, dx, batch),
                        _ => dense::input_gradient(&weights, dy, dx, batch),
                    }
                }
                let values = (&mut *local, global, &mut *velocity);
                update(graph, training, node, index, (row_ptrs, columns), values, &dy[..outputs], x, batch);
                if first {
                    // Nothing before it trains.
                    return loss;
                }
                core::mem::swap(&mut dy, &mut dx);
            }
        }
    }
    loss
}

#[allow(clippy::too_many_arguments, reason = "the parts of one layer, borrowed apart")]
fn update(
    graph: &Graph,
    training: &Training,
    node: &Node,
    index: u8,
    (row_ptrs, columns): (&[u32], &[u16]),
    (local, global, velocity): (&mut [f32], &[f32], &mut [f32]),
    dy: &[f32],
    x: &[f32],
    batch: usize,
) {
    let tensor = &graph.tensors[usize::from(index)];
    let bias = &graph.tensors[usize::from(index) + 1];
    let pattern = tensor.pattern(row_ptrs, columns);
    let range = |t: &Tensor| t.at..t.at + t.stored();
    let velocity_range = |t: &Tensor| if velocity.is_empty() { 0..0 } else { range(t) };
    let (of_weight, of_bias) = (velocity_range(tensor), velocity_range(bias));

    let values = &mut local[range(tensor)];
    let mut sink = Sgd::new(training, values, &global[range(tensor)], &mut velocity[of_weight]);
    match node.op {
        Op::Conv(g) => conv2d::weight_gradient(&g, tensor, pattern, dy, x, batch, &mut sink),
        _ => dense::weight_gradient(tensor, pattern, dy, x, batch, &mut sink),
    }
    if tensor.is_masked() {
        mask::pin(&pattern, tensor.cols as usize, &mut local[range(tensor)]);
    }
    let values = &mut local[range(bias)];
    let mut sink = Sgd::new(training, values, &global[range(bias)], &mut velocity[of_bias]);
    dense::bias_gradient(node, dy, batch, &mut sink);
}
