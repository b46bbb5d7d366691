//! The network on the device: shapes, layers, sparse weights.

pub mod kernel;
pub mod sparsity;

mod graph;
mod layers;
pub(crate) mod mask;
mod network;

pub use graph::{Graph, MAX_TENSORS, Node, Role, Shape, Tensor};
pub use network::{Buffers, Draw, Parameters, backward, forward, forward_training, train_step};
