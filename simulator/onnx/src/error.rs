//! One line for each way in which a model can be refused: what, where, why.

/// A node of the file, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName {
    /// Its operator, `Conv`, with its domain where that is not ONNX's own.
    pub operator: String,
    /// Its name, or the name of its first output where it has none.
    pub name: String,
}

impl std::fmt::Display for NodeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A file chooses the names: no line break or control character of theirs must reach a terminal.
        write!(f, "node `{}` ({})", self.name.escape_debug(), self.operator.escape_debug())
    }
}

/// Names, for a message.
fn listed(names: &[String]) -> String {
    names.iter().map(|n| n.escape_debug().to_string()).collect::<Vec<_>>().join(", ")
}

/// Why a file was not imported.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The bytes are no ONNX model.
    #[error("not an ONNX file: {why}")]
    Malformed {
        /// What the parser said.
        why: String,
    },
    /// More parts than any network of siskin can need.
    #[error(
        "its nodes, attributes and tensors take more than {limit} bytes, without any numbers: no network needs so many"
    )]
    TooManyParts {
        /// Bytes that they may take.
        limit: usize,
    },
    /// The file does not say which version of the operators it means.
    #[error("no opset import for ONNX's own operators: their meaning is unknown; export the model again")]
    NoOpset,
    /// A version whose operators are not known here.
    #[error("opset {got} is not supported, only {least} to {most}")]
    Opset {
        /// The file's.
        got: i64,
        /// First that is understood.
        least: i64,
        /// Last that is understood.
        most: i64,
    },
    /// One name for two values.
    #[error("value `{}` is made twice, the second time by {second}: an ONNX graph gives each value once", name.escape_debug())]
    Twice {
        /// The value.
        name: String,
        /// The node, or `an initialiser`.
        second: String,
    },
    /// Several outputs, or none, and none was chosen.
    #[error("the model has {} outputs; name the one to train: {}", names.len(), listed(names))]
    ChooseOutput {
        /// They all.
        names: Vec<String>,
    },
    /// The chosen output is not there.
    #[error("no output `{}`; there are: {}", name.escape_debug(), listed(names))]
    NoSuchOutput {
        /// What was asked for.
        name: String,
        /// What there is.
        names: Vec<String>,
    },
    /// The input cannot be what a network is fed with.
    #[error("input `{}`: {why}", name.escape_debug())]
    Input {
        /// The input.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A tensor of numbers is wrong in itself.
    #[error("initialiser `{}`: {why}", name.escape_debug())]
    Initializer {
        /// The tensor.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// An operator that no layer stands for.
    #[error("{node}: operator {} is not supported", node.operator.escape_debug())]
    Operator {
        /// The node.
        node: NodeName,
    },
    /// An operator used in a way that no layer stands for.
    #[error("{node}: {why}")]
    Node {
        /// The node.
        node: NodeName,
        /// What is wrong.
        why: String,
    },
    /// A node feeds itself.
    #[error("{node}: the graph is cyclic, the node feeds itself")]
    Cycle {
        /// A node of the cycle.
        node: NodeName,
    },
    /// A value that nothing makes.
    #[error("{node}: its input `{}` is made nowhere", value.escape_debug())]
    Missing {
        /// Who wants it.
        node: NodeName,
        /// The value.
        value: String,
    },
    /// One number of the file would have to train in two places.
    #[error(
        "initialiser `{}` is shared by node `{}` and node `{}`: tied weights cannot be trained",
        initializer.escape_debug(), first.escape_debug(), second.escape_debug()
    )]
    Tied {
        /// The tensor.
        initializer: String,
        /// One user.
        first: String,
        /// The other.
        second: String,
    },
    /// More layers than a plan may have.
    #[error("{got} layers, but a plan may have {limit}")]
    Layers {
        /// Layers needed.
        got: usize,
        /// Layers that a plan holds.
        limit: usize,
    },
    /// A `from` that reaches too far back.
    #[error("{node}: it reads what was made {got} layers before, and at the most {limit} can be bridged")]
    Distance {
        /// The reader.
        node: String,
        /// Layers in between.
        got: usize,
        /// The most.
        limit: usize,
    },
    /// The output does not fit the loss, or none was given and the output does not tell.
    #[error("{why}")]
    Loss {
        /// What is wrong.
        why: String,
    },
    /// No plan can hold the network.
    #[error("the network cannot be a plan: {why}")]
    Network {
        /// What is wrong.
        why: String,
    },
    /// The network depends on how many examples are in a batch.
    #[error("the network is another one for another batch size: {why}")]
    Batch {
        /// What differs.
        why: String,
    },
}

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The original file is not what it was.
    #[error(transparent)]
    Original(#[from] ImportError),
    /// Tensors of another network.
    #[error("{got} tensors of parameters, but the model has {expected}")]
    Tensors {
        /// The model's.
        expected: usize,
        /// The caller's.
        got: usize,
    },
    /// A tensor of another size.
    #[error("{tensor}: {got} values, but the model has {expected}")]
    Length {
        /// Which tensor.
        tensor: String,
        /// The model's.
        expected: usize,
        /// The caller's.
        got: usize,
    },
    /// NaN or infinity.
    #[error("{tensor}: value {index} is {value}, not a finite number")]
    NotFinite {
        /// Which tensor.
        tensor: String,
        /// Which entry.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The written file would not compute what the trained network does.
    #[error(
        "{tensor}: its numbers are used a second time where they do not train, so the file cannot hold what was trained"
    )]
    Unfaithful {
        /// Which tensor.
        tensor: String,
    },
    /// A tensor that never trains differs from the file's.
    #[error("{tensor}: it does not train, but value {index} differs from the file's")]
    Fixed {
        /// Which tensor.
        tensor: String,
        /// The first entry that differs.
        index: usize,
    },
}

/// Why tract did not run a model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The file is wrong, or tract refused it.
    #[error("{why}")]
    Refused {
        /// What is wrong.
        why: String,
    },
    /// The input's size is no multiple of an example's.
    #[error("{got} input values are not {batch} examples of {example}")]
    Input {
        /// Values given.
        got: usize,
        /// Examples of a batch.
        batch: usize,
        /// Values of an example.
        example: usize,
    },
}
