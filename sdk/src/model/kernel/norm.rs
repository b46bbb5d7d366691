//! Normalisation: with frozen statistics (batch norm on a device), and with those of each example (layer, group and
//! instance norm).
//!
//! The gradient of a shift is [`bias_grad`](super::bias_grad) over the channel's lanes.

use super::lanes::{SUM_LANES, block, block_mut, for_exact_blocks, lane_sum, tree};
use super::wide::widened;

/// Shape of a normalisation of `[channels][positions][batch]` by the statistics of each example.
///
/// A group of channels is normalised together with all positions. Instance norm has as many groups as channels. Layer norm
/// over the channels of each position is [`layer`](Self::layer), where the lanes of all positions count as the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormGeometry {
    /// Channels of input and output, a multiple of `groups`.
    pub channels: usize,
    /// Groups of channels, at least 1.
    pub groups: usize,
    /// Positions of a channel that are normalised together.
    pub positions: usize,
}

impl NormGeometry {
    /// Layer norm over the channels of each position: pass `positions * batch` as the batch.
    pub const fn layer(channels: usize) -> Self {
        Self { channels, groups: 1, positions: 1 }
    }

    /// Values that [`norm_statistics`] writes.
    pub const fn statistics_len(&self, batch: usize) -> usize {
        2 * self.groups * batch
    }

    /// Channels of a group.
    #[inline(always)]
    fn size(&self) -> usize {
        self.channels / self.groups
    }

    /// `1 / n` for the `n` values of a group.
    #[inline(always)]
    fn scale(&self) -> f32 {
        1.0 / (self.size() * self.positions) as f32
    }
}

/// Calls `f` with channel and position in a group, sums its lanes over the positions, and these sums over the channels.
#[inline(always)]
fn group_sum<const L: usize>(g: &NormGeometry, group: usize, f: impl Fn(usize, usize) -> [f32; L]) -> [f32; L] {
    let mut sum = [0.0; L];
    for c in group * g.size()..(group + 1) * g.size() {
        let mut channel = [0.0; L];
        for p in 0..g.positions {
            let terms = f(c, p);
            for l in 0..L {
                channel[l] += terms[l];
            }
        }
        for l in 0..L {
            sum[l] += channel[l];
        }
    }
    sum
}

#[inline(always)]
fn statistics_block<const L: usize>(
    g: &NormGeometry,
    x: &[f32],
    epsilon: f32,
    statistics: &mut [f32],
    batch: usize,
    group: usize,
    at: usize,
) {
    let lanes = |c: usize, p: usize| *block::<L>(x, (c * g.positions + p) * batch + at);
    let mean = group_sum(g, group, lanes).map(|sum| sum * g.scale());
    let squares = group_sum(g, group, |c, p| {
        let mut d = lanes(c, p);
        for l in 0..L {
            d[l] = (d[l] - mean[l]) * (d[l] - mean[l]);
        }
        d
    });
    *block_mut(statistics, 2 * group * batch + at) = mean;
    let inv_std = block_mut::<L>(statistics, (2 * group + 1) * batch + at);
    for l in 0..L {
        inv_std[l] = 1.0 / libm::sqrtf(squares[l] * g.scale() + epsilon);
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn input_grad_block<const L: usize>(
    g: &NormGeometry,
    x: &[f32],
    statistics: &[f32],
    scale: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    batch: usize,
    group: usize,
    at: usize,
) {
    let mean = block::<L>(statistics, 2 * group * batch + at);
    let inv_std = block::<L>(statistics, (2 * group + 1) * batch + at);
    let scaled = |c: usize, p: usize| block::<L>(dy, (c * g.positions + p) * batch + at).map(|dy| dy * scale[c]);
    let normalized = |c: usize, p: usize| {
        let mut n = *block::<L>(x, (c * g.positions + p) * batch + at);
        for l in 0..L {
            n[l] = (n[l] - mean[l]) * inv_std[l];
        }
        n
    };
    let sum = group_sum(g, group, scaled);
    let dot = group_sum(g, group, |c, p| {
        let (mut h, n) = (scaled(c, p), normalized(c, p));
        for l in 0..L {
            h[l] *= n[l];
        }
        h
    });
    for c in group * g.size()..(group + 1) * g.size() {
        for p in 0..g.positions {
            let (h, n) = (scaled(c, p), normalized(c, p));
            let dx = block_mut::<L>(dx, (c * g.positions + p) * batch + at);
            for l in 0..L {
                dx[l] = (h[l] - (sum[l] + n[l] * dot[l]) * g.scale()) * inv_std[l];
            }
        }
    }
}

widened! {
    /// `y[c][t] = ((x[c][t] - mean[c]) * inv_std[c]) * scale[c] + shift[c]` (ONNX `BatchNormalization` with the statistics of
    /// the checkpoint). `lanes` is positions times batch, as below.
    pub fn batch_norm_forward(
        x: &[f32],
        mean: &[f32],
        inv_std: &[f32],
        scale: &[f32],
        shift: &[f32],
        y: &mut [f32],
        channels: usize,
        lanes: usize,
    ) {
        debug_assert!(x.len() == channels * lanes && y.len() == x.len());
        for c in 0..channels {
            let [mean, inv_std, scale, shift] = [mean[c], inv_std[c], scale[c], shift[c]];
            for (y, &x) in y[c * lanes..][..lanes].iter_mut().zip(&x[c * lanes..][..lanes]) {
                *y = ((x - mean) * inv_std) * scale + shift;
            }
        }
    }

    /// The gradient of [`batch_norm_forward`]'s input: `dx[c][t] = dy[c][t] * (inv_std[c] * scale[c])`.
    pub fn batch_norm_input_grad(
        inv_std: &[f32],
        scale: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        channels: usize,
        lanes: usize,
    ) {
        debug_assert!(dy.len() == channels * lanes && dx.len() == dy.len());
        for c in 0..channels {
            let factor = inv_std[c] * scale[c];
            for (dx, &dy) in dx[c * lanes..][..lanes].iter_mut().zip(&dy[c * lanes..][..lanes]) {
                *dx = dy * factor;
            }
        }
    }

    /// The gradient of [`batch_norm_forward`]'s scale: lane sum over `t` of `dy[c][t] * ((x[c][t] - mean[c]) * inv_std[c])`.
    pub fn batch_norm_scale_grad<S>(
        x: &[f32],
        mean: &[f32],
        inv_std: &[f32],
        dy: &[f32],
        channels: usize,
        lanes: usize,
        sink: &mut S,
    ) {
        debug_assert!(x.len() == channels * lanes && dy.len() == x.len());
        for c in 0..channels {
            let (x, dy) = (&x[c * lanes..][..lanes], &dy[c * lanes..][..lanes]);
            let [mean, inv_std] = [mean[c], inv_std[c]];
            sink.take(c, &[lane_sum(lanes, |t| dy[t] * ((x[t] - mean) * inv_std))]);
        }
    }

    /// Mean and reciprocal standard deviation of every group of every example, into
    /// `statistics[group][mean, inv_std][batch]` of [`NormGeometry::statistics_len`] values.
    ///
    /// A sum over a group has two levels: over the positions of a channel, ascending from `+0.0`, then over the channels,
    /// ascending from `+0.0`. With `n` values in a group `mean = sum(x) * (1 / n)` and
    /// `inv_std = 1 / sqrtf(sum((x - mean) * (x - mean)) * (1 / n) + epsilon)`: the population's variance, in two passes.
    ///
    /// Backward makes them again from `x` rather than keep them.
    pub fn norm_statistics(g: &NormGeometry, x: &[f32], epsilon: f32, statistics: &mut [f32], batch: usize) {
        debug_assert!(x.len() == g.channels * g.positions * batch && statistics.len() == g.statistics_len(batch));
        for group in 0..g.groups {
            for_exact_blocks!(batch, |at| statistics_block::<L>(g, x, epsilon, statistics, batch, group, at));
        }
    }

    /// `y = ((x - mean) * inv_std) * scale[c] + shift[c]` with the [`norm_statistics`] of `x`.
    pub fn norm_forward(
        g: &NormGeometry,
        x: &[f32],
        statistics: &[f32],
        scale: &[f32],
        shift: &[f32],
        y: &mut [f32],
        batch: usize,
    ) {
        debug_assert!(x.len() == g.channels * g.positions * batch && y.len() == x.len());
        for c in 0..g.channels {
            let (scale, shift) = (scale[c], shift[c]);
            let of_group = &statistics[2 * (c / g.size()) * batch..];
            let (mean, inv_std) = (&of_group[..batch], &of_group[batch..2 * batch]);
            for p in 0..g.positions {
                let at = (c * g.positions + p) * batch;
                let (x, y) = (&x[at..at + batch], &mut y[at..at + batch]);
                for b in 0..batch {
                    y[b] = ((x[b] - mean[b]) * inv_std[b]) * scale + shift;
                }
            }
        }
    }

    /// The gradient of [`norm_forward`]'s input through the statistics too. With `h = dy * scale[c]` and
    /// `n = (x - mean) * inv_std`: `dx = (h - (sum(h) + n * sum(h * n)) * (1 / count)) * inv_std`, the sums over a group as in
    /// [`norm_statistics`], `count` its values.
    pub fn norm_input_grad(
        g: &NormGeometry,
        x: &[f32],
        statistics: &[f32],
        scale: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        batch: usize,
    ) {
        debug_assert!(x.len() == g.channels * g.positions * batch && dy.len() == x.len() && dx.len() == x.len());
        for group in 0..g.groups {
            for_exact_blocks!(batch, |at| input_grad_block::<L>(g, x, statistics, scale, dy, dx, batch, group, at));
        }
    }

    /// The gradient of [`norm_forward`]'s scale: `dy * ((x - mean) * inv_std)` as a lane sum in which term `b` of every
    /// position goes to sum `b mod 8`, positions ascending.
    pub fn norm_scale_grad<S>(
        g: &NormGeometry,
        x: &[f32],
        statistics: &[f32],
        dy: &[f32],
        batch: usize,
        sink: &mut S,
    ) {
        debug_assert!(x.len() == g.channels * g.positions * batch && dy.len() == x.len());
        for c in 0..g.channels {
            let of_group = &statistics[2 * (c / g.size()) * batch..];
            let (mean, inv_std) = (&of_group[..batch], &of_group[batch..2 * batch]);
            let mut sums = [0.0; SUM_LANES];
            for p in 0..g.positions {
                let at = (c * g.positions + p) * batch;
                let (x, dy) = (&x[at..at + batch], &dy[at..at + batch]);
                for b in (0..batch).step_by(SUM_LANES) {
                    let width = SUM_LANES.min(batch - b);
                    for l in 0..width {
                        sums[l] += dy[b + l] * ((x[b + l] - mean[b + l]) * inv_std[b + l]);
                    }
                }
            }
            sink.take(c, &[tree(&sums)]);
        }
    }
}
