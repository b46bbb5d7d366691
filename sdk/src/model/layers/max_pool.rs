//! Largest value of each window; the gradient goes to the first of equal ones.

use crate::model::Node;
use crate::model::kernel::{self, PoolGeometry};

fn geometry(node: &Node, window: u32, stride: u32) -> PoolGeometry {
    PoolGeometry {
        channels: node.input.channels as usize,
        in_h: node.input.height as usize,
        in_w: node.input.width as usize,
        window: window as usize,
        stride: stride as usize,
    }
}

pub(crate) fn forward(node: &Node, window: u32, stride: u32, x: &[f32], y: &mut [f32], batch: usize) {
    kernel::max_pool_forward(&geometry(node, window, stride), x, y, batch);
}

pub(crate) fn backward(
    node: &Node,
    (window, stride): (u32, u32),
    x: &[f32],
    y: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    batch: usize,
) {
    kernel::max_pool_backward(&geometry(node, window, stride), x, y, dy, dx, batch);
}
