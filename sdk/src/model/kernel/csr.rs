//! Sparse dense-shaped layers: only live weights are stored, read and multiplied.
#![allow(clippy::needless_range_loop)] // r and k number registers

use core::ops::Range;

use super::lanes::{Rows, SUM_LANES, for_lane_blocks};
use super::registers::Four;
use super::vector::{Bits, Isa, Pair, Vector, tree4};
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
        let mut acc: [V; R] = core::array::from_fn(|r| V::splat(bias.get(o + r).copied().unwrap_or(0.0)));
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
            at += input_grad_lanes::<Four>(pattern, w, dy, dx, outputs, batch, at);
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

/// Four live weights of a row at a time.
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
    if batch == 1 {
        return weight_grad_single(pattern, dy, x, outputs, sink);
    }
    let x = &x[..inputs * batch];
    let whole = batch / SUM_LANES * SUM_LANES;
    let rest = batch - whole;
    let masks: [f32; SUM_LANES] = core::array::from_fn(|l| f32::from_bits(if l < rest { u32::MAX } else { 0 }));
    let keep = I::V8::from_slice(&masks);
    for o in 0..outputs {
        let dy = &dy[o * batch..][..batch];
        let dy_rest = padded::<I::V8>(&dy[whole..]);
        let live = pattern.row(o);
        let mut offset = live.start;
        for cols in pattern.cols[live].chunks(4) {
            // Past the last weight comes the last one again, of which the result is dropped.
            let from: [usize; 4] = core::array::from_fn(|k| usize::from(cols[k.min(cols.len() - 1)]) * batch);
            let mut acc = [I::V8::splat(0.0); 4];
            for t in (0..whole).step_by(SUM_LANES) {
                let lanes = I::V8::load(dy, t);
                for k in 0..4 {
                    if let Some(x) = I::V8::get(x, from[k] + t) {
                        acc[k] = acc[k].axpy(lanes, x);
                    }
                }
            }
            if rest > 0 {
                // The lanes past the batch are zero on both sides: they add +0.0, which changes no sum that started at
                // +0.0.
                for k in 0..4 {
                    let x = match I::V8::get(x, from[k] + whole) {
                        Some(x) => x.and(keep),
                        None => padded::<I::V8>(x.get(from[k] + whole..).unwrap_or(&[])).and(keep),
                    };
                    acc[k] = acc[k].axpy(dy_rest, x);
                }
            }
            let grad = tree4(acc);
            if cols.len() == 4 {
                sink.take(offset, &grad);
            } else {
                sink.take(offset, &grad[..cols.len()]);
            }
            offset += cols.len();
        }
    }
}

/// Up to eight values, and zeros.
#[inline(always)]
fn padded<V: Vector>(values: &[f32]) -> V {
    let mut all = [0.0; SUM_LANES];
    for (to, &value) in all.iter_mut().zip(values) {
        *to = value;
    }
    V::from_slice(&all)
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
