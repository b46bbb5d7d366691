//! Largest value or mean of each window.

use crate::checkin::{LayerSpec, Window};
use crate::model::kernel::{self, PoolGeometry};
use crate::model::{Node, Shape};

fn geometry(window: &Window, input: Shape) -> PoolGeometry {
    PoolGeometry {
        channels: input.channels as usize,
        in_h: input.height as usize,
        in_w: input.width as usize,
        kernel: window.kernel.map(usize::from),
        stride: window.stride.map(usize::from),
        padding: window.padding.map(usize::from),
        dilation: window.dilation.map(usize::from),
    }
}

pub(crate) fn forward(node: &Node, input: Shape, x: &[f32], y: &mut [f32], batch: usize) {
    match node.spec {
        LayerSpec::MaxPool(window) => kernel::max_pool_forward(&geometry(&window, input), x, y, batch),
        LayerSpec::AveragePool { window, count_padding } => {
            kernel::avg_pool_forward(&geometry(&window, input), count_padding, x, y, batch);
        }
        _ => kernel::global_avg_pool_forward(x, y, input.channels as usize, input.positions(), batch),
    }
}

pub(crate) fn backward(node: &Node, input: Shape, (x, y): (&[f32], &[f32]), dy: &[f32], dx: &mut [f32], batch: usize) {
    match node.spec {
        LayerSpec::MaxPool(window) => kernel::max_pool_backward(&geometry(&window, input), x, y, dy, dx, batch),
        LayerSpec::AveragePool { window, count_padding } => {
            kernel::avg_pool_backward(&geometry(&window, input), count_padding, dy, dx, batch);
        }
        _ => kernel::global_avg_pool_backward(dy, dx, input.channels as usize, input.positions(), batch),
    }
}
