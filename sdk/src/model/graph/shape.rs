//! What each layer makes of its inputs' shapes, and which tensors it has.

use super::{MAX_FEATURES, Role, Shape};
use crate::checkin::{LayerSpec, PlanError, Storage, Window};
use heapless::Vec;

/// A tensor that a layer asks for.
pub(super) struct Part {
    pub(super) role: Role,
    pub(super) rows: u32,
    pub(super) cols: u64,
    /// `None` for one that is never pruned.
    pub(super) storage: Option<Storage>,
}

/// A layer's output and tensors.
pub(super) struct Shaped {
    pub(super) output: Shape,
    pub(super) parts: Vec<Part, 4>,
}

fn vector(role: Role, length: u32) -> Part {
    Part { role, rows: 1, cols: u64::from(length), storage: None }
}

fn matrix(role: Role, rows: u32, cols: u64, storage: Storage) -> Part {
    Part { role, rows, cols, storage: Some(storage) }
}

/// Outputs along one axis; `Err` holds what does not fit, the limit and the number.
fn positions(size: u32, axis: usize, window: &Window) -> Result<u32, (&'static str, u64, u64)> {
    let [kernel, stride, dilation] = [window.kernel[axis], window.stride[axis], window.dilation[axis]].map(u32::from);
    let padding = [window.padding[axis], window.padding[axis + 2]].map(u32::from);
    if stride == 0 || dilation == 0 || kernel == 0 {
        return Err(("kernel, stride and dilation (at least 1)", 1, 0));
    }
    let extent = (kernel - 1) * dilation + 1;
    let room = size + padding[0] + padding[1];
    if extent > room {
        return Err(("window", u64::from(room), u64::from(extent)));
    }
    // A window never lies wholly in the padding.
    let most = padding[0].max(padding[1]);
    if most >= extent {
        return Err(("padding", u64::from(extent - 1), u64::from(most)));
    }
    Ok((room - extent) / stride + 1)
}

/// Shapes of one layer; `limit` makes the error of it.
pub(super) fn shaped(
    layer: &LayerSpec,
    [input, second]: [Shape; 2],
    sources: [u8; 2],
    limit: &impl Fn(&'static str, u64, u64) -> PlanError,
) -> Result<Shaped, PlanError> {
    let slide = |window: &Window| -> Result<[u32; 2], PlanError> {
        let error = |(what, expected, got)| limit(what, expected, got);
        Ok([positions(input.height, 0, window).map_err(error)?, positions(input.width, 1, window).map_err(error)?])
    };
    let within = |what, got: f32, ok: bool| if ok { Ok(()) } else { Err(PlanError::OutOfRange { field: what, got }) };
    let equal = |what, expected: u32, got: u32| {
        if expected == got { Ok(()) } else { Err(limit(what, u64::from(expected), u64::from(got))) }
    };
    let divides = |what, groups: u16, channels: u32| {
        let groups = u32::from(groups);
        if groups > 0 && channels.is_multiple_of(groups) {
            Ok(channels / groups)
        } else {
            Err(limit(what, u64::from(channels), u64::from(groups)))
        }
    };
    let flat = |channels: u32| Shape { channels, height: 1, width: 1 };
    let mut parts = Vec::new();
    let mut add = |part| {
        let _ = parts.push(part);
    };
    let output = match *layer {
        LayerSpec::Dense { outputs, bias, weights } => {
            let outputs = u32::from(outputs);
            add(matrix(Role::Weight, outputs, input.features() as u64, weights));
            if bias {
                add(vector(Role::Bias, outputs));
            }
            flat(outputs)
        }
        LayerSpec::Conv2d { outputs, groups, window, bias, weights } => {
            let [height, width] = slide(&window)?;
            let channels = u32::from(outputs);
            let inner = divides("groups of input channels", groups, input.channels)?;
            divides("groups of output channels", groups, channels)?;
            let [kh, kw] = window.kernel.map(u64::from);
            add(matrix(Role::Weight, channels, u64::from(inner) * kh * kw, weights));
            if bias {
                add(vector(Role::Bias, channels));
            }
            Shape { channels, height, width }
        }
        LayerSpec::MaxPool(window) | LayerSpec::AveragePool { window, .. } => {
            let [height, width] = slide(&window)?;
            Shape { height, width, ..input }
        }
        LayerSpec::GlobalAveragePool | LayerSpec::Last => flat(input.channels),
        LayerSpec::LeakyRelu { slope } => {
            within("slope of a leaky relu", slope, slope > 0.0 && slope <= 1.0)?;
            input
        }
        LayerSpec::Clip { min, max } => {
            within("lower bound of a clip", min, min.is_finite())?;
            within("upper bound of a clip", max, max.is_finite() && max > min)?;
            input
        }
        LayerSpec::Relu
        | LayerSpec::Sigmoid
        | LayerSpec::Tanh
        | LayerSpec::Gelu
        | LayerSpec::HardSwish
        | LayerSpec::LogSoftmax => input,
        LayerSpec::Softmax { groups, causal } => {
            let size = divides("groups of channels", groups, input.channels)?;
            if causal {
                equal("channels of a group of a causal softmax", input.positions() as u32, size)?;
            }
            input
        }
        LayerSpec::BatchNorm => {
            for role in [Role::Scale, Role::Shift, Role::Mean, Role::InverseDeviation] {
                add(vector(role, input.channels));
            }
            input
        }
        LayerSpec::LayerNorm { epsilon } => {
            within("epsilon of a layer norm", epsilon, epsilon > 0.0 && epsilon <= 1.0)?;
            add(vector(Role::Scale, input.channels));
            add(vector(Role::Shift, input.channels));
            input
        }
        LayerSpec::GroupNorm { groups, epsilon } => {
            divides("groups of channels", groups, input.channels)?;
            within("epsilon of a group norm", epsilon, epsilon > 0.0 && epsilon <= 1.0)?;
            add(vector(Role::Scale, input.channels));
            add(vector(Role::Shift, input.channels));
            input
        }
        LayerSpec::Dropout { rate } => {
            within("rate of a dropout", rate, (0.0..1.0).contains(&rate))?;
            input
        }
        LayerSpec::Embedding { rows, dims, weights } => {
            equal("the input of an embedding is the example: layers before it", 0, u32::from(sources[0]))?;
            equal("channels of the input of an embedding", 1, input.channels)?;
            // Token numbers travel as `f32`, which counts exactly to 2^24.
            if rows == 0 || rows > 1 << 24 {
                return Err(limit("rows of an embedding", 1 << 24, u64::from(rows)));
            }
            add(matrix(Role::Weight, rows, u64::from(dims), weights));
            Shape { channels: u32::from(dims), ..input }
        }
        LayerSpec::Gru { hidden, bias, weights, recurrent, .. } => {
            equal("width of a sequence", 1, input.width)?;
            recurrent_parts(3, hidden, bias, input.channels, [weights, recurrent], &mut add);
            Shape { channels: u32::from(hidden), ..input }
        }
        LayerSpec::Lstm { hidden, bias, weights, recurrent } => {
            equal("width of a sequence", 1, input.width)?;
            recurrent_parts(4, hidden, bias, input.channels, [weights, recurrent], &mut add);
            Shape { channels: u32::from(hidden), ..input }
        }
        LayerSpec::Add | LayerSpec::Mul => {
            equal("channels of the second input", input.channels, second.channels)?;
            if (second.height, second.width) != (1, 1) {
                equal("height of the second input", input.height, second.height)?;
                equal("width of the second input", input.width, second.width)?;
            }
            input
        }
        LayerSpec::Concat => {
            equal("height of the second input", input.height, second.height)?;
            equal("width of the second input", input.width, second.width)?;
            Shape { channels: input.channels + second.channels, ..input }
        }
        LayerSpec::Affine { scale, shift } => {
            within("scale of an affine layer", scale, scale.is_finite())?;
            within("shift of an affine layer", shift, shift.is_finite())?;
            input
        }
        LayerSpec::Offset => {
            add(vector(Role::Offset, input.features() as u32));
            input
        }
        LayerSpec::Reshape { shape } => {
            let [channels, height, width] = shape.map(u32::from);
            let features = u64::from(channels) * u64::from(height) * u64::from(width);
            if features != input.features() as u64 {
                return Err(limit("features of a reshape", input.features() as u64, features));
            }
            Shape { channels, height, width }
        }
        LayerSpec::Flatten => flat(input.features() as u32),
        LayerSpec::Transpose { axes } => {
            let from = [input.channels, input.height, input.width];
            let mut sorted = axes;
            sorted.sort_unstable();
            if sorted != [0, 1, 2] {
                return Err(limit("axes of a transpose: a permutation of 0, 1, 2", 2, u64::from(sorted[2])));
            }
            let [channels, height, width] = axes.map(|a| from[usize::from(a)]);
            Shape { channels, height, width }
        }
        LayerSpec::Scores { heads, scale, .. } => {
            within("scale of scores", scale, scale.is_finite())?;
            divides("heads", heads, input.channels)?;
            equal("width of the queries", 1, input.width)?;
            equal("channels of the keys", input.channels, second.channels)?;
            equal("positions of the keys", input.height, second.positions() as u32)?;
            let channels = u64::from(heads) * u64::from(input.height);
            if channels > MAX_FEATURES {
                return Err(limit("channels of scores", MAX_FEATURES, channels));
            }
            Shape { channels: channels as u32, ..input }
        }
        LayerSpec::Context { heads, .. } => {
            divides("heads", heads, second.channels)?;
            equal("width of the values", 1, second.width)?;
            equal("positions of the values", input.positions() as u32, second.height)?;
            equal("channels of the weights: heads times positions", u32::from(heads) * second.height, input.channels)?;
            second
        }
    };
    Ok(Shaped { output, parts })
}

fn recurrent_parts(
    gates: u32,
    hidden: u16,
    bias: bool,
    inputs: u32,
    [weights, recurrent]: [Storage; 2],
    add: &mut impl FnMut(Part),
) {
    let rows = gates * u32::from(hidden);
    add(matrix(Role::Weight, rows, u64::from(inputs), weights));
    add(matrix(Role::Recurrent, rows, u64::from(hidden), recurrent));
    if bias {
        add(vector(Role::Bias, rows));
        add(vector(Role::RecurrentBias, rows));
    }
}
