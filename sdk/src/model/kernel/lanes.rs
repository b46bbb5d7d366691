//! How the loops walk over lanes.
#![allow(unsafe_code)]

use core::ops::Range;

use super::vector::{Bits, Vector};

/// Lanes of the sums that the parent module defines as lane sums.
pub(super) const SUM_LANES: usize = 8;

/// Lanes of the widest vector.
pub(super) const MOST_LANES: usize = 32;

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
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, V> {
    /// From lane `first` of the first row on.
    data: &'a [f32],
    batch: usize,
    /// Rows below it have a whole vector: `(whole - 1) * batch + LANES <= data.len()` unless it is 0.
    whole: usize,
    last: V,
}

impl<'a, V: Vector> Rows<'a, V> {
    #[inline(always)]
    pub(super) fn new(data: &'a [f32], rows: usize, batch: usize, first: usize) -> Self {
        debug_assert!(first >= batch || first + V::LANES <= 2 * batch);
        let data = &data[..rows * batch];
        let mut last = [0.0; MOST_LANES];
        let left = batch.saturating_sub(first).min(V::LANES);
        if let Some(from) = (rows * batch).checked_sub(batch) {
            for (to, &value) in last[..left].iter_mut().zip(&data[from + first..]) {
                *to = value;
            }
        }
        let data = data.get(first..).unwrap_or(&[]);
        let whole = whole_rows(data.len(), V::LANES, rows, batch);
        Self { data, batch, whole, last: V::from_slice(&last[..V::LANES]) }
    }

    /// A row; past the last one, the last one.
    #[inline(always)]
    pub(super) fn get(&self, row: usize) -> V {
        if row >= self.whole {
            return self.last;
        }
        let from = row * self.batch;
        // SAFETY: row <= whole - 1, so the vector ends within the slice, see `whole`.
        V::from_slice(unsafe { self.data.get_unchecked(from..from + V::LANES) })
    }
}

/// A feature-major activation, read `lanes` values at a time from lane `first` of each row, as many as are left of a row at
/// most.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a> {
    /// From lane `first` of the first row on.
    data: &'a [f32],
    batch: usize,
    lanes: usize,
    /// As in [`Rows`], for `lanes`.
    whole: usize,
}

impl<'a> Lines<'a> {
    #[inline(always)]
    pub(super) fn new(data: &'a [f32], rows: usize, batch: usize, first: usize, lanes: usize) -> Self {
        let data = data[..rows * batch].get(first..).unwrap_or(&[]);
        Self { data, batch, lanes, whole: whole_rows(data.len(), lanes, rows, batch) }
    }

    /// The lanes of a row. The only check does not depend on the row, so that none is left in a loop.
    #[inline(always)]
    pub(super) fn get(&self, row: Column) -> &'a [f32] {
        if row.bound > self.whole {
            outside();
        }
        let from = usize::from(row.index) * self.batch;
        // SAFETY: index < bound <= whole, so the lanes end within the slice, see `whole`.
        unsafe { self.data.get_unchecked(from..from + self.lanes) }
    }
}

/// [`Lines`] to write.
pub(super) struct LinesMut<'a> {
    /// From lane `first` of the first row on.
    data: &'a mut [f32],
    batch: usize,
    lanes: usize,
    /// As in [`Rows`], for `lanes`.
    whole: usize,
}

impl<'a> LinesMut<'a> {
    #[inline(always)]
    pub(super) fn new(data: &'a mut [f32], rows: usize, batch: usize, first: usize, lanes: usize) -> Self {
        let data = data[..rows * batch].get_mut(first..).unwrap_or(&mut []);
        let whole = whole_rows(data.len(), lanes, rows, batch);
        Self { data, batch, lanes, whole }
    }

    /// The lanes of a row.
    #[inline(always)]
    pub(super) fn get(&mut self, row: Column) -> &mut [f32] {
        if row.bound > self.whole {
            outside();
        }
        let from = usize::from(row.index) * self.batch;
        // SAFETY: index < bound <= whole, so the lanes end within the slice, see `whole`.
        unsafe { self.data.get_unchecked_mut(from..from + self.lanes) }
    }
}

/// The first rows of `batch` whose first `lanes` values are among `len`.
fn whole_rows(len: usize, lanes: usize, rows: usize, batch: usize) -> usize {
    let last = len.checked_sub(lanes).and_then(|room| room.checked_div(batch));
    last.map_or(0, |last| rows.min(last + 1))
}

/// Columns of a pattern, all of which exist.
///
/// Sparse layers jump from row to row of an activation; to check each jump costs a quarter of the time. Checking all of
/// them before the loop is a pass over two bytes a weight, vectorised.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    /// All below `bound`.
    all: &'a [u16],
    bound: usize,
}

/// Eight columns that exist.
#[derive(Clone, Copy)]
pub(super) struct EightColumns {
    /// All below `bound`.
    all: [u16; 8],
    bound: usize,
}

impl EightColumns {
    /// The columns, which are all below `len`.
    ///
    /// # Panics
    /// If the layer has more than `len`.
    #[inline(always)]
    pub(super) fn below(self, len: usize) -> [u16; 8] {
        if self.bound > len {
            outside();
        }
        self.all
    }

    /// Each of them.
    #[inline(always)]
    pub(super) fn each(self) -> [Column; 8] {
        self.all.map(|index| Column { index, bound: self.bound })
    }
}

/// A column that exists.
#[derive(Clone, Copy)]
pub(super) struct Column {
    /// Below `bound`.
    index: u16,
    bound: usize,
}

impl<'a> Columns<'a> {
    /// # Panics
    /// If one is not below `bound`.
    #[inline(always)]
    pub(super) fn new(all: &'a [u16], bound: usize) -> Self {
        let mut largest = 0;
        for &column in all {
            largest = largest.max(column);
        }
        if !all.is_empty() && usize::from(largest) >= bound {
            outside();
        }
        Self { all, bound }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    #[inline(always)]
    pub(super) fn get(&self, k: usize) -> Column {
        Column { index: self.all[k], bound: self.bound }
    }

    /// Eight columns at a time, as often as there are so many.
    #[inline(always)]
    pub(super) fn eights(&self) -> impl Iterator<Item = EightColumns> + use<'a> {
        let bound = self.bound;
        let (fours, _) = self.all.as_chunks::<4>();
        let (eights, _) = fours.as_chunks::<2>();
        eights.iter().map(move |&[low, high]| {
            let ([a, b, c, d], [e, f, g, h]) = (loaded_at_once(low), loaded_at_once(high));
            EightColumns { all: [a, b, c, d, e, f, g, h], bound }
        })
    }

    #[inline(always)]
    pub(super) fn range(&self, range: Range<usize>) -> Self {
        Self { all: &self.all[range], bound: self.bound }
    }

    #[inline(always)]
    pub(super) fn iter(&self) -> impl Iterator<Item = Column> + use<'a> {
        let bound = self.bound;
        self.all.iter().map(move |&index| Column { index, bound })
    }
}

/// The same columns, loaded as one number and shifted out of it: it is loads that the loops have too many of.
#[inline(always)]
fn loaded_at_once(columns: [u16; 4]) -> [u16; 4] {
    let all: u64 = bytemuck::must_cast(columns);
    let [a, b, c, d] = [all as u16, (all >> 16) as u16, (all >> 32) as u16, (all >> 48) as u16];
    if cfg!(target_endian = "big") { [d, c, b, a] } else { [a, b, c, d] }
}

impl Column {
    #[inline(always)]
    pub(super) fn index(self) -> usize {
        usize::from(self.index)
    }
}

/// A pattern names a column that does not exist.
#[cold]
#[inline(never)]
fn outside() -> ! {
    panic!("a pattern's column lies outside its layer");
}

/// Calls `$body` with a vector type of `$isa` for every block of the lanes `0..$batch`: the widest one as often as it fits,
/// then the smallest one that holds the rest. `$at` is the first lane, `$left` the number of lanes of the block that count.
/// `$from..$batch` leaves out the lanes before `$from`.
macro_rules! for_lane_blocks {
    (
        $isa:ident, $from:ident..$batch:expr,
        |$at:ident, $left:ident| $body:ident ::<V $(, $param:tt)*>($($arg:expr),* $(,)?)
    ) => {{
        let mut $at = $from;
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
