//! The checkpoint: mask and values of every tensor, read as a stream into the arena.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `53 4B 43 50` |
//! | 1 | version, 1 |
//! | 3 | zero |
//! | 4 | round, little-endian |
//! | 4 | number of values that follow, little-endian |
//! | per tensor | if it has a mask: one bit per entry, row-major, least significant bit first, zero padding to a byte |
//! | | then its live values, IEEE 754 single precision, little-endian |

use crate::arena::Arena;
use crate::arena::MemoryPlan;
use crate::model::{Graph, Tensor};
use serde::{Deserialize, Serialize};

const MAGIC: [u8; 4] = *b"SKCP";
const VERSION: u8 = 1;

/// Length of the part before the first tensor, bytes.
const HEADER: usize = 16;

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
    /// Its length is not the one that follows from the plan.
    Length {
        /// Bytes that follow from the plan.
        expected: u32,
        /// Bytes announced or there.
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
    /// Bits behind the last entry of a mask are set.
    Padding {
        /// Index of the tensor.
        tensor: u8,
    },
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
            Self::Live { tensor, expected, got } => {
                write!(f, "mask of tensor {tensor} keeps {got} entries, the plan says {expected}")
            }
            Self::Padding { tensor } => write!(f, "mask of tensor {tensor} has bits behind its last entry"),
            Self::NotFinite { index } => write!(f, "value {index} of the checkpoint is not finite"),
        }
    }
}

impl core::error::Error for CheckpointError {}

const fn mask_bytes(tensor: &Tensor) -> usize {
    if tensor.has_pattern() { tensor.size().div_ceil(8) } else { 0 }
}

/// Length of a whole checkpoint, bytes.
pub fn checkpoint_len(graph: &Graph) -> usize {
    HEADER + graph.tensors.iter().map(|t| mask_bytes(t) + 4 * t.live as usize).sum::<usize>()
}

/// Writes a checkpoint; for servers. `parts` gives, per tensor, its dense row-major values and its mask (one bit per
/// entry, least significant first; ignored for tensors that have none).
///
/// # Errors
/// [`CheckpointError::Length`] if `out` has another length than [`checkpoint_len`] or a tensor another than its shape;
/// [`CheckpointError::Live`] if a mask does not keep what the graph says.
pub fn write_checkpoint<'v>(
    graph: &Graph,
    round: u32,
    parts: impl IntoIterator<Item = (&'v [f32], &'v [u8])>,
    out: &mut [u8],
) -> Result<(), CheckpointError> {
    let expected = checkpoint_len(graph);
    if out.len() != expected {
        return Err(CheckpointError::Length { expected: expected as u32, got: out.len() as u32 });
    }
    out[..4].copy_from_slice(&MAGIC);
    out[4..8].copy_from_slice(&[VERSION, 0, 0, 0]);
    out[8..12].copy_from_slice(&round.to_le_bytes());
    out[12..16].copy_from_slice(&(graph.values as u32).to_le_bytes());
    let mut at = HEADER;
    let mut parts = parts.into_iter();
    for (index, tensor) in graph.tensors.iter().enumerate() {
        let (values, mask) = parts.next().unwrap_or((&[], &[]));
        let masked = tensor.has_pattern();
        let (bytes, size) = (mask_bytes(tensor), tensor.size());
        if values.len() != size || (masked && mask.len() != bytes) {
            return Err(CheckpointError::Length { expected: size as u32, got: values.len() as u32 });
        }
        out[at..at + bytes].copy_from_slice(&mask[..bytes]);
        at += bytes;
        let live = |i: &usize| !masked || mask[i / 8] >> (i % 8) & 1 == 1;
        let got = (0..size).filter(live).count() as u32;
        if got != tensor.live {
            return Err(CheckpointError::Live { tensor: index as u8, expected: tensor.live, got });
        }
        for i in (0..size).filter(live) {
            out[at..at + 4].copy_from_slice(&values[i].to_le_bytes());
            at += 4;
        }
    }
    Ok(())
}

/// Where the stream stands. A small value, so that a download that was cut off can be saved and go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CheckpointReader {
    /// Bytes taken so far.
    offset: u32,
    /// The tensor that is being read.
    tensor: u8,
    /// Bytes of its mask and values taken so far.
    within: u32,
    /// Live entries seen in its mask.
    live: u32,
}

impl CheckpointReader {
    /// Bytes taken so far.
    pub(crate) fn offset(&self) -> u32 {
        self.offset
    }

    /// True if a reader that comes from a saved session stands at a possible place.
    pub(crate) fn is_consistent(&self, graph: &Graph) -> bool {
        let length = |t: &Tensor| mask_bytes(t) + 4 * t.live as usize;
        let index = usize::from(self.tensor);
        let Some(before) = graph.tensors.get(..index) else { return false };
        let (within, live) = graph.tensors.get(index).map_or((0, 0), |t| (length(t), t.live));
        if (self.offset as usize) < HEADER {
            return index == 0 && self.within == 0 && self.live == 0;
        }
        let start = HEADER + before.iter().map(length).sum::<usize>();
        // In this order: `within` is bounded before it is added, which matters where a `usize` has 32 bits.
        (self.within == 0 || (self.within as usize) < within)
            && self.offset as usize == start + self.within as usize
            && self.live <= live
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        round: u32,
        graph: &Graph,
        memory: &MemoryPlan,
        arena: &mut Arena<'_>,
    ) -> Result<(), CheckpointError> {
        while let Some(byte) = bytes.first().filter(|_| (self.offset as usize) < HEADER) {
            self.header_byte(*byte, round, graph)?;
            bytes = &bytes[1..];
            self.offset += 1;
        }
        while !bytes.is_empty() {
            let Some(tensor) = graph.tensors.get(usize::from(self.tensor)) else {
                let expected = checkpoint_len(graph) as u32;
                return Err(CheckpointError::Length { expected, got: self.offset + bytes.len() as u32 });
            };
            let mask = mask_bytes(tensor);
            let end = mask + 4 * tensor.live as usize;
            let within = self.within as usize;
            let limit = if within < mask { mask } else { end };
            let (now, rest) = bytes.split_at(bytes.len().min(limit - within));
            if within < mask {
                self.mask(now, tensor, memory, arena)?;
            } else {
                let at = 4 * tensor.at as usize + within - mask;
                arena.bytes_mut(memory.local.part(at, now.len())).copy_from_slice(now);
            }
            self.within += now.len() as u32;
            self.offset += now.len() as u32;
            bytes = rest;
            if self.within as usize == end {
                (self.tensor, self.within, self.live) = (self.tensor + 1, 0, 0);
            }
        }
        Ok(())
    }

    fn header_byte(&self, byte: u8, round: u32, graph: &Graph) -> Result<(), CheckpointError> {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MAGIC);
        header[4] = VERSION;
        header[8..12].copy_from_slice(&round.to_le_bytes());
        header[12..].copy_from_slice(&(graph.values as u32).to_le_bytes());
        let at = self.offset as usize;
        if header[at] == byte {
            return Ok(());
        }
        Err(match at {
            8..12 => CheckpointError::Round {
                expected: round,
                got: round ^ (u32::from(header[at] ^ byte) << (8 * (at - 8))),
            },
            12.. => CheckpointError::Length { expected: graph.values as u32, got: u32::from(byte) << (8 * (at - 12)) },
            _ => CheckpointError::Header,
        })
    }

    /// Turns bits into row pointers and columns.
    fn mask(
        &mut self,
        bytes: &[u8],
        tensor: &Tensor,
        memory: &MemoryPlan,
        arena: &mut Arena<'_>,
    ) -> Result<(), CheckpointError> {
        let (rows, cols) = (tensor.rows as usize, tensor.cols as usize);
        let [row_ptrs, columns] = arena.split([memory.row_ptrs, memory.columns]);
        let row_ptrs: &mut [u32] = &mut crate::arena::cast(row_ptrs)[tensor.row_ptr_at as usize..][..rows + 1];
        let columns: &mut [u16] = &mut crate::arena::cast(columns)[tensor.cols_at as usize..][..tensor.live as usize];
        let mut position = 8 * self.within as usize;
        if position == 0 {
            row_ptrs[0] = 0;
        }
        let (mut row, mut col) = (position / cols, position % cols);
        for byte in bytes {
            for bit in 0..8 {
                let set = byte >> bit & 1 == 1;
                if position == rows * cols {
                    if set {
                        return Err(CheckpointError::Padding { tensor: self.tensor });
                    }
                    continue;
                }
                if set {
                    let Some(slot) = columns.get_mut(self.live as usize) else {
                        let (expected, got) = (tensor.live, self.live + 1);
                        return Err(CheckpointError::Live { tensor: self.tensor, expected, got });
                    };
                    *slot = col as u16;
                    self.live += 1;
                }
                position += 1;
                col += 1;
                if col == cols {
                    (row, col) = (row + 1, 0);
                    row_ptrs[row] = self.live;
                }
            }
        }
        if position == rows * cols && self.live != tensor.live {
            return Err(CheckpointError::Live { tensor: self.tensor, expected: tensor.live, got: self.live });
        }
        Ok(())
    }

    /// Checks that everything is there, spreads masked tensors over their dense arrays and copies the parameters.
    pub(crate) fn finish(
        self,
        graph: &Graph,
        memory: &MemoryPlan,
        arena: &mut Arena<'_>,
    ) -> Result<(), CheckpointError> {
        let expected = checkpoint_len(graph) as u32;
        if self.offset != expected {
            return Err(CheckpointError::Length { expected, got: self.offset });
        }
        let [row_ptrs, columns, local, global] =
            arena.split([memory.row_ptrs, memory.columns, memory.local, memory.global]);
        let (row_ptrs, columns, local): (&mut [u32], &mut [u16], &mut [f32]) =
            (crate::arena::cast(row_ptrs), crate::arena::cast(columns), crate::arena::cast(local));
        if !graph.patterns_are_valid(row_ptrs, columns) {
            return Err(CheckpointError::Header);
        }
        let mut seen = 0;
        for tensor in &graph.tensors {
            let values = &mut local[tensor.range()];
            let live = &values[..tensor.live as usize];
            if !live.iter().fold(true, |all, v| all & v.is_finite()) {
                let index = live.iter().position(|v| !v.is_finite()).unwrap_or(0);
                return Err(CheckpointError::NotFinite { index: (seen + index) as u32 });
            }
            seen += live.len();
            if tensor.is_masked() {
                crate::model::mask::expand(&tensor.pattern(row_ptrs, columns), tensor.cols as usize, values);
            }
        }
        crate::arena::cast::<f32>(global).copy_from_slice(&local[..graph.trained]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkin::{LayerSpec, Loss, ModelSpec, Path, Storage};

    fn graph() -> Graph {
        // 3 x 3 with 4 live: 2 bytes of mask and 16 of values, then 12 of bias.
        let weights = Storage { live: 4, path: Path::Sparse };
        let layers = [LayerSpec::Dense { outputs: 3, bias: true, weights }.into()].into_iter().collect();
        Graph::new(&ModelSpec { input: [3, 1, 1], layers, loss: Loss::SoftmaxCrossEntropy }).unwrap()
    }

    #[test]
    fn places_that_a_reader_can_be_at() {
        let graph = graph();
        assert_eq!(checkpoint_len(&graph), 16 + 2 + 16 + 12);
        let at = |offset, tensor, within, live| CheckpointReader { offset, tensor, within, live }.is_consistent(&graph);
        assert!(at(0, 0, 0, 0) && at(15, 0, 0, 0) && at(16, 0, 0, 0) && at(17, 0, 1, 4) && at(33, 0, 17, 4));
        assert!(at(34, 1, 0, 0) && at(45, 1, 11, 0) && at(46, 2, 0, 0));
        assert!(!at(3, 0, 3, 0) && !at(3, 1, 0, 0) && !at(3, 0, 0, 1), "nothing is read before the header is");
        assert!(!at(17, 0, 0, 0) && !at(16, 0, 1, 0) && !at(34, 0, 18, 4), "a whole tensor belongs to the next one");
        assert!(!at(17, 0, 1, 5) && !at(46, 2, 0, 1) && !at(47, 2, 1, 0) && !at(46, 3, 0, 0));
        assert!(!at(15, 0, u32::MAX, 0) && !at(16 + 34 - 1, 1, u32::MAX, 0));
    }
}
