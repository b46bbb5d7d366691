//! Layers of two inputs: sum, product, one after the other.

use crate::model::Shape;
use crate::model::kernel;

/// Adds the second input to the first one, which lies in `y`.
pub(crate) fn add(shape: Shape, second: &[f32], y: &mut [f32], batch: usize) {
    kernel::add_forward(y, second, shape.channels as usize, shape.positions(), batch);
}

/// The gradient of a second input that is one value a channel.
pub(crate) fn add_second_gradient(shape: Shape, dy: &[f32], dx: &mut [f32], batch: usize, first: bool) {
    kernel::sum_positions(dy, dx, shape.channels as usize, shape.positions(), batch, first);
}

pub(crate) fn mul(shape: Shape, x: &[f32], second: &[f32], y: &mut [f32], batch: usize) {
    kernel::mul_forward(x, second, y, shape.channels as usize, shape.positions(), batch);
}

pub(crate) fn mul_second_gradient(shape: Shape, x: &[f32], dy: &[f32], dx: &mut [f32], batch: usize) {
    kernel::mul_second_grad(x, dy, dx, shape.channels as usize, shape.positions(), batch);
}

/// Turns the gradient of the output into that of the first input, in place.
pub(crate) fn mul_first_gradient(shape: Shape, second: &[f32], dy: &mut [f32], batch: usize) {
    kernel::mul_first_grad(second, dy, shape.channels as usize, shape.positions(), batch);
}

pub(crate) fn concat(x: &[f32], second: &[f32], y: &mut [f32]) {
    let (front, back) = y.split_at_mut(x.len());
    front.copy_from_slice(x);
    back.copy_from_slice(second);
}
