//! One parameter tensor: its shape, how it is stored, where it lies.

use crate::checkin::{MAX_LAYERS, Path};
use crate::model::kernel::{BLOCK, Pattern};
use crate::model::mask::Live;

/// Tensors of a network.
pub const MAX_TENSORS: usize = 2 * MAX_LAYERS;

/// What a tensor is to its layer, in the order in which those of one layer travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The weight, `[rows, cols]` as the layer says.
    Weight,
    /// The weight of the state of a recurrent layer.
    Recurrent,
    /// Added to the product with the weight.
    Bias,
    /// Added to the product with the recurrent weight.
    RecurrentBias,
    /// Factor a channel.
    Scale,
    /// Summand a channel.
    Shift,
    /// Mean a channel; never trains.
    Mean,
    /// One over the standard deviation a channel; never trains.
    InverseDeviation,
    /// Summand a feature.
    Offset,
}

impl Role {
    /// False for statistics.
    pub const fn trains(self) -> bool {
        !matches!(self, Self::Mean | Self::InverseDeviation)
    }

    /// True for what `Train::Bias` trains.
    pub const fn is_bias(self) -> bool {
        matches!(self, Self::Bias | Self::RecurrentBias | Self::Shift)
    }

    /// True for matrices, which pruning is for.
    pub const fn prunes(self) -> bool {
        matches!(self, Self::Weight | Self::Recurrent)
    }

    /// A name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Recurrent => "recurrent weight",
            Self::Bias => "bias",
            Self::RecurrentBias => "recurrent bias",
            Self::Scale => "scale",
            Self::Shift => "shift",
            Self::Mean => "mean",
            Self::InverseDeviation => "inverse deviation",
            Self::Offset => "offset",
        }
    }
}

/// One parameter tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tensor {
    /// Rows: outputs of a weight, 1 for a vector.
    pub rows: u32,
    /// Columns: inputs (times kernel) of a weight, the length of a vector.
    pub cols: u32,
    /// Entries that are not pruned.
    pub live: u32,
    /// Which loops run over it.
    pub path: Path,
    /// What it is to its layer.
    pub role: Role,
    /// Index of its layer.
    pub node: u8,
    /// True if it trains; only then a report carries it.
    pub trained: bool,
    /// First entry in the arrays of stored values.
    pub(crate) at: u32,
    /// First row pointer in the pattern, if there is one.
    pub(crate) row_ptr_at: u32,
    /// First column in the pattern, if there is one.
    pub(crate) cols_at: u32,
}

impl Tensor {
    /// `rows * cols`.
    pub const fn size(&self) -> usize {
        self.rows as usize * self.cols as usize
    }

    /// Values held in memory: the live ones, or all of them where the dense loops run.
    pub const fn stored(&self) -> usize {
        match self.path {
            Path::Dense => self.size(),
            Path::Sparse | Path::Block => self.live as usize,
        }
    }

    /// Where its values lie among those of all tensors.
    pub const fn range(&self) -> core::ops::Range<usize> {
        self.at as usize..self.at as usize + self.stored()
    }

    /// True if the live entries are listed in a pattern (compressed rows or blocks).
    pub const fn has_pattern(&self) -> bool {
        matches!(self.path, Path::Sparse | Path::Block) || (self.live as usize) < self.size()
    }

    /// True if pruned entries are held at zero in a dense array.
    pub const fn is_masked(&self) -> bool {
        matches!(self.path, Path::Dense) && (self.live as usize) < self.size()
    }

    /// Rows that share a list of columns: those of a block, or one.
    pub const fn pattern_height(&self) -> usize {
        if matches!(self.path, Path::Block) { BLOCK } else { 1 }
    }

    /// Lists of columns in its pattern.
    pub(crate) const fn pattern_rows(&self) -> usize {
        self.rows as usize / self.pattern_height()
    }

    /// Columns listed in its pattern.
    pub(crate) const fn pattern_columns(&self) -> usize {
        self.live as usize / self.pattern_height()
    }

    /// The live entries of this tensor, from the patterns of all; empty if it has none. Where the path is
    /// [`Path::Block`] these are the lists of a [`BlockPattern`](crate::model::kernel::BlockPattern).
    pub fn pattern<'a>(&self, row_ptrs: &'a [u32], columns: &'a [u16]) -> Pattern<'a> {
        if !self.has_pattern() {
            return Pattern { row_ptr: &[], cols: &[] };
        }
        Pattern {
            row_ptr: &row_ptrs[self.row_ptr_at as usize..][..self.pattern_rows() + 1],
            cols: &columns[self.cols_at as usize..][..self.pattern_columns()],
        }
    }

    /// Where its live value number `index`, counted row by row as a checkpoint and a report carry them, lies among its
    /// stored ones; of a dense array, where its entry number `index` lies. Blocks cost a binary search.
    pub fn stored_at(&self, row_ptrs: &[u32], index: usize) -> usize {
        if matches!(self.path, Path::Block) {
            let row_ptr = &row_ptrs[self.row_ptr_at as usize..][..self.pattern_rows() + 1];
            Live { pattern: Pattern { row_ptr, cols: &[] }, height: BLOCK }.stored_at(index)
        } else {
            index
        }
    }

    /// The live entries of this tensor, row by row.
    pub(crate) fn live<'a>(&self, row_ptrs: &'a [u32], columns: &'a [u16]) -> Live<'a> {
        Live { pattern: self.pattern(row_ptrs, columns), height: self.pattern_height() }
    }
}
