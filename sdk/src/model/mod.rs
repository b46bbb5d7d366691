//! The network on the device: shapes, layers, sparse weights.

pub mod kernel;

mod graph;
pub(crate) mod mask;
mod layers;
mod network;

pub use graph::{Graph, MAX_TENSORS, Node, Op, Shape, Tensor};
pub use network::{Buffers, Parameters, forward, train_step};
