//! Several buffers of one pool at a time.

use core::ops::Range;

/// The rest of a pool, to read while one buffer of it is written.
#[derive(Clone, Copy)]
pub(super) struct Rest<'a> {
    before: &'a [f32],
    after: &'a [f32],
    after_from: usize,
}

impl<'a> Rest<'a> {
    /// # Panics
    /// If the range touches the buffer that is written.
    pub(super) fn get(&self, range: Range<usize>) -> &'a [f32] {
        if range.end <= self.before.len() {
            &self.before[range]
        } else {
            &self.after[range.start - self.after_from..range.end - self.after_from]
        }
    }
}

/// One buffer to write, the others to read.
pub(super) fn one(pool: &mut [f32], range: Range<usize>) -> (&mut [f32], Rest<'_>) {
    let (before, rest) = pool.split_at_mut(range.start);
    let (buffer, after) = rest.split_at_mut(range.len());
    (buffer, Rest { before, after, after_from: range.end })
}

/// Several buffers to write; the graph places those of one moment apart.
pub(super) fn several<const N: usize>(pool: &mut [f32], ranges: [Range<usize>; N]) -> [&mut [f32]; N] {
    match pool.get_disjoint_mut(ranges) {
        Ok(buffers) => buffers,
        Err(_) => unreachable!("buffers of one moment are disjoint and inside the pool"),
    }
}
