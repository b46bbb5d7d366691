//! Level 2: one-shot canaries. Andrew, Kairouz, Oh, Oprea, McMahan, Suriyakumar 2024, "One-shot empirical privacy estimation
//! for federated learning" (arXiv 2302.03098), algorithm 1.
//!
//! Each of `k` canary devices always submits one clip norm along a random unit vector of its own. In `d` dimensions the cosine
//! between such a vector and whatever was released is `N(0, 1/d)` if the canary did not take part. Of those that did, the
//! cosines are fitted by `N(mu, s^2)`; the estimate is the epsilon at which the hockey stick between the two laws, in both
//! directions, is `dp_delta`. It is exact for the Gaussian mechanism of which the last state is released, as `k` and `d` grow;
//! the other canaries are noise to each, of variance `k/d`.

use super::check::{Check, Level, Verdict};
use super::mechanism::{Claim, Device, Mechanism, Update, canary};
use super::noise::silent;
use super::statistics::{chi_square, moments, normal_cdf, normal_two_sided};
use super::{AuditError, Settings, Watch};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use siskin::checkin::Profile;

/// What the canaries showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OneShot {
    /// Canaries that took part.
    pub canaries: u32,
    /// Rounds of which the sum was looked at.
    pub rounds: u32,
    /// Rounds in which each canary took part.
    pub participations: u32,
    /// Params.
    pub dim: usize,
    /// Mean cosine of those that took part, times `sqrt(dim)`.
    pub mean: f64,
    /// Their standard deviation, times `sqrt(dim)`; 1 is that of canaries that did not.
    pub deviation: f64,
    /// The estimate.
    pub epsilon: f64,
    /// Its standard error.
    pub epsilon_error: f64,
    /// The estimate if both laws had the same variance: what is left of the error is that of the mean.
    pub epsilon_of_mean: f64,
    /// The epsilon that is stated of the last state.
    pub accounted: f64,
    /// Cosines of canaries that took part and of those that did not, times `sqrt(dim)`: counts in bins of [`BIN`].
    pub seen: Vec<u64>,
    /// As `seen`, of canaries that did not take part.
    pub unseen: Vec<u64>,
    /// Left edge of the first bin.
    pub first_bin: f64,
}

/// Width of the bins of [`OneShot::seen`].
pub const BIN: f64 = 0.25;

/// Canaries from which on the estimate itself is held to the tolerance.
const ENOUGH: u32 = 4000;

/// Runs it.
///
/// # Errors
/// [`AuditError`] if the mechanism fails.
pub fn audit(
    mechanism: &dyn Mechanism,
    settings: &Settings,
    watch: Watch<'_>,
) -> Result<(Vec<Check>, OneShot), AuditError> {
    let (k, rounds, d) = (settings.canaries, settings.canary_rounds, settings.canary_dim);
    let cohort = k + settings.ordinary;
    let claim = settings.claim(d, cohort, rounds, rounds)?;
    let seeds = Seeds::new(settings.seed, Level::Canary);
    let schedule = claim.schedule();
    let all = u64::from(rounds) + 1;
    watch("canaries", 0, all);
    let mut run = mechanism.start(&claim, settings.seed ^ 0x10)?;
    let mut released = vec![0.0; d];
    for round in 0..rounds {
        let mut devices: Vec<Device> = (0..u64::from(settings.ordinary))
            .map(|i| i | u64::from(round) << 32)
            .map(|i| Device { number: 1 << 63 | i, update: Update::Ordinary(seeds.ordinary(i)) })
            .collect();
        if schedule.contains(&round) {
            devices.extend((0..u64::from(k)).map(|i| Device { number: i, update: Update::Canary(seeds.canary(i)) }));
        } else if devices.is_empty() {
            devices = silent(&claim, 1, round | 1 << 30);
        }
        for (sum, x) in released.iter_mut().zip(run.round(&devices)?) {
            *sum += x * f64::from(cohort) / f64::from(claim.clip_norm);
        }
        watch("canaries", u64::from(round) + 1, all);
    }
    let accounted = run.epsilon()?;
    // In clip norms: a canary that counted once has 1 and the noise.
    let seen = scores(&released, (0..u64::from(k)).map(|i| seeds.canary(i)).collect());
    let unseen = scores(&released, (0..u64::from(k).min(2000)).map(|i| seeds.canary(u64::from(k) + i)).collect());
    watch("canaries", all, all);
    let length = released.iter().map(|x| x * x).sum::<f64>().sqrt();
    let cosine = (d as f64).sqrt() / length;
    Ok(judge(&claim, settings, &seen, &unseen, cosine, accounted))
}

/// Seeds of canaries and of ordinary devices. Those of different audits have nothing to do with each other.
pub(super) struct Seeds(u64);

impl Seeds {
    /// For a level of the audit of this seed.
    pub(super) fn new(seed: u64, level: Level) -> Self {
        Self(mix(seed ^ u64::from(level.number()) << 56))
    }

    pub(super) fn canary(&self, index: u64) -> u64 {
        mix(self.0.wrapping_add(2 * index))
    }

    pub(super) fn ordinary(&self, index: u64) -> u64 {
        mix(self.0.wrapping_add(2 * index + 1))
    }
}

/// splitmix64 (Steele, Lea, Flood 2014): a permutation, so that seeds stay distinct.
fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Products of the canaries of these seeds with `released`.
pub(super) fn scores(released: &[f64], seeds: Vec<u64>) -> Vec<f64> {
    let score = |direction: &mut Vec<f32>, seed| {
        direction.resize(released.len(), 0.0);
        canary(seed, direction);
        direction.iter().zip(released).map(|(c, x)| f64::from(*c) * x).sum()
    };
    seeds.into_par_iter().map_init(Vec::new, score).collect()
}

fn judge(
    claim: &Claim,
    settings: &Settings,
    seen: &[f64],
    unseen: &[f64],
    cosine: f64,
    accounted: f64,
) -> (Vec<Check>, OneShot) {
    let k = seen.len() as f64;
    let (mean, [variance, ..]) = moments(seen.iter().copied());
    let (_, [null, ..]) = moments(unseen.iter().copied());
    let noise = claim.variance_of_all(claim.cohort);
    let mut checks = Vec::new();
    let mut check = |name: &str, seen: String, claimed: String, verdict| {
        checks.push(Check::new(Level::Canary, name, seen, claimed, verdict));
    };

    // The noise along the canaries' sum; and they are not quite orthogonal: the norm of their sum varies by 2/d, of which one
    // half is in `null`, as their product with the others.
    let counted = claim.schedule().len() as f64;
    let error = (null.max(noise) / k + counted * counted / claim.coordinates as f64).sqrt();
    check(
        "a canary counts one clip norm each time",
        format!("{mean:.4} clip norms"),
        format!("{counted}, up to {error:.4}"),
        Verdict::Probability(normal_two_sided((mean - counted) / error)),
    );
    // The other reports only add to the variance along a direction that has nothing to do with them.
    let n = unseen.len() as f64;
    let lower = chi_square(null * n / noise, n - 1.0).0;
    check(
        "unseen canaries meet at least the claimed noise",
        format!("deviation {:.4} clip norms", null.sqrt()),
        format!("at least {:.4}", noise.sqrt()),
        Verdict::Probability(lower),
    );
    // log of the ratio of two sample variances: normal with variance 2/(k-1) + 2/(n-1).
    let ratio = libm::log(variance / null) / (2.0 / (k - 1.0) + 2.0 / (n - 1.0)).sqrt();
    check(
        "seen and unseen canaries spread alike",
        format!("deviations {:.4} and {:.4}", variance.sqrt(), null.sqrt()),
        "the same".to_owned(),
        Verdict::Probability(normal_two_sided(ratio)),
    );

    let (m, s) = (mean * cosine, variance.sqrt() * cosine);
    let at = |m, s| epsilon(m, s, claim.dp_delta);
    let estimate = at(m, s);
    let epsilon_error = error_of(m, s, (1.0, 1.0), k, claim.dp_delta);
    let tolerance = 0.3 + 0.1 * accounted;
    // With few canaries the error of the deviation would be most of the estimate's, and bias it: then the mean speaks alone.
    let (held, error, how) = match settings.canaries < ENOUGH {
        true => (at(m, 1.0), error_of(m, 1.0, (1.0, 0.0), k, claim.dp_delta), ", from the mean of few canaries"),
        false => (estimate, epsilon_error, ""),
    };
    // Under the local profile what is released has the noise of all reports, and each has its own.
    if claim.rounds == 1 && claim.profile != Profile::Local {
        let tolerance = tolerance + if settings.canaries < ENOUGH { 3.0 * error } else { 0.0 };
        check(
            "the estimate is the stated epsilon",
            format!("{held:.3} \u{b1} {error:.3}{how}"),
            format!("{accounted:.3} \u{b1} {tolerance:.3}"),
            Verdict::Exact((held - accounted).abs() <= tolerance),
        );
    } else {
        check(
            "the estimate is at most the stated epsilon",
            format!("{held:.3} \u{b1} {error:.3}{how}"),
            format!("at most {accounted:.3} and 3 standard errors"),
            Verdict::Exact(held <= accounted + 3.0 * error),
        );
    }
    let all = || seen.iter().chain(unseen).map(|x| x * cosine);
    let low = (all().fold(f64::INFINITY, f64::min) / BIN).floor().max(-400.0);
    let high = (all().fold(f64::NEG_INFINITY, f64::max) / BIN).floor().min(low + 400.0);
    let bins = |scores: &[f64]| {
        let mut bins = vec![0u64; (high - low) as usize + 1];
        let last = bins.len() - 1;
        for x in scores {
            bins[((x * cosine / BIN).floor() - low).clamp(0.0, last as f64) as usize] += 1;
        }
        bins
    };
    let found = OneShot {
        canaries: seen.len() as u32,
        rounds: claim.rounds,
        participations: claim.schedule().len() as u32,
        dim: claim.coordinates,
        mean: m,
        deviation: s,
        epsilon: estimate,
        epsilon_error,
        epsilon_of_mean: at(m, 1.0),
        accounted,
        seen: bins(seen),
        unseen: bins(unseen),
        first_bin: low * BIN,
    };
    (checks, found)
}

/// Standard error of the estimate from `k` canaries whose mean and deviation these are: the errors of the two, as far as they
/// `count`, times how the estimate hangs on them.
fn error_of(mean: f64, deviation: f64, count: (f64, f64), k: f64, dp_delta: f64) -> f64 {
    let h = 1e-3;
    let slope = |m: f64, s: f64| {
        let at = |sign: f64| epsilon(mean + sign * h * m, deviation + sign * h * s, dp_delta);
        (at(1.0) - at(-1.0)) / (2.0 * h)
    };
    let by_mean = count.0 * slope(1.0, 0.0) * deviation;
    let by_deviation = count.1 * slope(0.0, 1.0) * deviation;
    (by_mean * by_mean / k + by_deviation * by_deviation / (2.0 * k)).sqrt()
}

/// The least epsilon at which the hockey stick between `N(0, 1)` and `N(mean, deviation^2)` is at most `dp_delta` in both
/// directions; infinite above 1000.
pub fn epsilon(mean: f64, deviation: f64, dp_delta: f64) -> f64 {
    if !(mean.is_finite() && deviation > 0.0 && deviation.is_finite()) {
        return f64::INFINITY;
    }
    let delta = |epsilon: f64| {
        let from = hockey_stick((mean, deviation), (0.0, 1.0), epsilon);
        from.max(hockey_stick((0.0, 1.0), (mean, deviation), epsilon))
    };
    if delta(0.0) <= dp_delta {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while delta(high) > dp_delta {
        low = high;
        high *= 2.0;
        if high > 1000.0 {
            return f64::INFINITY;
        }
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if delta(middle) > dp_delta { low = middle } else { high = middle }
    }
    high
}

/// `sup_S P(S) - e^epsilon Q(S)` of two normal laws (mean, deviation). The log ratio of the densities is a parabola: `S` is where
/// it is above epsilon, an interval, its complement, or a half line.
fn hockey_stick(p: (f64, f64), q: (f64, f64), epsilon: f64) -> f64 {
    let ((mp, sp), (mq, sq)) = (p, q);
    // a x^2 + b x + c > 0, from (x - mq)^2 / 2 sq^2 - (x - mp)^2 / 2 sp^2 + log(sq / sp) > epsilon.
    let (vp, vq) = (sp * sp, sq * sq);
    let a = 0.5 / vq - 0.5 / vp;
    let b = mp / vp - mq / vq;
    let c = 0.5 * mq * mq / vq - 0.5 * mp * mp / vp + libm::log(sq / sp) - epsilon;
    let below = |x: f64| normal_cdf((x - mp) / sp) - libm::exp(epsilon) * normal_cdf((x - mq) / sq);
    // The mirror image, so that a small upper tail keeps its digits.
    let above = |x: f64| normal_cdf((mp - x) / sp) - libm::exp(epsilon) * normal_cdf((mq - x) / sq);
    let excess = if a.abs() < 1e-12 {
        if b == 0.0 {
            if c > 0.0 { 1.0 - libm::exp(epsilon) } else { 0.0 }
        } else if b > 0.0 {
            above(-c / b)
        } else {
            below(-c / b)
        }
    } else {
        let discriminant = b * b - 4.0 * a * c;
        if discriminant <= 0.0 {
            if a > 0.0 { 1.0 - libm::exp(epsilon) } else { 0.0 }
        } else {
            // Without the cancellation of -b with the root.
            let half = -0.5 * (b + discriminant.sqrt().copysign(b));
            let (x, y) = (half / a, if half == 0.0 { 0.0 } else { c / half });
            let (low, high) = (x.min(y), x.max(y));
            if a > 0.0 {
                below(low) + above(high)
            } else if low > mp {
                above(low) - above(high)
            } else {
                below(high) - below(low)
            }
        }
    };
    excess.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use siskin_accounting::analytic;

    #[test]
    fn equal_variances_are_the_gaussian_mechanism() {
        for (mu, dp_delta) in [(0.5, 1e-6), (1.0, 1e-5), (2.0, 1e-5), (4.0, 1e-3)] {
            let exact = analytic::epsilon(mu, dp_delta).unwrap();
            for m in [mu, -mu] {
                let got = epsilon(m, 1.0, dp_delta);
                assert!((got / exact - 1.0).abs() < 1e-6, "{mu} {dp_delta}: {got} for {exact}");
            }
            // Continuous where the parabola becomes a line.
            assert!((epsilon(mu, 1.0 + 1e-7, dp_delta) / exact - 1.0).abs() < 1e-3);
        }
        assert_eq!(epsilon(0.0, 1.0, 1e-5), 0.0);
    }

    #[test]
    fn another_variance_is_seen_without_any_shift() {
        // By numerical integration of max(p - e^eps q, 0).
        for (m, s) in [(0.0, 1.5), (0.7, 0.6), (1.0, 1.1), (-1.0, 0.9)] {
            for eps in [0.1, 1.0, 2.0] {
                for (p, q) in [((m, s), (0.0, 1.0)), ((0.0, 1.0), (m, s))] {
                    let density =
                        |x: f64, (m, s): (f64, f64)| (-0.5 * ((x - m) / s).powi(2)).exp() / (s * 2.506628274631);
                    let h = 1e-3;
                    let sum: f64 = (-20_000..20_000)
                        .map(|i| f64::from(i) * h)
                        .map(|x| (density(x, p) - f64::exp(eps) * density(x, q)).max(0.0) * h)
                        .sum();
                    let got = hockey_stick(p, q, eps);
                    assert!((got - sum).abs() < 1e-6, "{p:?} {q:?} {eps}: {got} for {sum}");
                }
            }
        }
        assert_eq!(epsilon(f64::NAN, 1.0, 1e-5), f64::INFINITY);
        assert_eq!(epsilon(1e6, 1.0, 1e-5), f64::INFINITY);
    }
}
