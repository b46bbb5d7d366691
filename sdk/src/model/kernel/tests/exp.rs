//! Distance from double precision, over the whole range.

use crate::model::kernel::exp::{exp, logistic, normal_cdf, normal_density, tanh};

/// Floats of either sign, every `step`-th of them.
fn floats(step: usize) -> impl Iterator<Item = f32> {
    (0..=u32::MAX).step_by(step).map(f32::from_bits).filter(|x| !x.is_nan())
}

/// Distance from the exact value in units of the last place, which of a subnormal is that of the smallest normal.
fn ulps(got: f32, exact: f64) -> f64 {
    let rounded = (exact as f32).abs().max(f32::MIN_POSITIVE);
    (f64::from(got) - exact).abs() / f64::from(rounded.next_up() - rounded)
}

fn check_exp(inputs: impl Iterator<Item = f32>) {
    let mut worst = (0.0, 0.0);
    for x in inputs {
        let (got, exact) = (exp(x), libm::exp(f64::from(x)));
        if exact >= f64::from(f32::MAX) {
            // Halfway to 2^128 and beyond.
            assert!(got == f32::INFINITY || ulps(got, exact.min(f64::from(f32::MAX))) <= 1.0, "exp({x}) = {got}");
        } else {
            let distance = ulps(got, exact);
            worst = if distance > worst.0 { (distance, x) } else { worst };
        }
    }
    std::println!("exp: {} ulp at {}", worst.0, worst.1);
    assert!(worst.0 <= 1.0, "exp({}) is {} ulp away", worst.1, worst.0);
}

#[test]
fn exp_within_an_ulp() {
    check_exp(floats(1021));
}

/// Every float from 2^-25, below which the exact value rounds to 1, to 128, from which on it is infinity or zero; of
/// either sign. Seconds where it is optimised, minutes where it is not.
#[test]
#[cfg(not(debug_assertions))]
fn exp_within_an_ulp_of_every_float() {
    let magnitudes = 2f32.powi(-25).to_bits()..=128f32.to_bits();
    check_exp(magnitudes.map(f32::from_bits).flat_map(|x| [x, -x]));
}

#[test]
fn exp_at_the_edges() {
    assert_eq!(exp(0.0), 1.0);
    assert_eq!(exp(-0.0), 1.0);
    assert_eq!(exp(f32::INFINITY), f32::INFINITY);
    assert_eq!(exp(88.73), f32::INFINITY);
    assert!(exp(88.72) < f32::INFINITY);
    assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0);
    assert_eq!(exp(-104.0).to_bits(), 0);
    assert_eq!(exp(-103.0).to_bits(), 1);
    assert!(exp(f32::NAN).is_nan());
    assert!(exp(-f32::NAN).is_nan());
}

#[test]
fn tanh_within_two_ulps() {
    let mut worst = (0.0, 0.0);
    for x in floats(1021) {
        let distance = ulps(tanh(x), libm::tanh(f64::from(x)));
        worst = if distance > worst.0 { (distance, x) } else { worst };
    }
    std::println!("tanh: {} ulp at {}", worst.0, worst.1);
    assert!(worst.0 <= 2.0, "tanh({}) is {} ulp away", worst.1, worst.0);
    assert_eq!(tanh(-0.0).to_bits(), (-0.0f32).to_bits());
    assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
    assert!(tanh(f32::NAN).is_nan());
}

#[test]
fn logistic_within_three_ulps() {
    let mut worst = (0.0, 0.0);
    for x in floats(1021) {
        let (got, exact) = (logistic(x), 1.0 / (1.0 + libm::exp(-f64::from(x))));
        assert!((f64::from(got) - exact).abs() <= 1e-7, "logistic({x}) = {got}");
        if x.abs() < 87.0 {
            let distance = ulps(got, exact);
            worst = if distance > worst.0 { (distance, x) } else { worst };
        }
    }
    std::println!("logistic: {} ulp at {}", worst.0, worst.1);
    assert!(worst.0 <= 3.0, "logistic({}) is {} ulp away", worst.1, worst.0);
    assert_eq!((logistic(f32::INFINITY), logistic(f32::NEG_INFINITY)), (1.0, 0.0));
    assert!(logistic(f32::NAN).is_nan());
}

#[test]
fn normal_distribution() {
    let (mut worst, mut tail) = (0.0f64, 0.0f64);
    for x in floats(1021) {
        let (got, exact) = (f64::from(normal_cdf(x)), 0.5 * libm::erfc(-f64::from(x) / core::f64::consts::SQRT_2));
        worst = worst.max((got - exact).abs());
        if x > -6.0 {
            tail = tail.max((got - exact).abs() / exact);
        }
        let density = libm::exp(-0.5 * f64::from(x) * f64::from(x)) / libm::sqrt(2.0 * core::f64::consts::PI);
        assert!((f64::from(normal_density(x)) - density).abs() <= 2e-7, "density({x})");
    }
    std::println!("normal distribution function: {worst:e}, relative above -6: {tail:e}");
    assert!(worst <= 2e-7 && tail <= 2e-3, "{worst} {tail}");
    assert_eq!((normal_cdf(f32::INFINITY), normal_cdf(f32::NEG_INFINITY)), (1.0, 0.0));
    assert!(normal_cdf(f32::NAN).is_nan());
}
