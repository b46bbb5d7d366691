//! Convolutions, the gradient of the input.

use super::conv::{Planes, Taps};
use super::geometry::Axis;
use super::vector::{Isa, Vector};
use super::{ConvGeometry, pointwise};

/// With stride 1 a convolution of the gradient with the kernel in reverse, otherwise every weight adds to the input.
#[inline(always)]
pub(super) fn input_grad<I: Isa, const R: usize>(
    taps: Taps,
    g: &ConvGeometry,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    batch: usize,
) {
    let Some([rows, columns]) = g.axes() else { return };
    let (from, to) = (rows.out * columns.out * batch, g.in_h * g.in_w * batch);
    debug_assert!(dx.len() == g.in_channels * to && dy.len() == g.out_channels * from);
    let g = &if g.is_pointwise() { g.in_one_row() } else { *g };
    if g.is_pointwise() {
        return pointwise::input_grad::<I, R>(taps, g, w, dy, dx, from);
    }
    let Some([rows, columns]) = g.axes() else { return };
    let (inputs, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
    // In reverse every edge pixel has a window of its own, for which the weights are sorted out again: that pays where most
    // pixels are no edge.
    let mostly_inner =
        |rows: &Axis, columns: &Axis| 2 * rows.inner().len() * columns.inner().len() >= rows.out * columns.out;
    let back = rows.reversed().zip(columns.reversed()).filter(|(r, c)| mostly_inner(r, c));
    let (Some((back_rows, back_columns)), true) = (back, taps.finds_channels(inputs * g.out_channels, from)) else {
        return scatter::<I>(taps, g, [rows, columns], w, dy, dx, batch);
    };
    let mut planes = Planes::new([back_rows, back_columns], batch);
    for c in 0..g.in_channels {
        let dx = &mut dx[c * to..][..to];
        let group = c / inputs * outputs..(c / inputs + 1) * outputs;
        let weights = group.flat_map(|oc| {
            taps.row_of_channel(g, oc, c % inputs).map(move |k| {
                let (_, ky, kx) = taps.place(g, oc, k);
                ((oc, g.kernel[0] - 1 - ky, g.kernel[1] - 1 - kx), w[k])
            })
        });
        planes.plane::<I>(0.0, weights, dy, dx);
    }
}

/// Every live weight adds a run of the output's gradient to the input's.
#[inline(always)]
fn scatter<I: Isa>(
    taps: Taps,
    g: &ConvGeometry,
    [rows, columns]: [Axis; 2],
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    batch: usize,
) {
    dx.fill(0.0);
    let plane = rows.out * columns.out * batch;
    let (inputs, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
    for oc in 0..g.out_channels {
        let dy = &dy[oc * plane..][..plane];
        for k in taps.row(oc) {
            let (ic, ky, kx) = taps.place(g, oc, k);
            let channel = oc / outputs * inputs + ic;
            let across = columns.meeting(kx);
            for oy in rows.meeting(ky) {
                let line = (channel * g.in_h + rows.input(oy, ky)) * g.in_w;
                let dy = &dy[oy * columns.out * batch..][..columns.out * batch];
                if columns.stride == 1 && !across.is_empty() {
                    let to = (line + columns.input(across.start, kx)) * batch;
                    let dy = &dy[across.start * batch..across.end * batch];
                    add_run::<I>(&mut dx[to..][..dy.len()], w[k], dy);
                } else {
                    for ox in across.clone() {
                        let to = (line + columns.input(ox, kx)) * batch;
                        add_run::<I>(&mut dx[to..][..batch], w[k], &dy[ox * batch..][..batch]);
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
