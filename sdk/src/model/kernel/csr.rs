//! Sparse dense-shaped layers: only live weights are stored, read and multiplied.
//!
//! Per live weight the loops spend about two instructions on finding a row, one or two on loading, and the arithmetic: as
//! many lanes as registers allow are done in one walk over the pattern.
#![allow(clippy::needless_range_loop)] // r, k and b number registers

use core::ops::Range;

use super::csr_single;
use super::csr_small as small;
use super::lanes::{Column, Columns, Lines, LinesMut, Rows, SUM_LANES};
use super::vector::{Eight, Isa, Pair, Vector};
use super::{FAST, GradSink, Pattern};

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
    if !FAST {
        return small::forward::<I>((pattern, w, bias), x, y, [inputs, outputs, batch]);
    }
    let cols = Columns::new(pattern.cols, inputs);
    let shape = [inputs, outputs, batch];
    let layer = (pattern, cols, w, bias);
    if batch == 1 {
        // Each row that ends at another length is guessed wrong once: more rows in step wait for that longer.
        forward_lanes::<f32, true, 3>(layer, x, y, [inputs, outputs, 1], 0, 1);
        return;
    }
    let mut at = 0;
    while at < batch {
        let left = batch - at;
        at += match left {
            32.. if I::WIDE => forward_lanes::<Pair<I::V16>, true, R>(layer, x, y, shape, at, 32),
            16.. if I::WIDE => forward_lanes::<I::V16, true, R>(layer, x, y, shape, at, 16),
            9.. if I::WIDE => forward_lanes::<I::V16, false, R>(layer, x, y, shape, at, left),
            8.. => forward_lanes::<I::V8, true, R>(layer, x, y, shape, at, 8),
            5.. => forward_lanes::<I::V8, false, R>(layer, x, y, shape, at, left),
            2.. => forward_lanes::<I::V4, false, R>(layer, x, y, shape, at, left),
            _ => forward_lanes::<f32, true, R>(layer, x, y, shape, at, 1),
        };
    }
}

/// The weights of a layer.
type Layer<'a> = (Pattern<'a>, Columns<'a>, &'a [f32], &'a [f32]);

/// `WHOLE`: all lanes of `V` are left. Returns `V::LANES`.
#[inline(always)]
fn forward_lanes<V: Vector, const WHOLE: bool, const R: usize>(
    (pattern, cols, w, bias): Layer,
    x: &[f32],
    y: &mut [f32],
    [inputs, outputs, batch]: [usize; 3],
    at: usize,
    left: usize,
) -> usize {
    let x = (Lines::new(x, inputs, batch, at, left.min(V::LANES)), Rows::<V>::new(x, inputs, batch, at));
    for o in (0..outputs).step_by(R) {
        // Past the last row come empty ones.
        let live: [Range<usize>; R] = core::array::from_fn(|r| if o + r < outputs { pattern.row(o + r) } else { 0..0 });
        let cols: [Columns; R] = core::array::from_fn(|r| cols.range(live[r].clone()));
        let w: [&[f32]; R] = core::array::from_fn(|r| &w[live[r].clone()]);
        let mut acc = [V::splat(0.0); R];
        for r in 0..R {
            acc[r] = V::splat(bias.get(o + r).copied().unwrap_or(0.0));
        }
        let common = live.iter().map(Range::len).min().unwrap_or(0);
        let heads: [Columns; R] = core::array::from_fn(|r| cols[r].range(0..common));
        let weights: [&[f32]; R] = core::array::from_fn(|r| &w[r][..common]);
        for k in 0..common {
            for r in 0..R {
                acc[r] = acc[r].axpy(V::splat(weights[r][k]), row::<V, WHOLE>(&x, heads[r].get(k)));
            }
        }
        for r in 0..R {
            if o + r < outputs {
                for (col, &w) in cols[r].range(common..live[r].len()).iter().zip(&w[r][common..]) {
                    acc[r] = acc[r].axpy(V::splat(w), row::<V, WHOLE>(&x, col));
                }
                acc[r].store_first(y, (o + r) * batch + at, left);
            }
        }
    }
    V::LANES
}

#[inline(always)]
fn row<V: Vector, const WHOLE: bool>((whole, any): &(Lines, Rows<V>), col: Column) -> V {
    if WHOLE { V::from_slice(whole.get(col)) } else { any.get(col.index()) }
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
    if !FAST {
        return small::input_grad::<I>((pattern, w), dy, dx, [outputs, batch]);
    }
    let cols = Columns::new(pattern.cols, inputs);
    if batch == 1 && I::VECTORS {
        return csr_single::input_grad::<I>(pattern, cols, w, &dy[..outputs], dx);
    }
    let shape = [inputs, outputs, batch];
    let layer = (pattern, cols, w);
    if batch == 1 {
        input_grad_lanes::<f32>(layer, dy, dx, [inputs, outputs, 1], 0);
        return;
    }
    let mut at = 0;
    while at < batch {
        at += match batch - at {
            32.. if I::WIDE => input_grad_lanes::<Pair<I::V16>>(layer, dy, dx, shape, at),
            16.. if I::WIDE => input_grad_lanes::<I::V16>(layer, dy, dx, shape, at),
            8.. => input_grad_lanes::<I::V8>(layer, dy, dx, shape, at),
            4.. => input_grad_lanes::<I::V4>(layer, dy, dx, shape, at),
            2.. => input_grad_lanes::<Pair<f32>>(layer, dy, dx, shape, at),
            _ => input_grad_lanes::<f32>(layer, dy, dx, shape, at),
        };
    }
}

/// Returns `V::LANES`.
#[inline(always)]
fn input_grad_lanes<V: Vector>(
    (pattern, cols, w): (Pattern, Columns, &[f32]),
    dy: &[f32],
    dx: &mut [f32],
    [inputs, outputs, batch]: [usize; 3],
    at: usize,
) -> usize {
    let mut dx = LinesMut::new(dx, inputs, batch, at, V::LANES);
    for o in 0..outputs {
        let lanes = V::load(dy, o * batch + at);
        let live = pattern.row(o);
        let (cols, w) = (cols.range(live.clone()), &w[live]);
        let mut k = 0;
        // Two columns of a row differ: what is added to one need not be stored before the other is read.
        while k + 2 <= w.len() {
            let (a, b) = (cols.get(k), cols.get(k + 1));
            let sums = [
                V::from_slice(dx.get(a)).axpy(V::splat(w[k]), lanes),
                V::from_slice(dx.get(b)).axpy(V::splat(w[k + 1]), lanes),
            ];
            sums[0].to_slice(dx.get(a));
            sums[1].to_slice(dx.get(b));
            k += 2;
        }
        if k < w.len() {
            let to = dx.get(cols.get(k));
            V::from_slice(to).axpy(V::splat(w[k]), lanes).to_slice(to);
        }
    }
    V::LANES
}

/// Live weights of which the gradients are made together.
const TOGETHER: usize = 8;

/// Eight live weights of a row at a time; the row of `dy` stays in registers for the usual batches.
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
    if !FAST {
        return small::weight_grad::<I, S>(pattern, &dy[..outputs * batch], &x[..inputs * batch], batch, sink);
    }
    let cols = Columns::new(pattern.cols, inputs);
    if batch == 1 && I::VECTORS {
        return csr_single::weight_grad::<I, S>(pattern, cols, &dy[..outputs], &x[..inputs], sink);
    }
    for o in 0..outputs {
        let dy = &dy[o * batch..][..batch];
        let live = pattern.row(o);
        let (offset, cols) = (live.start, cols.range(live));
        match batch {
            0 => {}
            1 => products(dy[0], &x[..inputs], cols, offset, sink),
            2..8 => dots::<I::V8, 0, true, S>(dy, x, inputs, cols, offset, sink),
            8 => dots::<I::V8, 1, false, S>(dy, x, inputs, cols, offset, sink),
            9..16 => dots::<I::V8, 1, true, S>(dy, x, inputs, cols, offset, sink),
            16 => dots::<I::V8, 2, false, S>(dy, x, inputs, cols, offset, sink),
            32 => dots::<I::V8, 4, false, S>(dy, x, inputs, cols, offset, sink),
            _ => long_dots::<I::V8, S>(dy, x, inputs, cols, offset, sink),
        }
    }
}

/// Calls `$grads` for the weights `$k..$k + TOGETHER` of a row; past the last weight comes the last one again, of which the result
/// is dropped.
macro_rules! for_weights {
    ($cols:ident, $offset:ident, $sink:ident, |$together:ident| $grads:expr) => {
        let mut k = 0;
        while $cols.len() - k >= TOGETHER {
            let mut $together = [$cols.get(k); TOGETHER];
            for t in 1..TOGETHER {
                $together[t] = $cols.get(k + t);
            }
            let grads: [f32; TOGETHER] = $grads;
            $sink.take($offset + k, &grads);
            k += TOGETHER;
        }
        if k < $cols.len() {
            let mut $together = [$cols.get(k); TOGETHER];
            for t in 1..TOGETHER {
                $together[t] = $cols.get((k + t).min($cols.len() - 1));
            }
            let grads: [f32; TOGETHER] = $grads;
            $sink.take($offset + k, &grads[..$cols.len() - k]);
        }
    };
}

/// Batch of one: every sum has one term.
#[inline(always)]
fn products<S: GradSink>(dy: f32, x: &[f32], cols: Columns, offset: usize, sink: &mut S) {
    for (k, col) in cols.iter().enumerate() {
        sink.take(offset + k, &[0.0 + dy * x[col.index()]]);
    }
}

/// A batch of `WHOLE` blocks of lanes and, with `TAIL`, of one that is not full.
#[inline(always)]
fn dots<V: Eight, const WHOLE: usize, const TAIL: bool, S: GradSink>(
    dy: &[f32],
    x: &[f32],
    inputs: usize,
    cols: Columns,
    offset: usize,
    sink: &mut S,
) {
    let batch = dy.len();
    let mut lanes = [V::splat(0.0); WHOLE];
    for b in 0..WHOLE {
        lanes[b] = V::load(dy, b * SUM_LANES);
    }
    let tail = Tail::<V>::new(batch, WHOLE * SUM_LANES);
    let rest = if TAIL { tail.get(dy, 0) } else { V::splat(0.0) };
    let rows = Lines::new(x, inputs, batch, 0, batch);
    for_weights!(cols, offset, sink, |together| {
        let mut sums = [V::splat(0.0); TOGETHER];
        for t in 0..TOGETHER {
            let row = &rows.get(together[t])[..WHOLE * SUM_LANES];
            for b in 0..WHOLE {
                sums[t] = sums[t].axpy(lanes[b], V::load(row, b * SUM_LANES));
            }
            if TAIL {
                sums[t] = sums[t].axpy(rest, tail.get(x, together[t].index() * batch));
            }
        }
        V::tree8(sums)
    });
}

/// Any batch.
#[inline(always)]
fn long_dots<V: Eight, S: GradSink>(dy: &[f32], x: &[f32], inputs: usize, cols: Columns, offset: usize, sink: &mut S) {
    let batch = dy.len();
    let whole = batch / SUM_LANES * SUM_LANES;
    let tail = Tail::<V>::new(batch, whole);
    let rest = tail.get(dy, 0);
    let rows = Lines::new(x, inputs, batch, 0, batch);
    for_weights!(cols, offset, sink, |together| {
        let mut sums = [V::splat(0.0); TOGETHER];
        for from in (0..whole).step_by(SUM_LANES) {
            let lanes = V::load(dy, from);
            for t in 0..TOGETHER {
                sums[t] = sums[t].axpy(lanes, V::load(rows.get(together[t]), from));
            }
        }
        if whole < batch {
            for t in 0..TOGETHER {
                sums[t] = sums[t].axpy(rest, tail.get(x, together[t].index() * batch));
            }
        }
        V::tree8(sums)
    });
}

/// The block of lanes at the end of a batch that is not full.
#[derive(Clone, Copy)]
pub(super) struct Tail<V> {
    first: usize,
    keep: V,
}

impl<V: Eight> Tail<V> {
    /// From lane `first` of `batch` on.
    #[inline(always)]
    pub(super) fn new(batch: usize, first: usize) -> Self {
        let left = batch - first;
        let keep: [f32; SUM_LANES] = core::array::from_fn(|l| f32::from_bits(if l < left { u32::MAX } else { 0 }));
        Self { first, keep: V::from_slice(&keep) }
    }

    /// Those lanes of the row that starts at `from`, and zeros: with zeros on both sides the lanes that are not there add
    /// `+0.0`, which changes no sum that started at `+0.0`.
    #[inline(always)]
    pub(super) fn get(&self, data: &[f32], from: usize) -> V {
        let row = match V::get(data, from + self.first) {
            Some(lanes) => lanes,
            None => V::from_slice(&padded(data, from + self.first)),
        };
        row.and(self.keep)
    }
}

/// Eight values from `from` on, zeros past the end.
#[cold]
#[inline(never)]
fn padded(values: &[f32], from: usize) -> [f32; SUM_LANES] {
    let mut all = [0.0; SUM_LANES];
    for (to, &value) in all.iter_mut().zip(values.get(from..).unwrap_or(&[])) {
        *to = value;
    }
    all
}
