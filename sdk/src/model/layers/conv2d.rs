//! Convolution: `W` is `[output channels, input channels / groups * kernel height * kernel width]`.

use super::Weights;
use crate::checkin::{LayerSpec, Path, Window, parts};
use crate::model::kernel::{self, ConvGeometry, GradSink, Pattern};
use crate::model::{Node, Shape, Tensor};

fn geometry(node: &Node, input: Shape) -> ConvGeometry {
    let (groups, window) = match node.spec {
        LayerSpec::Conv2d { groups, window, .. } => (groups, window),
        _ => (1, Window::POINT),
    };
    ConvGeometry {
        in_channels: input.channels as usize,
        in_h: input.height as usize,
        in_w: input.width as usize,
        out_channels: node.output.channels as usize,
        kernel: window.kernel.map(usize::from),
        stride: window.stride.map(usize::from),
        padding: window.padding.map(usize::from),
        dilation: window.dilation.map(usize::from),
        groups: usize::from(groups),
    }
}

pub(crate) fn forward(node: &Node, input: Shape, w: &Weights<'_>, x: &[f32], y: &mut [f32], batch: usize) {
    forward_of(&geometry(node, input), w, x, y, batch);
}

pub(crate) fn input_gradient(node: &Node, input: Shape, w: &Weights<'_>, dy: &[f32], dx: &mut [f32], batch: usize) {
    input_gradient_of(&geometry(node, input), w, dy, dx, batch);
}

#[allow(clippy::too_many_arguments, reason = "the parts of one layer, borrowed apart")]
pub(crate) fn weight_gradient(
    node: &Node,
    input: Shape,
    tensor: &Tensor,
    pattern: Pattern<'_>,
    dy: &[f32],
    x: &[f32],
    batch: usize,
    sink: &mut impl GradSink,
) {
    weight_gradient_of(&geometry(node, input), tensor, pattern, dy, x, batch, sink);
}

/// [`forward`] of a geometry.
pub(crate) fn forward_of(g: &ConvGeometry, w: &Weights<'_>, x: &[f32], y: &mut [f32], batch: usize) {
    match w.tensor.path {
        Path::Dense if parts::DENSE.here => kernel::conv_forward(g, w.values, w.bias, x, y, batch),
        Path::Sparse => kernel::csr_conv_forward(w.pattern, g, w.values, w.bias, x, y, batch),
        // Refused with the plan; blocks are in fully connected layers alone.
        Path::Dense | Path::Block => {}
    }
}

/// [`input_gradient`] of a geometry.
pub(crate) fn input_gradient_of(g: &ConvGeometry, w: &Weights<'_>, dy: &[f32], dx: &mut [f32], batch: usize) {
    match w.tensor.path {
        Path::Dense if parts::DENSE.here => kernel::conv_input_grad(g, w.values, dy, dx, batch),
        Path::Sparse => kernel::csr_conv_input_grad(w.pattern, g, w.values, dy, dx, batch),
        // Refused with the plan; blocks are in fully connected layers alone.
        Path::Dense | Path::Block => {}
    }
}

/// [`weight_gradient`] of a geometry.
pub(crate) fn weight_gradient_of(
    g: &ConvGeometry,
    tensor: &Tensor,
    pattern: Pattern<'_>,
    dy: &[f32],
    x: &[f32],
    batch: usize,
    sink: &mut impl GradSink,
) {
    match tensor.path {
        Path::Dense if parts::DENSE.here => kernel::conv_weight_grad(g, dy, x, batch, sink),
        Path::Sparse => kernel::csr_conv_weight_grad(pattern, g, dy, x, batch, sink),
        // Refused with the plan; blocks are in fully connected layers alone.
        Path::Dense | Path::Block => {}
    }
}
