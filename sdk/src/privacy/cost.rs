//! What participations cost: zero-concentrated differential privacy (Bun and Steinke 2016), counted on the device.
//!
//! One report with noise of `noise_multiplier` clip norms costs `rho = 1 / (2 * noise_multiplier^2)` (their proposition 6, for
//! a user whose delta becomes the zero vector), and costs of adaptively chosen rounds add up (their lemma 7). No sampling is
//! assumed, because a device cannot see whether it was chosen at random; noise is assumed independent from round to round.
//! Plans may choose their noise as they like, as the sum is held against a bound that was fixed beforehand (a privacy filter:
//! Feldman and Zrnic 2021). Who must be trusted that the noise is there is the profile's affair: the cost is of what the plan *promises*.

use crate::checkin::{Plan, Weighting};

/// A sum of zCDP costs, in units of 2^-40, each rounded up: exact to add, in any order, and never a NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rho(pub(crate) u64);

impl Rho {
    /// Nothing was said.
    pub const ZERO: Self = Self(0);
    /// No bound is known; also what a sum becomes that is too large to count.
    pub const INFINITE: Self = Self(u64::MAX);
    const UNITS: f64 = (1u64 << 40) as f64;

    /// Upper bound of the cost of one report to `plan`.
    ///
    /// Infinite if the plan promises no noise, or asks for what is not noised: a growth probe, or a weight by examples, which
    /// tells their number.
    pub fn of(plan: &Plan) -> Self {
        let z = f64::from(plan.privacy.noise_multiplier);
        let covered = plan.upload.weighting == Weighting::Uniform && plan.upload.probe == 0;
        if !(covered && z > 0.0) {
            return Self::INFINITE;
        }
        // The square of an f32 is exact in f64; the factor is above what the division rounds.
        Self(libm::ceil(0.5 * Self::UNITS / (z * z) * (1.0 + 4e-16)) as u64)
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// In nats.
    pub fn value(self) -> f64 {
        if self == Self::INFINITE { f64::INFINITY } else { self.0 as f64 / Self::UNITS }
    }

    /// Upper bound of epsilon at `dp_delta`: the least over orders `a > 1` of
    /// `a * rho + ln(1 - 1/a) - (ln(dp_delta) + ln(a)) / (a - 1)` (Canonne, Kamath, Steinke 2020, proposition 12 with
    /// definition 8). Every order gives a bound, so the search need not be perfect: forty steps of a golden section around
    /// `1 + sqrt(ln(1/dp_delta) / rho)`, which is best without the two small terms. Costs about 130 logarithms in f64.
    ///
    /// Infinite for an infinite cost or a `dp_delta` outside (0, 1).
    ///
    /// ```
    /// use siskin::privacy::Rho;
    /// assert_eq!(Rho::ZERO.epsilon(1e-6), 0.0);
    /// assert_eq!(Rho::INFINITE.epsilon(1e-6), f64::INFINITY);
    /// ```
    pub fn epsilon(self, dp_delta: f64) -> f64 {
        let rho = self.value();
        if !(dp_delta > 0.0 && dp_delta < 1.0 && rho < f64::INFINITY) {
            return f64::INFINITY;
        }
        if rho == 0.0 {
            return 0.0;
        }
        let log_delta = libm::log(dp_delta);
        // Over t = ln(a - 1): then ln(1 - 1/a) is t - ln(a), which stays finite.
        let bound = |t: f64| {
            let above = libm::exp(t);
            let log_order = libm::log1p(above);
            (1.0 + above) * rho + (t - log_order) - (log_delta + log_order) / above
        };
        let centre = 0.5 * libm::log(-log_delta / rho);
        let (mut low, mut high) = (centre - 3.0, centre + 3.0);
        let golden = 0.618_033_988_749_894_9;
        let mut best = bound(centre);
        for _ in 0..40 {
            let (a, b) = (high - golden * (high - low), low + golden * (high - low));
            let (at_a, at_b) = (bound(a), bound(b));
            best = best.min(at_a).min(at_b);
            if at_a < at_b { high = b } else { low = a }
        }
        // Above what the formula rounds.
        (best * (1.0 + 1e-12)).max(0.0)
    }
}
