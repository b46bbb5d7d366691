//! Convolutions with a kernel of one pixel: dense layers, in which the pixels of a channel are more lanes.
#![allow(clippy::needless_range_loop)] // o and c number registers

use super::conv::Taps;
use super::lanes::{SUM_LANES, load_or_zeros};
use super::vector::{Isa, Sixteen, Vector, tree4};
use super::{ConvGeometry, GradSink, Pattern, csr, dense};

/// [`dense::forward`] group by group. `lanes` is pixels times batch.
#[inline(always)]
pub(super) fn forward<I: Isa, const R: usize>(
    g: &ConvGeometry,
    w: &[f32],
    bias: &[f32],
    x: &[f32],
    y: &mut [f32],
    lanes: usize,
) {
    let (inputs, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
    for group in 0..g.groups {
        let w = &w[group * outputs * inputs..][..outputs * inputs];
        let bias = bias.get(group * outputs..).unwrap_or(&[]);
        let x = &x[group * inputs * lanes..][..inputs * lanes];
        let y = &mut y[group * outputs * lanes..][..outputs * lanes];
        dense::forward::<I, R>(w, bias, x, y, inputs, outputs, lanes);
    }
}

/// [`dense::input_grad`] or [`csr::input_grad`] group by group.
#[inline(always)]
pub(super) fn input_grad<I: Isa, const R: usize>(
    taps: Taps,
    g: &ConvGeometry,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    lanes: usize,
) {
    let (inputs, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
    for group in 0..g.groups {
        let dy = &dy[group * outputs * lanes..][..outputs * lanes];
        let dx = &mut dx[group * inputs * lanes..][..inputs * lanes];
        match taps.pattern() {
            Some(pattern) => {
                let row_ptr = &pattern.row_ptr[group * outputs..][..outputs + 1];
                csr::input_grad::<I>(Pattern { row_ptr, ..pattern }, w, dy, dx, inputs, outputs, lanes);
            }
            None => {
                let w = &w[group * outputs * inputs..][..outputs * inputs];
                dense::input_grad::<I, R>(w, dy, dx, inputs, outputs, lanes);
            }
        }
    }
}

/// `O` outputs and `2 C` inputs at a time: each value that is read serves several sums. The lane sums of two inputs share a
/// vector. All pixels are one row.
#[inline(always)]
pub(super) fn weight_grad<V: Sixteen, const O: usize, const C: usize, S: GradSink>(
    g: &ConvGeometry,
    dy: &[f32],
    x: &[f32],
    lanes: usize,
    sink: &mut S,
) {
    let (inputs, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
    for group in 0..g.groups {
        let x = &x[group * inputs * lanes..][..inputs * lanes];
        for i in (0..inputs).step_by(2 * C) {
            let end = (group + 1) * outputs;
            let mut o = group * outputs;
            while o + O <= end {
                block::<V, O, C, S>(&dy[o * lanes..][..O * lanes], x, [inputs, lanes], o, i, sink);
                o += O;
            }
            while o < end {
                block::<V, 1, C, S>(&dy[o * lanes..][..lanes], x, [inputs, lanes], o, i, sink);
                o += 1;
            }
        }
    }
}

/// The gradients of `O` outputs from `o` on for `2 C` inputs from `i` on, of which there may be fewer.
#[inline(always)]
fn block<V: Sixteen, const O: usize, const C: usize, S: GradSink>(
    dy: &[f32],
    x: &[f32],
    [inputs, lanes]: [usize; 2],
    o: usize,
    i: usize,
    sink: &mut S,
) {
    const { assert!(C <= 4) };
    let width = (inputs - i).min(2 * C);
    // Past the last input comes the last one again, of which the result is dropped.
    let input = |c: usize| &x[(i + c.min(width - 1)) * lanes..][..lanes];
    let pairs: [[&[f32]; 2]; C] = core::array::from_fn(|c| [input(2 * c), input(2 * c + 1)]);
    let outputs: [&[f32]; O] = core::array::from_fn(|o| &dy[o * lanes..][..lanes]);
    let mut acc = [[V::splat(0.0); C]; O];
    let mut t = 0;
    while lanes - t >= SUM_LANES {
        let mut values = [V::splat(0.0); C];
        for c in 0..C {
            values[c] = V::join(V::Half::load(pairs[c][0], t), V::Half::load(pairs[c][1], t));
        }
        for o in 0..O {
            let lanes = V::twice(V::Half::load(outputs[o], t));
            for c in 0..C {
                acc[o][c] = acc[o][c].axpy(lanes, values[c]);
            }
        }
        t += SUM_LANES;
    }
    if t < lanes {
        // Zeros on both sides in the other lanes: they add +0.0, which changes no sum that started at +0.0.
        for o in 0..O {
            let lanes = V::twice(load_or_zeros(outputs[o], t));
            for c in 0..C {
                acc[o][c] =
                    acc[o][c].axpy(lanes, V::join(load_or_zeros(pairs[c][0], t), load_or_zeros(pairs[c][1], t)));
            }
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        let mut grad = [0.0; 8];
        for (pairs, grad) in acc.chunks(2).zip(grad.chunks_exact_mut(4)) {
            let ([a, b], [c, d]) = (pairs[0].halves(), pairs[pairs.len() - 1].halves());
            grad.copy_from_slice(&tree4([a, b, c, d]));
        }
        sink.take((o + r) * inputs + i, &grad[..width]);
    }
}
