//! Activations against their formulae in double precision, and gradients against finite differences of these.

use super::*;
use crate::model::kernel::*;

/// Wide enough to reach every branch, away from the kinks.
fn inputs(kinks: &[f32]) -> Vec<f32> {
    let mut seed = 3;
    let spread = smooth(&mut seed, 1003).into_iter().zip((0..).map(|i| [1.0, 3.0, 8.0, 0.01][i % 4]));
    let mut x: Vec<f32> = spread.map(|(x, scale)| x * scale).collect();
    x.retain(|x| kinks.iter().all(|k| (x - k).abs() > 1e-3));
    x
}

/// `forward` and `backward` on a copy, the latter given what it needs of `x` and `y`.
fn check(
    kinks: &[f32],
    exact: impl Fn(f64) -> f64,
    forward: impl Fn(&[f32]) -> Vec<f32>,
    backward: impl Fn(&[f32], &[f32], &mut [f32]),
) {
    let x = inputs(kinks);
    let y = both(|| forward(&x));
    let want: Vec<f64> = x.iter().map(|x| exact(f64::from(*x))).collect();
    close(&y, &want, 2e-7);
    let dy = smooth(&mut 4, x.len());
    let dx = both(|| {
        let mut dx = dy.clone();
        backward(&x, &y, &mut dx);
        dx
    });
    let slope = |x: f64| (exact(x + 1e-5) - exact(x - 1e-5)) / 2e-5;
    let want: Vec<f64> = x.iter().zip(&dy).map(|(x, dy)| f64::from(*dy) * slope(f64::from(*x))).collect();
    close(&dx, &want, 1e-6);
}

fn in_place(forward: impl Fn(&mut [f32])) -> impl Fn(&[f32]) -> Vec<f32> {
    move |x| {
        let mut y = x.to_vec();
        forward(&mut y);
        y
    }
}

fn beside(forward: impl Fn(&[f32], &mut [f32])) -> impl Fn(&[f32]) -> Vec<f32> {
    move |x| {
        let mut y = vec![f32::NAN; x.len()];
        forward(x, &mut y);
        y
    }
}

#[test]
fn rectifiers() {
    let forward = in_place(|x| leaky_relu_forward(x, 0.1));
    let exact = |x: f64| if x > 0.0 { x } else { f64::from(0.1f32) * x };
    check(&[0.0], exact, forward, |_, y, dy| leaky_relu_backward(y, dy, 0.1));
    let forward = in_place(|x| clip_forward(x, -1.5, 2.0));
    check(&[-1.5, 2.0], |x: f64| x.clamp(-1.5, 2.0), forward, |_, y, dy| clip_backward(y, dy, -1.5, 2.0));
    let exact = |x: f64| x * (x / 6.0 + 0.5).clamp(0.0, 1.0);
    check(&[-3.0, 3.0], exact, beside(hard_swish_forward), |x, _, dy| hard_swish_backward(x, dy));
}

#[test]
fn smooth_functions() {
    let exact = |x: f64| 1.0 / (1.0 + libm::exp(-x));
    check(&[], exact, in_place(sigmoid_forward), |_, y, dy| sigmoid_backward(y, dy));
    check(&[], libm::tanh, in_place(tanh_forward), |_, y, dy| tanh_backward(y, dy));
    let exact = |x: f64| 0.5 * x * (1.0 + libm::erf(x / core::f64::consts::SQRT_2));
    check(&[], exact, beside(gelu_forward), |x, _, dy| gelu_backward(x, dy));
}

#[test]
fn at_the_kinks() {
    let mut dy = [1.0; 3];
    leaky_relu_backward(&[-1.0, 0.0, 1.0], &mut dy, 0.25);
    assert_eq!(dy, [0.25, 0.25, 1.0]);
    let mut dy = [1.0; 4];
    clip_backward(&[0.0, 0.1, 5.9, 6.0], &mut dy, 0.0, 6.0);
    assert_eq!(dy, [0.0, 1.0, 1.0, 0.0]);
    let mut dy = [1.0; 3];
    hard_swish_backward(&[-3.0, 0.0, 3.0], &mut dy);
    assert_eq!(dy, [0.0, 0.5, 1.0]);
}

#[test]
fn odd_input() {
    let mut y = [f32::NAN, -0.0, f32::INFINITY, f32::NEG_INFINITY];
    leaky_relu_forward(&mut y, 0.5);
    assert_eq!(bits(&y), bits(&[f32::NAN, -0.0, f32::INFINITY, f32::NEG_INFINITY]));
    clip_forward(&mut y, 0.0, 6.0);
    assert_eq!(bits(&y), bits(&[f32::NAN, -0.0, 6.0, 0.0]));
    let mut y = [0.0; 3];
    gelu_forward(&[f32::NAN, 100.0, -100.0], &mut y);
    assert_eq!(bits(&y), bits(&[f32::NAN, 100.0, -0.0]));
}
