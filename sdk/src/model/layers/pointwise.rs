//! Layers that treat every feature alone.

use crate::checkin::LayerSpec;
use crate::model::kernel;
use crate::model::network::Draw;

/// In place: the output alone is enough for the gradient.
pub(crate) fn forward(spec: &LayerSpec, y: &mut [f32]) {
    match *spec {
        LayerSpec::Relu => kernel::relu_forward(y),
        // Before those that this build has not: they were refused with the plan.
        _ if !spec.part().here => {}
        LayerSpec::LeakyRelu { slope } => kernel::leaky_relu_forward(y, slope),
        LayerSpec::Clip { min, max } => kernel::clip_forward(y, min, max),
        LayerSpec::Sigmoid => kernel::sigmoid_forward(y),
        LayerSpec::Tanh => kernel::tanh_forward(y),
        LayerSpec::Affine { scale, shift } => kernel::affine_forward(y, scale, shift),
        _ => {}
    }
}

/// Those whose gradient needs the input.
pub(crate) fn forward_apart(spec: &LayerSpec, x: &[f32], y: &mut [f32]) {
    match spec {
        LayerSpec::Gelu => kernel::gelu_forward(x, y),
        _ => kernel::hard_swish_forward(x, y),
    }
}

/// Turns the gradient of the output into that of the input, in place.
pub(crate) fn backward(spec: &LayerSpec, (draw, index): (Draw, usize), (x, y): (&[f32], &[f32]), dy: &mut [f32]) {
    match *spec {
        LayerSpec::Relu => kernel::relu_backward(y, dy),
        _ if !spec.part().here => {}
        LayerSpec::LeakyRelu { slope } => kernel::leaky_relu_backward(y, dy, slope),
        LayerSpec::Clip { min, max } => kernel::clip_backward(y, dy, min, max),
        LayerSpec::Sigmoid => kernel::sigmoid_backward(y, dy),
        LayerSpec::Tanh => kernel::tanh_backward(y, dy),
        LayerSpec::Gelu => kernel::gelu_backward(x, dy),
        LayerSpec::HardSwish => kernel::hard_swish_backward(x, dy),
        LayerSpec::Affine { scale, .. } => kernel::affine_backward(dy, scale),
        // The same features are kept as on the way forward.
        LayerSpec::Dropout { rate } => dropout(rate, draw, index, dy),
        _ => {}
    }
}

/// Zeros a part of the features and scales the others up; which ones hangs on the draw and the layer's index.
pub(crate) fn dropout(rate: f32, draw: Draw, index: usize, y: &mut [f32]) {
    kernel::dropout(y, rate, draw.seed, index as u32, draw.step);
}

/// Adds the learned array to every example.
pub(crate) fn offset(values: &[f32], y: &mut [f32], batch: usize) {
    kernel::offset_forward(values, y, batch);
}
