//! The network on the device: shapes, layers, sparse weights.

pub mod kernel;
pub mod sparsity;
