//! Sparse dense-shaped layers: only live weights are stored, read and multiplied.
#![allow(clippy::needless_range_loop)] // r and k number registers

use core::ops::Range;

use super::lanes::{Rows, SUM_LANES, for_lane_blocks};
use super::vector::{Eight, Isa, Pair, Vector, tree4};
use super::{GradSink, Pattern};

impl Pattern<'_> {
    /// The live weights of a row.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> Range<usize> {
        self.row_ptr[row] as usize..self.row_ptr[row + 1] as usize
    }
}

/// `R` rows in step, so that their sums do not wait for each other.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn forward<I: Isa, const R: usize>(
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
    for_lane_blocks!(I, batch, |at, left| forward_lanes::<V, R>(
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
fn forward_lanes<V: Vector, const R: usize>(
    pattern: Pattern,
    w: &[f32],
    bias: &[f32],
    x: &[f32],
    y: &mut [f32],
    [inputs, outputs, batch]: [usize; 3],
    at: usize,
    left: usize,
) {
    let x = Rows::<V>::new(x, inputs, batch, at);
    for o in (0..outputs).step_by(R) {
        // Past the last row come empty ones.
        let rows: [(&[u16], &[f32]); R] = core::array::from_fn(|r| {
            let live = if o + r < outputs { pattern.row(o + r) } else { 0..0 };
            (&pattern.cols[live.clone()], &w[live])
        });
        let mut acc = [V::splat(0.0); R];
        for r in 0..R {
            acc[r] = V::splat(bias.get(o + r).copied().unwrap_or(0.0));
        }
        let common = rows.iter().map(|row| row.0.len().min(row.1.len())).min().unwrap_or(0);
        let heads: [(&[u16], &[f32]); R] = core::array::from_fn(|r| (&rows[r].0[..common], &rows[r].1[..common]));
        for k in 0..common {
            for r in 0..R {
                acc[r] = acc[r].axpy(V::splat(heads[r].1[k]), x.get(usize::from(heads[r].0[k])));
            }
        }
        for r in 0..R.min(outputs - o) {
            for (&col, &w) in rows[r].0[common..].iter().zip(&rows[r].1[common..]) {
                acc[r] = acc[r].axpy(V::splat(w), x.get(usize::from(col)));
            }
            acc[r].store_first(y, (o + r) * batch + at, left);
        }
    }
}

/// Every live weight adds to the row of its input; exact lane blocks.
#[inline(always)]
pub(super) fn input_grad<I: Isa>(
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
        if I::WIDE && left >= 16 {
            at += input_grad_lanes::<I::V16>(pattern, w, dy, dx, outputs, batch, at);
        } else if left >= 8 {
            at += input_grad_lanes::<I::V8>(pattern, w, dy, dx, outputs, batch, at);
        } else if left >= 4 {
            at += input_grad_lanes::<I::V4>(pattern, w, dy, dx, outputs, batch, at);
        } else if left >= 2 {
            at += input_grad_lanes::<Pair<f32>>(pattern, w, dy, dx, outputs, batch, at);
        } else {
            at += input_grad_lanes::<f32>(pattern, w, dy, dx, outputs, batch, at);
        }
    }
}

/// Returns how many lanes it has done.
#[inline(always)]
fn input_grad_lanes<V: Vector>(
    pattern: Pattern,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    outputs: usize,
    batch: usize,
    at: usize,
) -> usize {
    for o in 0..outputs {
        let lanes = V::load(dy, o * batch + at);
        let live = pattern.row(o);
        for (&col, &w) in pattern.cols[live.clone()].iter().zip(&w[live]) {
            let to = dx.get_mut(usize::from(col) * batch + at..).and_then(|dx| dx.get_mut(..V::LANES));
            if let Some(to) = to {
                V::from_slice(to).axpy(V::splat(w), lanes).to_slice(to);
            }
        }
    }
    V::LANES
}

/// Live weights whose gradients are handed on together.
const PIECE: usize = 32;

/// Four live weights of a row at a time; the row of `dy` stays in registers up to a batch of 16.
#[inline(always)]
pub(super) fn weight_grad<I: Isa, S: GradSink>(
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
    let x = &x[..inputs * batch];
    let mut grad = [0.0; PIECE];
    for o in 0..outputs {
        let dy = &dy[o * batch..][..batch];
        let live = pattern.row(o);
        let mut offset = live.start;
        for cols in pattern.cols[live].chunks(PIECE) {
            match batch {
                0 => {}
                1 => products(dy[0], x, cols, &mut grad),
                2..=8 => dots::<I::V8, 1>(dy, x, cols, &mut grad),
                9..=16 => dots::<I::V8, 2>(dy, x, cols, &mut grad),
                _ => long_dots::<I::V8>(dy, x, cols, &mut grad),
            }
            sink.take(offset, &grad[..cols.len()]);
            offset += cols.len();
        }
    }
}

/// Batch of one: every sum has one term.
#[inline(always)]
fn products(dy: f32, x: &[f32], cols: &[u16], grad: &mut [f32; PIECE]) {
    for (grad, &col) in grad.iter_mut().zip(cols) {
        *grad = 0.0 + dy * x.get(usize::from(col)).copied().unwrap_or(0.0);
    }
}

/// A batch of `B` blocks of lanes, of which the last may not be full.
#[inline(always)]
fn dots<V: Eight, const B: usize>(dy: &[f32], x: &[f32], cols: &[u16], grad: &mut [f32; PIECE]) {
    let batch = dy.len();
    let first = (B - 1) * SUM_LANES;
    let keep = mask::<V>(batch - first);
    let mut lanes = [V::splat(0.0); B];
    for b in 0..B {
        lanes[b] = at(dy, b * SUM_LANES);
    }
    for (cols, grad) in cols.chunks(4).zip(grad.chunks_exact_mut(4)) {
        let from = starts(cols, batch);
        let mut sums = [V::splat(0.0); 4];
        for k in 0..4 {
            for b in 0..B - 1 {
                sums[k] = sums[k].axpy(lanes[b], at(x, from[k] + b * SUM_LANES));
            }
            sums[k] = sums[k].axpy(lanes[B - 1], at::<V>(x, from[k] + first).and(keep));
        }
        grad.copy_from_slice(&tree4(sums));
    }
}

/// Any batch.
#[inline(always)]
fn long_dots<V: Eight>(dy: &[f32], x: &[f32], cols: &[u16], grad: &mut [f32; PIECE]) {
    let batch = dy.len();
    let whole = batch / SUM_LANES * SUM_LANES;
    let keep = mask::<V>(batch - whole);
    for (cols, grad) in cols.chunks(4).zip(grad.chunks_exact_mut(4)) {
        let from = starts(cols, batch);
        let mut sums = [V::splat(0.0); 4];
        for t in (0..whole).step_by(SUM_LANES) {
            let lanes = V::load(dy, t);
            for k in 0..4 {
                sums[k] = sums[k].axpy(lanes, at(x, from[k] + t));
            }
        }
        if whole < batch {
            let lanes = at::<V>(dy, whole);
            for k in 0..4 {
                sums[k] = sums[k].axpy(lanes, at::<V>(x, from[k] + whole).and(keep));
            }
        }
        grad.copy_from_slice(&tree4(sums));
    }
}

/// Where the inputs of one to four weights start. Past the last weight comes the last one again, of which the result is
/// dropped.
#[inline(always)]
fn starts(cols: &[u16], batch: usize) -> [usize; 4] {
    core::array::from_fn(|k| usize::from(cols[k.min(cols.len() - 1)]) * batch)
}

/// Keeps the first `lanes`. With zeros on both sides the other lanes add `+0.0`, which changes no sum that started at `+0.0`.
#[inline(always)]
fn mask<V: Vector>(lanes: usize) -> V {
    let all: [f32; SUM_LANES] = core::array::from_fn(|l| f32::from_bits(if l < lanes { u32::MAX } else { 0 }));
    V::from_slice(&all)
}

/// Eight values from `from` on, zeros past the end.
#[inline(always)]
fn at<V: Vector>(values: &[f32], from: usize) -> V {
    match V::get(values, from) {
        Some(lanes) => lanes,
        None => V::from_slice(&padded(values, from)),
    }
}

#[cold]
#[inline(never)]
fn padded(values: &[f32], from: usize) -> [f32; SUM_LANES] {
    let mut all = [0.0; SUM_LANES];
    for (to, &value) in all.iter_mut().zip(values.get(from..).unwrap_or(&[])) {
        *to = value;
    }
    all
}
