//! The Skellam distribution.

use super::bernoulli::bernoulli;
use super::{DeviationError, Variance};
use rand_core::CryptoRng;

/// Largest standard deviation of [`Skellam`], in grid points: its cost grows with the variance.
pub const MAX_SKELLAM_DEVIATION: f64 = 64.0;

/// The difference of two Poissons of mean `variance / 2`. Sums of Skellams are Skellam, so a sum of any number of shares has
/// exactly the distribution that the accountant assumes; of discrete Gaussians that holds only nearly.
///
/// Exact: a Poisson of mean `m + f` is the sum of `m` of mean 1 and one of mean `f`; each is a geometric proposal
/// `P(k) = 2^-(k+1)` that is kept with probability `f^k 2^(k-1) / k!`, a product of rational coins (`1/2` for `k = 0`): no
/// exponential occurs. The price is a time proportional to the variance; a [`DiscreteGaussian`](super::DiscreteGaussian) takes
/// the same at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skellam {
    variance: Variance,
}

impl Skellam {
    /// Of this variance.
    ///
    /// # Errors
    /// [`DeviationError`] above [`MAX_SKELLAM_DEVIATION`].
    pub fn new(variance: Variance) -> Result<Self, DeviationError> {
        let deviation = libm::sqrt(variance.get());
        // One part in a million more is what the variance was rounded up by.
        if deviation > MAX_SKELLAM_DEVIATION * (1.0 + 1e-6) {
            return Err(DeviationError { limit: MAX_SKELLAM_DEVIATION, got: deviation });
        }
        Ok(Self { variance })
    }

    /// Its variance.
    pub fn variance(&self) -> Variance {
        self.variance
    }

    /// One sample.
    pub fn sample(&self, rng: &mut impl CryptoRng) -> i64 {
        let (a, b) = (u128::from(self.variance.numerator()), 2 * u128::from(self.variance.denominator()));
        poisson(a, b, rng) - poisson(a, b, rng)
    }
}

/// Poisson of mean `a / b`.
pub(super) fn poisson(a: u128, b: u128, rng: &mut impl CryptoRng) -> i64 {
    let whole = (0..a / b).map(|_| unit_poisson(1, 1, rng)).sum::<i64>();
    whole + if a.is_multiple_of(b) { 0 } else { unit_poisson(a % b, b, rng) }
}

/// Poisson of mean `a / b <= 1`.
fn unit_poisson(a: u128, b: u128, rng: &mut impl CryptoRng) -> i64 {
    'propose: loop {
        let mut word = rng.next_u64();
        let mut k = word.trailing_zeros();
        while word == 0 {
            word = rng.next_u64();
            k += word.trailing_zeros();
        }
        if k == 0 {
            // The highest bit is independent of the lowest.
            if word >> 63 == 1 {
                return 0;
            }
            continue;
        }
        for i in 1..=u128::from(k) {
            if !bernoulli(a, b, rng) || (i > 2 && !bernoulli(2, i, rng)) {
                continue 'propose;
            }
        }
        return i64::from(k);
    }
}
