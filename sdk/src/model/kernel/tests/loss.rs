//! Losses against the definition, bit by bit, and against double precision.

use super::*;
use crate::model::kernel::exp::{exp, logistic};
use crate::model::kernel::{IGNORE, binary_cross_entropy, mean_squared_error, softmax_cross_entropy};

/// Gradient, then the loss, by both variants.
fn run(x: &[f32], loss: impl Fn(&mut [f32]) -> f32) -> (Vec<f32>, f32) {
    let mut all = both(|| {
        let mut grad = x.to_vec();
        let loss = loss(&mut grad);
        grad.push(loss);
        grad
    });
    let loss = all.pop().unwrap();
    (all, loss)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn cross_entropy(classes in 1usize..12, lanes in 1usize..40, ignored in 0u64..4, mut seed: u64) {
        let logits: Vec<f32> = (0..classes * lanes).map(|_| f32::from(random(&mut seed) as u16) / 2000.0 - 16.0).collect();
        let labels: Vec<u32> = (0..lanes)
            .map(|_| if random(&mut seed) >> 62 < ignored { IGNORE } else { (random(&mut seed) % classes as u64) as u32 })
            .collect();
        let (grad, loss) = run(&logits, |x| softmax_cross_entropy(x, &labels, classes, lanes));

        let counted = labels.iter().filter(|l| **l != IGNORE).count();
        let scale = if counted == 0 { 0.0 } else { 1.0 / counted as f32 };
        let mut expected_loss = 0.0f32;
        let mut exact_loss = 0.0f64;
        for t in 0..lanes {
            if labels[t] == IGNORE {
                prop_assert!((0..classes).all(|c| grad[c * lanes + t].to_bits() == 0));
                continue;
            }
            let z: Vec<f32> = (0..classes).map(|c| logits[c * lanes + t]).collect();
            let label = labels[t] as usize;
            let max = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let e: Vec<f32> = z.iter().map(|z| exp(z - max)).collect();
            let sum = e.iter().fold(0.0, |sum, e| sum + e);
            let exact_sum: f64 = z.iter().map(|&z| libm::exp(f64::from(z))).sum();
            for c in 0..classes {
                let target = if c == label { 1.0 } else { 0.0 };
                let expected = (e[c] * (1.0 / sum) - target) * scale;
                prop_assert_eq!(grad[c * lanes + t].to_bits(), expected.to_bits());
                let exact = (libm::exp(f64::from(z[c])) / exact_sum - f64::from(target)) / counted as f64;
                prop_assert!((f64::from(expected) - exact).abs() < 1e-6);
            }
            expected_loss += libm::logf(sum) - (z[label] - max);
            exact_loss += libm::log(exact_sum) - f64::from(z[label]);
        }
        prop_assert_eq!(loss.to_bits(), (expected_loss * scale).to_bits());
        prop_assert!((f64::from(loss) - exact_loss / (counted as f64).max(1.0)).abs() < 1e-4);
    }

    #[test]
    fn independent_outputs(n in 1usize..70, mut seed: u64) {
        let x: Vec<f32> = smooth(&mut seed, n).iter().map(|x| x * 5.0).collect();
        let targets: Vec<f32> = (0..n).map(|_| [0.0, 1.0, 0.25][random(&mut seed) as usize % 3]).collect();
        let (grad, loss) = run(&x, |x| binary_cross_entropy(x, &targets));
        let exact = |x: &[f64]| {
            let terms = x.iter().zip(&targets).map(|(x, t)| {
                let (p, t) = (1.0 / (1.0 + libm::exp(-x)), f64::from(*t));
                -t * libm::log(p) - (1.0 - t) * libm::log(1.0 - p)
            });
            terms.sum::<f64>() / n as f64
        };
        close(&[loss], &[exact(&doubles(&x))], 1e-6);
        close(&grad, &differences(&x, exact), 1e-6);
        for t in 0..n {
            prop_assert_eq!(grad[t].to_bits(), ((logistic(x[t]) - targets[t]) * (1.0 / n as f32)).to_bits());
        }
    }

    #[test]
    fn squared_error(n in 1usize..70, mut seed: u64) {
        let (y, targets) = (smooth(&mut seed, n), smooth(&mut seed, n));
        let (grad, loss) = run(&y, |y| mean_squared_error(y, &targets));
        let exact = |y: &[f64]| {
            let terms = y.iter().zip(&targets).map(|(y, t)| (y - f64::from(*t)) * (y - f64::from(*t)));
            terms.sum::<f64>() / n as f64
        };
        close(&[loss], &[exact(&doubles(&y))], 1e-6);
        close(&grad, &differences(&y, exact), 1e-6);
    }
}

#[test]
fn odd_input() {
    // A NaN spoils its own example only.
    let mut logits = [0.5, 1.0, f32::NAN, 2.0];
    assert!(softmax_cross_entropy(&mut logits, &[0, 1], 2, 2).is_nan());
    assert!(logits[0].is_nan() && logits[2].is_nan() && logits[1].is_finite() && logits[3].is_finite());
    // Not even that where it is ignored.
    let mut logits = [0.5, 1.0, f32::NAN, 2.0];
    assert!(softmax_cross_entropy(&mut logits, &[IGNORE, 1], 2, 2).is_finite());
    assert_eq!((logits[0], logits[2]), (0.0, 0.0));
    // Logits that would overflow without the maximum.
    let mut logits = [1000.0, -1000.0];
    assert_eq!(softmax_cross_entropy(&mut logits, &[1], 2, 1), 2000.0);
    assert_eq!(logits, [1.0, -1.0]);
    let mut logits = [1000.0, -1000.0];
    assert_eq!(binary_cross_entropy(&mut logits, &[0.0, 1.0]), 1000.0);
    assert_eq!(logits, [0.5, -0.5]);
    // A label that is no class.
    let mut logits = [0.0, 0.0];
    assert!(softmax_cross_entropy(&mut logits, &[2], 2, 1).is_nan());
    assert_eq!(logits, [0.5, 0.5]);
    // Nothing to learn from.
    let mut logits = [1.0, 2.0];
    assert_eq!(softmax_cross_entropy(&mut logits, &[IGNORE], 2, 1), 0.0);
    assert_eq!(logits, [0.0, 0.0]);
    assert_eq!((binary_cross_entropy(&mut [], &[]), mean_squared_error(&mut [], &[])), (0.0, 0.0));
}
