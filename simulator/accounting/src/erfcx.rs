//! The scaled complementary error function, where `erfc` itself would underflow or cancel.

use core::f64::consts::PI;

/// From here on the continued fraction converges to f64 in the depths below (checked against 40 digits).
const FRACTION_FROM: f64 = 2.0;

/// `exp(x^2) erfc(x)`, for x >= 0 to some 1e-15 relative; also for x < 0 until it overflows at x = -26.6.
pub(crate) fn erfcx(x: f64) -> f64 {
    if x < FRACTION_FROM { libm::exp(x * x) * libm::erfc(x) } else { 1.0 / (PI.sqrt() * (x + fraction(x))) }
}

/// `1 - sqrt(pi) x erfcx(x)`: minus the derivative of `erfcx`, over 2/sqrt(pi). Positive and without cancellation.
pub(crate) fn erfcx_slope(x: f64) -> f64 {
    if x < FRACTION_FROM {
        1.0 - PI.sqrt() * x * erfcx(x)
    } else {
        let tail = fraction(x);
        tail / (x + tail)
    }
}

/// K in `sqrt(pi) erfcx(x) = 1 / (x + K)`: K = (1/2) / (x + (2/2) / (x + (3/2) / (x + ...))), Laplace's fraction.
fn fraction(x: f64) -> f64 {
    let depth = if x < 3.0 { 64 } else { 32 };
    let mut tail = 0.0;
    for k in (1..=depth).rev() {
        tail = 0.5 * f64::from(k) / (x + tail);
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    /// mpmath 1.3 at 40 digits: exp(x*x)*erfc(x), and 1 - sqrt(pi)*x*exp(x*x)*erfc(x).
    const VALUES: [(f64, f64, f64); 8] = [
        (-0.2, 1.2726020284831958, 1.4511256732110422),
        (0.0, 1.0, 1.0),
        (0.3, 0.7345993345676551, 0.609386974171879),
        (1.9, 0.26650937366167265, 0.1024864252668073),
        (2.0, 0.25539567631050575, 0.09464590003765085),
        (2.9, 0.18460182595559083, 0.05112516983238732),
        (3.0, 0.17900115118138996, 0.04818616081607477),
        (40.0, 0.014100335983377814, 0.0003122074880151205),
    ];

    #[test]
    fn agrees_with_forty_digits() {
        for (x, value, slope) in VALUES {
            assert!((erfcx(x) / value - 1.0).abs() < 2e-15, "erfcx({x}) = {} not {value}", erfcx(x));
            assert!((erfcx_slope(x) / slope - 1.0).abs() < 1e-14, "slope({x}) = {} not {slope}", erfcx_slope(x));
        }
    }
}
