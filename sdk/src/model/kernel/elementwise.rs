//! Sums and products of activations.
//!
//! The second operand has the shape of the first, `[channels][positions][batch]`, or is one value a channel,
//! `[channels][1][batch]`, that stands for all positions (squeeze and excitation): its length tells which.

use super::lanes::lane_sum;
use super::wide::widened;

/// `y = f(y, second)`, element by element.
#[inline(always)]
fn each(y: &mut [f32], second: &[f32], [channels, positions, batch]: [usize; 3], f: impl Fn(f32, f32) -> f32) {
    debug_assert!(y.len() == channels * positions * batch);
    debug_assert!(second.len() == y.len() || second.len() == channels * batch);
    if second.len() == y.len() {
        for (y, &second) in y.iter_mut().zip(second) {
            *y = f(*y, second);
        }
        return;
    }
    let lanes = positions * batch;
    for c in 0..channels {
        let (y, second) = (&mut y[c * lanes..][..lanes], &second[c * batch..][..batch]);
        if let &[second] = second {
            for y in y {
                *y = f(*y, second);
            }
        } else {
            for y in y.chunks_exact_mut(batch.max(1)) {
                for (y, &second) in y.iter_mut().zip(second) {
                    *y = f(*y, second);
                }
            }
        }
    }
}

widened! {
    /// `y = y + second` in place.
    ///
    /// The gradient of `y` is `dy`, so is that of a second operand of the same shape; that of one value a channel is
    /// [`sum_positions`].
    pub fn add_forward(y: &mut [f32], second: &[f32], channels: usize, positions: usize, batch: usize) {
        each(y, second, [channels, positions, batch], |y, second| y + second);
    }

    /// `sums[c][b]` = sum over `p` of `dy[c][p][b]`, ascending, from `+0.0` if `overwrite`, else from what is there.
    pub fn sum_positions(
        dy: &[f32],
        sums: &mut [f32],
        channels: usize,
        positions: usize,
        batch: usize,
        overwrite: bool,
    ) {
        debug_assert!(dy.len() == channels * positions * batch && sums.len() == channels * batch);
        for c in 0..channels {
            let sums = &mut sums[c * batch..][..batch];
            if overwrite {
                sums.fill(0.0);
            }
            for p in 0..positions {
                for (sum, &dy) in sums.iter_mut().zip(&dy[(c * positions + p) * batch..][..batch]) {
                    *sum += dy;
                }
            }
        }
    }

    /// `y = first * second`.
    pub fn mul_forward(
        first: &[f32],
        second: &[f32],
        y: &mut [f32],
        channels: usize,
        positions: usize,
        batch: usize,
    ) {
        y.copy_from_slice(first);
        each(y, second, [channels, positions, batch], |y, second| y * second);
    }

    /// The gradient of [`mul_forward`]'s first operand, in place: `dy * second`.
    pub fn mul_first_grad(second: &[f32], dy: &mut [f32], channels: usize, positions: usize, batch: usize) {
        each(dy, second, [channels, positions, batch], |dy, second| dy * second);
    }

    /// The gradient of [`mul_forward`]'s second operand: `dy * first`; for one value a channel `dx[c][b]` is their sum over
    /// `p`, ascending from `+0.0`. The length of `dx` tells which.
    pub fn mul_second_grad(
        first: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        channels: usize,
        positions: usize,
        batch: usize,
    ) {
        debug_assert!(first.len() == channels * positions * batch && dy.len() == first.len());
        debug_assert!(dx.len() == dy.len() || dx.len() == channels * batch);
        if dx.len() == dy.len() {
            for ((dx, &dy), &first) in dx.iter_mut().zip(dy).zip(first) {
                *dx = dy * first;
            }
            return;
        }
        for c in 0..channels {
            let dx = &mut dx[c * batch..][..batch];
            dx.fill(0.0);
            for p in 0..positions {
                let at = (c * positions + p) * batch;
                let (dy, first) = (&dy[at..at + batch], &first[at..at + batch]);
                for ((dx, &dy), &first) in dx.iter_mut().zip(dy).zip(first) {
                    *dx += dy * first;
                }
            }
        }
    }

    /// `scale * y + shift` in place: scaling and shifting by constants of the model.
    pub fn affine_forward(y: &mut [f32], scale: f32, shift: f32) {
        for y in y {
            *y = scale * *y + shift;
        }
    }

    /// The gradient of [`affine_forward`]'s input, in place: `scale * dy`.
    pub fn affine_backward(dy: &mut [f32], scale: f32) {
        for dy in dy {
            *dy *= scale;
        }
    }

    /// `y[f][b] + values[f]` in place: a learned array over all features, as the embedding of positions is. The gradient of
    /// `y` is `dy`.
    pub fn offset_forward(values: &[f32], y: &mut [f32], batch: usize) {
        debug_assert!(y.len() == values.len() * batch);
        for (y, &value) in y.chunks_exact_mut(batch.max(1)).zip(values) {
            for y in y {
                *y += value;
            }
        }
    }

    /// The gradient of [`offset_forward`]'s array: `g[f]` = lane sum over `b` of `dy[f][b]`. Coordinate `f`.
    pub fn offset_grad<S>(dy: &[f32], batch: usize, sink: &mut S) {
        debug_assert!(batch > 0 && dy.len().is_multiple_of(batch));
        let mut at = 0;
        for dy in dy.chunks(batch.max(1) * PIECE) {
            let mut grad = [0.0; PIECE];
            let features = dy.len() / batch.max(1);
            for (grad, dy) in grad.iter_mut().zip(dy.chunks_exact(batch.max(1))) {
                *grad = lane_sum(dy.len(), |b| dy[b]);
            }
            if features > 0 {
                sink.take(at, &grad[..features]);
            }
            at += features;
        }
    }
}

/// Coordinates whose gradients are handed on together.
const PIECE: usize = 64;
