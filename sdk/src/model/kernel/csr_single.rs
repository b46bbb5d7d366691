//! Sparse gradients of one example.
//!
//! A row has a few dozen live weights, each worth an instruction or two: what it costs to guess wrong where a row ends would
//! be a quarter of the time. Hence the gradient of its output is first written beside each weight, several at a time and past
//! the end of the row; the arithmetic then runs over the weights of all rows as one array.
#![allow(clippy::needless_range_loop)] // t numbers lanes

use core::ops::Range;

use super::lanes::{Columns, Lines, LinesMut};
use super::vector::{Eight, Isa, Vector};
use super::{FAST, GradSink, Pattern, ValueSink, csr_small};

/// Lanes of a vector.
const LANES: usize = 8;

/// Weights of which the output's gradients are at hand; twice as many bound the stack at 4.4 KB.
const SPREAD: usize = 512;

/// Values that are written at least for each row.
const RUN: usize = 32;

/// The gradient of the output of each live weight, for the weights in order.
///
/// Weights are spread while the ones before them are still to be worked on: a value that is read while the store that wrote
/// it is on its way, one of several that overlap, waits for all of them.
struct Spread<'a> {
    row_ptr: &'a [u32],
    dy: &'a [f32],
    /// The row that the weight number `ready.end` belongs to, or one before it.
    row: usize,
    live: usize,
    /// The weights of which the gradients stand at the front of `values[side]`.
    ready: Range<usize>,
    side: usize,
    values: [Aligned; 2],
}

/// Begins on a cache line: a vector of every other eight would lie across two.
#[repr(align(64))]
struct Aligned([f32; SPREAD + RUN]);

impl<'a> Spread<'a> {
    #[inline(always)]
    fn new<V: Vector>(pattern: Pattern<'a>, dy: &'a [f32]) -> Self {
        // A part of a layer, such as a gate of a recurrent one, starts and ends within the columns.
        let (at, live) = (pattern.row_ptr[0] as usize, pattern.row_ptr[dy.len()] as usize);
        let values = [Aligned([0.0; SPREAD + RUN]), Aligned([0.0; SPREAD + RUN])];
        let mut spread = Self { row_ptr: pattern.row_ptr, dy, row: 0, live, ready: at..at, side: 0, values };
        spread.fill::<V>();
        spread
    }

    /// Makes the weights after the ready ones ready.
    #[inline(always)]
    fn fill<V: Vector>(&mut self) {
        let first = self.ready.end;
        let last = self.live.min(first + SPREAD);
        let (mut at, mut row) = (first, self.row);
        let values = &mut self.values[self.side].0;
        while at < last {
            let end = last.min(self.row_ptr[row + 1] as usize);
            let value = V::splat(self.dy[row]);
            while at < end {
                for t in 0..RUN / V::LANES {
                    value.store(values, at - first + t * V::LANES);
                }
                at += RUN;
            }
            at = end;
            row += usize::from(end < last);
        }
        self.row = row;
        self.ready = first..last;
    }

    /// The next weights, and for each of them the gradient of its output.
    #[inline(always)]
    fn next<V: Vector>(&mut self) -> Option<(Range<usize>, &[f32])> {
        let (ready, side) = (self.ready.clone(), self.side);
        if ready.is_empty() {
            return None;
        }
        self.side = 1 - side;
        self.fill::<V>();
        Some((ready.clone(), &self.values[side].0[..ready.len()]))
    }
}

/// `dx` is zero.
#[inline(always)]
pub(super) fn input_grad<I: Isa>(pattern: Pattern, cols: Columns, w: &[f32], dy: &[f32], dx: &mut [f32]) {
    let inputs = dx.len();
    let mut dx = LinesMut::new(dx, inputs, 1, 0, 1);
    let mut spread = Spread::new::<I::V16>(pattern, dy);
    while let Some((live, values)) = spread.next::<I::V16>() {
        let (cols, w) = (cols.range(live.clone()), &w[live]);
        let (weights, weights_left) = w.as_chunks::<LANES>();
        let (values, values_left) = values.as_chunks::<LANES>();
        for ((cols, w), dy) in cols.eights().zip(weights).zip(values) {
            let mut terms = [0.0; LANES];
            I::V8::from_slice(w).mul(I::V8::from_slice(dy)).to_slice(&mut terms);
            let cols = cols.each();
            for t in 0..LANES {
                dx.get(cols[t])[0] += terms[t];
            }
        }
        let left = cols.range(w.len() - weights_left.len()..w.len());
        for ((col, w), dy) in left.iter().zip(weights_left).zip(values_left) {
            dx.get(col)[0] += w * dy;
        }
    }
}

/// Every sum has one term.
#[inline(always)]
pub(super) fn weight_grad<I: Isa, S: GradSink>(pattern: Pattern, cols: Columns, dy: &[f32], x: &[f32], sink: &mut S) {
    let mut spread = Spread::new::<I::V16>(pattern, dy);
    while let Some((live, values)) = spread.next::<I::V16>() {
        let cols = cols.range(live.clone());
        let (values, values_left) = values.as_chunks::<LANES>();
        let mut k = live.start;
        for (cols, dy) in cols.eights().zip(values) {
            let mut grads = [0.0; LANES];
            I::V8::splat(0.0).axpy(I::V8::from_slice(dy), I::V8::gather(x, cols)).to_slice(&mut grads);
            sink.take(k, &grads);
            k += LANES;
        }
        let left = cols.range(cols.len() - values_left.len()..cols.len());
        for (col, dy) in left.iter().zip(values_left) {
            sink.take(k, &[0.0 + dy * x[col.index()]]);
            k += 1;
        }
    }
}

/// Both gradients of a sparse layer: `dx` and what the sink takes are those of [`csr_input_grad`](super::csr_input_grad)
/// over the values of the sink as they are before, and of [`csr_weight_grad`](super::csr_weight_grad), bit by bit.
///
/// For a batch of one all is done in one pass over the live weights, which takes five sixths of the time of two.
#[allow(clippy::too_many_arguments)]
pub fn csr_gradients(
    pattern: Pattern<'_>,
    dy: &[f32],
    x: &[f32],
    dx: &mut [f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
    sink: &mut impl ValueSink,
) {
    if batch == 1 {
        super::csr_single_gradients(pattern, dy, x, dx, inputs, outputs, sink);
    } else {
        super::csr_input_grad(pattern, sink.values(), dy, dx, inputs, outputs, batch);
        super::csr_weight_grad(pattern, dy, x, inputs, outputs, batch, sink);
    }
}

/// Of each weight first the term of the input's gradient, then its own gradient: a sink may change it.
#[inline(always)]
pub(super) fn gradients<I: Isa, S: ValueSink>(
    pattern: Pattern,
    dy: &[f32],
    x: &[f32],
    dx: &mut [f32],
    inputs: usize,
    outputs: usize,
    sink: &mut S,
) {
    debug_assert!(pattern.row_ptr.len() == outputs + 1 && sink.values().len() == pattern.cols.len());
    debug_assert!(dy.len() == outputs && x.len() == inputs && dx.len() == inputs);
    let (dy, x, dx) = (&dy[..outputs], &x[..inputs], &mut dx[..inputs]);
    dx.fill(0.0);
    if !FAST {
        return csr_small::gradients_single(pattern, dy, x, dx, sink);
    }
    let (x, mut dx) = (Lines::new(x, inputs, 1, 0, 1), LinesMut::new(dx, inputs, 1, 0, 1));
    if !I::VECTORS {
        for (row, &dy) in dy.iter().enumerate() {
            let live = pattern.row(row);
            let cols = Columns::new(&pattern.cols[live.clone()], inputs);
            single_gradients(cols, live.start, |_| dy, &x, &mut dx, sink);
        }
        return;
    }
    let mut spread = Spread::new::<I::V16>(pattern, dy);
    while let Some((live, values)) = spread.next::<I::V16>() {
        let cols = Columns::new(&pattern.cols[live.clone()], inputs);
        let (values, values_left) = values.as_chunks::<LANES>();
        let mut k = live.start;
        for (cols, dy) in cols.eights().zip(values) {
            let dy = I::V8::from_slice(dy);
            let (mut terms, mut grads) = ([0.0; LANES], [0.0; LANES]);
            I::V8::load(sink.values(), k).mul(dy).to_slice(&mut terms);
            // One column after the other: eight and all the pointers are too many for the registers.
            let (cols, mut inputs) = (cols.each(), [0.0; LANES]);
            for t in 0..LANES {
                inputs[t] = x.get(cols[t])[0];
                dx.get(cols[t])[0] += terms[t];
            }
            I::V8::splat(0.0).axpy(dy, I::V8::from_slice(&inputs)).to_slice(&mut grads);
            sink.take(k, &grads);
            k += LANES;
        }
        let left = cols.range(cols.len() - values_left.len()..cols.len());
        single_gradients(left, k, |t| values_left[t], &x, &mut dx, sink);
    }
}

/// The weights from `offset` on one by one, of which the outputs' gradients are `dy(0)`, `dy(1)` and so on.
#[inline(always)]
fn single_gradients<S: ValueSink>(
    cols: Columns,
    offset: usize,
    dy: impl Fn(usize) -> f32,
    x: &Lines,
    dx: &mut LinesMut,
    sink: &mut S,
) {
    for (t, col) in cols.iter().enumerate() {
        dx.get(col)[0] += sink.values()[offset + t] * dy(t);
        sink.take(offset + t, &[0.0 + dy(t) * x.get(col)[0]]);
    }
}
