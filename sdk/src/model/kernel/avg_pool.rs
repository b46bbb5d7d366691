//! Average pooling, over windows and over whole planes.

use super::PoolGeometry;
use super::pool::{Window, Windows, block, block_mut, steps};

/// What a sum over a window is divided by.
#[inline(always)]
fn count(g: &PoolGeometry, window: &Window, count_padding: bool) -> f32 {
    match count_padding {
        true => (g.kernel[0] * g.kernel[1]) as f32,
        false => (window.down.len() * window.across.len()) as f32,
    }
}

/// Calls `$body` with 8, 4 or 1 as its first parameter for exact blocks of the lanes `0..$batch`; `$at` is the first lane.
macro_rules! for_exact_blocks {
    ($batch:expr, |$at:ident| $body:ident($($arg:expr),* $(,)?)) => {{
        let mut $at = 0;
        while $at < $batch {
            match $batch - $at {
                8.. => {
                    $body::<8>($($arg),*);
                    $at += 8;
                }
                4.. => {
                    $body::<4>($($arg),*);
                    $at += 4;
                }
                _ => {
                    $body::<1>($($arg),*);
                    $at += 1;
                }
            }
        }
    }};
}

#[inline(always)]
pub(super) fn forward(g: &PoolGeometry, count_padding: bool, x: &[f32], y: &mut [f32], batch: usize) {
    let Some(windows) = Windows::new(g) else { return };
    debug_assert!(x.len() == g.channels * g.in_h * g.in_w * batch && y.len() == windows.outputs() * batch);
    let steps = steps(g, batch);
    for (number, window) in windows.enumerate() {
        let (from, to) = (window.first * batch, number * batch);
        let (size, count) = ([window.down.len(), window.across.len()], count(g, &window, count_padding));
        for_exact_blocks!(batch, |b| mean(size, steps, count, x, from + b, y, to + b));
    }
}

/// `L` lanes of one window.
#[inline(always)]
fn mean<const L: usize>(
    size: [usize; 2],
    steps: [usize; 2],
    count: f32,
    x: &[f32],
    from: usize,
    y: &mut [f32],
    to: usize,
) {
    let mut sum = [0.0; L];
    for wy in 0..size[0] {
        for wx in 0..size[1] {
            let x = block::<L>(x, from + wy * steps[0] + wx * steps[1]);
            for l in 0..L {
                sum[l] += x[l];
            }
        }
    }
    *block_mut(y, to) = sum.map(|sum| sum / count);
}

#[inline(always)]
pub(super) fn backward(g: &PoolGeometry, count_padding: bool, dy: &[f32], dx: &mut [f32], batch: usize) {
    let Some(windows) = Windows::new(g) else { return };
    debug_assert!(dx.len() == g.channels * g.in_h * g.in_w * batch && dy.len() == windows.outputs() * batch);
    dx.fill(0.0);
    let steps = steps(g, batch);
    for (number, window) in windows.enumerate() {
        let (from, to) = (number * batch, window.first * batch);
        let (size, count) = ([window.down.len(), window.across.len()], count(g, &window, count_padding));
        for_exact_blocks!(batch, |b| spread(size, steps, count, dy, from + b, dx, to + b));
    }
}

/// `L` lanes of one window.
#[inline(always)]
fn spread<const L: usize>(
    size: [usize; 2],
    steps: [usize; 2],
    count: f32,
    dy: &[f32],
    from: usize,
    dx: &mut [f32],
    to: usize,
) {
    let share = block::<L>(dy, from).map(|dy| dy / count);
    for wy in 0..size[0] {
        for wx in 0..size[1] {
            let dx = block_mut::<L>(dx, to + wy * steps[0] + wx * steps[1]);
            for l in 0..L {
                dx[l] += share[l];
            }
        }
    }
}

/// One window a channel.
#[inline(always)]
pub(super) fn global_forward(x: &[f32], y: &mut [f32], channels: usize, pixels: usize, batch: usize) {
    debug_assert!(x.len() == channels * pixels * batch && y.len() == channels * batch);
    for c in 0..channels {
        let (from, to) = (c * pixels * batch, c * batch);
        for_exact_blocks!(batch, |b| mean([1, pixels], [0, batch], pixels as f32, x, from + b, y, to + b));
    }
}

#[inline(always)]
pub(super) fn global_backward(dy: &[f32], dx: &mut [f32], channels: usize, pixels: usize, batch: usize) {
    debug_assert!(dx.len() == channels * pixels * batch && dy.len() == channels * batch);
    dx.fill(0.0);
    for c in 0..channels {
        let (from, to) = (c * batch, c * pixels * batch);
        for_exact_blocks!(batch, |b| spread([1, pixels], [0, batch], pixels as f32, dy, from + b, dx, to + b));
    }
}
