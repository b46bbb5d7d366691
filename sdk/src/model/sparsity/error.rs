//! Why no mask was made.

/// Why no mask was made. Nothing has been written when one of these is returned.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SparsityError {
    /// The sparsity is not a number in `[0, 1]`.
    SparsityOutOfRange {
        /// What was asked for.
        got: f32,
    },
    /// The fraction of live params to replace is not a number in `[0, 1]`.
    DropFractionOutOfRange {
        /// What was asked for.
        got: f32,
    },
    /// More scores than a `u32` can index.
    TooManyScores {
        /// How many there were; `usize::MAX` where a `usize` cannot count them.
        got: usize,
    },
    /// The scratch is too small.
    ScratchTooSmall {
        /// Words needed.
        expected: usize,
        /// Words lent.
        got: usize,
    },
    /// The mask does not have one bit per score.
    MaskLength {
        /// Scores.
        expected: usize,
        /// Bits of the mask.
        got: usize,
    },
    /// Gradients, Fisher information or optimizer state of another length than what they belong to.
    Length {
        /// Params.
        expected: usize,
        /// Values given.
        got: usize,
    },
    /// The shape does not have as many entries as there are scores.
    ShapeSize {
        /// Scores.
        expected: usize,
        /// Product of the shape.
        got: usize,
    },
    /// The tensor has no such axis.
    NoSuchAxis {
        /// Axes of the tensor.
        rank: usize,
        /// What was asked for; negative counts from the last one.
        got: i32,
    },
    /// N:M with `n` above `m`, or none of `m`.
    NOfM {
        /// Those that live.
        n: u16,
        /// Of so many.
        m: u16,
    },
    /// N:M along an axis whose length is not a multiple of `m`.
    NotDivisible {
        /// `m`.
        expected: usize,
        /// Length of the axis.
        got: usize,
    },
    /// A block without entries.
    EmptyBlock {
        /// Its rows.
        rows: u16,
        /// Its columns.
        cols: u16,
    },
    /// The sum of a client's saliency is not a finite number.
    SaliencyNotFinite,
    /// More examples than the sum over clients can hold.
    TooManyExamples {
        /// The most.
        expected: u32,
        /// What they would be.
        got: u64,
    },
}

impl core::fmt::Display for SparsityError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::SparsityOutOfRange { got } => write!(f, "sparsity {got} is not in [0, 1]"),
            Self::DropFractionOutOfRange { got } => write!(f, "drop fraction {got} is not in [0, 1]"),
            Self::TooManyScores { got } => write!(f, "{got} scores are more than a u32 can index"),
            Self::ScratchTooSmall { expected, got } => write!(f, "scratch holds {got} words, {expected} are needed"),
            Self::MaskLength { expected, got } => write!(f, "mask has {got} bits for {expected} scores"),
            Self::Length { expected, got } => write!(f, "{got} values for {expected} params"),
            Self::ShapeSize { expected, got } => write!(f, "the shape has {got} entries for {expected} scores"),
            Self::NoSuchAxis { rank, got } => write!(f, "axis {got} of a tensor with {rank} axes"),
            Self::NOfM { n, m } => write!(f, "{n}:{m} sparsity: n must be between 1 and m"),
            Self::NotDivisible { expected, got } => {
                write!(f, "an axis of {got} entries is not a multiple of {expected}")
            }
            Self::EmptyBlock { rows, cols } => write!(f, "a block of {rows} x {cols} has no entries"),
            Self::SaliencyNotFinite => write!(f, "the saliency of a client is not finite"),
            Self::TooManyExamples { expected, got } => write!(f, "{got} examples, {expected} at the most"),
        }
    }
}

impl core::error::Error for SparsityError {}
