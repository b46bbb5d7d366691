//! A variance as a rational number.

use core::fmt;

/// Largest standard deviation of a sampler, in grid points: `2^16`.
pub const MAX_DEVIATION: f64 = 65_536.0;

/// The variance `p / q` of a sampler: both at least 1 and small enough that the samplers' products stay below `2^127`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variance {
    p: u64,
    q: u64,
}

/// A standard deviation that no sampler has.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct DeviationError {
    /// The largest.
    pub limit: f64,
    /// What was asked for: above it, not positive, or not a number.
    pub got: f64,
}

impl fmt::Display for DeviationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "standard deviation {} on the grid is not in (0, {}]", self.got, self.limit)
    }
}

impl core::error::Error for DeviationError {}

impl Variance {
    /// Least of its kind: smaller ones are rounded up to it.
    const LEAST: f64 = 1.0 / (1u64 << 20) as f64;

    /// The least rational of its kind that is not below `deviation^2`: at most `2^-20` of it above, at least `2^-20` itself. Noise
    /// that was rounded is never too little.
    ///
    /// # Errors
    /// [`DeviationError`] unless `0 < deviation <= 2^16`.
    pub fn of_deviation(deviation: f64) -> Result<Self, DeviationError> {
        if !(deviation > 0.0 && deviation <= MAX_DEVIATION) {
            return Err(DeviationError { limit: MAX_DEVIATION, got: deviation });
        }
        // The factor is above the rounding of the square.
        let square = (deviation * deviation * (1.0 + 1.0 / (1u64 << 50) as f64)).max(Self::LEAST);
        let (mut p, mut q) = (square, 1u64);
        while p < (1u64 << 20) as f64 {
            // Powers of two: exact.
            (p, q) = (p * 2.0, q * 2);
        }
        Ok(Self { p: libm::ceil(p) as u64, q })
    }

    /// `p / q`, for a test or an exact accountant: `None` unless `1 <= p`, `1 <= q <= 2^40` and `p <= 2^33`.
    pub fn of_ratio(p: u64, q: u64) -> Option<Self> {
        ((1..=1 << 33).contains(&p) && (1..=1 << 40).contains(&q)).then_some(Self { p, q })
    }

    /// Numerator.
    pub const fn numerator(self) -> u64 {
        self.p
    }

    /// Denominator.
    pub const fn denominator(self) -> u64 {
        self.q
    }

    /// The nearest float; exact for what [`of_deviation`](Self::of_deviation) made.
    pub fn get(self) -> f64 {
        self.p as f64 / self.q as f64
    }
}
