//! One file a kind of layer: which kernel runs for which storage, over which shapes.

pub(crate) mod attention;
pub(crate) mod conv2d;
pub(crate) mod dense;
pub(crate) mod embedding;
pub(crate) mod join;
pub(crate) mod normalize;
pub(crate) mod pointwise;
pub(crate) mod pooling;
pub(crate) mod rearrange;
pub(crate) mod recurrent;
pub(crate) mod softmax;

pub(crate) use recurrent::{backward_work, forward_work, saved};

use super::Tensor;
use super::kernel::Pattern;

/// A layer's weight and bias, to compute with.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    /// Shape and path of the weight.
    pub(crate) tensor: Tensor,
    /// Its stored values.
    pub(crate) values: &'a [f32],
    /// The bias, one a row; empty if there is none.
    pub(crate) bias: &'a [f32],
    /// Its live entries; empty where it has no pattern.
    pub(crate) pattern: Pattern<'a>,
}
