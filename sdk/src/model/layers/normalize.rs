//! Normalisation: with frozen statistics, over the channels of a position, over groups of channels.

use crate::checkin::LayerSpec;
use crate::model::kernel::{self, GradSink, NormGeometry};
use crate::model::{Graph, Node, Role, Shape, Tensor};
use crate::optim::Learner;

/// Shape, epsilon, and what counts as the batch; `None` with frozen statistics.
fn geometry(spec: &LayerSpec, shape: Shape, batch: usize) -> Option<(NormGeometry, f32, usize)> {
    let (channels, positions) = (shape.channels as usize, shape.positions());
    match *spec {
        LayerSpec::LayerNorm { epsilon } => Some((NormGeometry::layer(channels), epsilon, positions * batch)),
        LayerSpec::GroupNorm { groups, epsilon } => {
            Some((NormGeometry { channels, groups: usize::from(groups), positions }, epsilon, batch))
        }
        _ => None,
    }
}

/// Features of one example for what is kept from forward to backward: mean and inverse deviation of everything that is
/// normalised together.
pub(crate) fn saved(spec: &LayerSpec, shape: Shape) -> usize {
    geometry(spec, shape, 1).map_or(0, |(g, _, batch)| g.statistics_len(batch))
}

pub(crate) fn forward<'a>(
    spec: &LayerSpec,
    shape: Shape,
    vector: impl Fn(Role) -> &'a [f32],
    x: &[f32],
    (y, statistics): (&mut [f32], &mut [f32]),
    batch: usize,
) {
    let (scale, shift) = (vector(Role::Scale), vector(Role::Shift));
    match geometry(spec, shape, batch) {
        Some((g, epsilon, batch)) => {
            kernel::norm_statistics(&g, x, epsilon, statistics, batch);
            kernel::norm_forward(&g, x, statistics, scale, shift, y, batch);
        }
        None => {
            let (mean, deviation) = (vector(Role::Mean), vector(Role::InverseDeviation));
            let (channels, lanes) = (shape.channels as usize, shape.positions() * batch);
            kernel::batch_norm_forward(x, mean, deviation, scale, shift, y, channels, lanes);
        }
    }
}

pub(crate) fn input_gradient<'a>(
    spec: &LayerSpec,
    shape: Shape,
    vector: impl Fn(Role) -> &'a [f32],
    (x, statistics): (&[f32], &[f32]),
    (dy, dx): (&[f32], &mut [f32]),
    batch: usize,
) {
    let scale = vector(Role::Scale);
    match geometry(spec, shape, batch) {
        Some((g, _, batch)) => kernel::norm_input_grad(&g, x, statistics, scale, dy, dx, batch),
        None => {
            let (channels, lanes) = (shape.channels as usize, shape.positions() * batch);
            kernel::batch_norm_input_grad(vector(Role::InverseDeviation), scale, dy, dx, channels, lanes);
        }
    }
}

/// Hands on one channel's gradient under its own number.
struct At<'s, S>(usize, &'s mut S);

impl<S: GradSink> GradSink for At<'_, S> {
    #[inline(always)]
    fn take(&mut self, offset: usize, grad: &[f32]) {
        self.1.take(self.0 + offset, grad);
    }
}

/// The gradient of scale or shift.
pub(crate) fn gradient<L: Learner>(
    graph: &Graph,
    node: &Node,
    tensor: &Tensor,
    learner: &mut L,
    (x, statistics): (&[f32], &[f32]),
    dy: &[f32],
    batch: usize,
) {
    let shape = node.output;
    let (channels, lanes) = (shape.channels as usize, shape.positions() * batch);
    if tensor.role == Role::Shift {
        return kernel::bias_grad(dy, channels, lanes, &mut learner.sink(tensor));
    }
    if let Some((g, _, batch)) = geometry(&node.spec, shape, batch) {
        return kernel::norm_scale_grad(&g, x, statistics, dy, batch, &mut learner.sink(tensor));
    }
    let first = |role| graph.tensors_of(node).iter().find(|t| t.role == role).map_or(0, |t| t.at as usize);
    let [mean, deviation] = [first(Role::Mean), first(Role::InverseDeviation)];
    for c in 0..channels {
        // Copied, so that the learner is free to change what it holds.
        let (mean, deviation) = ([learner.values()[mean + c]], [learner.values()[deviation + c]]);
        let (x, dy) = (&x[c * lanes..][..lanes], &dy[c * lanes..][..lanes]);
        kernel::batch_norm_scale_grad(x, &mean, &deviation, dy, 1, lanes, &mut At(c, &mut learner.sink(tensor)));
    }
}
