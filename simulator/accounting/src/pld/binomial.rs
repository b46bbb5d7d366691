//! Binomial probabilities, far into the tails.

use core::f64::consts::PI;

/// Binomial(`trials`, `rate`) at 0 to `trials`, in log space from the mode outwards, so that nothing underflows early.
pub(crate) fn binomial_weights(trials: u32, rate: f64) -> Vec<f64> {
    let n = trials as usize;
    let mut weights = vec![0.0; n + 1];
    if rate == 0.0 || rate == 1.0 {
        weights[if rate == 0.0 { 0 } else { n }] = 1.0;
        return weights;
    }
    let mode = (libm::floor((f64::from(trials) + 1.0) * rate) as usize).min(n);
    let odds = rate / (1.0 - rate);
    // Relative to the mode; normalised at the end, which also makes them sum to 1 up to rounding.
    weights[mode] = 1.0;
    for k in mode + 1..=n {
        weights[k] = weights[k - 1] * ((n - k + 1) as f64 / k as f64) * odds;
    }
    for k in (0..mode).rev() {
        weights[k] = weights[k + 1] * ((k + 1) as f64 / (n - k) as f64) / odds;
    }
    let mut sum: f64 = weights[mode + 1..].iter().rev().sum();
    sum += weights[..mode].iter().sum::<f64>() + 1.0;
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

/// Pr[Binomial(trials, rate) >= least], for a rate in (0, 1), rounded up (1e-9 relative).
pub(super) fn at_least(trials: u64, rate: f64, least: u64) -> f64 {
    if least == 0 {
        return 1.0;
    }
    if least > trials {
        return 0.0;
    }
    let n = trials as f64;
    let below_mean = (least as f64) < n * rate;
    // Sum whichever tail shrinks from its first term on.
    let odds = rate / (1.0 - rate);
    let mut k = if below_mean { least - 1 } else { least };
    let mut term = probability(trials, rate, k);
    let mut sum = 0.0;
    while term > 1e-18 * sum {
        sum += term;
        if below_mean {
            if k == 0 {
                break;
            }
            term *= k as f64 / ((trials - k + 1) as f64 * odds);
            k -= 1;
        } else {
            if k == trials {
                break;
            }
            k += 1;
            term *= (trials - k + 1) as f64 / k as f64 * odds;
        }
    }
    let tail = if below_mean { 1.0 - sum * (1.0 - 1e-9) } else { sum * (1.0 + 1e-9) };
    tail.clamp(0.0, 1.0)
}

/// Pr[Binomial(n, rate) = k] as Loader writes it (2000, "Fast and Accurate Computation of Binomial Probabilities"): a
/// normal density whose exponent is a deviance, without the cancellation of log-gammas.
fn probability(n: u64, rate: f64, k: u64) -> f64 {
    if k == 0 {
        return libm::exp(n as f64 * libm::log1p(-rate));
    }
    if k == n {
        return libm::exp(n as f64 * libm::log(rate));
    }
    let (count, hits, misses) = (n as f64, k as f64, (n - k) as f64);
    let exponent = stirling_error(count)
        - stirling_error(hits)
        - stirling_error(misses)
        - deviance(hits, count * rate)
        - deviance(misses, count * (1.0 - rate));
    libm::exp(exponent) * (count / (2.0 * PI * hits * misses)).sqrt()
}

/// x log(x / m) + m - x.
fn deviance(x: f64, mean: f64) -> f64 {
    let difference = x - mean;
    let relative = difference / mean;
    if relative.abs() > 0.1 {
        return x * libm::log(x / mean) - difference;
    }
    // With v = (x-m)/(x+m): (x-m) v + 2x (v^3/3 + v^5/5 + ...).
    let v = difference / (x + mean);
    let (mut sum, mut power, mut odd) = (difference * v, 2.0 * x * v, 1.0);
    for _ in 0..20 {
        power *= v * v;
        odd += 2.0;
        sum += power / odd;
    }
    sum
}

/// log(x!) - log(sqrt(2 pi x) (x/e)^x), for a whole x >= 1.
fn stirling_error(x: f64) -> f64 {
    if x < 16.0 {
        return libm::lgamma(x + 1.0) - (x + 0.5) * libm::log(x) + x - 0.5 * libm::log(2.0 * PI);
    }
    let square = x * x;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0) / square) / square) / square) / x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_agree_with_the_weights() {
        for (trials, rate) in [(40_u32, 0.3), (200, 0.01), (1000, 0.5)] {
            let weights = binomial_weights(trials, rate);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            for least in [0, 1, 3, trials / 4, trials / 2, trials] {
                let want: f64 = weights[least as usize..].iter().rev().sum();
                let got = at_least(u64::from(trials), rate, u64::from(least));
                assert!(got >= want * (1.0 - 1e-12) && got <= want * (1.0 + 3e-9) + 3e-9, "{trials} {rate} {least}");
            }
        }
    }

    #[test]
    fn a_far_tail_of_a_large_population_has_its_digits() {
        // mpmath 1.3 at 50 digits: sum of binomial(99999, k) 0.01^k 0.99^(99999-k) over k >= 1190.
        let got = at_least(99_999, 0.01, 1190);
        assert!((got / TAIL - 1.0).abs() < 2e-9, "{got:e}");
    }

    const TAIL: f64 = 2.409_892_377_833_084e-9;
}
