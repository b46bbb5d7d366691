//! Forward and backward over a graph.

mod backward;
mod forward;
mod pool;

pub use backward::{backward, train_step};
pub use forward::{forward, forward_training};

use super::layers::{Weights, backward_work, forward_work, saved};
use super::{Graph, Node, Role, Shape};
use core::ops::Range;

/// The patterns of all tensors and their stored values.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// Row pointers, tensor after tensor.
    pub row_ptrs: &'a [u32],
    /// Columns, tensor after tensor.
    pub columns: &'a [u16],
    /// Values, as [`Tensor::range`](super::Tensor::range) places them.
    pub values: &'a [f32],
}

impl<'a> Parameters<'a> {
    /// A node's matrix of one role, with the vector that is added to its product.
    pub(crate) fn matrix(&self, graph: &Graph, node: &Node, role: Role) -> Weights<'a> {
        let bias = match role {
            Role::Recurrent => Role::RecurrentBias,
            _ => Role::Bias,
        };
        let tensor = graph.tensors_of(node).iter().find(|t| t.role == role);
        let tensor = *tensor.unwrap_or_else(|| unreachable!("every layer that has matrices has this one"));
        Weights {
            tensor,
            values: &self.values[tensor.range()],
            bias: self.vector(graph, node, bias),
            pattern: tensor.pattern(self.row_ptrs, self.columns),
        }
    }

    /// A node's vector of one role; empty if it has none.
    pub(crate) fn vector(&self, graph: &Graph, node: &Node, role: Role) -> &'a [f32] {
        match graph.tensors_of(node).iter().find(|t| t.role == role) {
            Some(tensor) => &self.values[tensor.range()],
            None => &[],
        }
    }
}

/// Memory of one step.
#[derive(Debug)]
pub struct Buffers<'a> {
    /// Activations, [`Graph::activation_features`] for each example of the batch; the batch's features `[feature][batch]` at
    /// the front.
    pub activations: &'a mut [f32],
    /// Their gradients, [`Graph::gradient_features`] for each example of the batch.
    pub gradients: &'a mut [f32],
}

/// What random layers (dropout) draw from: the same numbers give the same masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Of the session.
    pub seed: u64,
    /// Of the round, from 0.
    pub step: u32,
}

/// Where what a node keeps from forward to backward lies.
fn saved_range(node: &Node, input: Shape, batch: usize) -> Range<usize> {
    range(node.saved, saved(&node.spec, input), batch)
}

/// Where the scratch of a node's forward pass lies.
fn forward_work_range(node: &Node, input: Shape, batch: usize) -> Range<usize> {
    range(node.work, forward_work(&node.spec, input), batch)
}

/// Where the scratch of a node's backward pass lies, among the gradients.
fn backward_work_range(node: &Node, input: Shape, batch: usize) -> Range<usize> {
    range(node.backward_work, backward_work(&node.spec, input), batch)
}

fn range(at: u32, features: usize, batch: usize) -> Range<usize> {
    let at = at as usize * batch;
    at..at + features * batch
}
