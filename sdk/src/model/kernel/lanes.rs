//! How the loops walk over lanes.

use core::ops::Range;

use super::vector::{Bits, Vector};

/// Lanes of the sums that the parent module defines as lane sums.
pub(super) const SUM_LANES: usize = 8;

/// The end of a lane sum.
pub(super) fn tree(s: &[f32; SUM_LANES]) -> f32 {
    ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

/// Eight values from `from` on; zeros past the end.
#[inline(always)]
pub(super) fn load_or_zeros<V: Vector>(values: &[f32], from: usize) -> V {
    match V::get(values, from) {
        Some(lanes) => lanes,
        None => V::from_slice(&padded(values, from)),
    }
}

#[cold]
#[inline(never)]
fn padded(values: &[f32], from: usize) -> [f32; SUM_LANES] {
    let mut all = [0.0; SUM_LANES];
    for (l, to) in all.iter_mut().enumerate() {
        *to = values.get(from + l).copied().unwrap_or(0.0);
    }
    all
}

/// Zeros, ones, zeros.
static WINDOW: [f32; 3 * SUM_LANES] = {
    let mut all = [0.0; 3 * SUM_LANES];
    let mut l = SUM_LANES;
    while l < 2 * SUM_LANES {
        all[l] = f32::from_bits(u32::MAX);
        l += 1;
    }
    all
};

/// The mask of the lanes in `range`, of which what lies beyond eight does not count.
#[inline(always)]
pub(super) fn mask<V: Bits>(range: Range<usize>) -> V {
    let (lo, hi) = (range.start.min(SUM_LANES), range.end.min(SUM_LANES));
    V::load(&WINDOW, SUM_LANES - lo).and(V::load(&WINDOW, 2 * SUM_LANES - hi))
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

/// `L` values from `at` on.
#[inline(always)]
pub(super) fn block<const L: usize>(data: &[f32], at: usize) -> &[f32; L] {
    data[at..at + L].first_chunk().expect("a slice of L values")
}

/// As [`block`], to write to.
#[inline(always)]
pub(super) fn block_mut<const L: usize>(data: &mut [f32], at: usize) -> &mut [f32; L] {
    data[at..at + L].first_chunk_mut().expect("a slice of L values")
}

/// Calls `$body` with `$at` for exact blocks of 8, 4 and single ones of the lanes `0..$lanes`; the block's size is its first
/// constant parameter.
macro_rules! for_exact_blocks {
    ($lanes:expr, |$at:ident| $body:ident ::<L $(, $param:tt)*>($($arg:expr),* $(,)?)) => {{
        let mut $at = 0;
        while $at + 8 <= $lanes {
            $body::<8 $(, $param)*>($($arg),*);
            $at += 8;
        }
        if $at + 4 <= $lanes {
            $body::<4 $(, $param)*>($($arg),*);
            $at += 4;
        }
        while $at < $lanes {
            $body::<1 $(, $param)*>($($arg),*);
            $at += 1;
        }
    }};
}
pub(super) use for_exact_blocks;

/// A lane sum over a slice: term `t` is `f(t)`. Eight terms at a time, which LLVM keeps in a register or two.
#[inline(always)]
pub(super) fn lane_sum(terms: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0.0; SUM_LANES];
    let whole = terms / SUM_LANES * SUM_LANES;
    for t in (0..whole).step_by(SUM_LANES) {
        for (l, sum) in sums.iter_mut().enumerate() {
            *sum += f(t + l);
        }
    }
    for t in whole..terms {
        sums[t - whole] += f(t);
    }
    tree(&sums)
}
