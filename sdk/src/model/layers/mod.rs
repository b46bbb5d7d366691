//! One file a layer: which kernel runs for which storage.

pub(crate) mod conv2d;
pub(crate) mod dense;
pub(crate) mod max_pool;
pub(crate) mod relu;

use super::Tensor;
use super::kernel::Pattern;

/// A layer's weight and bias, to compute with.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    /// Shape and path of the weight.
    pub(crate) tensor: Tensor,
    /// Its stored values.
    pub(crate) values: &'a [f32],
    /// The bias, one a row.
    pub(crate) bias: &'a [f32],
    /// Its live entries; empty where it has no pattern.
    pub(crate) pattern: Pattern<'a>,
}
