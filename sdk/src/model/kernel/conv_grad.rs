//! Convolutions, backward.
#![allow(clippy::needless_range_loop)] // k numbers registers

use core::ops::Range;

use super::conv::{Taps, inner};
use super::lanes::SUM_LANES;
use super::vector::{Isa, Vector, tree4};
use super::{ConvGeometry, GradSink};

/// The outputs along one axis for which kernel position `k` meets the input.
#[inline(always)]
fn meeting(k: usize, out: usize, size: usize, stride: usize, padding: usize) -> Range<usize> {
    let lo = padding.saturating_sub(k).div_ceil(stride);
    let hi = (size + padding).saturating_sub(k).div_ceil(stride);
    let hi = hi.min(out);
    lo.min(hi)..hi
}

/// Every live weight adds a run of the output's gradient to the input's.
#[inline(always)]
pub(super) fn input_grad<I: Isa>(taps: Taps, g: &ConvGeometry, w: &[f32], dy: &[f32], dx: &mut [f32], batch: usize) {
    let (Some(out_h), Some(out_w)) = (g.out_h(), g.out_w()) else { return };
    debug_assert!(dx.len() == g.in_channels * g.in_h * g.in_w * batch);
    debug_assert!(dy.len() == g.out_channels * out_h * out_w * batch);
    dx.fill(0.0);
    for oc in 0..g.out_channels {
        let dy = &dy[oc * out_h * out_w * batch..][..out_h * out_w * batch];
        for k in taps.row(oc) {
            let (ic, ky, kx) = taps.place(g, oc, k);
            let weight = w[k];
            let columns = meeting(kx, out_w, g.in_w, g.stride, g.padding);
            for oy in meeting(ky, out_h, g.in_h, g.stride, g.padding) {
                let line = (ic * g.in_h + oy * g.stride + ky - g.padding) * g.in_w;
                let dy = &dy[oy * out_w * batch..][..out_w * batch];
                if g.stride == 1 {
                    let len = columns.len() * batch;
                    let to = (line + columns.start + kx).wrapping_sub(g.padding) * batch;
                    if len > 0 {
                        add_run::<I>(&mut dx[to..][..len], weight, &dy[columns.start * batch..][..len]);
                    }
                } else {
                    for ox in columns.clone() {
                        let to = (line + ox * g.stride + kx - g.padding) * batch;
                        add_run::<I>(&mut dx[to..][..batch], weight, &dy[ox * batch..][..batch]);
                    }
                }
            }
        }
    }
}

/// `dx[t] += w * dy[t]`.
#[inline(always)]
fn add_run<I: Isa>(dx: &mut [f32], w: f32, dy: &[f32]) {
    let len = dx.len().min(dy.len());
    let (dx, dy) = (&mut dx[..len], &dy[..len]);
    let mut t = 0;
    while len - t >= 16 {
        t += add_block::<I::V16>(dx, w, dy, t);
    }
    if len - t >= 8 {
        t += add_block::<I::V8>(dx, w, dy, t);
    }
    if len - t >= 4 {
        t += add_block::<I::V4>(dx, w, dy, t);
    }
    while t < len {
        t += add_block::<f32>(dx, w, dy, t);
    }
}

/// Returns how many values it has done.
#[inline(always)]
fn add_block<V: Vector>(dx: &mut [f32], w: f32, dy: &[f32], t: usize) -> usize {
    V::load(dx, t).axpy(V::splat(w), V::load(dy, t)).store(dx, t);
    V::LANES
}

/// Four live weights of an output channel at a time where none meets the padding, else one.
#[inline(always)]
pub(super) fn weight_grad<I: Isa, S: GradSink>(
    taps: Taps,
    g: &ConvGeometry,
    dy: &[f32],
    x: &[f32],
    batch: usize,
    sink: &mut S,
) {
    let (Some(out_h), Some(out_w)) = (g.out_h(), g.out_w()) else { return };
    debug_assert!(x.len() == g.in_channels * g.in_h * g.in_w * batch);
    debug_assert!(dy.len() == g.out_channels * out_h * out_w * batch);
    let plane = out_h * out_w * batch;
    let plain = g.stride == 1
        && inner(out_h, g.in_h, g.kernel_h, 1, g.padding) == (0..out_h)
        && inner(out_w, g.in_w, g.kernel_w, 1, g.padding) == (0..out_w);
    for oc in 0..g.out_channels {
        let dy = &dy[oc * plane..][..plane];
        let live = taps.row(oc);
        for start in live.clone().step_by(4) {
            let width = (live.end - start).min(4);
            let mut acc = [I::V8::splat(0.0); 4];
            // Past the last weight comes the last one again, of which the result is dropped.
            let place = |k: usize| taps.place(g, oc, start + k.min(width - 1));
            if plain {
                let from: [usize; 4] = core::array::from_fn(|k| {
                    let (ic, ky, kx) = place(k);
                    ((ic * g.in_h + ky) * g.in_w + kx) * batch
                });
                for (oy, dy) in dy.chunks_exact((out_w * batch).max(1)).enumerate() {
                    let rows = core::array::from_fn(|k| &x[from[k] + oy * g.in_w * batch..][..dy.len()]);
                    acc = lane_dots(acc, dy, rows);
                }
            } else {
                for (k, acc) in acc.iter_mut().enumerate().take(width) {
                    *acc = clipped_dot(*acc, place(k), g, [out_h, out_w, batch], dy, x);
                }
            }
            let grad = tree4(acc);
            if width == 4 {
                sink.take(start, &grad);
            } else {
                sink.take(start, &grad[..width]);
            }
        }
    }
}

/// Adds the terms of a run that starts at lane 0.
#[inline(always)]
fn lane_dots<V: Vector, const K: usize>(mut acc: [V; K], dy: &[f32], x: [&[f32]; K]) -> [V; K] {
    let len = dy.len();
    let x: [&[f32]; K] = core::array::from_fn(|k| &x[k][..len]);
    let mut t = 0;
    while len - t >= SUM_LANES {
        let lanes = V::load(dy, t);
        for k in 0..K {
            acc[k] = acc[k].axpy(lanes, V::load(x[k], t));
        }
        t += SUM_LANES;
    }
    if t < len {
        for k in 0..K {
            acc[k] = add_terms(acc[k], 0, &dy[t..], &x[k][t..]);
        }
    }
    acc
}

/// Adds up to eight terms from lane `first` on. The other lanes are zero on both sides: they add `+0.0`, which changes no
/// sum that started at `+0.0`.
#[inline(always)]
fn add_terms<V: Vector>(acc: V, first: usize, dy: &[f32], x: &[f32]) -> V {
    let mut pads = [[0.0; SUM_LANES]; 2];
    for (l, (&dy, &x)) in dy.iter().zip(x).enumerate().take(SUM_LANES - first) {
        pads[0][first + l] = dy;
        pads[1][first + l] = x;
    }
    acc.axpy(V::from_slice(&pads[0]), V::from_slice(&pads[1]))
}

/// One weight where the window may hang over the edge or skip pixels. Term `t` of an output row keeps its lane, whether
/// or not the terms before it exist.
#[inline(always)]
fn clipped_dot<V: Vector>(
    mut acc: V,
    (ic, ky, kx): (usize, usize, usize),
    g: &ConvGeometry,
    [out_h, out_w, batch]: [usize; 3],
    dy: &[f32],
    x: &[f32],
) -> V {
    let columns = meeting(kx, out_w, g.in_w, g.stride, g.padding);
    for oy in meeting(ky, out_h, g.in_h, g.stride, g.padding) {
        let line = (ic * g.in_h + oy * g.stride + ky - g.padding) * g.in_w;
        let dy = &dy[oy * out_w * batch..][..out_w * batch];
        let (pieces, len) = if g.stride == 1 { (1, columns.len() * batch) } else { (columns.len(), batch) };
        for piece in 0..pieces {
            let ox = columns.start + piece;
            let from = (line + ox * g.stride + kx).wrapping_sub(g.padding) * batch;
            if len > 0 {
                let (dy, x) = (&dy[ox * batch..][..len], &x[from..][..len]);
                let first = ox * batch % SUM_LANES;
                let head = if first == 0 { 0 } else { (SUM_LANES - first).min(len) };
                if head > 0 {
                    acc = add_terms(acc, first, &dy[..head], &x[..head]);
                }
                [acc] = lane_dots([acc], &dy[head..], [&x[head..]]);
            }
        }
    }
    acc
}
