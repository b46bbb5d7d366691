//! ReLU, loss, shapes.

use super::*;
use crate::model::kernel::{relu_backward, relu_forward, softmax_cross_entropy};

#[test]
fn relu() {
    let mut y = [-1.0, -0.0, 0.0, 2.5, f32::NAN, f32::NEG_INFINITY, f32::INFINITY];
    relu_forward(&mut y);
    assert_eq!(bits(&y), bits(&[0.0, 0.0, 0.0, 2.5, f32::NAN, 0.0, f32::INFINITY]));
    let mut dy = [1.0, 2.0, 3.0, -4.0, 5.0, 6.0, -0.0];
    relu_backward(&y, &mut dy);
    assert_eq!(bits(&dy), bits(&[0.0, 0.0, 0.0, -4.0, 0.0, 0.0, -0.0]));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Against the definition in the bits, and against double precision within rounding.
    #[test]
    fn loss(classes in 1usize..12, batch in 1usize..12, mut seed: u64) {
        let logits: Vec<f32> = (0..classes * batch).map(|_| f32::from(random(&mut seed) as u16) / 2000.0 - 16.0).collect();
        let labels: Vec<u16> = (0..batch).map(|_| (random(&mut seed) % classes as u64) as u16).collect();
        let mut grad = logits.clone();
        let loss = softmax_cross_entropy(&mut grad, &labels, classes, batch);

        let mut expected_loss = 0.0f32;
        let mut exact_loss = 0.0f64;
        for b in 0..batch {
            let z: Vec<f32> = (0..classes).map(|c| logits[c * batch + b]).collect();
            let label = usize::from(labels[b]);
            let max = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let e: Vec<f32> = z.iter().map(|z| libm::expf(z - max)).collect();
            let sum = e.iter().fold(0.0, |sum, e| sum + e);
            let exact_sum: f64 = z.iter().map(|&z| f64::from(z).exp()).sum();
            for c in 0..classes {
                let target = if c == label { 1.0 } else { 0.0 };
                let expected = (e[c] / sum - target) * (1.0 / batch as f32);
                prop_assert_eq!(grad[c * batch + b].to_bits(), expected.to_bits());
                let exact = (f64::from(z[c]).exp() / exact_sum - f64::from(target)) / batch as f64;
                prop_assert!((f64::from(expected) - exact).abs() < 1e-6);
            }
            expected_loss += libm::logf(sum) - (z[label] - max);
            exact_loss += exact_sum.ln() - f64::from(z[label]);
        }
        prop_assert_eq!(loss.to_bits(), (expected_loss * (1.0 / batch as f32)).to_bits());
        prop_assert!((f64::from(loss) - exact_loss / batch as f64).abs() < 1e-4);
    }
}

#[test]
fn loss_of_odd_input() {
    // A NaN spoils its own example only.
    let mut logits = [0.5, 1.0, f32::NAN, 2.0];
    assert!(softmax_cross_entropy(&mut logits, &[0u8, 1], 2, 2).is_nan());
    assert!(logits[0].is_nan() && logits[2].is_nan() && logits[1].is_finite() && logits[3].is_finite());
    // Logits that would overflow without the maximum.
    let mut logits = [1000.0, -1000.0];
    assert_eq!(softmax_cross_entropy(&mut logits, &[1u32], 2, 1), 2000.0);
    assert_eq!(logits, [1.0, -1.0]);
    // A label that is no class.
    let mut logits = [0.0, 0.0];
    assert!(softmax_cross_entropy(&mut logits, &[2u16], 2, 1).is_nan());
    assert_eq!(logits, [0.5, 0.5]);
}

#[test]
fn shapes() {
    let g = ConvGeometry {
        in_channels: 1,
        in_h: 28,
        in_w: 20,
        out_channels: 8,
        kernel_h: 5,
        kernel_w: 3,
        stride: 2,
        padding: 1,
    };
    assert_eq!((g.out_h(), g.out_w(), g.taps()), (Some(13), Some(10), 15));
    assert_eq!(ConvGeometry { stride: 0, ..g }.out_h(), None);
    assert_eq!(ConvGeometry { kernel_h: 0, ..g }.out_h(), None);
    assert_eq!(ConvGeometry { kernel_h: 31, ..g }.out_h(), None);
    assert_eq!(ConvGeometry { kernel_h: 30, ..g }.out_h(), Some(1));
    assert_eq!(ConvGeometry { padding: usize::MAX, ..g }.out_h(), None);
    let p = PoolGeometry { channels: 1, in_h: 5, in_w: 1, window: 2, stride: 2 };
    assert_eq!((p.out_h(), p.out_w()), (Some(2), None));
}
