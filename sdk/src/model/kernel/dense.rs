//! Dense layers.

use super::GradSink;
use super::lanes::{Rows, SUM_LANES, axpy, block, block_mut, for_lane_blocks, tree, window};

/// The largest batch for which the weight gradient transposes its input on the stack.
const TILE_BATCH: usize = 64;

/// `R` outputs at a time, lane blocks of up to `W`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn forward<const R: usize, const W: usize>(
    w: &[f32],
    bias: &[f32],
    x: &[f32],
    y: &mut [f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
) {
    debug_assert!(w.len() == inputs * outputs && x.len() == inputs * batch && y.len() == outputs * batch);
    for_lane_blocks!(batch, W, |at, left| forward_lanes::<{ L }, R>(w, bias, x, y, [inputs, outputs, batch], at, left));
}

#[inline(always)]
fn forward_lanes<const L: usize, const R: usize>(
    w: &[f32],
    bias: &[f32],
    x: &[f32],
    y: &mut [f32],
    [inputs, outputs, batch]: [usize; 3],
    at: usize,
    left: usize,
) {
    let x = Rows::<L>::new(x, inputs, batch, at);
    let mut o = 0;
    while o < outputs {
        if outputs < R {
            forward_rows::<L, 1>(w, bias, &x, y, [inputs, batch], o, at, left);
            o += 1;
        } else {
            // The last block overlaps the one before: the same sums are simply made twice.
            let from = o.min(outputs - R);
            forward_rows::<L, R>(w, bias, &x, y, [inputs, batch], from, at, left);
            o = from + R;
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn forward_rows<const L: usize, const R: usize>(
    w: &[f32],
    bias: &[f32],
    x: &Rows<L>,
    y: &mut [f32],
    [inputs, batch]: [usize; 2],
    o: usize,
    at: usize,
    left: usize,
) {
    let rows: [&[f32]; R] = core::array::from_fn(|r| &w[(o + r) * inputs..][..inputs]);
    let mut acc: [[f32; L]; R] = core::array::from_fn(|r| [bias.get(o + r).copied().unwrap_or(0.0); L]);
    for i in 0..inputs {
        let xi = x.get(i);
        for r in 0..R {
            axpy(&mut acc[r], rows[r][i], xi);
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        y[(o + r) * batch + at..][..left].copy_from_slice(&acc[..left]);
    }
}

/// `R` inputs at a time, lane blocks of up to `W`; for a batch of one, blocks of 8 and 32 inputs instead.
#[inline(always)]
pub(super) fn input_grad<const R: usize, const W: usize>(
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
) {
    debug_assert!(w.len() == inputs * outputs && dy.len() == outputs * batch && dx.len() == inputs * batch);
    if batch == 1 {
        return input_grad_single::<W>(w, dy, dx, inputs, outputs);
    }
    for_lane_blocks!(batch, W, |at, left| input_grad_lanes::<{ L }, R>(w, dy, dx, [inputs, outputs, batch], at, left));
}

#[inline(always)]
fn input_grad_lanes<const L: usize, const R: usize>(
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    [inputs, outputs, batch]: [usize; 3],
    at: usize,
    left: usize,
) {
    let dy = Rows::<L>::new(dy, outputs, batch, at);
    let mut i = 0;
    while i < inputs {
        if inputs < R {
            input_grad_rows::<L, 1>(w, &dy, dx, [inputs, outputs, batch], i, at, left);
            i += 1;
        } else {
            let from = i.min(inputs - R);
            input_grad_rows::<L, R>(w, &dy, dx, [inputs, outputs, batch], from, at, left);
            i = from + R;
        }
    }
}

#[inline(always)]
fn input_grad_rows<const L: usize, const R: usize>(
    w: &[f32],
    dy: &Rows<L>,
    dx: &mut [f32],
    [inputs, outputs, batch]: [usize; 3],
    i: usize,
    at: usize,
    left: usize,
) {
    let mut acc = [[0.0; L]; R];
    for (o, row) in w.chunks_exact(inputs).take(outputs).enumerate() {
        let weights: &[f32; R] = block(row, i);
        let lanes = dy.get(o);
        for r in 0..R {
            axpy(&mut acc[r], weights[r], lanes);
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        dx[(i + r) * batch + at..][..left].copy_from_slice(&acc[..left]);
    }
}

/// Batch of one: the inputs themselves are the lanes.
#[inline(always)]
fn input_grad_single<const W: usize>(w: &[f32], dy: &[f32], dx: &mut [f32], inputs: usize, outputs: usize) {
    let mut i = 0;
    while i < inputs {
        let left = inputs - i;
        if W >= 16 && left >= 32 {
            input_grad_run::<32>(w, dy, dx, inputs, outputs, i);
            i += 32;
        } else if inputs >= 8 {
            i = i.min(inputs - 8);
            input_grad_run::<8>(w, dy, dx, inputs, outputs, i);
            i += 8;
        } else {
            input_grad_run::<1>(w, dy, dx, inputs, outputs, i);
            i += 1;
        }
    }
}

#[inline(always)]
fn input_grad_run<const T: usize>(w: &[f32], dy: &[f32], dx: &mut [f32], inputs: usize, outputs: usize, i: usize) {
    let mut acc = [0.0; T];
    for (row, &g) in w.chunks_exact(inputs).zip(&dy[..outputs]) {
        axpy(&mut acc, g, block(row, i));
    }
    *block_mut(dx, i) = acc;
}

/// Tiles of `T` inputs, transposed once so that a vector holds different inputs; `R` outputs at a time.
#[inline(always)]
pub(super) fn weight_grad<const T: usize, const R: usize, S: GradSink>(
    dy: &[f32],
    x: &[f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
    sink: &mut S,
) {
    debug_assert!(x.len() == inputs * batch && dy.len() == outputs * batch);
    let (dy, x) = (&dy[..outputs * batch], &x[..inputs * batch]);
    if batch > TILE_BATCH {
        return weight_grad_large(dy, x, inputs, outputs, batch, sink);
    }
    let mut tile = [[0.0; T]; TILE_BATCH];
    let tile = &mut tile[..batch];
    for i in (0..inputs).step_by(T) {
        let width = T.min(inputs - i);
        for (t, lanes) in x[i * batch..].chunks_exact(batch.max(1)).take(width).enumerate() {
            for (row, &value) in tile.iter_mut().zip(lanes) {
                row[t] = value;
            }
        }
        let mut o = 0;
        while o + R <= outputs {
            weight_grad_rows::<T, R, S>(dy, tile, [inputs, batch], o, i, width, sink);
            o += R;
        }
        while o < outputs {
            weight_grad_rows::<T, 1, S>(dy, tile, [inputs, batch], o, i, width, sink);
            o += 1;
        }
    }
}

#[inline(always)]
fn weight_grad_rows<const T: usize, const R: usize, S: GradSink>(
    dy: &[f32],
    tile: &[[f32; T]],
    [inputs, batch]: [usize; 2],
    o: usize,
    i: usize,
    width: usize,
    sink: &mut S,
) {
    let rows: [&[f32]; R] = core::array::from_fn(|r| &dy[(o + r) * batch..][..tile.len()]);
    let mut acc = [[0.0; T]; R];
    for (b, xb) in tile.iter().enumerate() {
        for r in 0..R {
            axpy(&mut acc[r], rows[r][b], xb);
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        let offset = (o + r) * inputs + i;
        if width == T {
            sink.take(offset, acc);
        } else {
            sink.take(offset, &acc[..width]);
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
pub(super) fn bias_grad<S: GradSink>(dy: &[f32], outputs: usize, lanes: usize, sink: &mut S) {
    debug_assert!(dy.len() == outputs * lanes);
    for o in 0..outputs {
        let row = &dy[o * lanes..][..lanes];
        let mut sums = [0.0; SUM_LANES];
        let mut t = 0;
        while let Some(values) = window::<SUM_LANES>(row, t) {
            for l in 0..SUM_LANES {
                sums[l] += values[l];
            }
            t += SUM_LANES;
        }
        for (sum, &value) in sums.iter_mut().zip(&row[t..]) {
            *sum += value;
        }
        sink.take(o, &[tree(&sums)]);
    }
}
