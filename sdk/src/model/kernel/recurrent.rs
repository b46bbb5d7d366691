//! What the recurrent layers share: the product of each step, and steps taken out of sequences.
//!
//! A sequence is `[rows][positions][batch]`; a step of it, `[rows][batch]`, lies apart in memory. The layers copy each step to
//! scratch, where its products and functions run over contiguous lanes, and back.

use core::ops::Range;

use super::lanes::{block, block_mut, for_exact_blocks};
use super::wide::widened;
use super::{GradSink, Pattern, csr_forward, csr_input_grad, dense_forward, dense_input_grad};

/// The recurrent weight of a layer, `[gates * hidden, hidden]`.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentWeight<'a> {
    /// All values, or with a pattern the live ones.
    pub values: &'a [f32],
    /// Which weights live, if they are stored sparsely.
    pub pattern: Option<Pattern<'a>>,
}

impl RecurrentWeight<'_> {
    /// `y[o][b]` of the rows, as [`dense_forward`] or [`csr_forward`].
    pub(super) fn forward(
        &self,
        rows: Range<usize>,
        bias: &[f32],
        x: &[f32],
        y: &mut [f32],
        hidden: usize,
        batch: usize,
    ) {
        let outputs = rows.len();
        let bias = bias.get(rows.clone()).unwrap_or(&[]);
        match self.pattern {
            None => {
                let w = &self.values[rows.start * hidden..rows.end * hidden];
                dense_forward(w, bias, x, y, hidden, outputs, batch);
            }
            Some(pattern) => {
                csr_forward(pattern.rows(rows), self.values, bias, x, y, hidden, outputs, batch);
            }
        }
    }

    /// `dx[i][b]` from the rows' `dy[o][b]`, as [`dense_input_grad`] or [`csr_input_grad`].
    pub(super) fn input_grad(&self, rows: Range<usize>, dy: &[f32], dx: &mut [f32], hidden: usize, batch: usize) {
        let outputs = rows.len();
        match self.pattern {
            None => {
                let w = &self.values[rows.start * hidden..rows.end * hidden];
                dense_input_grad(w, dy, dx, hidden, outputs, batch);
            }
            Some(pattern) => csr_input_grad(pattern.rows(rows), self.values, dy, dx, hidden, outputs, batch),
        }
    }
}

impl<'a> Pattern<'a> {
    /// Some of the rows; their entries keep their numbers, so that the values are those of the whole tensor. The kernels
    /// over live weights take it too, and name the coordinates of the whole tensor.
    pub fn rows(&self, rows: Range<usize>) -> Pattern<'a> {
        Pattern { row_ptr: &self.row_ptr[rows.start..=rows.end], cols: self.cols }
    }
}

/// Hands pieces on to a sink with their coordinates raised: for the dense gradient of some rows of a tensor.
#[derive(Debug)]
pub struct Raised<'a, S> {
    /// Takes the pieces.
    pub sink: &'a mut S,
    /// Added to every coordinate: row times inputs.
    pub by: usize,
}

impl<S: GradSink> GradSink for Raised<'_, S> {
    #[inline]
    fn take(&mut self, offset: usize, grad: &[f32]) {
        self.sink.take(self.by + offset, grad);
    }
}

/// Some rows of the recurrent weight's gradient: `g[rows.start + o][i] = sum over all positions and examples of dy[o] * x[i]`,
/// a weight gradient over `positions * batch` lanes, and `sum of dy[o]` for the recurrent bias.
#[derive(Clone, Debug)]
pub struct RecurrentRows<'a> {
    /// Rows of the weight.
    pub rows: Range<usize>,
    /// The gradient of their products, `[rows][positions][batch]`.
    pub dy: &'a [f32],
    /// What they were multiplied with, `[hidden][positions][batch]`.
    pub x: &'a [f32],
}

/// Where each step of a sequence lies.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    pub(super) positions: usize,
    pub(super) batch: usize,
}

impl Steps {
    /// Values of `rows` of a sequence.
    pub(super) fn sequence(&self, rows: Range<usize>) -> Range<usize> {
        let row = self.positions * self.batch;
        rows.start * row..rows.end * row
    }
}

#[inline(always)]
fn load_lanes<const L: usize>(sequence: &[f32], step: &mut [f32], s: Steps, t: usize, b: usize) {
    let rows = sequence.chunks_exact(s.positions * s.batch).zip(step.chunks_exact_mut(s.batch));
    for (from, to) in rows {
        *block_mut::<L>(to, b) = *block::<L>(from, t * s.batch + b);
    }
}

#[inline(always)]
fn add_lanes<const L: usize>(sequence: &[f32], step: &mut [f32], s: Steps, t: usize, b: usize) {
    let rows = sequence.chunks_exact(s.positions * s.batch).zip(step.chunks_exact_mut(s.batch));
    for (from, to) in rows {
        let (from, to) = (block::<L>(from, t * s.batch + b), block_mut::<L>(to, b));
        for l in 0..L {
            to[l] += from[l];
        }
    }
}

#[inline(always)]
fn store_lanes<const L: usize>(step: &[f32], sequence: &mut [f32], s: Steps, t: usize, b: usize) {
    let rows = step.chunks_exact(s.batch).zip(sequence.chunks_exact_mut(s.positions * s.batch));
    for (from, to) in rows {
        *block_mut::<L>(to, t * s.batch + b) = *block::<L>(from, b);
    }
}

widened! {
    /// Step `t` of a sequence of the same rows.
    pub(super) fn load_step(sequence: &[f32], step: &mut [f32], s: Steps, t: usize) {
        for_exact_blocks!(s.batch, |b| load_lanes::<L>(sequence, step, s, t, b));
    }

    /// Adds step `t` of a sequence.
    pub(super) fn add_step(sequence: &[f32], step: &mut [f32], s: Steps, t: usize) {
        for_exact_blocks!(s.batch, |b| add_lanes::<L>(sequence, step, s, t, b));
    }

    /// Writes step `t` of a sequence.
    pub(super) fn store_step(step: &[f32], sequence: &mut [f32], s: Steps, t: usize) {
        for_exact_blocks!(s.batch, |b| store_lanes::<L>(step, sequence, s, t, b));
    }

    /// `y * x` in place.
    pub(super) fn scale(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y *= x;
        }
    }

    /// `y + x` in place.
    pub(super) fn add(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
}

/// The state before each position: `y` one position later, zeros first.
pub(super) fn previous(y: &[f32], previous: &mut [f32], s: Steps) {
    let row = s.positions * s.batch;
    for (from, to) in y.chunks_exact(row).zip(previous.chunks_exact_mut(row)) {
        to[..s.batch].fill(0.0);
        to[s.batch..].copy_from_slice(&from[..row - s.batch]);
    }
}

/// The product with the state before the first position, which is zero.
pub(super) fn only_bias(bias: &[f32], y: &mut [f32], batch: usize) {
    for (o, y) in y.chunks_exact_mut(batch).enumerate() {
        y.fill(bias.get(o).copied().unwrap_or(0.0));
    }
}
