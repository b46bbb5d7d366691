//! The part of a checkpoint that goes through the range coder: what changed in the masks, and the values.

use super::{CheckpointError, mask_bytes};
use crate::model::{Graph, Tensor};
use crate::range_coder::{Among, DecodeError, DecodeTensors, Decoder};
use crate::report::support;

/// The entries of a tensor's mask that lived; in blocks the first row stands for all.
pub(super) fn lived<'m>(tensor: &Tensor, old: &'m [u8]) -> Among<'m> {
    Among::new(old, [tensor.pattern_rows(), tensor.cols as usize], tensor.pattern_height(), true)
}

/// Reads what changed in the masks `old` of all tensors to the patterns that they make.
#[inline(never)]
pub(super) fn decode_changes(
    decoder: &mut Decoder<'_>,
    graph: &Graph,
    mut old: &[u8],
    (row_ptrs, columns): (&mut [u32], &mut [u16]),
) -> Result<(), CheckpointError> {
    for (index, tensor) in graph.tensors.iter().enumerate().filter(|(_, t)| t.has_pattern()) {
        let (own, rest) = old.split_at_checked(mask_bytes(tensor)).unwrap_or((old, &[]));
        old = rest;
        let row_ptrs = &mut row_ptrs[tensor.row_ptr_at as usize..][..tensor.pattern_rows() + 1];
        let columns = &mut columns[tensor.cols_at as usize..][..tensor.pattern_columns()];
        let (lived, cols, expected) = (lived(tensor, own), tensor.cols as usize, columns.len());
        let mut left = Survivors { lived, old: own, cols, row_ptrs, columns, place: 0, live: 0 };
        decoder.changes(lived, &mut |place| left.dies(place)).map_err(CheckpointError::Coded)?;
        let mut all = left.then_born();
        decoder.changes(lived.others(), &mut |place| all.born(place)).map_err(CheckpointError::Coded)?;
        let got = all.finish();
        if got != expected {
            let got = (got * tensor.pattern_height()) as u32;
            return Err(CheckpointError::Live { tensor: index as u8, expected: tensor.live, got });
        }
    }
    Ok(())
}

/// Makes the pattern of the entries that lived and go on to.
struct Survivors<'m> {
    lived: Among<'m>,
    old: &'m [u8],
    cols: usize,
    row_ptrs: &'m mut [u32],
    columns: &'m mut [u16],
    /// The entry that comes next.
    place: usize,
    /// Entries of the pattern; those beyond its room are counted only.
    live: usize,
}

impl<'m> Survivors<'m> {
    fn dies(&mut self, place: usize) {
        self.until(place);
        self.next(false);
    }

    fn until(&mut self, end: usize) {
        while self.place < end {
            self.next(self.lived.bit(self.old, self.place));
        }
    }

    fn next(&mut self, lives: bool) {
        let (row, col) = (self.place / self.cols, self.place % self.cols);
        if col == 0 {
            self.row_ptrs[row] = self.live as u32;
        }
        if lives {
            if let Some(slot) = self.columns.get_mut(self.live) {
                *slot = col as u16;
            }
            self.live += 1;
        }
        self.place += 1;
    }

    /// All that died is known. The survivors move to the end of their room, and leave at its front as much as is born.
    fn then_born(mut self) -> Born<'m> {
        let rows = self.row_ptrs.len() - 1;
        self.until(rows * self.cols);
        self.row_ptrs[rows] = self.live as u32;
        let (room, live) = (self.columns.len(), self.live);
        let shift = room.saturating_sub(live);
        self.columns.copy_within(..room - shift, shift);
        let Self { cols, row_ptrs, columns, .. } = self;
        let mut born = Born {
            cols,
            row_ptrs,
            columns,
            shift,
            row: 0,
            from: shift,
            end: shift,
            to: 0,
            over: live.saturating_sub(room),
        };
        born.begin_row();
        born
    }
}

/// Merges those that are born with the survivors, which lie behind them.
struct Born<'m> {
    cols: usize,
    row_ptrs: &'m mut [u32],
    columns: &'m mut [u16],
    /// Where the first survivor was.
    shift: usize,
    row: usize,
    /// The next survivor, and the end of those of the row.
    from: usize,
    end: usize,
    /// Where the next entry of the pattern goes: never beyond the next survivor.
    to: usize,
    /// Entries for which there is no room.
    over: usize,
}

impl Born<'_> {
    fn born(&mut self, place: usize) {
        let (row, col) = (place / self.cols, place % self.cols);
        while self.row < row {
            self.end_row();
        }
        while self.from < self.end && usize::from(self.columns[self.from]) < col {
            self.survives();
        }
        if self.to < self.from {
            self.columns[self.to] = col as u16;
            self.to += 1;
        } else {
            self.over += 1;
        }
    }

    fn survives(&mut self) {
        self.columns[self.to] = self.columns[self.from];
        (self.from, self.to) = (self.from + 1, self.to + 1);
    }

    /// The survivors' row pointers are those behind the rows that are done.
    fn begin_row(&mut self) {
        let end = self.row_ptrs.get(self.row + 1).map_or(0, |end| *end as usize);
        self.end = (self.shift + end).min(self.columns.len());
    }

    fn end_row(&mut self) {
        while self.from < self.end {
            self.survives();
        }
        self.row += 1;
        self.row_ptrs[self.row] = self.to as u32;
        self.begin_row();
    }

    /// Gives how many entries the pattern has, or would have if it had room.
    fn finish(mut self) -> usize {
        while self.row + 1 < self.row_ptrs.len() {
            self.end_row();
        }
        self.to + self.over
    }
}

/// Reads values in steps to where those of floats come.
#[inline(never)]
pub(super) fn decode_values(
    decoder: &mut Decoder<'_>,
    graph: &Graph,
    (row_ptrs, columns): (&[u32], &[u16]),
    step: f32,
    values: &mut [f32],
) -> Result<(), DecodeError> {
    let mut before = 0;
    for tensor in &graph.tensors {
        let values = &mut values[tensor.range()];
        // Only nonzero values are told.
        values.fill(0.0);
        let live = tensor.live(row_ptrs, columns);
        decoder.tensor(&support(tensor, row_ptrs, columns), |index, symbol| {
            values[live.stored_at(index - before)] = symbol as f32 * step;
        })?;
        before += tensor.live as usize;
    }
    Ok(())
}
