//! Convolutions, backward.

use core::ops::Range;

use super::conv::{Taps, inner};
use super::lanes::{SUM_LANES, axpy, block, block_mut, tree};
use super::{ConvGeometry, GradSink};

/// The outputs along one axis for which kernel position `k` meets the input.
#[inline(always)]
fn meeting(k: usize, out: usize, size: usize, stride: usize, padding: usize) -> Range<usize> {
    let lo = padding.saturating_sub(k).div_ceil(stride);
    let hi = (size + padding).saturating_sub(k).div_ceil(stride);
    let hi = hi.min(out);
    lo.min(hi)..hi
}

/// Every live weight adds a run of the output's gradient to the input's; blocks of up to `T`.
#[inline(always)]
pub(super) fn input_grad<const T: usize>(
    taps: Taps,
    g: &ConvGeometry,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    batch: usize,
) {
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
                        add_run::<T>(&mut dx[to..][..len], weight, &dy[columns.start * batch..][..len]);
                    }
                } else {
                    for ox in columns.clone() {
                        let to = (line + ox * g.stride + kx - g.padding) * batch;
                        add_run::<8>(&mut dx[to..][..batch], weight, &dy[ox * batch..][..batch]);
                    }
                }
            }
        }
    }
}

/// `dx[t] += w * dy[t]`.
#[inline(always)]
fn add_run<const T: usize>(dx: &mut [f32], w: f32, dy: &[f32]) {
    let len = dx.len().min(dy.len());
    let (dx, dy) = (&mut dx[..len], &dy[..len]);
    let mut t = 0;
    while t + T <= len {
        axpy::<T>(block_mut(dx, t), w, block(dy, t));
        t += T;
    }
    for (dx, &dy) in dx[t..].iter_mut().zip(&dy[t..]) {
        *dx += w * dy;
    }
}

/// `K` live weights of an output channel at a time where none meets the padding, else one.
#[inline(always)]
pub(super) fn weight_grad<const K: usize, S: GradSink>(
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
        for start in live.clone().step_by(K) {
            let width = K.min(live.end - start);
            let mut acc = [[0.0; SUM_LANES]; K];
            // Past the last weight comes the last one again, of which the result is dropped.
            let place = |k: usize| taps.place(g, oc, start + k.min(width - 1));
            if plain {
                let from: [usize; K] = core::array::from_fn(|k| {
                    let (ic, ky, kx) = place(k);
                    ((ic * g.in_h + ky) * g.in_w + kx) * batch
                });
                for (oy, dy) in dy.chunks_exact((out_w * batch).max(1)).enumerate() {
                    let rows = core::array::from_fn(|k| &x[from[k] + oy * g.in_w * batch..][..dy.len()]);
                    lane_dots(&mut acc, dy, rows);
                }
            } else {
                for (k, acc) in acc.iter_mut().enumerate().take(width) {
                    clipped_dot(acc, place(k), g, [out_h, out_w, batch], dy, x);
                }
            }
            let grad: [f32; K] = core::array::from_fn(|k| tree(&acc[k]));
            if width == K {
                sink.take(start, &grad);
            } else {
                sink.take(start, &grad[..width]);
            }
        }
    }
}

#[inline(always)]
fn lane_dots<const K: usize>(acc: &mut [[f32; SUM_LANES]; K], dy: &[f32], x: [&[f32]; K]) {
    let len = dy.len();
    let x: [&[f32]; K] = core::array::from_fn(|k| &x[k][..len]);
    let mut sums = *acc;
    let mut t = 0;
    while t + SUM_LANES <= len {
        let lanes: &[f32; SUM_LANES] = block(dy, t);
        for k in 0..K {
            let x: &[f32; SUM_LANES] = block(x[k], t);
            for l in 0..SUM_LANES {
                sums[k][l] += lanes[l] * x[l];
            }
        }
        t += SUM_LANES;
    }
    for k in 0..K {
        for (l, (&dy, &x)) in dy[t..].iter().zip(&x[k][t..]).enumerate().take(SUM_LANES) {
            sums[k][l] += dy * x;
        }
    }
    *acc = sums;
}

/// One weight where the window may hang over the edge or skip pixels. Term `t` of an output row keeps its lane, whether
/// or not the terms before it exist.
#[inline(always)]
fn clipped_dot(
    acc: &mut [f32; SUM_LANES],
    (ic, ky, kx): (usize, usize, usize),
    g: &ConvGeometry,
    [out_h, out_w, batch]: [usize; 3],
    dy: &[f32],
    x: &[f32],
) {
    let columns = meeting(kx, out_w, g.in_w, g.stride, g.padding);
    for oy in meeting(ky, out_h, g.in_h, g.stride, g.padding) {
        let line = (ic * g.in_h + oy * g.stride + ky - g.padding) * g.in_w;
        let dy = &dy[oy * out_w * batch..][..out_w * batch];
        let (pieces, len) = if g.stride == 1 { (1, columns.len() * batch) } else { (columns.len(), batch) };
        for piece in 0..pieces {
            let ox = columns.start + piece;
            let from = (line + ox * g.stride + kx).wrapping_sub(g.padding) * batch;
            if len > 0 {
                lane_dot_from(acc, ox * batch, &dy[ox * batch..][..len], &x[from..][..len]);
            }
        }
    }
}

/// Adds the terms `first ..` of a lane sum.
#[inline(always)]
fn lane_dot_from(acc: &mut [f32; SUM_LANES], first: usize, dy: &[f32], x: &[f32]) {
    let head = (first.wrapping_neg() % SUM_LANES).min(dy.len());
    for (t, (&dy, &x)) in dy[..head].iter().zip(x).enumerate() {
        acc[(first + t) % SUM_LANES] += dy * x;
    }
    lane_dots(core::array::from_mut(acc), &dy[head..], [&x[head..]]);
}
