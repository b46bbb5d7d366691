//! Softmax and cross-entropy in one.

/// Turns `logits[class][batch]` into their gradient, `(softmax - onehot) / batch`, in place, and returns the mean loss in
/// nats.
///
/// Per example: `m` is the largest logit, `e[c] = expf(logit[c] - m)` by `libm`, `s` their sum in ascending class from
/// `+0.0`, the gradient `(e[c] / s - onehot[c]) * (1 / batch)`; the loss `logf(s) - (logit[label] - m)`, summed in ascending
/// batch, times `1 / batch`. A NaN among the logits of an example makes its whole gradient NaN.
///
/// `labels` holds a class per example. A label that is not below `classes` counts as no class: its example has no one-hot
/// part and the loss is NaN; the caller checks labels when they come in.
pub fn softmax_cross_entropy<T: Copy + Into<u32>>(
    logits: &mut [f32],
    labels: &[T],
    classes: usize,
    batch: usize,
) -> f32 {
    debug_assert!(logits.len() == classes * batch && labels.len() == batch);
    if classes == 0 || batch == 0 {
        return 0.0;
    }
    let logits = &mut logits[..classes * batch];
    let scale = 1.0 / batch as f32;
    let mut loss = 0.0;
    for (b, &label) in labels.iter().enumerate().take(batch) {
        let label = usize::try_from(label.into()).unwrap_or(usize::MAX);
        let column = || (b..classes * batch).step_by(batch);
        let mut max = logits[b];
        for at in column() {
            max = if logits[at] > max || logits[at].is_nan() { logits[at] } else { max };
        }
        let shifted = if label < classes { logits[label * batch + b] - max } else { f32::NAN };
        let mut sum = 0.0;
        for at in column() {
            logits[at] = libm::expf(logits[at] - max);
            sum += logits[at];
        }
        for (class, at) in column().enumerate() {
            let target = if class == label { 1.0 } else { 0.0 };
            logits[at] = (logits[at] / sum - target) * scale;
        }
        loss += libm::logf(sum) - shifted;
    }
    loss * scale
}
