//! Layers that only move features.

use crate::checkin::LayerSpec;
use crate::model::Shape;
use crate::model::kernel;

fn sizes(shape: Shape) -> [usize; 3] {
    [shape.channels, shape.height, shape.width].map(|n| n as usize)
}

pub(crate) fn forward(spec: &LayerSpec, input: Shape, x: &[f32], y: &mut [f32], batch: usize) {
    match spec {
        LayerSpec::Transpose { axes } => {
            kernel::transpose_forward(sizes(input), axes.map(usize::from), x, y, batch);
        }
        _ => kernel::last_forward(x, y, input.channels as usize, input.positions(), batch),
    }
}

pub(crate) fn backward(spec: &LayerSpec, input: Shape, dy: &[f32], dx: &mut [f32], batch: usize) {
    match spec {
        LayerSpec::Transpose { axes } => {
            kernel::transpose_backward(sizes(input), axes.map(usize::from), dy, dx, batch);
        }
        _ => kernel::last_backward(dy, dx, input.channels as usize, input.positions(), batch),
    }
}
