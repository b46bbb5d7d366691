//! Attention in two products: of queries and keys, and of weights and values.

use crate::checkin::LayerSpec;
use crate::model::kernel::{self, AttentionGeometry};
use crate::model::{Node, Shape};

/// Geometry and factor; `input` is the shape of the node's first input.
fn geometry(node: &Node, input: Shape) -> (AttentionGeometry, f32) {
    let (heads, scale, causal, features) = match node.spec {
        LayerSpec::Scores { heads, scale, causal } => (heads, scale, causal, input),
        LayerSpec::Context { heads, causal } => (heads, 1.0, causal, node.output),
        _ => (1, 1.0, false, input),
    };
    let heads = usize::from(heads);
    let size = features.channels as usize / heads;
    (AttentionGeometry { heads, size, positions: features.positions(), causal }, scale)
}

pub(crate) fn forward(node: &Node, input: Shape, x: &[f32], second: &[f32], y: &mut [f32], batch: usize) {
    let (g, scale) = geometry(node, input);
    match node.spec {
        LayerSpec::Scores { .. } => kernel::scores_forward(&g, scale, x, second, y, batch),
        _ => kernel::context_forward(&g, x, second, y, batch),
    }
}

/// The gradient of input `which`, which needs the other one.
pub(crate) fn backward(
    node: &Node,
    input: Shape,
    which: usize,
    other: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    batch: usize,
) {
    let (g, scale) = geometry(node, input);
    match (node.spec, which) {
        (LayerSpec::Scores { .. }, 0) => kernel::scores_backward_query(&g, scale, other, dy, dx, batch),
        (LayerSpec::Scores { .. }, _) => kernel::scores_backward_key(&g, scale, other, dy, dx, batch),
        (_, 0) => kernel::context_backward_weights(&g, other, dy, dx, batch),
        _ => kernel::context_backward_values(&g, other, dy, dx, batch),
    }
}
