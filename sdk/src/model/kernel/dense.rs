//! Dense layers.

#![allow(clippy::needless_range_loop)] // r and k number registers, i and b rows of two arrays

use super::GradSink;
use super::lanes::{Rows, SUM_LANES, for_lane_blocks, tree};
use super::vector::{Isa, Vector};

/// The largest batch for which the weight gradient transposes its input on the stack.
const TILE_BATCH: usize = 64;

/// `R` outputs at a time.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn forward<I: Isa, const R: usize>(
    w: &[f32],
    bias: &[f32],
    x: &[f32],
    y: &mut [f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
) {
    debug_assert!(w.len() == inputs * outputs && x.len() == inputs * batch && y.len() == outputs * batch);
    for_lane_blocks!(I, batch, |at, left| forward_lanes::<V, R>(w, bias, x, y, [inputs, outputs, batch], at, left));
}

#[inline(always)]
fn forward_lanes<V: Vector, const R: usize>(
    w: &[f32],
    bias: &[f32],
    x: &[f32],
    y: &mut [f32],
    [inputs, outputs, batch]: [usize; 3],
    at: usize,
    left: usize,
) {
    let x = Rows::<V>::new(x, inputs, batch, at);
    let mut o = 0;
    while o < outputs {
        if outputs < R {
            forward_rows::<V, 1>(w, bias, &x, y, [inputs, batch], o, at, left);
            o += 1;
        } else {
            // The last block overlaps the one before: the same sums are simply made twice.
            let from = o.min(outputs - R);
            forward_rows::<V, R>(w, bias, &x, y, [inputs, batch], from, at, left);
            o = from + R;
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn forward_rows<V: Vector, const R: usize>(
    w: &[f32],
    bias: &[f32],
    x: &Rows<V>,
    y: &mut [f32],
    [inputs, batch]: [usize; 2],
    o: usize,
    at: usize,
    left: usize,
) {
    let rows: [&[f32]; R] = core::array::from_fn(|r| &w[(o + r) * inputs..][..inputs]);
    let mut acc = [V::splat(0.0); R];
    for r in 0..R {
        acc[r] = V::splat(bias.get(o + r).copied().unwrap_or(0.0));
    }
    for i in 0..inputs {
        let xi = x.get(i);
        for r in 0..R {
            acc[r] = acc[r].axpy(V::splat(rows[r][i]), xi);
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        acc.store_first(y, (o + r) * batch + at, left);
    }
}

/// `R` inputs at a time; for a batch of one, runs of inputs instead.
#[inline(always)]
pub(super) fn input_grad<I: Isa, const R: usize>(
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
) {
    debug_assert!(w.len() == inputs * outputs && dy.len() == outputs * batch && dx.len() == inputs * batch);
    if batch == 1 {
        return input_grad_single::<I>(w, dy, dx, inputs, outputs);
    }
    for_lane_blocks!(I, batch, |at, left| input_grad_lanes::<V, R>(w, dy, dx, [inputs, outputs, batch], at, left));
}

#[inline(always)]
fn input_grad_lanes<V: Vector, const R: usize>(
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    [inputs, outputs, batch]: [usize; 3],
    at: usize,
    left: usize,
) {
    let dy = Rows::<V>::new(dy, outputs, batch, at);
    let mut i = 0;
    while i < inputs {
        if inputs < R {
            input_grad_rows::<V, 1>(w, &dy, dx, [inputs, outputs, batch], i, at, left);
            i += 1;
        } else {
            let from = i.min(inputs - R);
            input_grad_rows::<V, R>(w, &dy, dx, [inputs, outputs, batch], from, at, left);
            i = from + R;
        }
    }
}

#[inline(always)]
fn input_grad_rows<V: Vector, const R: usize>(
    w: &[f32],
    dy: &Rows<V>,
    dx: &mut [f32],
    [inputs, outputs, batch]: [usize; 3],
    i: usize,
    at: usize,
    left: usize,
) {
    let mut acc = [V::splat(0.0); R];
    for (o, row) in w.chunks_exact(inputs).take(outputs).enumerate() {
        let weights = &row[i..i + R];
        let lanes = dy.get(o);
        for r in 0..R {
            acc[r] = acc[r].axpy(V::splat(weights[r]), lanes);
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        acc.store_first(dx, (i + r) * batch + at, left);
    }
}

/// Batch of one: the inputs themselves are the lanes.
#[inline(always)]
fn input_grad_single<I: Isa>(w: &[f32], dy: &[f32], dx: &mut [f32], inputs: usize, outputs: usize) {
    let mut i = 0;
    while i < inputs {
        if inputs >= I::Run::LANES {
            i = i.min(inputs - I::Run::LANES);
            i += input_grad_run::<I::Run>(w, dy, dx, inputs, outputs, i);
        } else if inputs >= 8 {
            i = i.min(inputs - 8);
            i += input_grad_run::<I::V8>(w, dy, dx, inputs, outputs, i);
        } else {
            i += input_grad_run::<f32>(w, dy, dx, inputs, outputs, i);
        }
    }
}

/// Returns how many inputs it has done.
#[inline(always)]
fn input_grad_run<V: Vector>(w: &[f32], dy: &[f32], dx: &mut [f32], inputs: usize, outputs: usize, i: usize) -> usize {
    let mut acc = V::splat(0.0);
    for (row, &g) in w.chunks_exact(inputs).zip(&dy[..outputs]) {
        acc = acc.axpy(V::splat(g), V::load(row, i));
    }
    acc.store(dx, i);
    V::LANES
}

/// Tiles of as many inputs as `V` has lanes, transposed once so that a vector holds different inputs; `R` outputs at a time.
/// `TILE` is `V::LANES * TILE_BATCH`.
#[inline(always)]
pub(super) fn weight_grad<V: Vector, const R: usize, const TILE: usize, S: GradSink>(
    dy: &[f32],
    x: &[f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
    sink: &mut S,
) {
    const { assert!(TILE == V::LANES * TILE_BATCH) };
    debug_assert!(x.len() == inputs * batch && dy.len() == outputs * batch);
    let (dy, x) = (&dy[..outputs * batch], &x[..inputs * batch]);
    if batch > TILE_BATCH {
        return weight_grad_large(dy, x, inputs, outputs, batch, sink);
    }
    let mut tile = [0.0; TILE];
    for i in (0..inputs).step_by(V::LANES) {
        let width = V::LANES.min(inputs - i);
        for (t, lanes) in x[i * batch..].chunks_exact(batch.max(1)).take(width).enumerate() {
            for (row, &value) in tile.chunks_exact_mut(V::LANES).zip(lanes) {
                row[t] = value;
            }
        }
        let mut o = 0;
        while o + R <= outputs {
            weight_grad_rows::<V, R, S>(dy, &tile, [inputs, batch], o, i, width, sink);
            o += R;
        }
        while o < outputs {
            weight_grad_rows::<V, 1, S>(dy, &tile, [inputs, batch], o, i, width, sink);
            o += 1;
        }
    }
}

#[inline(always)]
fn weight_grad_rows<V: Vector, const R: usize, S: GradSink>(
    dy: &[f32],
    tile: &[f32],
    [inputs, batch]: [usize; 2],
    o: usize,
    i: usize,
    width: usize,
    sink: &mut S,
) {
    let rows: [&[f32]; R] = core::array::from_fn(|r| &dy[(o + r) * batch..][..batch]);
    let mut acc = [V::splat(0.0); R];
    for (b, xb) in tile.chunks_exact(V::LANES).take(batch).enumerate() {
        let xb = V::from_slice(xb);
        for r in 0..R {
            acc[r] = acc[r].axpy(V::splat(rows[r][b]), xb);
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        let offset = (o + r) * inputs + i;
        let mut grad = [0.0; 16];
        acc.to_slice(&mut grad[..V::LANES]);
        if width == V::LANES {
            sink.take(offset, &grad[..V::LANES]);
        } else {
            sink.take(offset, &grad[..width]);
        }
    }
}

/// Batches that no device uses: right, not fast.
#[inline(never)]
fn weight_grad_large<S: GradSink>(dy: &[f32], x: &[f32], inputs: usize, outputs: usize, batch: usize, sink: &mut S) {
    for (o, dy) in dy.chunks_exact(batch).take(outputs).enumerate() {
        for (i, x) in x.chunks_exact(batch).take(inputs).enumerate() {
            let mut sum = 0.0;
            for (&g, &value) in dy.iter().zip(x) {
                sum += g * value;
            }
            sink.take(o * inputs + i, &[sum]);
        }
    }
}

/// One lane sum an output.
#[inline(always)]
pub(super) fn bias_grad<I: Isa, S: GradSink>(dy: &[f32], outputs: usize, lanes: usize, sink: &mut S) {
    debug_assert!(dy.len() == outputs * lanes);
    for o in 0..outputs {
        let row = &dy[o * lanes..][..lanes];
        let mut sums = I::V8::splat(0.0);
        let whole = row.chunks_exact(SUM_LANES);
        let rest = whole.remainder();
        for values in whole {
            sums = sums.add(I::V8::from_slice(values));
        }
        let mut all = [0.0; SUM_LANES];
        sums.to_slice(&mut all);
        for (sum, &value) in all.iter_mut().zip(rest) {
            *sum += value;
        }
        sink.take(o, &[tree(&all)]);
    }
}
