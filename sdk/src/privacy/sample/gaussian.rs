//! The discrete Gaussian distribution.

use super::bernoulli::bernoulli_exp;
use super::{DiscreteLaplace, Variance};
use core::num::NonZeroU32;
use rand_core::CryptoRng;

/// `P(x) ~ exp(-x^2 / (2 sigma^2))` on the integers. Its variance is at most `sigma^2`, and nearly that from `sigma = 1` on
/// (Canonne, Kamath, Steinke 2020, corollary 9); added to an integer vector of norm at most `S` it gives `S^2 / (2 sigma^2)`-concentrated
/// differential privacy, as the continuous one does (theorem 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiscreteGaussian {
    variance: Variance,
    /// `floor(sigma) + 1`.
    t: NonZeroU32,
}

impl DiscreteGaussian {
    /// Of the parameter `sigma^2 = variance`.
    pub fn new(variance: Variance) -> Self {
        // At most 2^17 for a variance of at most 2^33.
        let t = (variance.numerator() / variance.denominator()).isqrt() as u32;
        Self { variance, t: NonZeroU32::MIN.saturating_add(t) }
    }

    /// `sigma^2`.
    pub fn variance(&self) -> Variance {
        self.variance
    }

    /// One sample: a Laplace of scale `t`, kept with probability `exp(-(abs(y) - sigma^2 / t)^2 / (2 sigma^2))`. With `sigma^2 = p / q` that
    /// exponent is `(abs(y) t q - p)^2 / (2 p q t^2)`; the denominator is below `2^109`. Cost: see `benches/noise.rs`.
    pub fn sample(&self, rng: &mut impl CryptoRng) -> i64 {
        let (p, q) = (u128::from(self.variance.numerator()), u128::from(self.variance.denominator()));
        let t = u128::from(self.t.get());
        let laplace = DiscreteLaplace::new(self.t, NonZeroU32::MIN);
        loop {
            let y = laplace.sample(rng);
            let distance = (u128::from(y.unsigned_abs()) * t * q).abs_diff(p);
            // A square beyond 128 bits has a chance below exp(-2^18).
            let Some(square) = distance.checked_mul(distance) else { continue };
            if bernoulli_exp(square, 2 * p * q * t * t, rng) {
                return y;
            }
        }
    }
}
