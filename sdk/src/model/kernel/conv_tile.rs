//! The gradient of a dense convolution's weights where whole pixels are blocks of lanes: several outputs share what is read
//! of the input.
#![allow(clippy::needless_range_loop)] // o and k number registers

use core::ops::Range;

use super::geometry::Axis;
use super::lanes::SUM_LANES;
use super::vector::{Sixteen, Vector, tree4};
use super::{ConvGeometry, GradSink};

/// Positions of one row of the kernel at a time.
const ACROSS: usize = 3;

/// Whether [`weight_grad`] can do it: no window skips pixels to the right, and each pixel begins a block of lanes.
#[inline(always)]
pub(super) fn fits(g: &ConvGeometry, batch: usize) -> bool {
    g.stride[1] == 1 && batch.is_multiple_of(SUM_LANES)
}

/// `2 P` outputs by three positions of a row of the kernel at a time. The lane sums of two outputs share a vector. Only for
/// what [`fits`].
#[inline(always)]
pub(super) fn weight_grad<V: Sixteen, const P: usize, S: GradSink>(
    g: &ConvGeometry,
    axes: [Axis; 2],
    dy: &[f32],
    x: &[f32],
    batch: usize,
    sink: &mut S,
) {
    let (inputs, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
    for group in 0..g.groups {
        let (channel, end) = (group * inputs, (group + 1) * outputs);
        let mut oc = group * outputs;
        while oc < end {
            let width = if end - oc >= 2 * P { 2 * P } else { 2.min(end - oc) };
            for ic in 0..inputs {
                for ky in 0..g.kernel[0] {
                    for kx in (0..g.kernel[1]).step_by(ACROSS) {
                        let place = Place { outputs: [oc, width], input: channel + ic, ky, kx };
                        let line = (ic * g.kernel[0] + ky) * g.kernel[1] + kx;
                        if width == 2 * P {
                            tile::<V, P, S>(place, axes, dy, x, batch, g.taps(), line, sink);
                        } else {
                            tile::<V, 1, S>(place, axes, dy, x, batch, g.taps(), line, sink);
                        }
                    }
                }
            }
            oc += width;
        }
    }
}

/// Which sums a tile holds.
#[derive(Clone, Copy)]
struct Place {
    /// The first output channel and how many there are: `2 P` or, at the end of a group, 1 or 2.
    outputs: [usize; 2],
    /// The input channel, counted over all groups.
    input: usize,
    ky: usize,
    /// The first position in the row of the kernel.
    kx: usize,
}

/// The gradients of `taps * output + line + k` for the outputs and the positions `k` of a place.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn tile<V: Sixteen, const P: usize, S: GradSink>(
    place: Place,
    [rows, columns]: [Axis; 2],
    dy: &[f32],
    x: &[f32],
    batch: usize,
    taps: usize,
    line: usize,
    sink: &mut S,
) {
    let [first, width] = place.outputs;
    let len = columns.out * batch;
    let plane = rows.out * len;
    // Past the last output or position comes the last one again, of which the result is dropped.
    let many = ACROSS.min(columns.kernel - place.kx);
    let kx: [usize; ACROSS] = core::array::from_fn(|k| place.kx + k.min(many - 1));
    let across: [Range<usize>; ACROSS] = core::array::from_fn(|k| columns.meeting(kx[k]));
    // Output pixels for which all positions meet the input.
    let start = across.iter().map(|r| r.start).max().unwrap_or(0);
    let end = across.iter().map(|r| r.end).min().unwrap_or(0).max(start);
    let mut acc = [[V::splat(0.0); ACROSS]; P];
    for oy in rows.meeting(place.ky) {
        let dy: [[&[f32]; 2]; P] = core::array::from_fn(|p| {
            core::array::from_fn(|h| {
                let output = first + (2 * p + h).min(width - 1);
                &dy[output * plane + oy * len..][..len]
            })
        });
        let x =
            &x[(place.input * rows.size + rows.input(oy, place.ky)) * columns.size * batch..][..columns.size * batch];
        let left: [Range<usize>; ACROSS] = core::array::from_fn(|k| across[k].start..start.min(across[k].end));
        let right: [Range<usize>; ACROSS] = core::array::from_fn(|k| end.max(across[k].start)..across[k].end);
        acc = edge::<V, P, 0>(acc, &left, &dy, x, &kx, columns, batch);
        acc = edge::<V, P, 1>(acc, &left, &dy, x, &kx, columns, batch);
        acc = edge::<V, P, 2>(acc, &left, &dy, x, &kx, columns, batch);
        if start < end {
            let span = start * batch..end * batch;
            let xs: [&[f32]; ACROSS] =
                core::array::from_fn(|k| &x[columns.input(start, kx[k]) * batch..][..span.len()]);
            let dy: [[&[f32]; 2]; P] = core::array::from_fn(|p| core::array::from_fn(|h| &dy[p][h][span.clone()]));
            acc = run(acc, &dy, xs);
        }
        acc = edge::<V, P, 0>(acc, &right, &dy, x, &kx, columns, batch);
        acc = edge::<V, P, 1>(acc, &right, &dy, x, &kx, columns, batch);
        acc = edge::<V, P, 2>(acc, &right, &dy, x, &kx, columns, batch);
    }
    for p in 0..P {
        let (a, b, c) = (acc[p][0].halves(), acc[p][1].halves(), acc[p][2].halves());
        for h in 0..2 {
            let grad = tree4([a[h], b[h], c[h], c[h]]);
            if 2 * p + h < width {
                sink.take((first + 2 * p + h) * taps + line, &grad[..many]);
            }
        }
    }
}

/// Adds the terms of a run of whole blocks: `x[k]` is what position `k` of the kernel meets.
#[inline(always)]
fn run<V: Sixteen, const P: usize, const K: usize>(
    mut acc: [[V; K]; P],
    dy: &[[&[f32]; 2]; P],
    x: [&[f32]; K],
) -> [[V; K]; P] {
    let len = x[0].len();
    let x: [&[f32]; K] = core::array::from_fn(|k| &x[k][..len]);
    let dy: [[&[f32]; 2]; P] = core::array::from_fn(|p| core::array::from_fn(|h| &dy[p][h][..len]));
    let mut t = 0;
    while len - t >= SUM_LANES {
        let mut lanes = [V::splat(0.0); P];
        for p in 0..P {
            lanes[p] = V::join(V::Half::load(dy[p][0], t), V::Half::load(dy[p][1], t));
        }
        for k in 0..K {
            let values = V::twice(V::Half::load(x[k], t));
            for p in 0..P {
                acc[p][k] = acc[p][k].axpy(lanes[p], values);
            }
        }
        t += SUM_LANES;
    }
    acc
}

/// Adds the terms of those output pixels for which position `K` meets the input and another does not. `K` is a constant, or the
/// sums would leave the registers.
#[inline(always)]
fn edge<V: Sixteen, const P: usize, const K: usize>(
    mut acc: [[V; ACROSS]; P],
    pixels: &[Range<usize>; ACROSS],
    dy: &[[&[f32]; 2]; P],
    x: &[f32],
    kx: &[usize; ACROSS],
    columns: Axis,
    batch: usize,
) -> [[V; ACROSS]; P] {
    let pixels = &pixels[K];
    if pixels.start < pixels.end {
        let span = pixels.start * batch..pixels.end * batch;
        let x = &x[columns.input(pixels.start, kx[K]) * batch..][..span.len()];
        let dy: [[&[f32]; 2]; P] = core::array::from_fn(|p| core::array::from_fn(|h| &dy[p][h][span.clone()]));
        let mut one = [[acc[0][K]; 1]; P];
        for p in 0..P {
            one[p][0] = acc[p][K];
        }
        one = run(one, &dy, [x]);
        for p in 0..P {
            acc[p][K] = one[p][0];
        }
    }
    acc
}
