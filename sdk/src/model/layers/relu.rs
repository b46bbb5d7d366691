//! `max(x, 0)`, in place; the output alone is enough for the gradient.

use crate::model::kernel;

pub(crate) fn forward(x: &mut [f32]) {
    kernel::relu_forward(x);
}

pub(crate) fn backward(y: &[f32], dy: &mut [f32]) {
    kernel::relu_backward(y, dy);
}
