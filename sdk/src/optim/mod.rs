//! The client optimizer, and what it leaves: the delta.

mod adam;
mod local;
pub(crate) mod probe;
mod rate;
mod sgd;

pub use local::{Local, Step};
pub use probe::{Keep, Probe};
pub use rate::rate;

use crate::model::Tensor;
use crate::model::kernel::{GradSink, Pattern, ValueSink};

/// Takes the gradients of a network, tensor by tensor in the order of the backward pass, as soon as each is known: what
/// local training is to the network. Nothing but a trained tensor ever comes.
pub trait Learner {
    /// Takes the gradient of one tensor, piece by piece.
    type Sink<'s>: ValueSink
    where
        Self: 's;

    /// The stored values of all tensors, as they are now.
    fn values(&self) -> &[f32];

    /// True if the gradient of a pruned matrix is wanted at every entry, row-major, not only at the live ones.
    fn dense(&self) -> bool {
        false
    }

    /// Where the gradient of `tensor` goes.
    fn sink(&mut self, tensor: &Tensor) -> Self::Sink<'_>;

    /// The gradient of `tensor` is complete; `pattern` says which entries live.
    fn complete(&mut self, tensor: &Tensor, pattern: &Pattern<'_>);
}

/// Writes gradients into an array instead of taking a step: `[trained]`, in the order of the stored values; pruned entries of
/// tensors that run through the dense loops are zero.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// The stored values of all tensors.
    pub values: &'a [f32],
    /// The gradients, [`Graph::trained`](crate::model::Graph::trained) of them.
    pub gradients: &'a mut [f32],
}

/// The sink of [`Gradients`].
#[derive(Debug)]
pub struct Copy<'s> {
    values: &'s [f32],
    gradients: &'s mut [f32],
}

impl GradSink for Copy<'_> {
    #[inline(always)]
    fn take(&mut self, offset: usize, grad: &[f32]) {
        self.gradients[offset..offset + grad.len()].copy_from_slice(grad);
    }
}

impl ValueSink for Copy<'_> {
    #[inline(always)]
    fn values(&self) -> &[f32] {
        self.values
    }
}

impl Learner for Gradients<'_> {
    type Sink<'s>
        = Copy<'s>
    where
        Self: 's;

    fn values(&self) -> &[f32] {
        self.values
    }

    fn sink(&mut self, tensor: &Tensor) -> Copy<'_> {
        Copy { values: &self.values[tensor.range()], gradients: &mut self.gradients[tensor.range()] }
    }

    fn complete(&mut self, tensor: &Tensor, pattern: &Pattern<'_>) {
        if tensor.is_masked() {
            crate::model::mask::pin(pattern, tensor.cols as usize, &mut self.gradients[tensor.range()]);
        }
    }
}

/// The change of the parameters, **global minus local** (the pseudo-gradient of Reddi et al. 2021), over the live
/// coordinates in the order in which a report carries them.
///
/// It cannot leave the device: the only way on is [`clip`](Self::clip).
///
/// ```compile_fail,E0599
/// use siskin::{checkin::Quantization, optim::Delta};
/// let _ = |delta: Delta<'_>, q: &Quantization| {
///     let _ = delta.quantize(q, 0); // an unclipped delta has no such method
/// };
/// ```
/// The same with that step before it compiles:
/// ```
/// use siskin::{checkin::{Privacy, Quantization}, optim::Delta};
/// let _ = |delta: Delta<'_>, p: &Privacy, q: &Quantization| {
///     let _ = delta.clip(p.clip_norm).quantize(q, 0);
/// };
/// ```
#[derive(Debug)]
pub struct Delta<'a> {
    pub(crate) values: &'a mut [f32],
}

impl<'a> Delta<'a> {
    pub(crate) fn new(values: &'a mut [f32]) -> Self {
        Self { values }
    }

    /// The change per live coordinate.
    pub fn values(&self) -> &[f32] {
        self.values
    }
}

/// Turns the trained parameters into the delta, in place: `local[k] = global[k] - local[k]`.
pub(crate) fn subtract(global: &[f32], local: &mut [f32]) {
    for (l, g) in local.iter_mut().zip(global) {
        *l = g - *l;
    }
}
