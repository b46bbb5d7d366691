//! Sparse dense-shaped layers whose live weights come in blocks of four outputs that share an input.
//!
//! A block finds its row of the activation once for four weights, and its gradients are four neighbours in memory. The sums
//! are those of [`csr`](super::csr) over the same live weights.
#![allow(clippy::needless_range_loop)] // r, t and b number registers

use core::ops::Range;

use super::csr::Tail;
use super::lanes::{Columns, Lines, LinesMut, Rows, SUM_LANES};
use super::vector::{Eight, Isa, Pair, Vector};
use super::{BlockPattern, GradSink};

/// Outputs of a block.
pub const BLOCK: usize = 4;

impl BlockPattern<'_> {
    /// The blocks of a group of four outputs.
    #[inline(always)]
    fn group(&self, group: usize) -> Range<usize> {
        self.row_ptr[group] as usize..self.row_ptr[group + 1] as usize
    }
}

/// The weights of a layer.
type Layer<'a> = (BlockPattern<'a>, Columns<'a>, &'a [[f32; BLOCK]], &'a [f32]);

/// Four sums and their input at a time, of as many lanes as the registers allow.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn forward<I: Isa>(
    pattern: BlockPattern,
    w: &[f32],
    bias: &[f32],
    x: &[f32],
    y: &mut [f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
) {
    debug_assert!(pattern.row_ptr.len() == outputs / BLOCK + 1 && w.len() == BLOCK * pattern.cols.len());
    debug_assert!(outputs.is_multiple_of(BLOCK) && x.len() == inputs * batch && y.len() == outputs * batch);
    let cols = Columns::new(pattern.cols, inputs);
    let layer = (pattern, cols, w.as_chunks().0, bias);
    if batch == 1 {
        return forward_single::<I>(layer, x, y, inputs, outputs);
    }
    let shape = [inputs, outputs, batch];
    let mut at = 0;
    while at < batch {
        let left = batch - at;
        at += match left {
            32.. if I::LANES >= 32 => forward_lanes::<Pair<I::V16>, true>(layer, x, y, shape, at, 32),
            16.. if I::LANES >= 16 => forward_lanes::<I::V16, true>(layer, x, y, shape, at, 16),
            9.. if I::LANES >= 16 => forward_lanes::<I::V16, false>(layer, x, y, shape, at, left),
            8.. => forward_lanes::<I::V8, true>(layer, x, y, shape, at, 8),
            5.. => forward_lanes::<I::V8, false>(layer, x, y, shape, at, left),
            2.. => forward_lanes::<I::V4, false>(layer, x, y, shape, at, left),
            _ => forward_lanes::<f32, true>(layer, x, y, shape, at, 1),
        };
    }
}

/// The bias of four outputs.
#[inline(always)]
fn four(bias: &[f32], o: usize) -> [f32; BLOCK] {
    core::array::from_fn(|r| bias.get(o + r).copied().unwrap_or(0.0))
}

/// Batch of one: the four outputs are the lanes. Two groups in step, so that their sums do not wait for each other.
#[inline(always)]
fn forward_single<I: Isa>((pattern, cols, w, bias): Layer, x: &[f32], y: &mut [f32], inputs: usize, outputs: usize) {
    let x = Lines::new(x, inputs, 1, 0, 1);
    let groups = outputs / BLOCK;
    for g in (0..groups).step_by(2) {
        // Past the last group comes an empty one.
        let live = [pattern.group(g), if g + 1 < groups { pattern.group(g + 1) } else { 0..0 }];
        let cols = [cols.range(live[0].clone()), cols.range(live[1].clone())];
        let w = [&w[live[0].clone()], &w[live[1].clone()]];
        let mut acc = [I::V4::from_slice(&four(bias, g * BLOCK)), I::V4::from_slice(&four(bias, (g + 1) * BLOCK))];
        let common = live[0].len().min(live[1].len());
        let (heads, weights) =
            ([cols[0].range(0..common), cols[1].range(0..common)], [&w[0][..common], &w[1][..common]]);
        for k in 0..common {
            for r in 0..2 {
                acc[r] = acc[r].axpy(I::V4::from_slice(&weights[r][k]), I::V4::splat(x.get(heads[r].get(k))[0]));
            }
        }
        for r in 0..2 {
            if g + r < groups {
                for (col, w) in cols[r].range(common..live[r].len()).iter().zip(&w[r][common..]) {
                    acc[r] = acc[r].axpy(I::V4::from_slice(w), I::V4::splat(x.get(col)[0]));
                }
                acc[r].store(y, (g + r) * BLOCK);
            }
        }
    }
}

/// `WHOLE`: all lanes of `V` are left. Returns `V::LANES`.
#[inline(always)]
fn forward_lanes<V: Vector, const WHOLE: bool>(
    (pattern, cols, w, bias): Layer,
    x: &[f32],
    y: &mut [f32],
    [inputs, outputs, batch]: [usize; 3],
    at: usize,
    left: usize,
) -> usize {
    let whole = Lines::new(x, inputs, batch, at, left.min(V::LANES));
    let rows = Rows::<V>::new(x, inputs, batch, at);
    for g in 0..outputs / BLOCK {
        let live = pattern.group(g);
        let bias = four(bias, g * BLOCK);
        let mut acc = [V::splat(0.0); BLOCK];
        for r in 0..BLOCK {
            acc[r] = V::splat(bias[r]);
        }
        for (col, w) in cols.range(live.clone()).iter().zip(&w[live]) {
            let x = if WHOLE { V::from_slice(whole.get(col)) } else { rows.get(col.index()) };
            for r in 0..BLOCK {
                acc[r] = acc[r].axpy(V::splat(w[r]), x);
            }
        }
        for r in 0..BLOCK {
            acc[r].store_first(y, (g * BLOCK + r) * batch + at, left);
        }
    }
    V::LANES
}

/// Every block adds four times to the row of its input; exact lane blocks.
#[inline(always)]
pub(super) fn input_grad<I: Isa>(
    pattern: BlockPattern,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
) {
    debug_assert!(pattern.row_ptr.len() == outputs / BLOCK + 1 && w.len() == BLOCK * pattern.cols.len());
    debug_assert!(outputs.is_multiple_of(BLOCK) && dy.len() == outputs * batch && dx.len() == inputs * batch);
    let dx = &mut dx[..inputs * batch];
    dx.fill(0.0);
    let cols = Columns::new(pattern.cols, inputs);
    let layer = (pattern, cols, w.as_chunks().0, &[][..]);
    if batch == 1 {
        input_grad_lanes::<f32>(layer, dy, dx, [inputs, outputs, 1], 0);
        return;
    }
    let shape = [inputs, outputs, batch];
    let mut at = 0;
    while at < batch {
        at += match batch - at {
            32.. if I::LANES >= 32 => input_grad_lanes::<Pair<I::V16>>(layer, dy, dx, shape, at),
            16.. if I::LANES >= 16 => input_grad_lanes::<I::V16>(layer, dy, dx, shape, at),
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
    (pattern, cols, w, _): Layer,
    dy: &[f32],
    dx: &mut [f32],
    [inputs, outputs, batch]: [usize; 3],
    at: usize,
) -> usize {
    let mut dx = LinesMut::new(dx, inputs, batch, at, V::LANES);
    for g in 0..outputs / BLOCK {
        let mut lanes = [V::splat(0.0); BLOCK];
        for r in 0..BLOCK {
            lanes[r] = V::load(dy, (g * BLOCK + r) * batch + at);
        }
        let live = pattern.group(g);
        for (col, w) in cols.range(live.clone()).iter().zip(&w[live]) {
            let to = dx.get(col);
            let mut sum = V::from_slice(to);
            for r in 0..BLOCK {
                sum = sum.axpy(V::splat(w[r]), lanes[r]);
            }
            sum.to_slice(to);
        }
    }
    V::LANES
}

/// Two blocks at a time.
#[inline(always)]
pub(super) fn weight_grad<I: Isa, S: GradSink>(
    pattern: BlockPattern,
    dy: &[f32],
    x: &[f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
    sink: &mut S,
) {
    debug_assert!(outputs.is_multiple_of(BLOCK) && pattern.row_ptr.len() == outputs / BLOCK + 1);
    debug_assert!(dy.len() == outputs * batch && x.len() == inputs * batch);
    let cols = Columns::new(pattern.cols, inputs);
    for g in 0..outputs / BLOCK {
        let dy = &dy[g * BLOCK * batch..][..BLOCK * batch];
        let live = pattern.group(g);
        let (first, cols) = (live.start, cols.range(live));
        match batch {
            0 => {}
            1 => products::<I::V4, S>(dy, x, inputs, cols, first, sink),
            2..8 => dots::<I::V8, 0, true, S>(dy, x, inputs, cols, first, sink),
            8 => dots::<I::V8, 1, false, S>(dy, x, inputs, cols, first, sink),
            9..16 => dots::<I::V8, 1, true, S>(dy, x, inputs, cols, first, sink),
            16 => dots::<I::V8, 2, false, S>(dy, x, inputs, cols, first, sink),
            32 => dots::<I::V8, 4, false, S>(dy, x, inputs, cols, first, sink),
            _ => dots::<I::V8, ANY, true, S>(dy, x, inputs, cols, first, sink),
        }
    }
}

/// Batch of one: every sum has one term.
#[inline(always)]
fn products<V: Vector, S: GradSink>(dy: &[f32], x: &[f32], inputs: usize, cols: Columns, first: usize, sink: &mut S) {
    let x = Lines::new(x, inputs, 1, 0, 1);
    let dy = V::from_slice(dy);
    for (k, col) in cols.iter().enumerate() {
        let mut grads = [0.0; BLOCK];
        V::splat(0.0).axpy(dy, V::splat(x.get(col)[0])).to_slice(&mut grads);
        sink.take((first + k) * BLOCK, &grads);
    }
}

/// In place of a number of whole blocks of lanes: as many as there are.
const ANY: usize = usize::MAX;

/// A batch of `WHOLE` blocks of lanes and, with `TAIL`, of one that may not be full.
#[inline(always)]
fn dots<V: Eight, const WHOLE: usize, const TAIL: bool, S: GradSink>(
    dy: &[f32],
    x: &[f32],
    inputs: usize,
    cols: Columns,
    first: usize,
    sink: &mut S,
) {
    let batch = dy.len() / BLOCK;
    let whole = if WHOLE == ANY { batch / SUM_LANES } else { WHOLE };
    let tail = Tail::<V>::new(batch, whole * SUM_LANES);
    let mut rest = [V::splat(0.0); BLOCK];
    for r in 0..BLOCK {
        rest[r] = if TAIL { tail.get(dy, r * batch) } else { V::splat(0.0) };
    }
    let lines = Lines::new(x, inputs, batch, 0, batch);
    let mut k = 0;
    while k < cols.len() {
        // After the last block of an odd number comes the same again, of which the result is dropped.
        let two = [cols.get(k), cols.get((k + 1).min(cols.len() - 1))];
        let mut sums = [V::splat(0.0); 2 * BLOCK];
        for b in 0..whole {
            for t in 0..2 {
                let x = V::load(lines.get(two[t]), b * SUM_LANES);
                for r in 0..BLOCK {
                    let lanes = V::load(dy, r * batch + b * SUM_LANES);
                    sums[t * BLOCK + r] = sums[t * BLOCK + r].axpy(lanes, x);
                }
            }
        }
        if TAIL {
            for t in 0..2 {
                let x = tail.get(x, two[t].index() * batch);
                for r in 0..BLOCK {
                    sums[t * BLOCK + r] = sums[t * BLOCK + r].axpy(rest[r], x);
                }
            }
        }
        let grads = V::tree8(sums);
        if k + 2 <= cols.len() {
            sink.take((first + k) * BLOCK, &grads);
        } else {
            sink.take((first + k) * BLOCK, &grads[..BLOCK]);
        }
        k += 2;
    }
}
