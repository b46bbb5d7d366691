//! Losses: each turns the outputs of a network into their gradient and returns the mean loss.

use super::exp::{exp, logistic};
use super::lanes::{block, block_mut, for_exact_blocks, lane_sum};
use super::wide::widened;

/// A label of [`softmax_cross_entropy`] that is none: padding after a sequence's end.
pub const IGNORE: u32 = u32::MAX;

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn cross_entropy_block<const L: usize>(
    logits: &mut [f32],
    labels: &[u32],
    classes: usize,
    lanes: usize,
    scale: f32,
    loss: &mut f32,
    at: usize,
) {
    let mut max = [f32::NEG_INFINITY; L];
    for c in 0..classes {
        let x = block::<L>(logits, c * lanes + at);
        for l in 0..L {
            max[l] = if (x[l] > max[l]) | x[l].is_nan() { x[l] } else { max[l] };
        }
    }
    let mut own = [0u32; L];
    own.copy_from_slice(&labels[at..at + L]);
    let mut shifted = [f32::NAN; L];
    for l in 0..L {
        let label = usize::try_from(own[l]).unwrap_or(usize::MAX);
        if label < classes {
            shifted[l] = logits[label * lanes + at + l] - max[l];
        }
    }
    let mut sum = [0.0; L];
    for c in 0..classes {
        let x = block_mut::<L>(logits, c * lanes + at);
        for l in 0..L {
            x[l] = exp(x[l] - max[l]);
            sum[l] += x[l];
        }
    }
    let inverse = sum.map(|sum| 1.0 / sum);
    for c in 0..classes {
        let x = block_mut::<L>(logits, c * lanes + at);
        for l in 0..L {
            let target = if c as u32 == own[l] { 1.0 } else { 0.0 };
            let grad = (x[l] * inverse[l] - target) * scale;
            x[l] = if own[l] == IGNORE { 0.0 } else { grad };
        }
    }
    for l in 0..L {
        if own[l] != IGNORE {
            *loss += libm::logf(sum[l]) - shifted[l];
        }
    }
}

widened! {
    /// Softmax and cross-entropy in one: turns `logits[class][lanes]` into their gradient, `(softmax - onehot) / counted`, in
    /// place, and returns the mean loss in nats. The lanes are the batch or, of a sequence, positions times batch; `labels`
    /// holds a class for each.
    ///
    /// A lane whose label is [`IGNORE`] has gradient `+0.0`, adds nothing to the loss and is not counted; with none counted
    /// the loss is 0. For the others: `m` is the largest logit, `e[c] = exp(logit[c] - m)` with this module's own exponential
    /// (within 1 ulp), `s` their sum in ascending class from `+0.0`, the gradient
    /// `(e[c] * (1 / s) - onehot[c]) * (1 / counted)`; the loss `logf(s) - (logit[label] - m)`, `logf` by `libm`, summed in
    /// ascending lane, times `1 / counted`. A NaN among the logits of a lane makes its whole gradient NaN.
    ///
    /// Any other label that is not below `classes` counts as no class: its lane has no one-hot part and the loss is NaN; the
    /// caller checks labels when they come in.
    pub fn softmax_cross_entropy(logits: &mut [f32], labels: &[u32], classes: usize, lanes: usize) -> f32 {
        debug_assert!(logits.len() == classes * lanes && labels.len() == lanes);
        let (logits, labels) = (&mut logits[..classes * lanes], &labels[..lanes]);
        let counted = labels.iter().filter(|label| **label != IGNORE).count();
        if classes == 0 || counted == 0 {
            logits.fill(0.0);
            return 0.0;
        }
        let scale = 1.0 / counted as f32;
        let mut loss = 0.0;
        for_exact_blocks!(lanes, |at| cross_entropy_block::<L>(logits, labels, classes, lanes, scale, &mut loss, at));
        loss * scale
    }

    /// Binary cross-entropy of independent outputs: turns `logits[feature][batch]` into their gradient in place and returns
    /// the mean loss in nats over all features and examples. Targets are probabilities, 0 or 1 mostly.
    ///
    /// For each of the `n` logits `x` with target `t`: `e = exp(-|x|)` with this module's own exponential, the loss
    /// `(max(x, 0) - x * t) + log1pf(e)`, `log1pf` by `libm`, as a lane sum times `1 / n`; the gradient
    /// `(sigmoid(x) - t) * (1 / n)`. Without logits the loss is 0.
    pub fn binary_cross_entropy(logits: &mut [f32], targets: &[f32]) -> f32 {
        debug_assert!(logits.len() == targets.len());
        let n = logits.len();
        if n == 0 {
            return 0.0;
        }
        let (targets, scale) = (&targets[..n], 1.0 / n as f32);
        let loss = lane_sum(n, |t| {
            let x = logits[t];
            let above = if x <= 0.0 { 0.0 } else { x };
            (above - x * targets[t]) + libm::log1pf(exp(-x.abs()))
        });
        for (x, &target) in logits.iter_mut().zip(targets) {
            *x = (logistic(*x) - target) * scale;
        }
        loss * scale
    }

    /// Mean squared error: turns `y[feature][batch]` into its gradient in place and returns the mean over all features and
    /// examples.
    ///
    /// For each of the `n` outputs with target `t`: `d = y - t`, the loss `d * d` as a lane sum times `1 / n`, the gradient
    /// `d * (2 / n)`. Without outputs the loss is 0.
    pub fn mean_squared_error(y: &mut [f32], targets: &[f32]) -> f32 {
        debug_assert!(y.len() == targets.len());
        let n = y.len();
        if n == 0 {
            return 0.0;
        }
        let targets = &targets[..n];
        for (y, &target) in y.iter_mut().zip(targets) {
            *y -= target;
        }
        let loss = lane_sum(n, |t| y[t] * y[t]);
        let scale = 2.0 / n as f32;
        for y in y.iter_mut() {
            *y *= scale;
        }
        loss * (1.0 / n as f32)
    }
}
