//! Convolutions, the gradient of the weights.
#![allow(clippy::needless_range_loop)] // k numbers registers

use core::ops::Range;

use super::conv::Taps;
use super::conv_tile;
use super::geometry::Axis;
use super::lanes::{SUM_LANES, mask};
use super::vector::{Eight, Isa, tree4};
use super::{ConvGeometry, GradSink, pointwise};

/// Weights at a time, where there are registers for so many: those of a 3x3 kernel.
const MANY: usize = 9;

/// Several live weights of an output channel at a time. `O` outputs and `2 C` inputs at a time of the dense pointwise loop, `2 O`
/// outputs of the [tiled](conv_tile) one.
#[inline(always)]
pub(super) fn weight_grad<I: Isa, const O: usize, const C: usize, S: GradSink>(
    taps: Taps,
    g: &ConvGeometry,
    dy: &[f32],
    x: &[f32],
    batch: usize,
    sink: &mut S,
) {
    let Some([rows, columns]) = g.axes() else { return };
    let plane = rows.out * columns.out * batch;
    debug_assert!(x.len() == g.in_channels * g.in_h * g.in_w * batch && dy.len() == g.out_channels * plane);
    // Where every row starts at lane 0 anyway, the rows are one.
    let whole = (columns.out * batch).is_multiple_of(SUM_LANES);
    let g = &if g.is_pointwise() && whole { g.in_one_row() } else { *g };
    if g.is_pointwise() && g.in_h == 1 && taps.pattern().is_none() {
        return pointwise::weight_grad::<I::V16, O, C, S>(g, dy, x, plane, sink);
    }
    let Some(axes) = g.axes() else { return };
    if I::WIDE && taps.pattern().is_none() && conv_tile::fits(g, batch) {
        return conv_tile::weight_grad::<I::V16, O, S>(g, axes, dy, x, batch, sink);
    }
    let (inputs, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
    for oc in 0..g.out_channels {
        let dy = &dy[oc * plane..];
        let live = taps.row(oc);
        let channel = oc / outputs * inputs;
        let place = |k: usize| {
            let (ic, ky, kx) = taps.place(g, oc, k);
            (channel + ic, ky, kx)
        };
        let mut k = live.start;
        while k < live.end {
            let left = live.end - k;
            let mut grad = [0.0; 12];
            // Past the last weight comes the last one again, of which the result is dropped.
            let width = if I::WIDE && left >= MANY {
                dots::<I::V8, MANY>(core::array::from_fn(|i| place(k + i)), axes, batch, dy, x, &mut grad);
                MANY
            } else {
                let width = left.min(4);
                dots::<I::V8, 4>(core::array::from_fn(|i| place(k + i.min(width - 1))), axes, batch, dy, x, &mut grad);
                width
            };
            sink.take(k, &grad[..width]);
            k += width;
        }
    }
}

/// The lane sums of `K` weights, each given by its plane of `x` and its place in the kernel.
#[inline(always)]
fn dots<V: Eight, const K: usize>(
    places: [(usize, usize, usize); K],
    axes: [Axis; 2],
    batch: usize,
    dy: &[f32],
    x: &[f32],
    grad: &mut [f32; 12],
) {
    let [_, columns] = axes;
    let mut acc = [V::splat(0.0); K];
    if columns.stride == 1 {
        acc = run_dots(acc, places, axes, batch, dy, x);
    } else {
        for k in 0..K {
            acc[k] = pixel_dots(acc[k], places[k], axes, batch, dy, x);
        }
    }
    for from in (0..K).step_by(4) {
        let mut four = [acc[from]; 4];
        let len = 4.min(K - from);
        four[..len].copy_from_slice(&acc[from..from + len]);
        grad[from..from + 4].copy_from_slice(&tree4(four));
    }
}

/// Adds the terms row by row. Term `t` of an output row keeps its lane, whether or not the terms before it exist.
///
/// `dy` may go on after the plane, and `x` does: what is read there is dropped.
#[inline(always)]
fn run_dots<V: Eight, const K: usize>(
    mut acc: [V; K],
    places: [(usize, usize, usize); K],
    [rows, columns]: [Axis; 2],
    batch: usize,
    dy: &[f32],
    x: &[f32],
) -> [V; K] {
    let len = columns.out * batch;
    // Up to here blocks of lanes reach.
    let reach = len.next_multiple_of(SUM_LANES);
    let down: [Range<usize>; K] = core::array::from_fn(|k| rows.meeting(places[k].1));
    let across: [Range<usize>; K] = core::array::from_fn(|k| {
        let across = columns.meeting(places[k].2);
        across.start * batch..across.end * batch
    });
    // Where the input of the first output pixel lies; may wrap around below zero.
    let base: [usize; K] = core::array::from_fn(|k| {
        let (plane, ky, kx) = places[k];
        let line = (plane * rows.size + ky * rows.dilation).wrapping_sub(rows.before).wrapping_mul(columns.size);
        line.wrapping_add(kx * columns.dilation).wrapping_sub(columns.before).wrapping_mul(batch)
    });
    let (mut any, mut all, mut whole) = (down[0].clone(), down[0].clone(), across[0].clone());
    for k in 1..K {
        any = any.start.min(down[k].start)..any.end.max(down[k].end);
        all = all.start.max(down[k].start)..all.end.min(down[k].end);
        whole = whole.start.max(across[k].start)..whole.end.min(across[k].end);
    }
    // From one output row to the next, in values; a stride so large that this wraps has one row only.
    let step = rows.stride.wrapping_mul(columns.size).wrapping_mul(batch);
    if reach == len && all == (0..rows.out) && whole == (0..len) {
        return plain_dots(acc, &base, rows.out, step, len, dy, x);
    }
    // The blocks of which every weight has all terms.
    let start = whole.start.next_multiple_of(SUM_LANES).min(reach);
    let end = (whole.end / SUM_LANES * SUM_LANES).max(start);
    for oy in any {
        let (inside, dy) = (all.contains(&oy), &dy[oy * len..]);
        let mut from = [0; K];
        let mut terms: [Range<usize>; K] = core::array::from_fn(|_| 0..0);
        for k in 0..K {
            if inside || down[k].contains(&oy) {
                from[k] = base[k].wrapping_add(oy.wrapping_mul(step));
                terms[k] = across[k].clone();
            }
        }
        let room = x.len().checked_sub(reach);
        if reach > dy.len() || room.is_none_or(|room| from.iter().any(|&from| from > room)) {
            acc = single_terms(acc, &terms, &from, dy, x);
            continue;
        }
        let (start, end) = if inside { (start, end) } else { (reach, reach) };
        let mut t = 0;
        while t < start {
            acc = clipped_block(acc, &terms, &from, dy, x, t);
            t += SUM_LANES;
        }
        if t < end {
            let runs: [&[f32]; K] = core::array::from_fn(|k| &x[from[k] + t..][..end - t]);
            acc = lane_dots(acc, &dy[t..end], runs);
            t = end;
        }
        while t < reach {
            acc = clipped_block(acc, &terms, &from, dy, x, t);
            t += SUM_LANES;
        }
    }
    acc
}

/// Adds the terms row by row where no window meets the padding and rows are whole blocks; a row of `x` begins `step` after the
/// one before.
#[inline(always)]
fn plain_dots<V: Eight, const K: usize>(
    mut acc: [V; K],
    base: &[usize; K],
    rows: usize,
    step: usize,
    len: usize,
    dy: &[f32],
    x: &[f32],
) -> [V; K] {
    for (oy, dy) in dy.chunks_exact(len.max(1)).take(rows).enumerate() {
        let runs: [&[f32]; K] = core::array::from_fn(|k| &x[base[k] + oy * step..][..len]);
        acc = lane_dots(acc, dy, runs);
    }
    acc
}

/// Adds the terms of a run of whole blocks that starts at lane 0.
#[inline(always)]
fn lane_dots<V: Eight, const K: usize>(mut acc: [V; K], dy: &[f32], x: [&[f32]; K]) -> [V; K] {
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
    acc
}

/// Adds those of the eight terms from `t` on that lie in `terms`. The others add `+0.0`, which changes no sum that started at
/// `+0.0`.
#[inline(always)]
fn clipped_block<V: Eight, const K: usize>(
    mut acc: [V; K],
    terms: &[Range<usize>; K],
    from: &[usize; K],
    dy: &[f32],
    x: &[f32],
    t: usize,
) -> [V; K] {
    let lanes = V::load(dy, t);
    for k in 0..K {
        let keep = mask(terms[k].start.saturating_sub(t)..terms[k].end.saturating_sub(t));
        acc[k] = acc[k].add(lanes.mul(V::load(x, from[k] + t)).and(keep));
    }
    acc
}

/// Adds the terms of a row one by one, where blocks would reach past the ends of memory. Calls nothing: a call would keep
/// the sums out of registers in the other loops.
#[inline(always)]
fn single_terms<V: Eight, const K: usize>(
    mut acc: [V; K],
    terms: &[Range<usize>; K],
    from: &[usize; K],
    dy: &[f32],
    x: &[f32],
) -> [V; K] {
    for k in 0..K {
        let mut sums = [0.0; SUM_LANES];
        acc[k].to_slice(&mut sums);
        for t in terms[k].clone() {
            sums[t % SUM_LANES] += dy[t] * x[from[k].wrapping_add(t)];
        }
        acc[k] = V::from_slice(&sums);
    }
    acc
}

/// As [`run_dots`], for one weight of a window that skips pixels.
#[inline(always)]
fn pixel_dots<V: Eight>(
    mut acc: V,
    (plane, ky, kx): (usize, usize, usize),
    [rows, columns]: [Axis; 2],
    batch: usize,
    dy: &[f32],
    x: &[f32],
) -> V {
    for oy in rows.meeting(ky) {
        let line = (plane * rows.size + rows.input(oy, ky)) * columns.size;
        for ox in columns.meeting(kx) {
            let x = &x[(line + columns.input(ox, kx)) * batch..][..batch];
            let dy = &dy[(oy * columns.out + ox) * batch..][..batch];
            let first = ox * batch % SUM_LANES;
            let head = if first == 0 { 0 } else { (SUM_LANES - first).min(batch) };
            if head > 0 {
                acc = add_terms(acc, first, &dy[..head], &x[..head]);
            }
            let whole = head + (batch - head) / SUM_LANES * SUM_LANES;
            [acc] = lane_dots([acc], &dy[head..whole], [&x[head..whole]]);
            if whole < batch {
                acc = add_terms(acc, 0, &dy[whole..], &x[whole..]);
            }
        }
    }
    acc
}

/// Adds up to eight terms from lane `first` on. The other lanes are zero on both sides.
#[inline(always)]
fn add_terms<V: Eight>(acc: V, first: usize, dy: &[f32], x: &[f32]) -> V {
    let mut pads = [[0.0; SUM_LANES]; 2];
    for (l, (&dy, &x)) in dy.iter().zip(x).enumerate().take(SUM_LANES - first) {
        pads[0][first + l] = dy;
        pads[1][first + l] = x;
    }
    acc.axpy(V::from_slice(&pads[0]), V::from_slice(&pads[1]))
}
