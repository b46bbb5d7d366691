//! Pooling windows, and the largest value of each.

use core::ops::Range;

use super::PoolGeometry;
use super::geometry::Axis;
use super::vector::{Bits, Isa};

/// The part of a window that meets the input.
pub(super) struct Window {
    /// Its first pixel, counted through all planes.
    pub(super) first: usize,
    /// Its rows.
    pub(super) down: Range<usize>,
    /// Its columns.
    pub(super) across: Range<usize>,
}

/// The windows of a layer, planes, rows and columns ascending.
pub(super) struct Windows {
    rows: Axis,
    columns: Axis,
    inner: [Range<usize>; 2],
    planes: usize,
    /// Plane, row and column of the next one.
    next: [usize; 3],
    down: Range<usize>,
}

impl Windows {
    /// `None` if the geometry is none.
    #[inline(always)]
    pub(super) fn new(g: &PoolGeometry) -> Option<Self> {
        let [rows, columns] = g.axes()?;
        let inner = [rows.inner(), columns.inner()];
        Some(Self { rows, columns, inner, planes: g.channels, next: [0; 3], down: rows.window(0) })
    }

    /// Outputs of all planes, for a batch of 1.
    #[inline(always)]
    pub(super) fn outputs(&self) -> usize {
        self.planes * self.rows.out * self.columns.out
    }
}

impl Iterator for Windows {
    type Item = Window;

    #[inline(always)]
    fn next(&mut self) -> Option<Window> {
        let [plane, oy, ox] = self.next;
        if plane == self.planes {
            return None;
        }
        // Divides only at the edges.
        let inner = self.inner[1].contains(&ox);
        let across = if inner { 0..self.columns.kernel } else { self.columns.window(ox) };
        let down = self.down.clone();
        let line = plane * self.rows.size + self.rows.input(oy, down.start);
        let first = line * self.columns.size + self.columns.input(ox, across.start);
        self.next[2] += 1;
        if self.next[2] == self.columns.out {
            self.next = if oy + 1 == self.rows.out { [plane + 1, 0, 0] } else { [plane, oy + 1, 0] };
            let oy = self.next[1];
            self.down = if self.inner[0].contains(&oy) { 0..self.rows.kernel } else { self.rows.window(oy) };
        }
        Some(Window { first, down, across })
    }
}

/// From one row of a window to the next, and from one column to the next, in values. A dilation so large that this wraps leads
/// out of the input: no window has a second row or column then.
#[inline(always)]
pub(super) fn steps(g: &PoolGeometry, batch: usize) -> [usize; 2] {
    [g.dilation[0].wrapping_mul(g.in_w).wrapping_mul(batch), g.dilation[1].wrapping_mul(batch)]
}

/// Exact lane blocks of 8, then single lanes.
#[inline(always)]
pub(super) fn max_forward(g: &PoolGeometry, x: &[f32], y: &mut [f32], batch: usize) {
    let Some(windows) = Windows::new(g) else { return };
    debug_assert!(x.len() == g.channels * g.in_h * g.in_w * batch && y.len() == windows.outputs() * batch);
    let steps = steps(g, batch);
    for (number, window) in windows.enumerate() {
        let (from, to) = (window.first * batch, number * batch);
        let mut b = 0;
        while b + 8 <= batch {
            max_pixel::<8>(&window, steps, x, from + b, block_mut(y, to + b));
            b += 8;
        }
        while b < batch {
            max_pixel::<1>(&window, steps, x, from + b, block_mut(y, to + b));
            b += 1;
        }
    }
}

#[inline(always)]
fn max_pixel<const L: usize>(window: &Window, steps: [usize; 2], x: &[f32], from: usize, y: &mut [f32; L]) {
    let mut max = *block::<L>(x, from);
    for wy in 0..window.down.len() {
        for wx in 0..window.across.len() {
            let x = block::<L>(x, from + wy * steps[0] + wx * steps[1]);
            for l in 0..L {
                max[l] = if x[l] > max[l] || x[l].is_nan() { x[l] } else { max[l] };
            }
        }
    }
    *y = max;
}

/// Exact lane blocks of 8, 4 and 1.
#[inline(always)]
pub(super) fn max_backward<I: Isa>(g: &PoolGeometry, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32], batch: usize) {
    let Some(windows) = Windows::new(g) else { return };
    debug_assert!(x.len() == g.channels * g.in_h * g.in_w * batch && y.len() == windows.outputs() * batch);
    debug_assert!(dx.len() == x.len() && dy.len() == y.len());
    dx.fill(0.0);
    let steps = steps(g, batch);
    for (number, window) in windows.enumerate() {
        let (from, to) = (window.first * batch, number * batch);
        let mut b = 0;
        while batch - b >= 8 {
            b += max_pixel_backward::<I::V8>(&window, steps, x, dx, from + b, y, dy, to + b);
        }
        if batch - b >= 4 {
            b += max_pixel_backward::<I::V4>(&window, steps, x, dx, from + b, y, dy, to + b);
        }
        while b < batch {
            b += max_pixel_backward::<f32>(&window, steps, x, dx, from + b, y, dy, to + b);
        }
    }
}

/// Returns how many lanes it has done.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn max_pixel_backward<V: Bits>(
    window: &Window,
    steps: [usize; 2],
    x: &[f32],
    dx: &mut [f32],
    from: usize,
    y: &[f32],
    dy: &[f32],
    to: usize,
) -> usize {
    let y = V::load(y, to);
    // What is still to be given away: a lane becomes +0.0 when its maximum is found. Adding +0.0 changes no sum that
    // started at +0.0.
    let mut left = V::load(dy, to);
    for wy in 0..window.down.len() {
        for wx in 0..window.across.len() {
            let at = from + wy * steps[0] + wx * steps[1];
            let same = V::load(x, at).same(y);
            V::load(dx, at).add(left.and(same)).store(dx, at);
            left = left.and_not(same);
        }
    }
    V::LANES
}

/// `L` values from `at` on.
#[inline(always)]
pub(super) fn block<const L: usize>(data: &[f32], at: usize) -> &[f32; L] {
    data[at..at + L].first_chunk().expect("a slice of L values")
}

/// As [`block`], to write to.
#[inline(always)]
pub(super) fn block_mut<const L: usize>(data: &mut [f32], at: usize) -> &mut [f32; L] {
    data[at..at + L].first_chunk_mut().expect("a slice of L values")
}
