//! The checkpoint: mask and values of every tensor and the start of the report's coder, read as a stream into the arena.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `53 4B 43 50` |
//! | 1 | version, 3 |
//! | 1 | form: 0 whole masks, 1 changes |
//! | 2 | zero |
//! | 4 | round, little-endian |
//! | 4 | number of values that follow, little-endian |
//! | 4, 4 | only of form 1: fingerprints of the masks that change and of those that they become, little-endian |
//! | per tensor | if it has a mask: of form 0 one bit per entry, row-major, least significant bit first, zero padding to a byte |
//! | | of form 1, unless the plan says that values are coded, what changed in it, as [`write_mask_diff`](crate::model::sparsity::write_mask_diff) says |
//! | | then, unless the plan says that values are coded, its live values, IEEE 754 single precision, little-endian, row-major whatever the path |
//! | of the plan | the [start](crate::range_coder::Start) of the report's coder |
//! | to the end | only where values are coded: of form 1 what changed in the masks, then all values in steps of the plan, in one stream of the [range coder](crate::range_coder) |
//!
//! A fingerprint is the XXH32 (seed 0) of the masks of all tensors that have one, as form 0 carries them, one after the other.

mod coded;
mod kept_mask;
mod pattern;
mod reader;
mod write;

pub use kept_mask::KeptMask;
pub(crate) use kept_mask::{KEPT_MASK_HEADER, write_kept_mask};
pub(crate) use reader::{CheckpointReader, Download, each_mask, restore_masks};
pub use write::{
    Tail, changes_len, checkpoint_masks, code_values, whole_len, write_changes, write_checkpoint, write_whole,
};

use crate::model::sparsity::MaskDiffError;
use crate::model::{Graph, Tensor};
use crate::range_coder::{DecodeError, StartError};

const MAGIC: [u8; 4] = *b"SKCP";
const VERSION: u8 = 3;

/// Length of the part before the first tensor, bytes.
const HEADER: usize = 16;
/// The same in the form of changes.
const CHANGES_HEADER: usize = 24;

/// The form with whole masks.
const WHOLE: u8 = 0;
/// The form with what changed in them.
const CHANGES: u8 = 1;

/// What is wrong with a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CheckpointError {
    /// It does not begin like one of this version.
    Header,
    /// It belongs to another round than the plan.
    Round {
        /// Round of the plan.
        expected: u32,
        /// What the checkpoint says.
        got: u32,
    },
    /// Its length is not the one that follows from the plan, or from the changes in it.
    Length {
        /// Bytes that follow from it; of changes that are longer than whole masks, or not all there, the limit.
        expected: u32,
        /// Bytes announced or there.
        got: u32,
    },
    /// It has the changes of masks that this device does not have.
    Base {
        /// Fingerprint of the masks that the device kept, if it did.
        kept: Option<u32>,
        /// What the task or the checkpoint says.
        got: u32,
    },
    /// The bytes are no change of a mask.
    Change {
        /// Index of the tensor.
        tensor: u8,
        /// Why.
        source: MaskDiffError,
    },
    /// The changes make other masks than the server has.
    Fingerprint {
        /// What the checkpoint says.
        expected: u32,
        /// Of the masks that the changes made.
        got: u32,
    },
    /// A mask keeps another number of entries than the plan says.
    Live {
        /// Index of the tensor.
        tensor: u8,
        /// Live entries of the plan.
        expected: u32,
        /// Bits set, at least.
        got: u32,
    },
    /// A mask has other than whole blocks where the plan says blocks.
    Block {
        /// Index of the tensor.
        tensor: u8,
        /// Row of the matrix that does not live where the first row of its block does.
        row: u32,
        /// The next column that lives in that first row; the number of columns if none does.
        expected: u32,
        /// The next column that lives in this row; the number of columns if that one does not live here.
        got: u32,
    },
    /// Bits behind the last entry of a mask are set.
    Padding {
        /// Index of the tensor.
        tensor: u8,
    },
    /// The start of the coder is none.
    Start(StartError),
    /// What is coded, the values or what changed in the masks, does not decode.
    Coded(DecodeError),
    /// A value is NaN or infinite.
    NotFinite {
        /// Which one, over all values.
        index: u32,
    },
}

impl core::fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Header => write!(f, "not a checkpoint of version {VERSION}"),
            Self::Round { expected, got } => write!(f, "checkpoint of round {got}, the plan is for round {expected}"),
            Self::Length { expected, got } => write!(f, "checkpoint of {got} bytes, the plan needs {expected}"),
            Self::Base { kept: Some(kept), got } => {
                write!(f, "changes of the masks {got:08x}, this device has the masks {kept:08x}")
            }
            Self::Base { kept: None, got } => write!(f, "changes of the masks {got:08x}, this device has none"),
            Self::Change { tensor, source } => write!(f, "mask of tensor {tensor}: {source}"),
            Self::Fingerprint { expected, got } => {
                write!(f, "the changes make the masks {got:08x}, they should make {expected:08x}")
            }
            Self::Live { tensor, expected, got } => {
                write!(f, "mask of tensor {tensor} keeps {got} entries, the plan says {expected}")
            }
            Self::Block { tensor, row, expected, got } => write!(
                f,
                "mask of tensor {tensor} has no whole blocks: in row {row} column {got} comes next, in its block column {expected}"
            ),
            Self::Padding { tensor } => write!(f, "mask of tensor {tensor} has bits behind its last entry"),
            Self::Start(e) => write!(f, "the checkpoint brings {e}"),
            Self::Coded(e) => write!(f, "what is coded in the checkpoint: {e}"),
            Self::NotFinite { index } => write!(f, "value {index} of the checkpoint is not finite"),
        }
    }
}

impl core::error::Error for CheckpointError {}

const fn mask_bytes(tensor: &Tensor) -> usize {
    if tensor.has_pattern() { tensor.size().div_ceil(8) } else { 0 }
}

/// Length of the masks of all tensors that have one, bytes.
pub fn masks_len(graph: &Graph) -> usize {
    graph.tensors.iter().map(mask_bytes).sum()
}

/// Length of a checkpoint with whole masks, bytes. One with changes is shorter.
pub fn checkpoint_len(graph: &Graph) -> usize {
    HEADER + graph.tensors.iter().map(|t| mask_bytes(t) + 4 * t.live as usize).sum::<usize>()
}
