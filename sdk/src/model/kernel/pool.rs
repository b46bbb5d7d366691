//! Max pooling.

use super::PoolGeometry;

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

/// Exact lane blocks of 8, then single lanes.
#[inline(always)]
pub(super) fn backward(g: &PoolGeometry, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32], batch: usize) {
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
                while b + 8 <= batch {
                    backward_pixel::<8>(g, x, dx, from + b, batch, block(y, to + b), block(dy, to + b));
                    b += 8;
                }
                while b < batch {
                    backward_pixel::<1>(g, x, dx, from + b, batch, block(y, to + b), block(dy, to + b));
                    b += 1;
                }
                to += batch;
            }
        }
    }
}

#[inline(always)]
fn backward_pixel<const L: usize>(
    g: &PoolGeometry,
    x: &[f32],
    dx: &mut [f32],
    from: usize,
    batch: usize,
    y: &[f32; L],
    dy: &[f32; L],
) {
    // All ones until the lane has found its maximum.
    let mut open = [u32::MAX; L];
    for wy in 0..g.window {
        for wx in 0..g.window {
            let at = from + (wy * g.in_w + wx) * batch;
            let (x, dx) = (block::<L>(x, at), block_mut::<L>(dx, at));
            for l in 0..L {
                let same = x[l] == y[l] || (x[l].is_nan() && y[l].is_nan());
                let hit = if same { open[l] } else { 0 };
                let sum = dx[l] + dy[l];
                dx[l] = if hit != 0 { sum } else { dx[l] };
                open[l] &= !hit;
            }
        }
    }
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
