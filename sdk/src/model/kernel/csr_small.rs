//! The loops of sparse layers where code must be small: four lanes or one at a time. The sums are those of the other loops,
//! bit by bit.
//!
//! Each place is checked when it is read: a pass over all columns beforehand, as the other loops have it, costs more than it
//! saves with few lanes.

use super::lanes::SUM_LANES;
use super::vector::{Isa, Vector};
use super::{GradSink, Pattern, ValueSink};

/// `w[k]` with the row of each input that it belongs to, from lane `at` on.
macro_rules! each_live {
    ($pattern:ident, $w:expr, $o:ident, |$w_k:ident, $from:ident| $body:block, $batch:ident, $at:ident) => {
        let live = $pattern.row($o);
        for (&col, &$w_k) in $pattern.cols[live.clone()].iter().zip(&$w[live]) {
            let $from = usize::from(col) * $batch + $at;
            $body
        }
    };
}

/// All lanes, four at a time and then one by one.
#[inline(always)]
pub(super) fn forward<I: Isa>(
    layer: (Pattern, &[f32], &[f32]),
    x: &[f32],
    y: &mut [f32],
    [inputs, outputs, batch]: [usize; 3],
) {
    if batch == 1 {
        return forward_single(layer, &x[..inputs], &mut y[..outputs]);
    }
    let mut at = 0;
    while at < batch {
        at += match batch - at {
            4.. => forward_lanes::<I::V4>(layer, x, y, [outputs, batch], at),
            _ => forward_lanes::<f32>(layer, x, y, [outputs, batch], at),
        };
    }
}

/// The lanes from `at` on. Returns `V::LANES`.
#[inline(always)]
fn forward_lanes<V: Vector>(
    (pattern, w, bias): (Pattern, &[f32], &[f32]),
    x: &[f32],
    y: &mut [f32],
    [outputs, batch]: [usize; 2],
    at: usize,
) -> usize {
    for o in 0..outputs {
        let mut sum = V::splat(bias.get(o).copied().unwrap_or(0.0));
        each_live!(pattern, w, o, |w, from| { sum = sum.axpy(V::splat(w), V::from_slice(&x[from..])) }, batch, at);
        sum.store(y, o * batch + at);
    }
    V::LANES
}

/// All lanes; `dx` is zero.
#[inline(always)]
pub(super) fn input_grad<I: Isa>(layer: (Pattern, &[f32]), dy: &[f32], dx: &mut [f32], [outputs, batch]: [usize; 2]) {
    let mut at = 0;
    while at < batch {
        at += match batch - at {
            4.. => input_grad_lanes::<I::V4>(layer, dy, dx, [outputs, batch], at),
            _ => input_grad_lanes::<f32>(layer, dy, dx, [outputs, batch], at),
        };
    }
}

/// The lanes from `at` on; `dx` is zero. Returns `V::LANES`.
#[inline(always)]
fn input_grad_lanes<V: Vector>(
    (pattern, w): (Pattern, &[f32]),
    dy: &[f32],
    dx: &mut [f32],
    [outputs, batch]: [usize; 2],
    at: usize,
) -> usize {
    for o in 0..outputs {
        let dy = V::load(dy, o * batch + at);
        each_live!(
            pattern,
            w,
            o,
            |w, from| {
                let to = &mut dx[from..][..V::LANES];
                V::from_slice(to).axpy(V::splat(w), dy).to_slice(to);
            },
            batch,
            at
        );
    }
    V::LANES
}

/// Weights of a row that the loops for one example take at a time: finding the places of four and checking them costs less
/// than four times that of one.
const UNROLLED: usize = 4;

/// `x` at four columns.
#[inline(always)]
fn four(x: &[f32], cols: &[u16; UNROLLED]) -> [f32; UNROLLED] {
    let [a, b, c, d] = *cols;
    [x[usize::from(a)], x[usize::from(b)], x[usize::from(c)], x[usize::from(d)]]
}

/// One example.
#[inline(always)]
fn forward_single((pattern, w, bias): (Pattern, &[f32], &[f32]), x: &[f32], y: &mut [f32]) {
    for (o, y) in y.iter_mut().enumerate() {
        let live = pattern.row(o);
        let (cols, cols_left) = pattern.cols[live.clone()].as_chunks::<UNROLLED>();
        let (w, w_left) = w[live].as_chunks::<UNROLLED>();
        let mut sum = bias.get(o).copied().unwrap_or(0.0);
        for (cols, w) in cols.iter().zip(w) {
            let ([a, b, c, d], [wa, wb, wc, wd]) = (four(x, cols), *w);
            sum = sum + wa * a + wb * b + wc * c + wd * d;
        }
        for (&col, w) in cols_left.iter().zip(w_left) {
            sum += w * x[usize::from(col)];
        }
        *y = sum;
    }
}

/// Both gradients for one example, in one walk over the pattern; `dx` is zero. Of each weight first the term of the input's gradient,
/// then its own gradient, which the sink may answer by changing it.
#[inline(always)]
pub(super) fn gradients_single<S: ValueSink>(pattern: Pattern, dy: &[f32], x: &[f32], dx: &mut [f32], sink: &mut S) {
    // One check of a column is then for both.
    let dx = &mut dx[..x.len()];
    let mut one = |col: u16, w: f32, dy: f32| {
        let col = usize::from(col);
        let grad = 0.0 + dy * x[col];
        dx[col] += w * dy;
        grad
    };
    let mut grads = [0.0; TOGETHER];
    for (o, &dy) in dy.iter().enumerate() {
        let live = pattern.row(o);
        let mut first = live.start;
        for cols in pattern.cols[live].chunks(TOGETHER) {
            let w = &sink.values()[first..][..cols.len()];
            let grads = &mut grads[..cols.len()];
            let ((cols, cols_left), (w, w_left)) = (cols.as_chunks(), w.as_chunks());
            let (to, to_left) = grads.as_chunks_mut();
            for ((&[a, b, c, d], &[wa, wb, wc, wd]), grads) in cols.iter().zip(w).zip(to) {
                *grads = [one(a, wa, dy), one(b, wb, dy), one(c, wc, dy), one(d, wd, dy)];
            }
            for ((&col, &w), grad) in cols_left.iter().zip(w_left).zip(to_left) {
                *grad = one(col, w, dy);
            }
            sink.take(first, grads);
            first += grads.len();
        }
    }
}

/// Live weights of which the gradients are handed on together.
const TOGETHER: usize = 32;

#[inline(always)]
pub(super) fn weight_grad<I: Isa, S: GradSink>(pattern: Pattern, dy: &[f32], x: &[f32], batch: usize, sink: &mut S) {
    if batch == 0 {
        return;
    }
    let mut grads = [0.0; TOGETHER];
    for (o, dy) in dy.chunks_exact(batch).enumerate() {
        let live = pattern.row(o);
        let mut first = live.start;
        for cols in pattern.cols[live].chunks(TOGETHER) {
            let grads = &mut grads[..cols.len()];
            if let [dy] = dy {
                let ((cols, cols_left), (to, to_left)) = (cols.as_chunks(), grads.as_chunks_mut());
                for (grads, cols) in to.iter_mut().zip(cols) {
                    let [a, b, c, d] = four(x, cols);
                    *grads = [0.0 + dy * a, 0.0 + dy * b, 0.0 + dy * c, 0.0 + dy * d];
                }
                for (grad, &col) in to_left.iter_mut().zip(cols_left) {
                    *grad = 0.0 + dy * x[usize::from(col)];
                }
            } else {
                for (grad, &col) in grads.iter_mut().zip(cols) {
                    *grad = lane_sum::<I::V4>(dy, &x[usize::from(col) * batch..][..batch]);
                }
            }
            sink.take(first, grads);
            first += cols.len();
        }
    }
}

/// The lane sum over a batch. `V` has four lanes, so two of it are the eight sums; one that did not start is `+0.0`, which
/// adds nothing to another that started at `+0.0`.
#[inline(always)]
fn lane_sum<V: Vector>(dy: &[f32], x: &[f32]) -> f32 {
    let [mut these, mut others] = [V::splat(0.0); 2];
    if let (Some(dy), Some(x), HALF) = (dy.first_chunk::<HALF>(), x.first_chunk::<HALF>(), dy.len()) {
        // The other half is all zeros.
        return tree(these.axpy(V::from_slice(dy), V::from_slice(x)));
    }
    let ((dy, dy_left), (x, x_left)) = (dy.as_chunks::<HALF>(), x.as_chunks::<HALF>());
    for (dy, x) in dy.iter().zip(x) {
        these = these.axpy(V::from_slice(dy), V::from_slice(x));
        // The next four terms belong to the other half.
        (these, others) = (others, these);
    }
    if !dy_left.is_empty() {
        let mut ends = [[0.0; HALF]; 2];
        for (end, left) in ends.iter_mut().zip([dy_left, x_left]) {
            end.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
        }
        these = these.axpy(V::from_slice(&ends[0]), V::from_slice(&ends[1]));
    }
    // A sum of two is the same whichever comes first.
    tree(these.add(others))
}

/// The end of a lane sum.
#[inline(always)]
fn tree<V: Vector>(sums: V) -> f32 {
    let mut lanes = [0.0; HALF];
    sums.to_slice(&mut lanes);
    let [a, b, c, d] = lanes;
    (a + c) + (b + d)
}

/// Four of the eight sums.
const HALF: usize = SUM_LANES / 2;
