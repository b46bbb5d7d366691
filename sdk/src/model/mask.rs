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
        assert!(dirty.iter().enumerate().all(|(i, v)| if live.contains(&i) { v.is_nan() } else { *v == 0.0 }));
    }
}
