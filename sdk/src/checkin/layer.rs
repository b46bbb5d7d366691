//! The network as a plan names it: a closed set of layers, each fed by one or two before it.

use heapless::Vec;
use serde::{Deserialize, Serialize};

/// Layers that a plan may have: a session has room for as many. With the feature `deep` enough for networks of phones (a plan
/// of that many layers does not fit the shortest frame), with `branches` for a small transformer block, else for a chain such
/// as a LeNet.
pub const MAX_LAYERS: usize = match (cfg!(feature = "deep"), cfg!(feature = "branches")) {
    (true, _) => 240,
    (_, true) => 24,
    _ => 12,
};

/// The network: layers in the order of the forward pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Shape of one example `[channels, height, width]`; features are stored in that order. A sequence of `T` vectors of
    /// length `D` is `[D, T, 1]`, one of `T` tokens `[1, T, 1]`.
    pub input: [u16; 3],
    /// The layers; the last one's output is the logits (or predictions), `[classes, height, width]`.
    pub layers: Vec<Layer, MAX_LAYERS>,
    /// What is minimised.
    pub loss: Loss,
}

/// A layer and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// What it computes.
    pub spec: LayerSpec,
    /// Where its inputs come from: how many layers before the one right before it; 0 is that one. The first layer's input,
    /// and that of one that reaches before the first layer by exactly one, is the example. The second entry means something
    /// only for layers of two inputs.
    pub from: [u8; 2],
    /// Which of its parameters train.
    pub train: Train,
}

/// Which parameters of a layer train; the others are frozen: they need no gradient, no optimizer state, no place in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Train {
    /// All of them (but the statistics of a batch normalisation, which never train).
    #[default]
    All,
    /// Biases and shifts only.
    Bias,
    /// None.
    Nothing,
}

impl From<LayerSpec> for Layer {
    fn from(spec: LayerSpec) -> Self {
        Self { spec, from: [0; 2], train: Train::All }
    }
}

/// What a layer computes. Shapes are of one example, `[channels, height, width]`; a *position* is one `(row, column)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum LayerSpec {
    /// `y = W x + b` over all features: `W` is `[outputs, inputs]`. (Over the channels of each position: a [`Conv2d`]
    /// of a 1x1 window.)
    ///
    /// [`Conv2d`]: LayerSpec::Conv2d
    Dense {
        /// Output features.
        outputs: u16,
        /// With `b`.
        bias: bool,
        /// How `W` is stored.
        weights: Storage,
    },
    /// Convolution: `W` is `[outputs, inputs / groups * kernel height * kernel width]`. One over sequences has width 1.
    Conv2d {
        /// Output channels.
        outputs: u16,
        /// Groups of channels that do not see each other; as many as channels is a depthwise convolution.
        groups: u16,
        /// The window; its padding is zeros.
        window: Window,
        /// With a bias, one an output channel.
        bias: bool,
        /// How `W` is stored.
        weights: Storage,
    },
    /// Largest value of each window; padding never wins.
    MaxPool(Window),
    /// Mean of each window.
    AveragePool {
        /// The window.
        window: Window,
        /// Divides by the size of the window at the edges too.
        count_padding: bool,
    },
    /// Mean of each channel: `[channels, 1, 1]`.
    GlobalAveragePool,
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `slope * x`.
    LeakyRelu {
        /// Above 0, at most 1.
        slope: f32,
    },
    /// `min(max(x, min), max)`; Relu6 is 0 to 6.
    Clip {
        /// Lower bound.
        min: f32,
        /// Upper bound, above `min`.
        max: f32,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x / 2 * (1 + erf(x / sqrt 2))`.
    Gelu,
    /// `x * min(max(x / 6 + 1/2, 0), 1)`.
    HardSwish,
    /// Softmax over each group of channels, at each position.
    Softmax {
        /// Groups of channels.
        groups: u16,
        /// The channels of a group are the positions of a sequence: those behind the own position get 0.
        causal: bool,
    },
    /// The logarithm of the softmax over all channels, at each position.
    LogSoftmax,
    /// `(x - mean) * inverse deviation * scale + shift` a channel, with frozen statistics.
    BatchNorm,
    /// Normalises the channels of each position; scale and shift a channel.
    LayerNorm {
        /// Added to the variance.
        epsilon: f32,
    },
    /// Normalises each group of channels over all positions; scale and shift a channel.
    GroupNorm {
        /// Groups of channels.
        groups: u16,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Zeros a part of the features at random while training and scales the others up; nothing otherwise.
    Dropout {
        /// The part, in `[0, 1)`.
        rate: f32,
    },
    /// Rows of `W` (`[rows, dims]`) for tokens: `[1, T, 1]` becomes `[dims, T, 1]`. Stands only where its input is the example.
    Embedding {
        /// Size of the vocabulary.
        rows: u32,
        /// Length of a row.
        dims: u16,
        /// How `W` is stored.
        weights: Storage,
    },
    /// Gated recurrent unit over the positions (ONNX GRU, gates z, r, h): `[inputs, T, 1]` becomes `[hidden, T, 1]`.
    Gru {
        /// Length of the state.
        hidden: u16,
        /// The reset gate is applied after the recurrent product (ONNX `linear_before_reset`, PyTorch's way).
        reset_after: bool,
        /// With biases, one for each product.
        bias: bool,
        /// How `W`, `[3 hidden, inputs]`, is stored.
        weights: Storage,
        /// How `R`, `[3 hidden, hidden]`, is stored.
        recurrent: Storage,
    },
    /// Long short-term memory over the positions (ONNX LSTM, gates i, o, f, c): `[inputs, T, 1]` becomes `[hidden, T, 1]`.
    Lstm {
        /// Length of the state.
        hidden: u16,
        /// With biases, one for each product.
        bias: bool,
        /// How `W`, `[4 hidden, inputs]`, is stored.
        weights: Storage,
        /// How `R`, `[4 hidden, hidden]`, is stored.
        recurrent: Storage,
    },
    /// Sum of two inputs; the second may be `[channels, 1, 1]`.
    Add,
    /// Product of two inputs; the second may be `[channels, 1, 1]`.
    Mul,
    /// The channels of two inputs, one after the other.
    Concat,
    /// `scale * x + shift`, both fixed numbers.
    Affine {
        /// Factor.
        scale: f32,
        /// Summand.
        shift: f32,
    },
    /// Adds a learned array of the input's shape (positions of a transformer).
    Offset,
    /// The same features under another shape of as many.
    Reshape {
        /// `[channels, height, width]`.
        shape: [u16; 3],
    },
    /// `[channels * height * width, 1, 1]`.
    Flatten,
    /// Moves the axes: axis `i` of the output is axis `axes[i]` of the input.
    Transpose {
        /// A permutation of 0, 1, 2.
        axes: [u8; 3],
    },
    /// The last position: `[channels, 1, 1]`.
    Last,
    /// Products of queries (first input) and keys (second), both `[heads * d, T, 1]`: `[heads * T, T, 1]`, channel `h * T + j` at
    /// position `i` is `scale * sum over d of q[h, d, i] * k[h, d, j]`.
    Scores {
        /// Heads.
        heads: u16,
        /// Factor, usually `1 / sqrt(d)`.
        scale: f32,
        /// What lies behind the own position is not computed.
        causal: bool,
    },
    /// Means of values (second input, `[heads * d, T, 1]`) weighted by the first, `[heads * T, T, 1]`: `[heads * d, T, 1]`.
    Context {
        /// Heads.
        heads: u16,
        /// What lies behind the own position counts as 0.
        causal: bool,
    },
}

/// A window that slides over height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Height and width, at least 1.
    pub kernel: [u8; 2],
    /// Steps, at least 1.
    pub stride: [u8; 2],
    /// Top, left, bottom, right; each less than the (dilated) kernel.
    pub padding: [u8; 4],
    /// Distance of neighbouring entries, at least 1.
    pub dilation: [u8; 2],
}

impl Window {
    /// The same on both axes.
    pub const fn square(kernel: u8, stride: u8, padding: u8) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 4], dilation: [1; 2] }
    }

    /// One position: what makes a [`LayerSpec::Conv2d`] a dense layer of each position.
    pub const POINT: Self = Self::square(1, 1, 0);
}

/// How a weight is stored and computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Entries that are not pruned; all of them if nothing is pruned.
    pub live: u32,
    /// Which loops run.
    pub path: Path,
}

/// Loops over every weight, or over the live ones: how they are listed and in which order they lie in memory. A checkpoint
/// and a report carry live weights in the same order, row by row, whatever the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Path {
    /// The whole matrix; pruned entries are held at zero. Faster above the [`crossover`](Path::crossover).
    Dense,
    /// Compressed rows: memory and time in proportion to the live weights. Any mask; those of N:M groups run here too.
    Sparse,
    /// Blocks of four consecutive outputs by one input, which live or die together: one column for four weights. Of
    /// [`LayerSpec::Dense`] alone, with outputs that four divides; a mask that has other than whole blocks is refused. (The
    /// blocks of other layers run as [`Sparse`](Self::Sparse).)
    Block,
}

impl Path {
    /// The density up to which a training step runs faster over compressed rows than over all weights: the measured crossover,
    /// for a batch and for a convolution or another layer. Memory speaks for [`Sparse`](Path::Sparse) at any density below 1.
    ///
    /// | batch | fully connected, 64 to 1024 inputs | 3x3 convolution |
    /// |---|---|---|
    /// | 1 | 45 to 58 % | 77 % and more |
    /// | 2 to 7 | below 8 to 50 % | as above |
    /// | 8, 16, 32 | 40 to 69 % | 93 % |
    /// | 9 to 15 | 8 to 38 % | as above |
    /// | 24, more whole eights | 35 to 46 % | as above |
    /// | other | 24 to 33 % | as above |
    ///
    /// Where a step (forward, both gradients, update in place) took as long as one of the dense loops on one core of an AMD EPYC
    /// (family 26, AVX-512) that had other work; the values are at the lower end. The fully connected layers by
    /// `siskin bench sparse --sizes 64,128,512,1024 --batches 1,2,4,7,8,12,16,32,40 --channels 0 --passes 30 --turn-us 300
    /// --densities 95,85,75,65,55,45,35,25,15,8`, and the same of 64 to 512 inputs with `--batches 1,9,20,24,36,64`.
    pub const fn crossover(batch: u16, convolution: bool) -> f32 {
        match batch {
            _ if convolution => 0.75,
            1 => 0.45,
            8 | 16 | 32 => 0.4,
            2..16 => 0.15,
            _ if batch.is_multiple_of(8) => 0.35,
            _ => 0.25,
        }
    }

    /// As [`crossover`](Self::crossover), of [`Block`](Self::Block) and the dense loops, measured by the same commands. Blocks were
    /// faster than compressed rows of the same density everywhere, by a third to two thirds of the time.
    ///
    /// | batch | fully connected, 64 to 1024 inputs |
    /// |---|---|
    /// | 1 | 90 to 95 % |
    /// | 2 to 7 | 38 to 95 % |
    /// | 8, 16, 32 | 68 to 95 % |
    /// | 9 to 15 | 46 to 77 % |
    /// | other | 58 to 72 % |
    pub const fn block_crossover(batch: u16) -> f32 {
        match batch {
            1 => 0.9,
            8 | 16 | 32 => 0.65,
            2..8 => 0.4,
            9..16 => 0.45,
            _ => 0.55,
        }
    }
}

/// The loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Loss {
    /// Softmax cross-entropy over the channels, mean over positions and batch; a class for each position.
    SoftmaxCrossEntropy,
    /// Binary cross-entropy of logits, mean over outputs and batch; a number in `[0, 1]` for each output.
    BinaryCrossEntropy,
    /// Mean squared error over outputs and batch; a number for each output.
    MeanSquaredError,
}

impl LayerSpec {
    /// Inputs that it takes.
    pub const fn inputs(&self) -> usize {
        match self {
            Self::Add | Self::Mul | Self::Concat | Self::Scores { .. } | Self::Context { .. } => 2,
            _ => 1,
        }
    }

    /// How its weights are stored: at most two of its tensors can be pruned.
    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        let pair = match self {
            Self::Dense { weights, .. } | Self::Conv2d { weights, .. } | Self::Embedding { weights, .. } => {
                [Some(weights), None]
            }
            Self::Gru { weights, recurrent, .. } | Self::Lstm { weights, recurrent, .. } => {
                [Some(weights), Some(recurrent)]
            }
            _ => [None, None],
        };
        pair.into_iter().flatten()
    }

    /// [`storages`](Self::storages), to change.
    pub fn storages_mut(&mut self) -> impl Iterator<Item = &mut Storage> {
        let pair = match self {
            Self::Dense { weights, .. } | Self::Conv2d { weights, .. } | Self::Embedding { weights, .. } => {
                [Some(weights), None]
            }
            Self::Gru { weights, recurrent, .. } | Self::Lstm { weights, recurrent, .. } => {
                [Some(weights), Some(recurrent)]
            }
            _ => [None, None],
        };
        pair.into_iter().flatten()
    }

    /// A name for people, in lower case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Conv2d { .. } => "conv2d",
            Self::MaxPool(_) => "max pool",
            Self::AveragePool { .. } => "average pool",
            Self::GlobalAveragePool => "global average pool",
            Self::Relu => "relu",
            Self::LeakyRelu { .. } => "leaky relu",
            Self::Clip { .. } => "clip",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Gelu => "gelu",
            Self::HardSwish => "hard swish",
            Self::Softmax { .. } => "softmax",
            Self::LogSoftmax => "log softmax",
            Self::BatchNorm => "batch norm",
            Self::LayerNorm { .. } => "layer norm",
            Self::GroupNorm { .. } => "group norm",
            Self::Dropout { .. } => "dropout",
            Self::Embedding { .. } => "embedding",
            Self::Gru { .. } => "gru",
            Self::Lstm { .. } => "lstm",
            Self::Add => "add",
            Self::Mul => "mul",
            Self::Concat => "concat",
            Self::Affine { .. } => "affine",
            Self::Offset => "offset",
            Self::Reshape { .. } => "reshape",
            Self::Flatten => "flatten",
            Self::Transpose { .. } => "transpose",
            Self::Last => "last",
            Self::Scores { .. } => "scores",
            Self::Context { .. } => "context",
        }
    }
}
