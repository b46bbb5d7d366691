//! The gradients against finite differences of the definitions in double precision.

use super::*;
use crate::model::kernel;

/// Distance of the two points of a difference.
const STEP: f64 = 1e-4;

fn reals(seed: &mut u64, n: usize) -> Vec<f32> {
    (0..n).map(|_| (random(seed) as u32 as f32 / u32::MAX as f32 - 0.5) * 2.0).collect()
}

/// The change of `loss` with each of `at`, from both sides.
fn differences(at: &[f32], loss: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut at: Vec<f64> = at.iter().copied().map(f64::from).collect();
    (0..at.len())
        .map(|i| {
            let middle = at[i];
            let mut side = |value| {
                at[i] = value;
                loss(&at)
            };
            let difference = (side(middle + STEP) - side(middle - STEP)) / (2.0 * STEP);
            at[i] = middle;
            difference
        })
        .collect()
}

fn close(gradient: &[f32], expected: &[f64]) -> Result<(), TestCaseError> {
    prop_assert_eq!(gradient.len(), expected.len());
    for (&got, &expected) in gradient.iter().zip(expected) {
        prop_assert!((f64::from(got) - expected).abs() < 1e-3 * (1.0 + expected.abs()), "{} for {}", got, expected);
    }
    Ok(())
}

/// `sum of dy * y`, of which the gradients are those of the kernels.
fn weighted(dy: &[f32], y: &[f64]) -> f64 {
    dy.iter().zip(y).map(|(&dy, y)| f64::from(dy) * y).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn of_convolutions((g, _, density, mut seed) in convolution(), batch in 1usize..3) {
        let inputs = g.in_channels * g.in_h * g.in_w * batch;
        let outputs = g.out_channels * g.out_h().unwrap() * g.out_w().unwrap() * batch;
        prop_assume!(inputs < 300 && outputs < 600);
        let mut s = Sparse::new(&mut seed, g.out_channels, g.taps(), density);
        s.w = reals(&mut seed, s.w.len());
        let (x, dy) = (reals(&mut seed, inputs), reals(&mut seed, outputs));
        let loss = |w: &[f64], x: &[f64]| {
            let mut y = vec![0.0; outputs];
            oracle::terms(&s, &g, |k, to, from, _| {
                for b in 0..batch {
                    y[to * batch + b] += w[k] * x[from * batch + b];
                }
            });
            weighted(&dy, &y)
        };
        let exact = |v: &[f32]| v.iter().copied().map(f64::from).collect::<Vec<_>>();
        let (exact_w, exact_x) = (exact(&s.w), exact(&x));

        let mut dx = vec![0.0; inputs];
        kernel::csr_conv_input_grad(s.pattern(), &g, &s.w, &dy, &mut dx, batch);
        close(&dx, &differences(&x, |x| loss(&exact_w, x)))?;
        let grad = collected(s.w.len(), |sink| kernel::csr_conv_weight_grad(s.pattern(), &g, &dy, &x, batch, sink));
        close(&grad, &differences(&s.w, |w| loss(w, &exact_x)))?;
    }

    #[test]
    fn of_pools(g in pooling(), batch in 1usize..3, padded: bool, mut seed: u64) {
        let inputs = g.channels * g.in_h * g.in_w * batch;
        prop_assume!(inputs < 300);
        let windows = oracle::windows(&g);
        // No two values are so close that a step could change which is the largest.
        let mut x: Vec<f32> = (0..inputs).map(|i| i as f32 / 64.0 - 2.0).collect();
        for i in (1..inputs).rev() {
            x.swap(i, (random(&mut seed) % (i as u64 + 1)) as usize);
        }
        let dy = reals(&mut seed, windows.len() * batch);
        let pooled = |x: &[f64], of: &dyn Fn(&mut dyn Iterator<Item = f64>, usize) -> f64| {
            let mut y = vec![];
            for window in &windows {
                for b in 0..batch {
                    y.push(of(&mut window.iter().map(|pixel| x[pixel * batch + b]), window.len()));
                }
            }
            weighted(&dy, &y)
        };

        let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; inputs]);
        kernel::max_pool_forward(&g, &x, &mut y, batch);
        kernel::max_pool_backward(&g, &x, &y, &dy, &mut dx, batch);
        close(&dx, &differences(&x, |x| pooled(x, &|window, _| window.fold(f64::NEG_INFINITY, f64::max))))?;
        kernel::avg_pool_backward(&g, padded, &dy, &mut dx, batch);
        let area = g.kernel[0] * g.kernel[1];
        let mean = |x: &[f64]| pooled(x, &|window, n| window.sum::<f64>() / (if padded { area } else { n }) as f64);
        close(&dx, &differences(&x, mean))?;
    }
}
