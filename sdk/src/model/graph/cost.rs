//! Multiply-adds of a network, from its shapes alone.

use super::{Graph, Node, Tensor};
use crate::checkin::LayerSpec;

impl Graph {
    /// Multiply-adds of one example: forward, and the whole training step. Counts the products with weights and between
    /// activations; what is done once a value (activation functions, normalisation) is not in it.
    pub fn multiply_adds(&self) -> (u64, u64) {
        self.nodes.iter().map(|node| self.multiply_adds_of(node)).fold((0, 0), |sum, n| (sum.0 + n.0, sum.1 + n.1))
    }

    /// Of one node: forward, and the whole training step.
    pub fn multiply_adds_of(&self, node: &Node) -> (u64, u64) {
        let input = self.input_of(node);
        let positions = |tensor: &Tensor| {
            let output = node.output.positions() as u64;
            match node.spec {
                // A row is looked up: nothing is multiplied on the way forward.
                LayerSpec::Embedding { .. } => 0,
                _ if tensor.role.prunes() => output,
                _ => 0,
            }
        };
        let (mut forward, mut step) = (0, 0);
        for tensor in self.tensors_of(node) {
            let once = tensor.stored() as u64 * positions(tensor);
            forward += once;
            // The gradient of the input is not needed where nothing trains before; that of a state always is.
            let below = node.active && (self.is_active(node.sources[0]) || tensor.role == super::Role::Recurrent);
            step += once + u64::from(tensor.trained) * once + u64::from(below) * once;
        }
        if let LayerSpec::Scores { .. } | LayerSpec::Context { .. } = node.spec {
            let channels = match node.spec {
                LayerSpec::Scores { .. } => input.channels,
                _ => node.output.channels,
            };
            let positions = u64::from(input.height);
            let once = u64::from(channels) * positions * positions;
            let active = node.sources.iter().filter(|&&s| self.is_active(s)).count() as u64;
            (forward, step) = (forward + once, step + once * (1 + active));
        }
        (forward, step)
    }
}
