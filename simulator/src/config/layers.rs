//! A network in one line: `conv:16x5,relu,pool:2,dense:64,relu,dense`.

use super::ConfigError;
use crate::data::Problem;
use siskin::checkin::{Layer, LayerSpec, Loss, MAX_LAYERS, ModelSpec, Path, Storage, Window};
use siskin::model::Graph;

/// All weights, through the dense loops: the server says which of them live.
const WEIGHTS: Storage = Storage { live: 1, path: Path::Dense };

/// Reads the line. The last layer must have one channel a class: in all, or at each position where examples have a label for each.
///
/// | word | layer |
/// |---|---|
/// | `dense:N` | fully connected, N outputs; the features are flattened before the first one |
/// | `dense` | fully connected, one output a class |
/// | `embedding:D` | D numbers for each token; the first layer where examples are tokens, and only there |
/// | `gru:H`, `lstm:H` | recurrent over the positions, a state of H; the GRU resets after the product, as PyTorch's |
/// | `point:N` | fully connected over the channels of each position, N outputs |
/// | `point` | the same, one output a class |
/// | `conv:NxK` | convolution, N channels, window K x K; then any of `sS` (stride S), `pP` (padding P), `gG` (G groups) |
/// | `pool:K`, `avgpool:K` | largest, or mean, of each K x K window |
/// | `gap` | mean of each channel over all positions |
/// | `last` | the last position of a sequence |
/// | `relu`, `gelu`, `tanh`, `sigmoid` | `max(x, 0)`; `x / 2 (1 + erf(x / sqrt 2))`; hyperbolic tangent; `1 / (1 + exp(-x))` |
/// | `layernorm` | the channels of each position to mean 0 and variance 1 (1e-5 is added to it), then a scale and a shift each |
/// | `dropout:R` | zeros the part R of the features while training |
///
/// # Errors
/// [`ConfigError::Other`] names the word, or the layer that does not fit.
pub fn architecture(line: &str, problem: &Problem) -> Result<ModelSpec, ConfigError> {
    let bad = |what: String| ConfigError::Other(format!("--model {line}: {what}"));
    let sixteen = |what, n: usize| u16::try_from(n).map_err(|_| bad(format!("{what} of {n} does not fit 16 bits")));
    let shape = problem.shape;
    let input = [shape.channels, shape.height, shape.width];
    let input = [sixteen("an input", input[0])?, sixteen("an input", input[1])?, sixteen("an input", input[2])?];
    let classes = sixteen("a number of classes", problem.classes as usize)?;
    let mut model = ModelSpec { input, layers: Default::default(), loss: Loss::SoftmaxCrossEntropy };
    let mut flat = false;
    for word in line.split(',').map(str::trim) {
        let layer = layer(word, classes).ok_or_else(|| bad(format!("`{word}` is no layer; use {WORDS}")))?;
        let first = model.layers.is_empty();
        if matches!(layer, LayerSpec::Embedding { .. }) != (first && problem.tokens) {
            return Err(bad(match problem.tokens {
                true => "examples are tokens: `embedding:D` must be the first layer, and only the first".to_owned(),
                false => "`embedding` is for tokens, and these examples are numbers".to_owned(),
            }));
        }
        let mut push = |layer: LayerSpec| {
            model.layers.push(Layer::from(layer)).map_err(|_| bad(format!("more than {MAX_LAYERS} layers")))
        };
        if matches!(layer, LayerSpec::Dense { .. }) && !flat {
            flat = true;
            push(LayerSpec::Flatten)?;
        }
        push(layer)?;
    }
    let graph = Graph::new(&model).map_err(|e| bad(e.to_string()))?;
    let (channels, positions) = (graph.classes(), graph.output.positions());
    let bounded = model.layers.last().is_some_and(|last| is_bounded(&last.spec));
    if bounded || (channels, positions) != (problem.classes, problem.targets) {
        let at = match problem.targets {
            1 => "in all".to_owned(),
            targets => format!("at each of {targets} positions"),
        };
        let got = match bounded {
            true => "ends with an activation".to_owned(),
            false => format!("has {channels} at {positions}"),
        };
        return Err(bad(format!(
            "the last layer must be weights with the {classes} classes of the data {at}; it {got}; end with `{}`",
            if problem.targets == 1 { "dense" } else { "point" }
        )));
    }
    Ok(model)
}

/// Would it keep logits from what they may be?
const fn is_bounded(layer: &LayerSpec) -> bool {
    use LayerSpec::{Dropout, Gelu, Relu, Sigmoid, Tanh};
    matches!(layer, Relu | Gelu | Tanh | Sigmoid | Dropout { .. })
}

/// Every word, for messages.
pub(super) const WORDS: &str = "dense:N, conv:NxK, pool:K, relu, embedding:D, gru:H, lstm:H, point:N, avgpool:K, gap, last, gelu, \
                     tanh, sigmoid, layernorm, dropout:R";

/// One word.
fn layer(word: &str, classes: u16) -> Option<LayerSpec> {
    let (name, argument) = match word.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (word, None),
    };
    let point = |outputs| LayerSpec::Conv2d { outputs, groups: 1, window: Window::POINT, bias: true, weights: WEIGHTS };
    let dense = |outputs| LayerSpec::Dense { outputs, bias: true, weights: WEIGHTS };
    let square = |n: &str| n.parse().ok().map(|n| Window::square(n, n, 0));
    Some(match (name, argument) {
        ("dense", None) => dense(classes),
        ("dense", Some(n)) => dense(n.parse().ok()?),
        ("point", None) => point(classes),
        ("point", Some(n)) => point(n.parse().ok()?),
        ("embedding", Some(n)) => {
            LayerSpec::Embedding { rows: u32::from(classes), dims: n.parse().ok()?, weights: WEIGHTS }
        }
        ("gru", Some(n)) => LayerSpec::Gru {
            hidden: n.parse().ok()?,
            reset_after: true,
            bias: true,
            weights: WEIGHTS,
            recurrent: WEIGHTS,
        },
        ("lstm", Some(n)) => {
            LayerSpec::Lstm { hidden: n.parse().ok()?, bias: true, weights: WEIGHTS, recurrent: WEIGHTS }
        }
        ("conv", Some(n)) => conv(n)?,
        ("pool", Some(n)) => LayerSpec::MaxPool(square(n)?),
        ("avgpool", Some(n)) => LayerSpec::AveragePool { window: square(n)?, count_padding: false },
        ("gap", None) => LayerSpec::GlobalAveragePool,
        ("last", None) => LayerSpec::Last,
        ("relu", None) => LayerSpec::Relu,
        ("gelu", None) => LayerSpec::Gelu,
        ("tanh", None) => LayerSpec::Tanh,
        ("sigmoid", None) => LayerSpec::Sigmoid,
        ("layernorm", None) => LayerSpec::LayerNorm { epsilon: 1e-5 },
        ("dropout", Some(n)) => LayerSpec::Dropout { rate: n.parse().ok()? },
        _ => return None,
    })
}

/// `16x5s2p1g4`: numbers, each behind the letter that says what it is.
fn conv(text: &str) -> Option<LayerSpec> {
    let (outputs, rest) = text.split_once('x')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (kernel, mut rest) = rest.split_at(end);
    let (mut stride, mut padding, mut groups) = (None, None, None);
    while let Some(letter) = rest.chars().next() {
        let after = rest.get(1..)?;
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, left) = after.split_at(end);
        let twice = match letter {
            's' => stride.replace(number.parse().ok()?).is_some(),
            'p' => padding.replace(number.parse().ok()?).is_some(),
            'g' => groups.replace(number.parse().ok()?).is_some(),
            _ => return None,
        };
        if twice {
            return None;
        }
        rest = left;
    }
    Some(LayerSpec::Conv2d {
        outputs: outputs.parse().ok()?,
        groups: groups.unwrap_or(1),
        window: Window::square(kernel.parse().ok()?, stride.unwrap_or(1), padding.unwrap_or(0)),
        bias: true,
        weights: WEIGHTS,
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

#[cfg(test)]
mod tests;
