//! Softmax and its logarithm over groups of channels, in place.

use crate::checkin::LayerSpec;
use crate::model::Shape;
use crate::model::kernel::{self, SoftmaxGeometry};

fn geometry(spec: &LayerSpec, shape: Shape) -> SoftmaxGeometry {
    let (groups, causal) = match *spec {
        LayerSpec::Softmax { groups, causal } => (usize::from(groups), causal),
        _ => (1, false),
    };
    SoftmaxGeometry { groups, size: shape.channels as usize / groups, positions: shape.positions(), causal }
}

pub(crate) fn forward(spec: &LayerSpec, shape: Shape, y: &mut [f32], batch: usize) {
    match spec {
        LayerSpec::LogSoftmax => kernel::log_softmax_forward(&geometry(spec, shape), y, batch),
        _ => kernel::softmax_forward(&geometry(spec, shape), y, batch),
    }
}

pub(crate) fn backward(spec: &LayerSpec, shape: Shape, y: &[f32], dy: &mut [f32], batch: usize) {
    match spec {
        LayerSpec::LogSoftmax => kernel::log_softmax_backward(&geometry(spec, shape), y, dy, batch),
        _ => kernel::softmax_backward(&geometry(spec, shape), y, dy, batch),
    }
}
