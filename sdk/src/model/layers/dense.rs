//! Fully connected: `y = W x + b`, `W` is `[outputs, inputs]`.

use super::Weights;
use crate::checkin::{Path, parts};
use crate::model::Tensor;
use crate::model::kernel::{self, GradSink, Pattern, ValueSink};

pub(crate) fn forward(w: &Weights<'_>, x: &[f32], y: &mut [f32], batch: usize) {
    let (outputs, inputs) = (w.tensor.rows as usize, w.tensor.cols as usize);
    match w.tensor.path {
        Path::Dense if parts::DENSE.here => kernel::dense_forward(w.values, w.bias, x, y, inputs, outputs, batch),
        Path::Sparse => kernel::csr_forward(w.pattern, w.values, w.bias, x, y, inputs, outputs, batch),
        Path::Block if parts::BLOCKS.here => {
            kernel::block_forward(w.pattern.blocks(), w.values, w.bias, x, y, inputs, outputs, batch);
        }
        // Refused with the plan.
        _ => {}
    }
}

pub(crate) fn input_gradient(w: &Weights<'_>, dy: &[f32], dx: &mut [f32], batch: usize) {
    let (outputs, inputs) = (w.tensor.rows as usize, w.tensor.cols as usize);
    match w.tensor.path {
        Path::Dense if parts::DENSE.here => kernel::dense_input_grad(w.values, dy, dx, inputs, outputs, batch),
        Path::Sparse => kernel::csr_input_grad(w.pattern, w.values, dy, dx, inputs, outputs, batch),
        Path::Block if parts::BLOCKS.here => {
            kernel::block_input_grad(w.pattern.blocks(), w.values, dy, dx, inputs, outputs, batch);
        }
        // Refused with the plan.
        _ => {}
    }
}

pub(crate) fn weight_gradient(
    tensor: &Tensor,
    pattern: Pattern<'_>,
    dy: &[f32],
    x: &[f32],
    batch: usize,
    sink: &mut impl GradSink,
) {
    let (outputs, inputs) = (tensor.rows as usize, tensor.cols as usize);
    match tensor.path {
        Path::Dense if parts::DENSE.here => kernel::dense_weight_grad(dy, x, inputs, outputs, batch, sink),
        Path::Sparse => kernel::csr_weight_grad(pattern, dy, x, inputs, outputs, batch, sink),
        Path::Block if parts::BLOCKS.here => {
            kernel::block_weight_grad(pattern.blocks(), dy, x, inputs, outputs, batch, sink);
        }
        // Refused with the plan.
        _ => {}
    }
}

/// True if [`sparse_gradients`] makes both gradients of the layer.
pub(crate) fn has_sparse_gradients(tensor: &Tensor) -> bool {
    tensor.trained && matches!(tensor.path, Path::Sparse)
}

/// [`input_gradient`] with the values of the sink and [`weight_gradient`], in one pass where that is faster.
pub(crate) fn sparse_gradients(
    tensor: &Tensor,
    pattern: Pattern<'_>,
    (dy, x): (&[f32], &[f32]),
    dx: &mut [f32],
    batch: usize,
    sink: &mut impl ValueSink,
) {
    let (outputs, inputs) = (tensor.rows as usize, tensor.cols as usize);
    kernel::csr_gradients(pattern, dy, x, dx, inputs, outputs, batch, sink);
}
