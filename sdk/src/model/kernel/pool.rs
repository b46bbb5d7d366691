//! Max pooling.

use super::PoolGeometry;
use super::vector::{Bits, Isa};

/// Exact lane blocks of 8, then single lanes.
#[inline(always)]
pub(super) fn forward(g: &PoolGeometry, x: &[f32], y: &mut [f32], batch: usize) {
    let (Some(out_h), Some(out_w)) = (g.out_h(), g.out_w()) else { return };
    debug_assert!(x.len() == g.channels * g.in_h * g.in_w * batch && y.len() == g.channels * out_h * out_w * batch);
    let mut to = 0;
    for c in 0..g.channels {
        for oy in 0..out_h {
            for ox in 0..out_w {
                let from = ((c * g.in_h + oy * g.stride) * g.in_w + ox * g.stride) * batch;
                let mut b = 0;
                while b + 8 <= batch {
                    forward_pixel::<8>(g, x, from + b, batch, block_mut(y, to + b));
                    b += 8;
                }
                while b < batch {
                    forward_pixel::<1>(g, x, from + b, batch, block_mut(y, to + b));
                    b += 1;
                }
                to += batch;
            }
        }
    }
}

#[inline(always)]
fn forward_pixel<const L: usize>(g: &PoolGeometry, x: &[f32], from: usize, batch: usize, y: &mut [f32; L]) {
    let mut max = *block::<L>(x, from);
    for wy in 0..g.window {
        for wx in 0..g.window {
            let x = block::<L>(x, from + (wy * g.in_w + wx) * batch);
            for l in 0..L {
                max[l] = if x[l] > max[l] || x[l].is_nan() { x[l] } else { max[l] };
            }
        }
    }
    *y = max;
}

/// Exact lane blocks of 8, 4 and 1.
#[inline(always)]
pub(super) fn backward<I: Isa>(g: &PoolGeometry, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32], batch: usize) {
    let (Some(out_h), Some(out_w)) = (g.out_h(), g.out_w()) else { return };
    debug_assert!(x.len() == g.channels * g.in_h * g.in_w * batch && y.len() == g.channels * out_h * out_w * batch);
    debug_assert!(dx.len() == x.len() && dy.len() == y.len());
    dx.fill(0.0);
    let mut to = 0;
    for c in 0..g.channels {
        for oy in 0..out_h {
            for ox in 0..out_w {
                let from = ((c * g.in_h + oy * g.stride) * g.in_w + ox * g.stride) * batch;
                let mut b = 0;
                while batch - b >= 8 {
                    b += backward_pixel::<I::V8>(g, x, dx, from + b, batch, y, dy, to + b);
                }
                if batch - b >= 4 {
                    b += backward_pixel::<I::V4>(g, x, dx, from + b, batch, y, dy, to + b);
                }
                while b < batch {
                    b += backward_pixel::<f32>(g, x, dx, from + b, batch, y, dy, to + b);
                }
                to += batch;
            }
        }
    }
}

/// Returns how many lanes it has done.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn backward_pixel<V: Bits>(
    g: &PoolGeometry,
    x: &[f32],
    dx: &mut [f32],
    from: usize,
    batch: usize,
    y: &[f32],
    dy: &[f32],
    to: usize,
) -> usize {
    let y = V::load(y, to);
    // What is still to be given away: a lane becomes +0.0 when its maximum is found. Adding +0.0 changes no sum that
    // started at +0.0.
    let mut left = V::load(dy, to);
    for wy in 0..g.window {
        for wx in 0..g.window {
            let at = from + (wy * g.in_w + wx) * batch;
            let same = V::load(x, at).same(y);
            V::load(dx, at).add(left.and(same)).store(dx, at);
            left = left.and_not(same);
        }
    }
    V::LANES
}

/// `L` values from `at` on.
#[inline(always)]
fn block<const L: usize>(data: &[f32], at: usize) -> &[f32; L] {
    data[at..at + L].first_chunk().expect("a slice of L values")
}

/// As [`block`], to write to.
#[inline(always)]
fn block_mut<const L: usize>(data: &mut [f32], at: usize) -> &mut [f32; L] {
    data[at..at + L].first_chunk_mut().expect("a slice of L values")
}
