//! What participations cost: zero-concentrated differential privacy (Bun and Steinke 2016), counted on the device.
//!
//! One report with noise of `noise_multiplier` clip norms costs `rho = 1 / (2 * noise_multiplier^2)` (their proposition 6, for
//! a user whose delta becomes the zero vector), and costs of adaptively chosen rounds add up (their lemma 7). No sampling is
//! assumed, because a device cannot see whether it was chosen at random; noise is assumed independent from round to round.
//! Plans may choose their noise as they like, as the sum is held against a bound that was fixed beforehand (a privacy filter:
//! Feldman and Zrnic 2021). Who must be trusted that the noise is there is the profile's affair: the cost is of what the plan *promises*.
//!
//! Skellam noise has no proof of zCDP, but bounds of its Renyi divergences `D(a)` at whole orders `a >= 2` (Agarwal, Kairouz, Liu
//! 2021, "The Skellam Mechanism for Differentially Private Federated Learning", theorem 3.5). With the variance `mu` of the sum and the
//! L2 and L1 norm of a report, `S` and `L`, all in steps, `D(a) <= a S^2 / (2 mu) + min(((2 a - 1) S^2 + 6 L) / (4 mu^2), 3 L / (2 mu))`.
//! Of integers `L <= S^2`, and a plan promises `mu >= z^2 S^2`; with `2 a - 1 < 2 a` and `1 <= a / 2` that is
//! `D(a) <= a / (2 z^2) * (1 + min(2.5 / mu, 1.5))`. Between whole orders `(a - 1) D(a)` is convex (it is the logarithm of a
//! moment), so that the chord is above it, which is above the line `a D(n) / n` by a factor of at most
//! `max n (2 a - 1 - n) / (a (a - 1))`, 1.0718 (at `n = 2`, `a = 2.366`). So a Skellam report costs a little more, and no epsilon is read off
//! an order below 2, where the chord is further above it.

use crate::checkin::{Distributed, Plan, Privacy, Profile, ShareNoise, Weighting};

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

    /// Upper bound of the cost of one report to `plan`: with Skellam noise 7.2 % more than with Gaussian at the least, and 2.68 times as much
    /// where the variance of the sum is below 5/3 of a squared step.
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
        Self(libm::ceil(
            0.5 * Self::UNITS / (z * z) * over_gaussian(&plan.privacy, plan.quantization.step) * (1.0 + 4e-16),
        ) as u64)
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
    /// `1 + sqrt(ln(1/dp_delta) / rho)`, which is best without the two small terms. Orders below 2 are left out, as costs are not bounds of
    /// Skellam noise there; they would count from an epsilon of some 40 on. Costs about 130 logarithms in f64.
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
        let centre = (0.5 * libm::log(-log_delta / rho)).max(0.0);
        let (mut low, mut high) = ((centre - 3.0).max(0.0), centre + 3.0);
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

/// How many times what Gaussian noise of the same deviation costs: see the top of this file.
fn over_gaussian(privacy: &Privacy, step: f32) -> f64 {
    /// `max n (2 a - 1 - n) / (a (a - 1))` over whole `n >= 2` and `n <= a <= n + 1`, rounded up.
    const CHORD: f64 = 1.071_8;
    let Profile::Distributed(Distributed { noise: ShareNoise::Skellam, .. }) = privacy.profile else { return 1.0 };
    let deviation = f64::from(privacy.noise_multiplier) * f64::from(privacy.clip_norm) / f64::from(step);
    // Two parts in 10^15 are more than four operations round; a deviation of 0 or NaN takes the second bound.
    CHORD * (1.0 + 2e-15) * (1.0 + (2.5 / (deviation * deviation)).min(1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Theorem 3.5 itself, at the largest L1 norm that integers of `l2` have.
    fn theorem(order: f64, variance: f64, l2: f64) -> f64 {
        let (square, l1) = (l2 * l2, l2 * l2);
        let first = ((2.0 * order - 1.0) * square + 6.0 * l1) / (4.0 * variance * variance);
        0.5 * order * square / variance + first.min(1.5 * l1 / variance)
    }

    fn skellam(noise_multiplier: f32, clip_norm: f32) -> Privacy {
        let shared = Distributed { shares: 10, bits: 16, noise: ShareNoise::Skellam, rotation: 0 };
        Privacy { noise_multiplier, ..Privacy::new(clip_norm, Profile::Distributed(shared)) }
    }

    /// What is charged is a bound of what is proven, at every order from 2 on, whole or on the chord between two; and no larger one than said.
    #[test]
    fn skellam_costs_no_less_than_is_proven() {
        for z in [0.3f32, 1.0, 3.0] {
            for l2 in [1.0f32, 2.0, 7.5, 100.0] {
                let over = over_gaussian(&skellam(z, l2), 1.0);
                let gaussian = 0.5 / f64::from(z).powi(2);
                let variance = f64::from(z * l2).powi(2);
                let rho = gaussian * over;
                let mut tightest = f64::INFINITY;
                for n in 2..300 {
                    let (low, high) = (f64::from(n), f64::from(n + 1));
                    let [at_low, at_high] = [low, high].map(|a| (a - 1.0) * theorem(a, variance, f64::from(l2)));
                    for tenth in 0..=10 {
                        let part = f64::from(tenth) / 10.0;
                        let a = low + part;
                        let proven = (at_low + part * (at_high - at_low)) / (a - 1.0);
                        assert!(proven <= a * rho, "z {z}, S {l2}, order {a}: {proven} of {}", a * rho);
                        tightest = tightest.min(a * rho / proven);
                    }
                }
                assert!(over > 1.07 && over < 2.7 && tightest < 1.5, "z {z}, S {l2}: {over}, {tightest}");
            }
        }
    }

    #[test]
    fn other_noise_costs_what_gaussian_does() {
        for profile in [Profile::Central, Profile::Local] {
            assert_eq!(over_gaussian(&Privacy::new(1.0, profile), 0.1), 1.0);
        }
        let fine = over_gaussian(&skellam(1.0, 100.0), 1e-3);
        assert!((1.071_8..1.071_9).contains(&fine), "{fine}");
        assert!(over_gaussian(&skellam(0.0, 1.0), 1.0) > 2.6 && over_gaussian(&skellam(f32::NAN, 1.0), 1.0) > 2.6);
    }

    /// The factor of the chord, and where it is needed.
    #[test]
    fn the_chord_is_nowhere_higher() {
        let over = |n: f64, a: f64| n * (2.0 * a - 1.0 - n) / (a * (a - 1.0));
        let mut highest: f64 = 0.0;
        for n in 2..50 {
            for part in 0..=1000 {
                highest = highest.max(over(f64::from(n), f64::from(n) + f64::from(part) / 1000.0));
            }
        }
        assert!((1.0717..=1.0718).contains(&highest), "{highest}");
        // Below 2 it would be.
        assert!(over(1.0, 1.2) > 1.6);
    }
}
