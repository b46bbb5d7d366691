//! Embedding: each token picks a row of the weight.

use core::ops::Range;

use super::wide::widened;
use super::{GradSink, Pattern};

/// The row of a token, if it is one. What trains or evaluates has checked the ids; here a bad one only must not harm.
#[inline(always)]
fn row(id: f32, rows: usize) -> Option<usize> {
    // Not for a NaN.
    if id >= 0.0 && id < rows as f32 { Some(id as usize) } else { None }
}

widened! {
    /// `y[d][t] = w[ids[t]][d]`: `w` is `[rows, dims]`, `ids` are integers in `[position][batch]`, `y` is
    /// `[dims][position][batch]`; `lanes` is positions times batch. An id that is no row (below 0, not below `rows`, NaN)
    /// gives `+0.0`.
    pub fn embedding_forward(w: &[f32], ids: &[f32], y: &mut [f32], rows: usize, dims: usize, lanes: usize) {
        debug_assert!(w.len() == rows * dims && ids.len() == lanes && y.len() == dims * lanes);
        for (t, &id) in ids[..lanes].iter().enumerate() {
            let w = row(id, rows).map_or(&[][..], |row| &w[row * dims..][..dims]);
            for d in 0..dims {
                y[d * lanes + t] = w.get(d).copied().unwrap_or(0.0);
            }
        }
    }

    /// [`embedding_forward`] over the live weights; a pruned one is `+0.0`.
    pub fn csr_embedding_forward(
        pattern: Pattern,
        w: &[f32],
        ids: &[f32],
        y: &mut [f32],
        rows: usize,
        dims: usize,
        lanes: usize,
    ) {
        debug_assert!(pattern.row_ptr.len() == rows + 1 && w.len() == pattern.cols.len());
        debug_assert!(ids.len() == lanes && y.len() == dims * lanes);
        y[..dims * lanes].fill(0.0);
        for (t, &id) in ids[..lanes].iter().enumerate() {
            let live = row(id, rows).map_or(0..0, |row| pattern.row(row));
            for (&d, &w) in pattern.cols[live.clone()].iter().zip(&w[live]) {
                y[usize::from(d) * lanes + t] = w;
            }
        }
    }
}

/// The first row from `row` on that any lane picks, `rows` if there is none.
#[inline(always)]
fn next(ids: &[f32], row: usize, rows: usize) -> usize {
    const LANES: usize = 8;
    let (row, none) = (row as f32, rows as f32);
    let mut least = [none; LANES];
    let (whole, rest) = ids.as_chunks::<LANES>();
    for ids in whole {
        for l in 0..LANES {
            let nearer = (ids[l] >= row) & (ids[l] < least[l]);
            least[l] = if nearer { ids[l] } else { least[l] };
        }
    }
    for (least, &id) in least.iter_mut().zip(rest) {
        *least = if (id >= row) & (id < *least) { id } else { *least };
    }
    least.iter().fold(rows, |first, &id| first.min(id as usize))
}

/// Coordinates whose gradients are handed on together.
const PIECE: usize = 64;

/// Hands on the gradients of `live` coordinates of a row; `add` adds a lane's to a piece that starts at the given one.
#[inline(always)]
fn hand_on<S: GradSink>(
    ids: &[f32],
    row: Option<usize>,
    live: Range<usize>,
    sink: &mut S,
    add: impl Fn(usize, Range<usize>, &mut [f32]),
) {
    for from in live.clone().step_by(PIECE) {
        let piece = from..live.end.min(from + PIECE);
        let mut grad = [0.0; PIECE];
        let grad = &mut grad[..piece.len()];
        if let Some(row) = row {
            let (row, after) = (row as f32, (row + 1) as f32);
            for (t, &id) in ids.iter().enumerate() {
                if id >= row && id < after {
                    add(t, piece.clone(), grad);
                }
            }
        }
        sink.take(from, grad);
    }
}

widened! {
    /// The gradient of [`embedding_forward`]'s weight: `g[row][d]` is the sum of `dy[d][t]` over the lanes `t` with
    /// `ids[t] == row`, ascending from `+0.0`. Coordinate `row * dims + d`.
    ///
    /// Every row costs a hand-over of its coordinates; every row that a token picks costs two walks over the ids, too.
    pub fn embedding_weight_grad<S>(
        ids: &[f32],
        dy: &[f32],
        rows: usize,
        dims: usize,
        lanes: usize,
        sink: &mut S,
    ) {
        debug_assert!(ids.len() == lanes && dy.len() == dims * lanes);
        let ids = &ids[..lanes];
        let mut picked = next(ids, 0, rows);
        for row in 0..rows {
            let known = (row == picked).then_some(row);
            hand_on(ids, known, row * dims..(row + 1) * dims, sink, |t, piece, grad| {
                for (grad, k) in grad.iter_mut().zip(piece) {
                    *grad += dy[(k - row * dims) * lanes + t];
                }
            });
            if row == picked {
                picked = next(ids, row + 1, rows);
            }
        }
    }

    /// [`embedding_weight_grad`] over the live weights. Coordinate `k` of the pattern.
    pub fn csr_embedding_weight_grad<S>(
        pattern: Pattern,
        ids: &[f32],
        dy: &[f32],
        rows: usize,
        dims: usize,
        lanes: usize,
        sink: &mut S,
    ) {
        debug_assert!(ids.len() == lanes && dy.len() == dims * lanes);
        debug_assert!(pattern.row_ptr.len() == rows + 1);
        let ids = &ids[..lanes];
        let mut picked = next(ids, 0, rows);
        for row in 0..rows {
            let known = (row == picked).then_some(row);
            hand_on(ids, known, pattern.row(row), sink, |t, piece, grad| {
                for (grad, &d) in grad.iter_mut().zip(&pattern.cols[piece]) {
                    *grad += dy.get(usize::from(d) * lanes + t).copied().unwrap_or(0.0);
                }
            });
            if row == picked {
                picked = next(ids, row + 1, rows);
            }
        }
    }
}
