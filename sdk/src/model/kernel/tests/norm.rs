//! Normalisation against its formula in double precision and against finite differences.

use super::*;
use crate::model::kernel::*;

const EPSILON: f32 = 1e-5;

fn exact(g: &NormGeometry, x: &[f64], scale: &[f64], shift: &[f64], batch: usize) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    let size = g.channels / g.groups;
    for group in 0..g.groups {
        for b in 0..batch {
            let all: Vec<usize> = (group * size..(group + 1) * size)
                .flat_map(|c| (0..g.positions).map(move |p| (c * g.positions + p) * batch + b))
                .collect();
            let n = all.len() as f64;
            let mean = all.iter().map(|at| x[*at]).sum::<f64>() / n;
            let variance = all.iter().map(|at| (x[*at] - mean) * (x[*at] - mean)).sum::<f64>() / n;
            for at in all {
                let c = at / batch / g.positions;
                y[at] = (x[at] - mean) / libm::sqrt(variance + f64::from(EPSILON)) * scale[c] + shift[c];
            }
        }
    }
    y
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn statistics_of_each_example(
        (groups, size, positions) in (1usize..4, 1usize..6, 1usize..8),
        batch in 1usize..22,
        mut seed: u64,
    ) {
        let g = NormGeometry { channels: groups * size, groups, positions };
        // With few values a group's variance may vanish, where differences say nothing.
        prop_assume!(size * positions > 3);
        let x = smooth(&mut seed, g.channels * positions * batch);
        let (scale, shift) = (smooth(&mut seed, g.channels), smooth(&mut seed, g.channels));
        let statistics = both(|| {
            let mut statistics = vec![f32::NAN; g.statistics_len(batch)];
            norm_statistics(&g, &x, EPSILON, &mut statistics, batch);
            statistics
        });
        let y = both(|| {
            let mut y = vec![f32::NAN; x.len()];
            norm_forward(&g, &x, &statistics, &scale, &shift, &mut y, batch);
            y
        });
        close(&y, &exact(&g, &doubles(&x), &doubles(&scale), &doubles(&shift), batch), 1e-5);

        let dy = smooth(&mut seed, x.len());
        let dx = both(|| {
            let mut dx = vec![f32::NAN; x.len()];
            norm_input_grad(&g, &x, &statistics, &scale, &dy, &mut dx, batch);
            dx
        });
        let want = differences(&x, |x| weighted(&exact(&g, x, &doubles(&scale), &doubles(&shift), batch), &dy));
        close(&dx, &want, 2e-4);
        let grad = both(|| collected(g.channels, |sink| norm_scale_grad(&g, &x, &statistics, &dy, batch, sink)));
        let of = |scale: &[f64], shift: &[f64]| weighted(&exact(&g, &doubles(&x), scale, shift, batch), &dy);
        close(&grad, &differences(&scale, |scale| of(scale, &doubles(&shift))), 1e-5);
        let grad = collected(g.channels, |sink| bias_grad(&dy, g.channels, positions * batch, sink));
        close(&grad, &differences(&shift, |shift| of(&doubles(&scale), shift)), 1e-5);
    }

    #[test]
    fn frozen_statistics(channels in 1usize..6, lanes in 1usize..40, mut seed: u64) {
        let x = smooth(&mut seed, channels * lanes);
        let [mean, scale, shift] = [(); 3].map(|()| smooth(&mut seed, channels));
        let inv_std: Vec<f32> = smooth(&mut seed, channels).iter().map(|v| v.abs() + 0.5).collect();
        let exact = |x: &[f64], scale: &[f64], shift: &[f64]| -> Vec<f64> {
            let one = |(t, x): (usize, &f64)| {
                let c = t / lanes;
                (x - f64::from(mean[c])) * f64::from(inv_std[c]) * scale[c] + shift[c]
            };
            x.iter().enumerate().map(one).collect()
        };
        let y = both(|| {
            let mut y = vec![f32::NAN; x.len()];
            batch_norm_forward(&x, &mean, &inv_std, &scale, &shift, &mut y, channels, lanes);
            y
        });
        close(&y, &exact(&doubles(&x), &doubles(&scale), &doubles(&shift)), 1e-6);
        let dy = smooth(&mut seed, x.len());
        let dx = both(|| {
            let mut dx = vec![f32::NAN; x.len()];
            batch_norm_input_grad(&inv_std, &scale, &dy, &mut dx, channels, lanes);
            dx
        });
        let (dx64, s64, h64) = (doubles(&x), doubles(&scale), doubles(&shift));
        close(&dx, &differences(&x, |x| weighted(&exact(x, &s64, &h64), &dy)), 1e-6);
        let grad = both(|| {
            collected(channels, |sink| batch_norm_scale_grad(&x, &mean, &inv_std, &dy, channels, lanes, sink))
        });
        close(&grad, &differences(&scale, |scale| weighted(&exact(&dx64, scale, &h64), &dy)), 1e-5);
        // The sum of the scale's gradient, term by term.
        for c in 0..channels {
            let mut sums = [0.0f32; 8];
            for t in 0..lanes {
                sums[t % 8] += dy[c * lanes + t] * ((x[c * lanes + t] - mean[c]) * inv_std[c]);
            }
            let [a, b, c1, d, e, f, h, i] = sums;
            let want = ((a + e) + (c1 + h)) + ((b + f) + (d + i));
            prop_assert_eq!(bits(&grad[c..=c]), bits(&[want]));
        }
    }
}

/// Layer norm is the case in which all lanes are examples.
#[test]
fn layer_norm() {
    let (channels, lanes) = (24, 36);
    let g = NormGeometry::layer(channels);
    let x = smooth(&mut 5, channels * lanes);
    let mut statistics = vec![0.0; g.statistics_len(lanes)];
    norm_statistics(&g, &x, EPSILON, &mut statistics, lanes);
    for t in 0..lanes {
        let column: Vec<f64> = (0..channels).map(|c| f64::from(x[c * lanes + t])).collect();
        let mean = column.iter().sum::<f64>() / channels as f64;
        let variance = column.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / channels as f64;
        assert!((f64::from(statistics[t]) - mean).abs() < 1e-6);
        assert!((f64::from(statistics[lanes + t]) - 1.0 / libm::sqrt(variance + f64::from(EPSILON))).abs() < 1e-6);
    }
}
