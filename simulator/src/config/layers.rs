//! A network in one line: `conv:16x5,relu,pool:2,dense:64,relu,dense`.

use super::ConfigError;
use crate::data::InputShape;
use siskin::checkin::{Layer, LayerSpec, Loss, MAX_LAYERS, ModelSpec, Path, Storage, Window};

/// Reads the line. The last `dense` without a number has one output a class.
///
/// | word | layer |
/// |---|---|
/// | `dense:N` | fully connected, N outputs |
/// | `dense` | fully connected, one output a class |
/// | `conv:NxK` | convolution, N channels, window K; `conv:NxKsS` with stride S, `conv:NxKpP` with padding P |
/// | `pool:K` | largest of each K x K window |
/// | `relu` | `max(x, 0)` |
///
/// # Errors
/// [`ConfigError::Other`] names the word.
pub fn architecture(line: &str, shape: InputShape, classes: u32) -> Result<ModelSpec, ConfigError> {
    let bad = |what: String| ConfigError::Other(format!("--model {line}: {what}"));
    let dimension = |n: usize| u16::try_from(n).map_err(|_| bad(format!("an input of {n} does not fit 16 bits")));
    let input = [dimension(shape.channels)?, dimension(shape.height)?, dimension(shape.width)?];
    let weights = Storage { live: 1, path: Path::Dense };
    let mut model = ModelSpec { input, layers: Default::default(), loss: Loss::SoftmaxCrossEntropy };
    let mut flat = false;
    for word in line.split(',').map(str::trim) {
        let unknown = || bad(format!("`{word}` is no layer; use dense:N, conv:NxK, pool:K, relu"));
        let (name, argument) = word.split_once(':').map_or((word, ""), |(n, a)| (n, a));
        let layer = match (name, argument) {
            ("relu", "") => LayerSpec::Relu,
            ("dense", "") => LayerSpec::Dense { outputs: classes.min(u32::from(u16::MAX)) as u16, bias: true, weights },
            ("dense", n) => LayerSpec::Dense { outputs: n.parse().map_err(|_| unknown())?, bias: true, weights },
            ("pool", n) => {
                let window = n.parse().map_err(|_| unknown())?;
                LayerSpec::MaxPool(Window::square(window, window, 0))
            }
            ("conv", n) => conv(n).ok_or_else(unknown)?,
            _ => return Err(unknown()),
        };
        let mut push = |layer: LayerSpec| {
            model.layers.push(Layer::from(layer)).map_err(|_| bad(format!("more than {MAX_LAYERS} layers")))
        };
        if matches!(layer, LayerSpec::Dense { .. }) && !flat {
            flat = true;
            push(LayerSpec::Flatten)?;
        }
        push(layer)?;
    }
    match model.layers.last() {
        Some(Layer { spec: LayerSpec::Dense { outputs, .. }, .. }) if u32::from(*outputs) == classes => Ok(model),
        _ => Err(bad(format!("the last layer must be `dense` with the {classes} classes of the data"))),
    }
}

fn conv(text: &str) -> Option<LayerSpec> {
    let (outputs, rest) = text.split_once('x')?;
    let (rest, padding) = rest.split_once('p').map_or((rest, "0"), |(r, p)| (r, p));
    let (kernel, stride) = rest.split_once('s').map_or((rest, "1"), |(k, s)| (k, s));
    Some(LayerSpec::Conv2d {
        outputs: outputs.parse().ok()?,
        groups: 1,
        window: Window::square(kernel.parse().ok()?, stride.parse().ok()?, padding.parse().ok()?),
        bias: true,
        weights: Storage { live: 1, path: Path::Dense },
    })
}

/// `(kind, details)` of a layer, for tables.
pub fn describe(layer: &LayerSpec) -> (&'static str, String) {
    let window = |w: &Window| {
        let mut text = format!("{}x{}", w.kernel[0], w.kernel[1]);
        let mut add = |name: &str, values: &[u8], plain: u8| {
            if values.iter().any(|v| *v != plain) {
                let same = values.iter().all(|v| *v == values[0]);
                let shown: Vec<String> = values.iter().take(if same { 1 } else { 4 }).map(u8::to_string).collect();
                text += &format!(", {name} {}", shown.join("/"));
            }
        };
        add("stride", &w.stride, 1);
        add("padding", &w.padding, 0);
        add("dilation", &w.dilation, 1);
        text
    };
    let details = match layer {
        LayerSpec::Dense { outputs, .. } => format!("{outputs} outputs"),
        LayerSpec::Conv2d { outputs, groups, window: w, .. } => {
            let groups = if *groups == 1 { String::new() } else { format!(", {groups} groups") };
            format!("{outputs} channels, {}{groups}", window(w))
        }
        LayerSpec::MaxPool(w) | LayerSpec::AveragePool { window: w, .. } => window(w),
        LayerSpec::LeakyRelu { slope } => format!("slope {slope}"),
        LayerSpec::Clip { min, max } => format!("{min} to {max}"),
        LayerSpec::Softmax { groups, causal } => format!("{groups} groups{}", if *causal { ", causal" } else { "" }),
        LayerSpec::GroupNorm { groups, .. } => format!("{groups} groups"),
        LayerSpec::Dropout { rate } => format!("rate {rate}"),
        LayerSpec::Embedding { rows, dims, .. } => format!("{rows} rows of {dims}"),
        LayerSpec::Gru { hidden, .. } | LayerSpec::Lstm { hidden, .. } => format!("{hidden} hidden"),
        LayerSpec::Affine { scale, shift } => format!("{scale} x + {shift}"),
        LayerSpec::Scores { heads, .. } | LayerSpec::Context { heads, .. } => format!("{heads} heads"),
        _ => String::new(),
    };
    (layer.name(), details)
}
