//! Sparse gradients of one example.
//!
//! A row has a few dozen live weights, each worth an instruction or two: what it costs to guess wrong where a row ends would
//! be a quarter of the time. Hence the gradient of its output is first written beside each weight, several at a time and past
//! the end of the row; the arithmetic then runs over the weights of all rows as one array.
#![allow(clippy::needless_range_loop)] // t numbers lanes

use core::ops::Range;

use super::lanes::{Columns, LinesMut};
use super::vector::{Eight, Isa, Vector};
use super::{GradSink, Pattern};

/// Lanes of a vector.
const LANES: usize = 8;

/// Weights of which the output's gradients are at hand; bounds the stack at 2.2 KB.
const SPREAD: usize = 512;

/// Values that are written at least for each row.
const RUN: usize = 32;

/// The gradient of the output of each live weight, for the weights in order.
struct Spread<'a> {
    row_ptr: &'a [u32],
    dy: &'a [f32],
    /// The row that the weight number `at` belongs to, or one before it.
    row: usize,
    at: usize,
    live: usize,
    values: [f32; SPREAD + RUN],
}

impl<'a> Spread<'a> {
    #[inline(always)]
    fn new(pattern: Pattern<'a>, dy: &'a [f32]) -> Self {
        // A part of a layer, such as a gate of a recurrent one, starts and ends within the columns.
        let (at, live) = (pattern.row_ptr[0] as usize, pattern.row_ptr[dy.len()] as usize);
        Self { row_ptr: pattern.row_ptr, dy, row: 0, at, live, values: [0.0; SPREAD + RUN] }
    }

    /// The next weights, of which the gradients now stand at the front of `values`.
    #[inline(always)]
    fn next<V: Vector>(&mut self) -> Option<Range<usize>> {
        if self.at >= self.live {
            return None;
        }
        let first = self.at;
        let last = self.live.min(first + SPREAD);
        while self.at < last {
            let end = last.min(self.row_ptr[self.row + 1] as usize);
            let value = V::splat(self.dy[self.row]);
            while self.at < end {
                for t in 0..RUN / LANES {
                    value.store(&mut self.values, self.at - first + t * LANES);
                }
                self.at += RUN;
            }
            self.at = end;
            self.row += usize::from(end < last);
        }
        Some(first..last)
    }
}

/// `dx` is zero.
#[inline(always)]
pub(super) fn input_grad<I: Isa>(pattern: Pattern, cols: Columns, w: &[f32], dy: &[f32], dx: &mut [f32]) {
    let inputs = dx.len();
    let mut dx = LinesMut::new(dx, inputs, 1, 0, 1);
    let mut spread = Spread::new(pattern, dy);
    while let Some(live) = spread.next::<I::V8>() {
        let (cols, w) = (cols.range(live.clone()), &w[live]);
        let (weights, weights_left) = w.as_chunks::<LANES>();
        let (values, values_left) = spread.values[..w.len()].as_chunks::<LANES>();
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
    let mut spread = Spread::new(pattern, dy);
    while let Some(live) = spread.next::<I::V8>() {
        let cols = cols.range(live.clone());
        let (values, values_left) = spread.values[..cols.len()].as_chunks::<LANES>();
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
