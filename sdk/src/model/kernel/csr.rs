//! Sparse dense-shaped layers: only live weights are stored, read and multiplied.

use core::ops::Range;

use super::lanes::{Rows, SUM_LANES, axpy, for_lane_blocks, tree, window};
use super::{GradSink, Pattern};

impl Pattern<'_> {
    /// The live weights of a row.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> Range<usize> {
        self.row_ptr[row] as usize..self.row_ptr[row + 1] as usize
    }
}

/// `R` rows in step, so that their sums do not wait for each other; lane blocks of up to `W`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn forward<const R: usize, const W: usize>(
    pattern: Pattern,
    w: &[f32],
    bias: &[f32],
    x: &[f32],
    y: &mut [f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
) {
    debug_assert!(pattern.row_ptr.len() == outputs + 1 && w.len() == pattern.cols.len());
    debug_assert!(x.len() == inputs * batch && y.len() == outputs * batch);
    for_lane_blocks!(batch, W, |at, left| forward_lanes::<{ L }, R>(
        pattern,
        w,
        bias,
        x,
        y,
        [inputs, outputs, batch],
        at,
        left
    ));
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn forward_lanes<const L: usize, const R: usize>(
    pattern: Pattern,
    w: &[f32],
    bias: &[f32],
    x: &[f32],
    y: &mut [f32],
    [inputs, outputs, batch]: [usize; 3],
    at: usize,
    left: usize,
) {
    let x = Rows::<L>::new(x, inputs, batch, at);
    for o in (0..outputs).step_by(R) {
        // Past the last row come empty ones.
        let rows: [(&[u16], &[f32]); R] = core::array::from_fn(|r| {
            let live = if o + r < outputs { pattern.row(o + r) } else { 0..0 };
            (&pattern.cols[live.clone()], &w[live])
        });
        let mut acc: [[f32; L]; R] = core::array::from_fn(|r| [bias.get(o + r).copied().unwrap_or(0.0); L]);
        let common = rows.iter().map(|row| row.0.len().min(row.1.len())).min().unwrap_or(0);
        let heads: [(&[u16], &[f32]); R] = core::array::from_fn(|r| (&rows[r].0[..common], &rows[r].1[..common]));
        for k in 0..common {
            for r in 0..R {
                axpy(&mut acc[r], heads[r].1[k], x.get(usize::from(heads[r].0[k])));
            }
        }
        for (r, (mut acc, (cols, w))) in acc.into_iter().zip(rows).enumerate().take(outputs - o) {
            for (&col, &w) in cols[common..].iter().zip(&w[common..]) {
                axpy(&mut acc, w, x.get(usize::from(col)));
            }
            y[(o + r) * batch + at..][..left].copy_from_slice(&acc[..left]);
        }
    }
}

/// Every live weight adds to the row of its input; exact lane blocks of up to `W`.
#[inline(always)]
pub(super) fn input_grad<const W: usize>(
    pattern: Pattern,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
) {
    debug_assert!(pattern.row_ptr.len() == outputs + 1 && w.len() == pattern.cols.len());
    debug_assert!(dy.len() == outputs * batch && dx.len() == inputs * batch);
    let dx = &mut dx[..inputs * batch];
    dx.fill(0.0);
    let mut at = 0;
    while at < batch {
        let left = batch - at;
        if W >= 16 && left >= 16 {
            input_grad_lanes::<16>(pattern, w, dy, dx, outputs, batch, at);
            at += 16;
        } else if left >= 8 {
            input_grad_lanes::<8>(pattern, w, dy, dx, outputs, batch, at);
            at += 8;
        } else if left >= 4 {
            input_grad_lanes::<4>(pattern, w, dy, dx, outputs, batch, at);
            at += 4;
        } else if left >= 2 {
            input_grad_lanes::<2>(pattern, w, dy, dx, outputs, batch, at);
            at += 2;
        } else {
            input_grad_lanes::<1>(pattern, w, dy, dx, outputs, batch, at);
            at += 1;
        }
    }
}

#[inline(always)]
fn input_grad_lanes<const L: usize>(
    pattern: Pattern,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    outputs: usize,
    batch: usize,
    at: usize,
) {
    for o in 0..outputs {
        let Some(&lanes) = window::<L>(dy, o * batch + at) else { return };
        let live = pattern.row(o);
        for (&col, &w) in pattern.cols[live.clone()].iter().zip(&w[live]) {
            let to = dx.get_mut(usize::from(col) * batch + at..).and_then(|dx| dx.first_chunk_mut::<L>());
            if let Some(to) = to {
                axpy(to, w, &lanes);
            }
        }
    }
}

/// `K` live weights of a row at a time.
#[inline(always)]
pub(super) fn weight_grad<const K: usize, S: GradSink>(
    pattern: Pattern,
    dy: &[f32],
    x: &[f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
    sink: &mut S,
) {
    debug_assert!(pattern.row_ptr.len() == outputs + 1);
    debug_assert!(dy.len() == outputs * batch && x.len() == inputs * batch);
    if batch == 1 {
        return weight_grad_single(pattern, dy, x, outputs, sink);
    }
    let x = &x[..inputs * batch];
    let whole = batch / SUM_LANES * SUM_LANES;
    let rest = batch - whole;
    let four = Rows::<4>::new(x, inputs, batch, whole);
    let eight = Rows::<SUM_LANES>::new(x, inputs, batch, if rest > 4 { whole } else { batch });
    for o in 0..outputs {
        let dy = &dy[o * batch..][..batch];
        let mut dy_rest = [0.0; SUM_LANES];
        dy_rest[..rest].copy_from_slice(&dy[whole..]);
        let live = pattern.row(o);
        let mut offset = live.start;
        for cols in pattern.cols[live].chunks(K) {
            let col: [usize; K] = core::array::from_fn(|k| usize::from(cols[k.min(cols.len() - 1)]));
            let mut acc = [[0.0; SUM_LANES]; K];
            let mut t = 0;
            while t < whole {
                let lanes: &[f32; SUM_LANES] = super::lanes::block(dy, t);
                for k in 0..K {
                    if let Some(x) = window::<SUM_LANES>(x, col[k] * batch + t) {
                        for l in 0..SUM_LANES {
                            acc[k][l] += lanes[l] * x[l];
                        }
                    }
                }
                t += SUM_LANES;
            }
            if rest > 4 {
                for k in 0..K {
                    add_rest(&mut acc[k], &dy_rest, eight.get(col[k]), rest);
                }
            } else if rest > 0 {
                for k in 0..K {
                    add_rest(&mut acc[k], &dy_rest, four.get(col[k]), rest);
                }
            }
            let grad: [f32; K] = core::array::from_fn(|k| tree(&acc[k]));
            if cols.len() == K {
                sink.take(offset, &grad);
            } else {
                sink.take(offset, &grad[..cols.len()]);
            }
            offset += cols.len();
        }
    }
}

/// The last terms of a lane sum. The lanes past them are made zero on both sides: they add `+0.0`, which changes no sum
/// that started at `+0.0`.
#[inline(always)]
fn add_rest<const L: usize>(acc: &mut [f32; SUM_LANES], dy: &[f32; SUM_LANES], x: &[f32; L], rest: usize) {
    for l in 0..L {
        let x = if l < rest { x[l] } else { 0.0 };
        acc[l] += dy[l] * x;
    }
}

/// Batch of one: every gradient is one product.
#[inline(always)]
fn weight_grad_single<S: GradSink>(pattern: Pattern, dy: &[f32], x: &[f32], outputs: usize, sink: &mut S) {
    const PIECE: usize = 32;
    for (o, &g) in dy[..outputs].iter().enumerate() {
        let live = pattern.row(o);
        let mut offset = live.start;
        for cols in pattern.cols[live].chunks(PIECE) {
            let mut grad = [0.0; PIECE];
            for (grad, &col) in grad.iter_mut().zip(cols) {
                *grad += g * x.get(usize::from(col)).copied().unwrap_or(0.0);
            }
            sink.take(offset, &grad[..cols.len()]);
            offset += cols.len();
        }
    }
}
