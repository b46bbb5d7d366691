//! Sums, products, moves and dropout.

use super::*;
use crate::model::kernel::*;

/// A kernel's output, by both variants.
fn output(n: usize, run: impl Fn(&mut [f32])) -> Vec<f32> {
    both(|| {
        let mut y = vec![f32::NAN; n];
        run(&mut y);
        y
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn sums_and_products((c, p, b) in (1usize..5, 1usize..9, 1usize..20), mut seed: u64) {
        let n = c * p * b;
        let (x, dy, full, few) =
            (values(&mut seed, n), values(&mut seed, n), values(&mut seed, n), values(&mut seed, c * b));
        let each = |f: &dyn Fn(usize) -> f32| (0..n).map(f).collect::<Vec<f32>>();
        let few_at = |t: usize| t / b / p * b + t % b;
        for second in [&full, &few] {
            let at = |t: usize| if second.len() == n { t } else { few_at(t) };
            let y = output(n, |y| {
                y.copy_from_slice(&x);
                add_forward(y, second, c, p, b);
            });
            prop_assert_eq!(bits(&y), bits(&each(&|t| x[t] + second[at(t)])));
            let y = output(n, |y| mul_forward(&x, second, y, c, p, b));
            prop_assert_eq!(bits(&y), bits(&each(&|t| x[t] * second[at(t)])));
            let y = output(n, |y| {
                y.copy_from_slice(&dy);
                mul_first_grad(second, y, c, p, b);
            });
            prop_assert_eq!(bits(&y), bits(&each(&|t| dy[t] * second[at(t)])));
            let mut want = vec![if second.len() == n { -0.0 } else { 0.0 }; second.len()];
            (0..n).for_each(|t| want[at(t)] += dy[t] * x[t]);
            let y = output(second.len(), |y| mul_second_grad(&x, &dy, y, c, p, b));
            prop_assert_eq!(bits(&y), bits(&want));
        }
        for overwrite in [false, true] {
            let mut want = if overwrite { vec![0.0; c * b] } else { few.clone() };
            (0..n).for_each(|t| want[few_at(t)] += dy[t]);
            let y = output(c * b, |y| {
                y.copy_from_slice(&few);
                sum_positions(&dy, y, c, p, b, overwrite);
            });
            prop_assert_eq!(bits(&y), bits(&want));
        }
    }

    #[test]
    fn constants((features, b) in (1usize..150, 1usize..20), mut seed: u64) {
        let n = features * b;
        let (x, dy, w) = (values(&mut seed, n), values(&mut seed, n), values(&mut seed, features));
        let each = |f: &dyn Fn(usize) -> f32| (0..n).map(f).collect::<Vec<f32>>();
        let on = |from: &[f32], f: &dyn Fn(&mut [f32])| {
            output(n, |y| {
                y.copy_from_slice(from);
                f(y);
            })
        };
        prop_assert_eq!(bits(&on(&x, &|y| affine_forward(y, 1.5, -0.25))), bits(&each(&|t| 1.5 * x[t] + -0.25)));
        prop_assert_eq!(bits(&on(&dy, &|y| affine_backward(y, 1.5))), bits(&each(&|t| 1.5 * dy[t])));
        prop_assert_eq!(bits(&on(&x, &|y| offset_forward(&w, y, b))), bits(&each(&|t| x[t] + w[t / b])));
        let grad = both(|| collected(features, |sink| offset_grad(&dy, b, sink)));
        prop_assert_eq!(bits(&grad), bits(&collected(features, |sink| bias_grad(&dy, features, b, sink))));
    }

    #[test]
    fn product_gradients((c, p, b) in (1usize..4, 1usize..5, 1usize..6), mut seed: u64) {
        let n = c * p * b;
        let (x, dy) = (smooth(&mut seed, n), smooth(&mut seed, n));
        for len in [n, c * b] {
            let second = smooth(&mut seed, len);
            let at = |t: usize| if len == n { t } else { t / b / p * b + t % b };
            let product = |x: &[f64], s: &[f64]| weighted(&(0..n).map(|t| x[t] * s[at(t)]).collect::<Vec<_>>(), &dy);
            let dx = output(n, |dx| {
                dx.copy_from_slice(&dy);
                mul_first_grad(&second, dx, c, p, b);
            });
            close(&dx, &differences(&x, |x| product(x, &doubles(&second))), 1e-6);
            let dx = output(len, |dx| mul_second_grad(&x, &dy, dx, c, p, b));
            close(&dx, &differences(&second, |s| product(&doubles(&x), s)), 1e-6);
        }
    }

    #[test]
    fn moves(shape in proptest::array::uniform3(1usize..6), batch in 1usize..5, which in 0usize..6) {
        let axes = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][which];
        let n = shape.iter().product::<usize>() * batch;
        let x: Vec<f32> = (0..n).map(|t| t as f32).collect();
        let mut y = vec![f32::NAN; n];
        transpose_forward(shape, axes, &x, &mut y, batch);
        let [_, h, w] = axes.map(|axis| shape[axis]);
        for (t, y) in y.iter().enumerate() {
            let at = [t / batch / w / h, t / batch / w % h, t / batch % w];
            let mut from = [0; 3];
            (0..3).for_each(|i| from[axes[i]] = at[i]);
            let want = ((from[0] * shape[1] + from[1]) * shape[2] + from[2]) * batch + t % batch;
            prop_assert_eq!(*y, want as f32);
        }
        let mut back = vec![f32::NAN; n];
        transpose_backward(shape, axes, &y, &mut back, batch);
        prop_assert_eq!(&back, &x);

        let [channels, positions] = [shape[0], shape[1] * shape[2]];
        let mut y = vec![f32::NAN; channels * batch];
        last_forward(&x, &mut y, channels, positions, batch);
        last_backward(&y, &mut back, channels, positions, batch);
        for (t, back) in back.iter().enumerate() {
            let last = t / batch % positions == positions - 1;
            prop_assert_eq!(*back, if last { x[t] } else { 0.0 });
        }
    }
}

#[test]
fn dropout_keeps_its_share() {
    let n = 100_000;
    for rate in [0.0f32, 0.1, 0.5, 0.9] {
        let y = output(n, |y| {
            y.fill(2.0);
            dropout(y, rate, 7, 3, 11);
        });
        let kept = y.iter().filter(|y| **y != 0.0).count() as f64;
        let share = 1.0 - f64::from(rate);
        // Five standard deviations of a binomial: a false alarm once in two million seeds, and the seed is fixed.
        assert!(
            (kept - share * n as f64).abs() <= 5.0 * libm::sqrt(n as f64 * share * f64::from(rate)),
            "{rate}: {kept}"
        );
        assert!(y.iter().all(|y| *y == 0.0 || *y == 2.0 * (1.0 / (1.0 - rate))));
    }
}

#[test]
fn dropout_masks_are_unrelated() {
    let mask = |seed, node, step| {
        let mut y = vec![1.0; 40_000];
        dropout(&mut y, 0.5, seed, node, step);
        y.iter().map(|y| *y != 0.0).collect::<Vec<_>>()
    };
    let first = mask(1, 0, 0);
    assert_eq!(first, mask(1, 0, 0));
    for other in [mask(2, 0, 0), mask(1, 1, 0), mask(1, 0, 1), mask(1, 1, 1)] {
        for shift in [0, 1, 4, 320] {
            let same = first.iter().zip(&other[shift..]).filter(|(a, b)| a == b).count() as f64;
            let n = (40_000 - shift) as f64;
            assert!((same - n / 2.0).abs() <= 5.0 * libm::sqrt(n / 4.0), "{same} of {n}");
        }
    }
    // Nor is an element to its neighbours.
    for shift in [1, 2, 4, 10, 128] {
        let same = first.iter().zip(&first[shift..]).filter(|(a, b)| a == b).count() as f64;
        let n = (40_000 - shift) as f64;
        assert!((same - n / 2.0).abs() <= 5.0 * libm::sqrt(n / 4.0), "{shift}: {same} of {n}");
    }
}

/// The same bits on every target; the mask was computed apart from this code.
#[test]
fn dropout_mask_is_fixed() {
    let mut y = [1.0; 64];
    dropout(&mut y, 0.25, 0x0123_4567_89AB_CDEF, 5, 1000);
    let mask = y.iter().rev().fold(0u64, |mask, y| mask << 1 | u64::from(*y != 0.0));
    assert_eq!(mask, 0xFDE7_F95F_F7BB_FFD7);
}
