//! The Gaussian mechanism, exactly: Balle & Wang 2018, "Improving the Gaussian Mechanism for Differential Privacy:
//! Analytical Calibration and Optimal Denoising", theorem 8.
//!
//! A user who takes part in k rounds of noise multiplier z faces one Gaussian with mu = s sqrt(k) / z, where s is
//! [`Adjacency::sensitivity`]; the composition of Gaussians is a Gaussian, so nothing is lost by adding rounds up. No
//! sampling is assumed. Then
//!
//! `dp_delta = Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu)`,
//!
//! which cancels badly as written. With a = epsilon/mu - mu/2 and b = a + mu it is
//! `exp(-a^2/2)/2 * (erfcx(a/sqrt 2) - erfcx(b/sqrt 2))`, and that is what is computed.
//!
//! ```
//! use siskin_accounting::{Adjacency, analytic};
//!
//! let mu = analytic::mu(Adjacency::ZeroOut, 4.0, 1)?;
//! assert_eq!(format!("{:.5}", analytic::epsilon(mu, 1e-10)?), "1.49203");
//! assert_eq!(format!("{:.5}", analytic::noise_multiplier(Adjacency::ZeroOut, 1.0, 1e-6, 1)?), "4.22468");
//! # Ok::<(), siskin_accounting::Error>(())
//! ```

use core::f64::consts::{PI, SQRT_2};

use crate::erfcx::{erfcx, erfcx_slope};
use crate::error::{check_dp_delta, check_epsilon, check_noise_multiplier};
use crate::{Adjacency, Error};

/// Widens a result by a few units in the last place, towards less privacy.
const LAST_PLACES: f64 = 1.0 + 8.0 * f64::EPSILON;

/// mu of a user who takes part in at most `participations` rounds: `sensitivity * sqrt(participations) /
/// noise_multiplier`. No participation gives 0, no noise gives infinity.
///
/// # Errors
/// [`Error::NoiseMultiplier`].
pub fn mu(adjacency: Adjacency, noise_multiplier: f64, participations: u64) -> Result<f64, Error> {
    let z = check_noise_multiplier(noise_multiplier)?;
    Ok(if participations == 0 { 0.0 } else { adjacency.sensitivity() * (participations as f64).sqrt() / z })
}

/// The least epsilon at `dp_delta`; infinite for an infinite mu. Cost: some 10 evaluations of [`dp_delta`].
///
/// # Errors
/// [`Error::Mu`] when it is negative or not a number, [`Error::DpDelta`].
pub fn epsilon(mu: f64, dp_delta: f64) -> Result<f64, Error> {
    check_mu(mu)?;
    check_dp_delta(dp_delta)?;
    if mu == f64::INFINITY {
        return Ok(f64::INFINITY);
    }
    let least = -0.5 * mu;
    if mu == 0.0 || delta_at(least, mu) <= dp_delta {
        return Ok(0.0);
    }
    let a = least_a(mu, dp_delta);
    Ok((mu * (a + 0.5 * mu) * LAST_PLACES).max(0.0))
}

/// The least `dp_delta` at `epsilon`, in [0, 1] (0 when it is below the smallest f64).
///
/// # Errors
/// [`Error::Mu`], [`Error::Epsilon`].
pub fn dp_delta(mu: f64, epsilon: f64) -> Result<f64, Error> {
    check_mu(mu)?;
    check_epsilon(epsilon)?;
    Ok(if mu == 0.0 {
        0.0
    } else if mu == f64::INFINITY {
        1.0
    } else {
        delta_at(epsilon / mu - 0.5 * mu, mu).clamp(0.0, 1.0)
    })
}

/// The greatest mu that has (`epsilon`, `dp_delta`).
///
/// # Errors
/// [`Error::Epsilon`], [`Error::DpDelta`].
pub fn mu_for(epsilon: f64, dp_delta: f64) -> Result<f64, Error> {
    check_epsilon(epsilon)?;
    check_dp_delta(dp_delta)?;
    let private = |mu: f64| delta_at(epsilon / mu - 0.5 * mu, mu) <= dp_delta;
    let (mut low, mut high) = (1.0, 1.0);
    while !private(low) {
        high = low;
        low *= 0.5;
    }
    while private(high) {
        low = high;
        high *= 2.0;
    }
    Ok(bisect(high, low, private))
}

/// The least noise multiplier with which a user may take part in `participations` rounds at (`epsilon`, `dp_delta`).
///
/// # Errors
/// [`Error::Epsilon`], [`Error::DpDelta`]; [`Error::MaxParticipations`] for 0, where any noise would do.
pub fn noise_multiplier(adjacency: Adjacency, epsilon: f64, dp_delta: f64, participations: u64) -> Result<f64, Error> {
    if participations == 0 {
        return Err(Error::MaxParticipations { got: 0 });
    }
    let mu = mu_for(epsilon, dp_delta)?;
    Ok(adjacency.sensitivity() * (participations as f64).sqrt() / mu * LAST_PLACES)
}

fn check_mu(got: f64) -> Result<(), Error> {
    if got >= 0.0 { Ok(()) } else { Err(Error::Mu { got }) }
}

/// The a where [`delta_at`] is `dp_delta`, from above; for a finite mu > 0 with dp_delta below that at a = -mu/2.
fn least_a(mu: f64, dp_delta: f64) -> f64 {
    // For a >= 0, dp_delta is below exp(-a^2/2) (a normal tail) and below exp(-a^2/2) mu / sqrt(2 pi) (the slope of erfcx
    // is steepest at 0), so that it is met at this a.
    let below = libm::log(dp_delta).max(libm::log(dp_delta) - libm::log(mu / (2.0 * PI).sqrt()));
    let mut a = (-2.0 * below).max(0.0).sqrt();
    // Newton on log(dp_delta), which is concave in a (it is the convolution of two log-concave functions,
    // exp(-u) over u >= 0 and a normal tail): each step stays on the side where dp_delta is met.
    for _ in 0..64 {
        let delta = delta_at(a, mu);
        let slope = 0.5 * mu * libm::exp(-0.5 * a * a) * erfcx((a + mu) / SQRT_2);
        let next = a - libm::log(dp_delta / delta) * delta / slope;
        // At the root rounding ends the descent; NaN, where delta underflowed, does too.
        if delta > dp_delta || next.is_nan() || next >= a {
            break;
        }
        a = next;
    }
    let mut nudge = 2.0 * f64::EPSILON * a.abs().max(0.5 * mu);
    while delta_at(a, mu) > dp_delta {
        a += nudge;
        nudge *= 2.0;
    }
    a
}

/// dp_delta as a function of a = epsilon/mu - mu/2 >= -mu/2, for a finite mu > 0.
fn delta_at(a: f64, mu: f64) -> f64 {
    let (x, y) = (a / SQRT_2, (a + mu) / SQRT_2);
    let scale = libm::exp(-0.5 * a * a);
    if mu < 0.5 {
        // The two erfcx are close: integrate the derivative between them instead of subtracting. The half width is not
        // (y - x) / 2, which would lose a small mu.
        scale / PI.sqrt() * integrate((a + 0.5 * mu) / SQRT_2, 0.5 * mu / SQRT_2, erfcx_slope)
    } else if a >= 0.0 {
        0.5 * scale * (erfcx(x) - erfcx(y))
    } else {
        0.5 * (libm::erfc(x) - scale * erfcx(y))
    }
}

/// Gauss-Legendre with 8 nodes: for `erfcx_slope` over a width of 0.36 or less the error is below 1e-16 relative.
fn integrate(middle: f64, half: f64, f: impl Fn(f64) -> f64) -> f64 {
    const NODES: [(f64, f64); 4] = [
        (0.1834346424956498, 0.362683783378362),
        (0.525532409916329, 0.31370664587788727),
        (0.7966664774136267, 0.22238103445337448),
        (0.9602898564975363, 0.10122853629037626),
    ];
    let sum: f64 = NODES.iter().map(|&(node, w)| w * (f(middle - half * node) + f(middle + half * node))).sum();
    half * sum
}

/// The end, on the side of `holds`, of the last interval of f64 between `fails` and `holds`.
pub(crate) fn bisect(mut fails: f64, mut holds: f64, test: impl Fn(f64) -> bool) -> f64 {
    loop {
        let middle = 0.5 * (fails + holds);
        // Four units in the last place of `holds` are enough: the tests themselves are no better.
        if (fails - holds).abs() <= 4.0 * f64::EPSILON * holds.abs() || middle == fails || middle == holds {
            return holds;
        }
        if test(middle) { holds = middle } else { fails = middle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiny_mu_gives_its_derivative() {
        // phi(a) - a Phi(-a), mpmath at 30 digits: dp_delta / mu as mu goes to 0, at epsilon = a mu.
        for (a, derivative) in [(0.0, 0.3989422804014327), (3.0, 0.0003821543170477236), (8.0, 7.550262411946499e-17)] {
            for mu in [1e-9, 1e-14, 1e-200] {
                let got = dp_delta(mu, a * mu).unwrap();
                let tolerance = 1e-13 + 5.0 * mu;
                assert!((got / (derivative * mu) - 1.0).abs() < tolerance, "mu {mu}, a {a}: {got}");
            }
        }
    }

    #[test]
    fn no_noise_and_no_participation_are_the_ends() {
        let (infinite, zero) = (mu(Adjacency::ZeroOut, 0.0, 1).unwrap(), mu(Adjacency::ReplaceOne, 0.0, 0).unwrap());
        assert_eq!((epsilon(infinite, 0.5).unwrap(), dp_delta(infinite, 1e300).unwrap()), (f64::INFINITY, 1.0));
        assert_eq!((epsilon(zero, 1e-300).unwrap(), dp_delta(zero, 0.0).unwrap()), (0.0, 0.0));
    }

    #[test]
    fn searches_end_at_extreme_targets() {
        for target in [0.0, 1e-300, 1.0, 1e6, 1e300] {
            for delta in [5e-324, 1e-300, 1e-15, 0.5, 0.999] {
                let mu = mu_for(target, delta).unwrap();
                assert!(mu > 0.0 && mu.is_finite(), "epsilon {target}, dp_delta {delta}: mu {mu}");
                let back = epsilon(mu, delta).unwrap();
                // Among subnormal numbers there are no digits left to compare.
                let close = back <= target * (1.0 + 1e-9) + 1e-14 * mu;
                assert!(close || delta < f64::MIN_POSITIVE, "{target:e}, {delta:e}: mu {mu:e}, epsilon {back:e}");
            }
        }
    }

    #[test]
    fn bad_numbers_are_refused() {
        assert!(matches!(epsilon(f64::NAN, 0.5), Err(Error::Mu { got }) if got.is_nan()));
        assert_eq!(dp_delta(-1.0, 0.5), Err(Error::Mu { got: -1.0 }));
        assert_eq!(dp_delta(1.0, -0.5), Err(Error::Epsilon { got: -0.5 }));
        assert_eq!(epsilon(1.0, 0.0), Err(Error::DpDelta { got: 0.0 }));
        assert_eq!(mu_for(f64::INFINITY, 0.1), Err(Error::Epsilon { got: f64::INFINITY }));
        assert_eq!(mu(Adjacency::ZeroOut, -2.0, 1), Err(Error::NoiseMultiplier { got: -2.0 }));
        let none = noise_multiplier(Adjacency::ZeroOut, 1.0, 0.1, 0);
        assert_eq!(none, Err(Error::MaxParticipations { got: 0 }));
    }
}
