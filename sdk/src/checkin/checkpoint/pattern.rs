//! From the bits of a mask to row pointers and columns.

use super::CheckpointError;
use crate::arena::{Arena, MemoryPlan, cast};
use crate::model::Tensor;

/// Writes the pattern of one tensor, entry after entry.
pub(super) struct PatternWriter<'m> {
    /// One more than the pattern has lists.
    row_ptrs: &'m mut [u32],
    /// As many as the plan says that entries, or blocks of them, live.
    columns: &'m mut [u16],
    /// Rows that share a list.
    height: usize,
    /// Live entries of the plan.
    most: u32,
    cols: usize,
    row: usize,
    col: usize,
    pub(super) live: u32,
    tensor: u8,
}

impl<'m> PatternWriter<'m> {
    /// Goes on at entry `position`, before which `live` entries live.
    pub(super) fn new(
        tensor: &Tensor,
        index: u8,
        position: usize,
        live: u32,
        memory: &MemoryPlan,
        arena: &'m mut Arena<'_>,
    ) -> Self {
        let (cols, height) = (tensor.cols as usize, tensor.pattern_height());
        let [row_ptrs, columns] = arena.split([memory.row_ptrs, memory.columns]);
        let row_ptrs: &mut [u32] = &mut cast(row_ptrs)[tensor.row_ptr_at as usize..][..tensor.pattern_rows() + 1];
        let columns = &mut cast(columns)[tensor.cols_at as usize..][..tensor.pattern_columns()];
        if position == 0 {
            row_ptrs[0] = 0;
        }
        let (row, col, most) = (position / cols, position % cols, tensor.live);
        Self { row_ptrs, columns, height, most, cols, row, col, live, tensor: index }
    }

    /// The next entry; no more than the tensor has.
    pub(super) fn push(&mut self, lives: bool) -> Result<(), CheckpointError> {
        let (list, row) = (self.row / self.height, self.row % self.height);
        if row > 0 {
            return self.repeat(list, row, lives);
        }
        let first = self.row_ptrs[list];
        // The rows of the lists before are complete.
        let next = first.wrapping_add(self.live.wrapping_sub(first.wrapping_mul(self.height as u32)));
        if lives {
            let Some(slot) = self.columns.get_mut(next as usize) else {
                // A column more than there are lists: as many entries more as rows have that list.
                let got = next.wrapping_add(1).wrapping_mul(self.height as u32);
                return Err(CheckpointError::Live { tensor: self.tensor, expected: self.most, got });
            };
            *slot = self.col as u16;
            self.live += 1;
        }
        self.col += 1;
        if self.col == self.cols {
            (self.row, self.col) = (self.row + 1, 0);
            self.row_ptrs[list + 1] = next.wrapping_add(u32::from(lives));
        }
        Ok(())
    }

    /// The next entry of a row that must have the columns of the first row of its blocks.
    fn repeat(&mut self, list: usize, row: usize, lives: bool) -> Result<(), CheckpointError> {
        let (first, end) = (self.row_ptrs[list], self.row_ptrs[list + 1]);
        // What lived in the first rows of the list, and of this one. A forged save may have any row pointers.
        let before =
            first.wrapping_mul(self.height as u32).wrapping_add(end.wrapping_sub(first).wrapping_mul(row as u32));
        let next = first.wrapping_add(self.live.wrapping_sub(before));
        let expected = self.columns.get(next as usize).filter(|_| next < end).map_or(self.cols, |c| usize::from(*c));
        // Entries come in order: the next that must live is here, or further on.
        if lives != (expected == self.col) {
            let got = if lives { self.col } else { self.cols };
            let (expected, got) = (expected as u32, got as u32);
            return Err(CheckpointError::Block { tensor: self.tensor, row: self.row as u32, expected, got });
        }
        self.live += u32::from(lives);
        self.col += 1;
        if self.col == self.cols {
            (self.row, self.col) = (self.row + 1, 0);
        }
        Ok(())
    }
}
