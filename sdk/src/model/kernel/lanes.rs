//! How the loops walk over lanes.

use super::vector::Vector;

/// Lanes of the sums that the parent module defines as lane sums.
pub(super) const SUM_LANES: usize = 8;

/// The end of a lane sum.
pub(super) fn tree(s: &[f32; SUM_LANES]) -> f32 {
    ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

/// A feature-major activation, read a vector at a time from lane `first` of each row.
///
/// Where fewer lanes are left in a row, the other ones hold whatever comes next in memory: the caller drops their
/// results. A vector may reach at most one row further (`first + LANES <= 2 * batch`): then only the last row can reach past
/// the end, and a copy of it is kept here.
pub(super) struct Rows<'a, V> {
    data: &'a [f32],
    batch: usize,
    first: usize,
    last: V,
}

impl<'a, V: Vector> Rows<'a, V> {
    #[inline(always)]
    pub(super) fn new(data: &'a [f32], rows: usize, batch: usize, first: usize) -> Self {
        debug_assert!(first >= batch || first + V::LANES <= 2 * batch);
        let data = &data[..rows * batch];
        let mut last = [0.0; 16];
        let left = batch.saturating_sub(first).min(V::LANES);
        if let Some(from) = (rows * batch).checked_sub(batch) {
            for (to, &value) in last[..left].iter_mut().zip(&data[from + first..]) {
                *to = value;
            }
        }
        Self { data, batch, first, last: V::from_slice(&last[..V::LANES]) }
    }

    #[inline(always)]
    pub(super) fn get(&self, row: usize) -> V {
        match V::get(self.data, row * self.batch + self.first) {
            Some(lanes) => lanes,
            None => self.last,
        }
    }
}

/// Calls `$body` with a vector type of `$isa` for every block of the lanes `0..$batch`: the widest one as often as it fits,
/// then the smallest one that holds the rest. `$at` is the first lane, `$left` the number of lanes of the block that count.
macro_rules! for_lane_blocks {
    ($isa:ident, $batch:expr, |$at:ident, $left:ident| $body:ident ::<V $(, $param:tt)*>($($arg:expr),* $(,)?)) => {{
        let mut $at = 0;
        while $at < $batch {
            let $left = $batch - $at;
            if $isa::WIDE && $left > 8 {
                let $left = $left.min(16);
                $body::<$isa::V16 $(, $param)*>($($arg),*);
                $at += 16;
            } else if $left > 4 {
                let $left = $left.min(8);
                $body::<$isa::V8 $(, $param)*>($($arg),*);
                $at += 8;
            } else if $left > 1 {
                $body::<$isa::V4 $(, $param)*>($($arg),*);
                $at += 4;
            } else {
                $body::<f32 $(, $param)*>($($arg),*);
                $at += 1;
            }
        }
    }};
}
pub(super) use for_lane_blocks;
