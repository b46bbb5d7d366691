//! Dense layers.

#![allow(clippy::needless_range_loop)] // r and k number registers, i and b rows of two arrays

use core::ops::Range;

use super::GradSink;
use super::lanes::{Rows, SUM_LANES, for_lane_blocks, tree};
use super::vector::{Isa, Pair, Vector};

/// Lanes of a batch for which the weight gradient transposes an input at a time.
const TILE_BATCH: usize = 64;

/// `R` outputs at a time, of as many lanes as the registers allow.
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
    let shape = [inputs, outputs, batch];
    let mut at = 0;
    while I::LANES >= 32 && batch - at >= 32 {
        forward_lanes::<Pair<I::V16>, R>(w, bias, x, y, shape, at, 32);
        at += 32;
    }
    for_lane_blocks!(I, at..batch, |at, left| forward_lanes::<V, R>(w, bias, x, y, shape, at, left));
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

/// `R` inputs at a time, of as many lanes as the registers allow; for a batch of one, runs of inputs instead.
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
    let shape = [inputs, outputs, batch];
    let mut at = 0;
    while I::LANES >= 32 && batch - at >= 32 {
        input_grad_lanes::<Pair<I::V16>, R>(w, dy, dx, shape, at, 32);
        at += 32;
    }
    for_lane_blocks!(I, at..batch, |at, left| input_grad_lanes::<V, R>(w, dy, dx, shape, at, left));
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

/// Tiles of inputs, transposed so that a vector holds different inputs, each used for all outputs; `R` outputs by `C` vectors
/// of inputs at a time. A tile has as many vectors as fit: neighbours in a row of weights follow each other.
///
/// `TILE` is `V::LANES * TILE_BATCH`, `SUMS` a multiple of `R * V::LANES` and no less than `C` times that.
#[inline(always)]
pub(super) fn weight_grad<
    V: Vector,
    const R: usize,
    const C: usize,
    const TILE: usize,
    const SUMS: usize,
    S: GradSink,
>(
    dy: &[f32],
    x: &[f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
    sink: &mut S,
) {
    const { assert!(TILE == V::LANES * TILE_BATCH && SUMS.is_multiple_of(R * V::LANES) && C * R * V::LANES <= SUMS) };
    debug_assert!(x.len() == inputs * batch && dy.len() == outputs * batch);
    let (dy, x) = (&dy[..outputs * batch], &x[..inputs * batch]);
    if batch > TILE_BATCH {
        return weight_grad_large::<V, R, TILE, SUMS, S>(dy, x, inputs, outputs, batch, sink);
    }
    let mut tile = [0.0; TILE];
    let mut kept = [0.0; SUMS];
    let columns = TILE_BATCH / batch.max(1) * V::LANES;
    for i in (0..inputs).step_by(columns) {
        let width = columns.min(inputs - i);
        transpose(&mut tile, columns, &x[i * batch..][..width * batch], batch, 0..batch);
        let part = |t: usize| (&tile[..], columns, t);
        let mut o = 0;
        while o < outputs {
            let rows = if o + R <= outputs { R } else { 1 };
            let dy = &dy[o * batch..];
            let mut t = 0;
            while t < width {
                let wide = rows == R && t + C * V::LANES <= width;
                if wide {
                    products::<V, R, C>(&mut kept, dy, batch, part(t));
                } else if rows == R {
                    products::<V, R, 1>(&mut kept, dy, batch, part(t));
                } else {
                    products::<V, 1, 1>(&mut kept, dy, batch, part(t));
                }
                // One call for all cases, so that the sink is compiled into it.
                let lanes = if wide { C * V::LANES } else { V::LANES };
                for (r, grad) in kept.chunks_exact(lanes).enumerate().take(rows) {
                    sink.take((o + r) * inputs + i + t, &grad[..lanes.min(width - t)]);
                }
                t += lanes;
            }
            o += rows;
        }
    }
}

/// The sums over the whole batch, output by output.
#[inline(always)]
fn products<V: Vector, const R: usize, const C: usize>(
    kept: &mut [f32],
    dy: &[f32],
    batch: usize,
    tile: (&[f32], usize, usize),
) {
    let mut sums = [[V::splat(0.0); C]; R];
    add_products(&mut sums, dy, batch, 0..batch, tile);
    for r in 0..R {
        for c in 0..C {
            sums[r][c].store(kept, (r * C + c) * V::LANES);
        }
    }
}

/// As many outputs at a time as have their sums in `SUMS`, which are continued from one part of the batch to the next: a
/// tile is transposed once for all of them.
#[inline(always)]
fn weight_grad_large<V: Vector, const R: usize, const TILE: usize, const SUMS: usize, S: GradSink>(
    dy: &[f32],
    x: &[f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
    sink: &mut S,
) {
    let mut tile = [0.0; TILE];
    let mut kept = [0.0; SUMS];
    for i in (0..inputs).step_by(V::LANES) {
        let width = V::LANES.min(inputs - i);
        for first in (0..outputs).step_by(SUMS / V::LANES) {
            let rows = (outputs - first).min(SUMS / V::LANES);
            for from in (0..batch).step_by(TILE_BATCH) {
                let part = from..batch.min(from + TILE_BATCH);
                transpose(&mut tile, V::LANES, &x[i * batch..][..width * batch], batch, part.clone());
                // Past the last output comes the last one again, of which the result is dropped.
                for (block, kept) in kept.chunks_exact_mut(R * V::LANES).enumerate().take(rows.div_ceil(R)) {
                    let mut sums = [[V::splat(0.0)]; R];
                    if from > 0 {
                        for r in 0..R {
                            sums[r] = [V::load(kept, r * V::LANES)];
                        }
                    }
                    add_products(
                        &mut sums,
                        &dy[(first + block * R) * batch..],
                        batch,
                        part.clone(),
                        (&tile, V::LANES, 0),
                    );
                    for r in 0..R {
                        sums[r][0].store(kept, r * V::LANES);
                    }
                }
            }
            for (row, grad) in kept.chunks_exact(V::LANES).enumerate().take(rows) {
                sink.take((first + row) * inputs + i, &grad[..width]);
            }
        }
    }
}

/// `tile[b][i] = x[i][b]` for the lanes of `part`, where a row of `tile` has `columns` values.
#[inline(always)]
fn transpose(tile: &mut [f32], columns: usize, x: &[f32], batch: usize, part: Range<usize>) {
    for (t, lanes) in x.chunks_exact(batch.max(1)).enumerate() {
        for (row, &value) in tile.chunks_exact_mut(columns).zip(&lanes[part.clone()]) {
            row[t] = value;
        }
    }
}

/// Adds the terms of the lanes of `part`, of which the inputs are the `C` vectors at `t` of the tile's rows. Past the last
/// output comes the last one again.
#[inline(always)]
fn add_products<V: Vector, const R: usize, const C: usize>(
    sums: &mut [[V; C]; R],
    dy: &[f32],
    batch: usize,
    part: Range<usize>,
    (tile, columns, t): (&[f32], usize, usize),
) {
    let last = dy.len() / batch.max(1);
    let rows: [&[f32]; R] = core::array::from_fn(|r| &dy[r.min(last.saturating_sub(1)) * batch..][part.clone()]);
    let mut acc = *sums;
    for (b, row) in tile.chunks_exact(columns).enumerate().take(part.len()) {
        let row = &row[t..t + C * V::LANES];
        let mut x = [V::splat(0.0); C];
        for c in 0..C {
            x[c] = V::load(row, c * V::LANES);
        }
        for r in 0..R {
            let dy = V::splat(rows[r][b]);
            for c in 0..C {
                acc[r][c] = acc[r][c].axpy(dy, x[c]);
            }
        }
    }
    *sums = acc;
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
