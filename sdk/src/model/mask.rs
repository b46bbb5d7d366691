//! Pruned entries of tensors that run through the dense loops: spread, gather, pin to zero.

use super::kernel::Pattern;

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
pub(crate) fn each_live(pattern: &Pattern<'_>, cols: usize, mut each: impl FnMut(usize)) {
    for (row, bounds) in pattern.row_ptr.windows(2).enumerate() {
        for col in &pattern.cols[bounds[0] as usize..bounds[1] as usize] {
            each(row * cols + usize::from(*col));
        }
    }
}

/// Calls `each(bytes)` for the mask of `size` entries as a checkpoint carries it (one bit an entry, least significant
/// first, zero padding to a byte), in pieces of at most 32 bytes.
pub(crate) fn each_bits(pattern: &Pattern<'_>, cols: usize, size: usize, mut each: impl FnMut(&[u8])) {
    const BLOCK: usize = 32;
    let (mut block, mut start, len) = ([0; BLOCK], 0, size.div_ceil(8));
    each_live(pattern, cols, |place| {
        while place / 8 >= start + BLOCK {
            each(&block);
            (block, start) = ([0; BLOCK], start + BLOCK);
        }
        block[place / 8 - start] |= 1 << (place % 8);
    });
    while start < len {
        each(&block[..BLOCK.min(len - start)]);
        (block, start) = ([0; BLOCK], start + BLOCK);
    }
}

/// True if the entry at `place` is listed.
pub(crate) fn is_live(pattern: &Pattern<'_>, cols: usize, place: usize) -> bool {
    let (row, col) = (place / cols, place % cols);
    let bounds = pattern.row_ptr.get(row..row + 2);
    let listed = bounds.and_then(|b| pattern.cols.get(b[0] as usize..b[1] as usize));
    listed.is_some_and(|listed| listed.binary_search_by_key(&col, |c| usize::from(*c)).is_ok())
}

/// Sets every pruned entry to zero (assigned: a product with the mask would keep NaN and the sign of zero).
pub(crate) fn pin(pattern: &Pattern<'_>, cols: usize, values: &mut [f32]) {
    let mut next = 0;
    each_live(pattern, cols, |place| {
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
        each_bits(&pattern, 400, 800, |bytes| bits.extend_from_slice(bytes));
        let set: std::vec::Vec<usize> = (0..800).filter(|i| bits[i / 8] >> (i % 8) & 1 == 1).collect();
        assert_eq!((bits.len(), set), (100, std::vec![7, 400, 799]));
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
        each_live(&PATTERN, 4, |place| live.push(place));
        assert_eq!(live, [0, 3, 9]);
        assert!((0..13).all(|place| is_live(&PATTERN, 4, place) == live.contains(&place)));
        let mut bits = std::vec::Vec::new();
        each_bits(&PATTERN, 4, 12, |bytes| bits.extend_from_slice(bytes));
        assert_eq!(bits, [0b1001, 0b10]);
        assert!(dirty.iter().enumerate().all(|(i, v)| if live.contains(&i) { v.is_nan() } else { *v == 0.0 }));
    }
}
