//! Level 3: a lower bound from one run. Steinke, Nasr, Jagielski 2023, "Privacy auditing with one (1) training run" (arXiv
//! 2305.08846), theorem 5.2.
//!
//! Each of `m` canaries takes part if a fair coin says so. Of what is released the auditor guesses the coins of the canaries
//! about whose score it is surest: the highest are guessed in, the lowest out, the others are left alone. If the mechanism is
//! `(epsilon, delta)`-private, the number of `r` right guesses is no larger than `Binomial(r, e^epsilon / (1 + e^epsilon))`, but
//! for `delta`: `P(right >= v) <= beta + 2 m delta alpha`, with `beta` the tail at `v` and
//! `alpha = max_i (P(right >= v - i) - beta) / i`. An epsilon for which that is below 5 % is refuted.

use super::canary::{Seeds, scores};
use super::check::{Check, Level, Verdict};
use super::mechanism::{Device, Mechanism, Update};
use super::statistics::binomial_tails;
use super::{AuditError, Settings, Watch};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// Parts of all canaries that are guessed; the best bound counts, so that each is held to a share of the 5 %.
const GUESSED: [f64; 5] = [0.02, 0.05, 0.1, 0.3, 1.0];

/// What it came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Canaries.
    pub coins: u32,
    /// Those that took part.
    pub included: u32,
    /// The bound.
    pub epsilon: f64,
    /// Confidence in it.
    pub confidence: f64,
    /// The epsilon that is stated.
    pub accounted: f64,
    /// (guesses, right, bound) for each number of guesses.
    pub guesses: Vec<(u32, u32, f64)>,
}

/// Runs it.
///
/// # Errors
/// [`AuditError`] if the mechanism fails.
pub fn audit(mechanism: &dyn Mechanism, settings: &Settings, watch: Watch<'_>) -> Result<(Check, Bound), AuditError> {
    watch("coin flips", 0, 2);
    let m = u64::from(settings.coins);
    let seeds = Seeds::new(settings.seed, Level::OneRun);
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed ^ 0x30);
    let coins: Vec<bool> = (0..m).map(|_| rng.next_u32() & 1 == 1).collect();
    let device = |(i, _): (usize, &bool)| Device { number: i as u64, update: Update::Canary(seeds.canary(i as u64)) };
    let devices: Vec<Device> = coins.iter().enumerate().filter(|(_, coin)| **coin).map(device).collect();
    // The denominator is public: half of all canaries.
    let claim = settings.claim(settings.canary_dim, settings.coins.div_ceil(2), 1, 1)?.with_shares(settings.coins / 4);
    let mut run = mechanism.start(&claim, settings.seed ^ 0x20)?;
    let released = run.round(&devices)?;
    watch("coin flips", 1, 2);
    let scores = scores(&released, (0..m).map(|i| seeds.canary(i)).collect());
    let mut ranked: Vec<(f64, bool)> = scores.into_iter().zip(coins).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let significance = 0.05;
    let mut guesses = Vec::new();
    for part in GUESSED {
        let half = ((part * m as f64 / 2.0) as usize).clamp(1, ranked.len() / 2);
        let low = ranked[..half].iter().filter(|(_, coin)| !coin).count();
        let high = ranked[ranked.len() - half..].iter().filter(|(_, coin)| *coin).count();
        let bound = lower_bound(m as usize, 2 * half, low + high, claim.dp_delta, significance / GUESSED.len() as f64);
        guesses.push((2 * half as u32, (low + high) as u32, bound));
    }
    let epsilon = guesses.iter().map(|g| g.2).fold(0.0, f64::max);
    let accounted = run.epsilon()?;
    watch("coin flips", 2, 2);
    let check = Check::new(
        Level::OneRun,
        "the lower bound is at most the stated epsilon",
        format!("at least {epsilon:.3}, with 95 % confidence"),
        format!("at most {accounted:.3}"),
        Verdict::Exact(epsilon <= accounted),
    );
    let included = devices.len() as u32;
    Ok((check, Bound { coins: settings.coins, included, epsilon, confidence: 1.0 - significance, accounted, guesses }))
}

/// The largest epsilon that `right` of `guesses` right guesses about `canaries` coins refute at `significance`.
pub fn lower_bound(canaries: usize, guesses: usize, right: usize, dp_delta: f64, significance: f64) -> f64 {
    let refuted = |epsilon: f64| probability(canaries, guesses, right, epsilon, dp_delta) <= significance;
    if !refuted(0.0) {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while refuted(high) && high < 64.0 {
        low = high;
        high *= 2.0;
    }
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if refuted(middle) { low = middle } else { high = middle }
    }
    low
}

/// Bound on the probability of so many right guesses.
fn probability(canaries: usize, guesses: usize, right: usize, epsilon: f64, dp_delta: f64) -> f64 {
    let tails = binomial_tails(guesses, 1.0 / (1.0 + libm::exp(-epsilon)));
    let beta = tails[right];
    let alpha = (1..=right).map(|i| (tails[right - i] - beta) / i as f64).fold(0.0, f64::max);
    (beta + 2.0 * canaries as f64 * dp_delta * alpha).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_delta_it_is_the_binomial_tail() {
        // All of r guesses right refutes every epsilon with (e^eps / (1 + e^eps))^r below the significance.
        for (r, significance) in [(10usize, 0.05f64), (100, 0.01), (1000, 0.05)] {
            let root = significance.powf(1.0 / r as f64);
            let exact = (root / (1.0 - root)).ln();
            let got = lower_bound(r, r, r, 0.0, significance);
            assert!((got - exact).abs() < 1e-6, "{r}: {got} for {exact}");
        }
        assert_eq!(lower_bound(1000, 1000, 500, 1e-5, 0.05), 0.0);
    }

    #[test]
    fn delta_only_weakens_it() {
        let strict = lower_bound(1000, 100, 90, 0.0, 0.05);
        let slack = lower_bound(1000, 100, 90, 1e-5, 0.05);
        assert!(slack > 0.0 && slack < strict, "{slack} {strict}");
    }
}
