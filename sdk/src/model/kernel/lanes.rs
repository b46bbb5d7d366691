//! What the loops are made of: fixed-size arrays that the compiler keeps in vector registers.

/// Lanes of the sums that the parent module defines as lane sums.
pub(super) const SUM_LANES: usize = 8;

/// `acc[l] += a * x[l]`, the product rounded before the sum.
#[inline(always)]
pub(super) fn axpy<const L: usize>(acc: &mut [f32; L], a: f32, x: &[f32; L]) {
    for l in 0..L {
        acc[l] += a * x[l];
    }
}

/// The end of a lane sum.
#[inline(always)]
pub(super) fn tree(s: &[f32; SUM_LANES]) -> f32 {
    let mut four = [0.0; 4];
    for l in 0..4 {
        four[l] = s[l] + s[l + 4];
    }
    (four[0] + four[2]) + (four[1] + four[3])
}

/// The `L` values from `at` on, if there are so many.
#[inline(always)]
pub(super) fn window<const L: usize>(data: &[f32], at: usize) -> Option<&[f32; L]> {
    data.get(at..)?.first_chunk()
}

/// The `L` values from `at` on, which the caller has made sure of.
#[inline(always)]
pub(super) fn block<const L: usize>(data: &[f32], at: usize) -> &[f32; L] {
    data[at..at + L].first_chunk().expect("a slice of L values")
}

/// As [`block`], to write to.
#[inline(always)]
pub(super) fn block_mut<const L: usize>(data: &mut [f32], at: usize) -> &mut [f32; L] {
    data[at..at + L].first_chunk_mut().expect("a slice of L values")
}

/// A feature-major activation, read `L` lanes at a time from lane `first` of each row.
///
/// Where fewer lanes are left in a row, the other ones hold whatever comes next in memory: the caller drops their
/// results. The block may reach at most one row further (`first + L <= 2 * batch`): then only the last row can
/// reach past the end, and a copy of it is kept here.
pub(super) struct Rows<'a, const L: usize> {
    data: &'a [f32],
    batch: usize,
    first: usize,
    last: [f32; L],
}

impl<'a, const L: usize> Rows<'a, L> {
    #[inline(always)]
    pub(super) fn new(data: &'a [f32], rows: usize, batch: usize, first: usize) -> Self {
        debug_assert!(first >= batch || first + L <= 2 * batch);
        let mut last = [0.0; L];
        let data = &data[..rows * batch];
        let left = batch.saturating_sub(first).min(L);
        if let Some(from) = (rows * batch).checked_sub(batch) {
            for (to, &value) in last[..left].iter_mut().zip(&data[from + first..]) {
                *to = value;
            }
        }
        Self { data, batch, first, last }
    }

    #[inline(always)]
    pub(super) fn get(&self, row: usize) -> &[f32; L] {
        match window(self.data, row * self.batch + self.first) {
            Some(lanes) => lanes,
            None => &self.last,
        }
    }
}

/// Calls `$body` with a block size for every block of the lanes `0..$batch`: the widest one as often as it fits, then the
/// smallest one that holds the rest. `$at` is the first lane, `$left` the number of lanes of the block that count.
macro_rules! for_lane_blocks {
    ($batch:expr, $widest:expr, |$at:ident, $left:ident| $body:ident ::<{ L } $(, $param:tt)*>($($arg:expr),* $(,)?)) => {{
        let mut $at = 0;
        while $at < $batch {
            let $left = $batch - $at;
            if $widest >= 16 && $left > 8 {
                let $left = $left.min(16);
                $body::<16 $(, $param)*>($($arg),*);
                $at += 16;
            } else if $left > 4 {
                let $left = $left.min(8);
                $body::<8 $(, $param)*>($($arg),*);
                $at += 8;
            } else if $left > 1 {
                $body::<4 $(, $param)*>($($arg),*);
                $at += 4;
            } else {
                $body::<1 $(, $param)*>($($arg),*);
                $at += 1;
            }
        }
    }};
}
pub(super) use for_lane_blocks;
