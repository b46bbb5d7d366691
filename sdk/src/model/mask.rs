//! Which entries of a tensor live, row by row, and where those in blocks lie. Pruned entries of tensors that run through the
//! dense loops: spread, gather, pin to zero.

use super::kernel::Pattern;
use core::ops::Range;

/// The live entries of a tensor: lists of columns, each of as many rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Live<'a> {
    pub(crate) pattern: Pattern<'a>,
    /// Rows that share a list, at least 1.
    pub(crate) height: usize,
}

impl<'a> Live<'a> {
    /// Where a list lies; empty past the end, or where row pointers are no such.
    fn bounds(&self, list: usize) -> Range<usize> {
        match self.pattern.row_ptr.get(list..).and_then(|rest| rest.first_chunk()) {
            Some(&[from, to]) => from as usize..to as usize,
            None => 0..0,
        }
    }

    /// The columns of a row, ascending; none past the last row.
    pub(crate) fn row(&self, row: usize) -> &'a [u16] {
        self.pattern.cols.get(self.bounds(row / self.height)).unwrap_or(&[])
    }

    /// Number of rows.
    fn rows(&self) -> usize {
        self.pattern.row_ptr.len().saturating_sub(1) * self.height
    }

    /// Where the live entry number `index`, row by row, lies among the stored values: in blocks those of one input are
    /// neighbours. Costs a binary search where there are blocks; row pointers that are no such give some number.
    pub(crate) fn stored_at(&self, index: usize) -> usize {
        if self.height == 1 {
            return index;
        }
        let first_of = |list: usize| list.saturating_mul(self.height);
        let after = self.pattern.row_ptr.partition_point(|from| first_of(*from as usize) <= index);
        let list = self.bounds(after.saturating_sub(1));
        let (first, length) = (first_of(list.start), list.len().max(1));
        let within = index.saturating_sub(first);
        first.saturating_add(within % length * self.height).saturating_add(within / length)
    }
}

/// Brings the stored values of a tensor in blocks into the order of rows, in place; `spare` has as many.
pub(crate) fn to_rows(live: &Live<'_>, values: &mut [f32], spare: &mut [f32]) {
    spare.copy_from_slice(values);
    for list in 0..live.rows() / live.height {
        let blocks = live.bounds(list);
        let (first, length) = (blocks.start * live.height, blocks.len());
        for (i, value) in values[first..][..length * live.height].iter_mut().enumerate() {
            *value = spare[first + i % length * live.height + i / length];
        }
    }
}

/// Spreads the live values at the front of `values` to their places; pruned entries become zero. In place.
pub(crate) fn expand(pattern: &Pattern<'_>, cols: usize, values: &mut [f32]) {
    let rows = pattern.row_ptr.len() - 1;
    let mut k = pattern.cols.len();
    // From the back: the place of a value is never before the place it comes from.
    for row in (0..rows).rev() {
        let first = pattern.row_ptr[row] as usize;
        for col in (0..cols).rev() {
            let live = k > first && usize::from(pattern.cols[k - 1]) == col;
            if live {
                k -= 1;
            }
            values[row * cols + col] = if live { values[k] } else { 0.0 };
        }
    }
}

/// Calls `each(place)` for the live entries in ascending order.
pub(crate) fn each_live(live: &Live<'_>, cols: usize, mut each: impl FnMut(usize)) {
    for row in 0..live.rows() {
        for col in live.row(row) {
            each(row * cols + usize::from(*col));
        }
    }
}

/// Calls `each(bytes)` for the mask of `size` entries as a checkpoint carries it (one bit an entry, least significant
/// first, zero padding to a byte), in pieces of at most 32 bytes.
pub(crate) fn each_bits(live: &Live<'_>, cols: usize, size: usize, mut each: impl FnMut(&[u8])) {
    const PIECE: usize = 32;
    let (mut piece, mut start, len) = ([0; PIECE], 0, size.div_ceil(8));
    each_live(live, cols, |place| {
        while place / 8 >= start + PIECE {
            each(&piece);
            (piece, start) = ([0; PIECE], start + PIECE);
        }
        piece[place / 8 - start] |= 1 << (place % 8);
    });
    while start < len {
        each(&piece[..PIECE.min(len - start)]);
        (piece, start) = ([0; PIECE], start + PIECE);
    }
}

/// True if the entry at `place` is listed.
pub(crate) fn is_live(live: &Live<'_>, cols: usize, place: usize) -> bool {
    let (row, col) = (place / cols, place % cols);
    live.row(row).binary_search_by_key(&col, |c| usize::from(*c)).is_ok()
}

/// Sets every pruned entry to zero (assigned: a product with the mask would keep NaN and the sign of zero).
pub(crate) fn pin(pattern: &Pattern<'_>, cols: usize, values: &mut [f32]) {
    let mut next = 0;
    each_live(&Live { pattern: *pattern, height: 1 }, cols, |place| {
        values[next..place].fill(0.0);
        next = place + 1;
    });
    values[next..].fill(0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_blocks_without_a_gap() {
        // 2 x 400: bits far apart, whole blocks without one, and a last byte that is half used.
        let pattern = Pattern { row_ptr: &[0, 1, 3], cols: &[7, 0, 399] };
        let mut bits = std::vec::Vec::new();
        each_bits(&Live { pattern, height: 1 }, 400, 800, |bytes| bits.extend_from_slice(bytes));
        let set: std::vec::Vec<usize> = (0..800).filter(|i| bits[i / 8] >> (i % 8) & 1 == 1).collect();
        assert_eq!((bits.len(), set), (100, std::vec![7, 400, 799]));
    }

    /// Three lists for four rows each, the middle one empty: where what comes row by row lies.
    #[test]
    fn blocks_lie_input_by_input() {
        let pattern = Pattern { row_ptr: &[0, 2, 2, 3], cols: &[1, 4, 0] };
        let live = Live { pattern, height: 4 };
        let places: std::vec::Vec<usize> = (0..12).map(|i| live.stored_at(i)).collect();
        assert_eq!(places, [0, 4, 1, 5, 2, 6, 3, 7, 8, 9, 10, 11]);
        let mut values = [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0, 8.0, 9.0, 10.0, 11.0];
        to_rows(&live, &mut values, &mut [0.0; 12]);
        assert!(values.iter().enumerate().all(|(i, v)| *v == i as f32));
        let mut found = std::vec::Vec::new();
        each_live(&live, 5, |place| found.push(place));
        assert_eq!(found, [1, 4, 6, 9, 11, 14, 16, 19, 40, 45, 50, 55]);
        assert!((0..70).all(|place| is_live(&live, 5, place) == found.contains(&place)));
        // Row pointers that are none: any place, but no panic.
        for row_ptr in [&[][..], &[7], &[9, 1, u32::MAX, 3], &[u32::MAX; 4]] {
            let wrong = Live { pattern: Pattern { row_ptr, cols: &[1, 2] }, height: 4 };
            for i in [0, 1, 5, usize::MAX] {
                let _ = wrong.stored_at(i);
            }
            assert!(!is_live(&wrong, 5, 69));
        }
    }

    const PATTERN: Pattern<'static> = Pattern { row_ptr: &[0, 2, 2, 3], cols: &[0, 3, 1] };

    #[test]
    fn expand_and_pin_agree_with_the_mask() {
        let mut values = [1.0, 2.0, 3.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0];
        expand(&PATTERN, 4, &mut values);
        assert_eq!(values, [1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0]);
        let mut dirty = [f32::NAN; 12];
        pin(&PATTERN, 4, &mut dirty);
        let mut live = std::vec::Vec::new();
        let rows = Live { pattern: PATTERN, height: 1 };
        each_live(&rows, 4, |place| live.push(place));
        assert_eq!(live, [0, 3, 9]);
        assert!((0..13).all(|place| is_live(&rows, 4, place) == live.contains(&place)));
        let mut bits = std::vec::Vec::new();
        each_bits(&rows, 4, 12, |bytes| bits.extend_from_slice(bytes));
        assert_eq!(bits, [0b1001, 0b10]);
        assert!(dirty.iter().enumerate().all(|(i, v)| if live.contains(&i) { v.is_nan() } else { *v == 0.0 }));
    }
}
