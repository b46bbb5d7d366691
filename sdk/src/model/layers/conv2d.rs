//! Convolution: `W` is `[output channels, input channels * kernel * kernel]`.

use super::Weights;
use crate::checkin::Path;
use crate::model::Tensor;
use crate::model::kernel::{self, ConvGeometry, GradSink, Pattern};

pub(crate) fn forward(g: &ConvGeometry, w: &Weights<'_>, x: &[f32], y: &mut [f32], batch: usize) {
    match w.tensor.path {
        Path::Dense => kernel::conv_forward(g, w.values, w.bias, x, y, batch),
        Path::Sparse => kernel::csr_conv_forward(w.pattern, g, w.values, w.bias, x, y, batch),
    }
}

pub(crate) fn input_gradient(g: &ConvGeometry, w: &Weights<'_>, dy: &[f32], dx: &mut [f32], batch: usize) {
    match w.tensor.path {
        Path::Dense => kernel::conv_input_grad(g, w.values, dy, dx, batch),
        Path::Sparse => kernel::csr_conv_input_grad(w.pattern, g, w.values, dy, dx, batch),
    }
}

pub(crate) fn weight_gradient(
    g: &ConvGeometry,
    tensor: &Tensor,
    pattern: Pattern<'_>,
    dy: &[f32],
    x: &[f32],
    batch: usize,
    sink: &mut impl GradSink,
) {
    match tensor.path {
        Path::Dense => kernel::conv_weight_grad(g, dy, x, batch, sink),
        Path::Sparse => kernel::csr_conv_weight_grad(pattern, g, dy, x, batch, sink),
    }
}
