//! The Renyi divergence of one Poisson-sampled Gaussian round, `D_a((1-q) N(0, s^2) + q N(1, s^2) || N(0, s^2))`.
//!
//! Mironov, Talwar, Zhang 2019. Write it as log(A) / (a - 1), with A the a-th moment of the likelihood ratio. Both
//! sums below are in log space and rounded towards a larger A:
//!
//! * integer order (section 3.3, first sum): A - 1 is a sum of positive terms, so that nothing cancels however close
//!   to 1 A is;
//! * fractional order (section 3.3, second sum): the integral is cut at the x where both components weigh the same and
//!   each half expanded binomially. Past the order the terms alternate and shrink slowly; their sum is accelerated.

use crate::erfcx::erfcx;

/// log(A) has this much relative and absolute doubt when it comes from the fractional sum; it is added.
const DOUBT: f64 = 2e-14;

/// Upper bound of the divergence, for `rate` in (0, 1), `noise_multiplier` >= 0 and a finite `order` > 1.
pub(super) fn renyi(rate: f64, noise_multiplier: f64, order: f64) -> f64 {
    let moment = if order == libm::floor(order) {
        log_moment_integer(rate, noise_multiplier, order)
    } else {
        // log(A) is convex in the order and 0 at order 1 (Wang, Balle, Kasiviswanathan 2019, corollary 10): a chord
        // between the integers is a bound too, and the better one where A is so close to 1 that f64 hides A - 1.
        let (below, above) = (libm::floor(order), libm::ceil(order));
        let left = if below == 1.0 { 0.0 } else { log_moment_integer(rate, noise_multiplier, below) };
        let right = log_moment_integer(rate, noise_multiplier, above);
        let chord = left + (order - below) * (right - left);
        let exact = log_moment_fractional(rate, noise_multiplier, order);
        // The minimum ignores a NaN on one side (noise so small or large that the sum overflowed).
        chord.min(exact + DOUBT * (1.0 + exact.abs()))
    };
    // Sampling never hurts (the divergence is quasi-convex), which also removes the doubt when the rate is almost 1.
    let unsampled = 0.5 * order / (noise_multiplier * noise_multiplier);
    // The minimum ignores a NaN, the maximum with 0 a rounding error.
    (moment / (order - 1.0)).min(unsampled).max(0.0)
}

/// log(1 + sum over k >= 2 of binomial(a, k) (1-q)^(a-k) q^k (exp((k^2-k) / 2s^2) - 1)).
fn log_moment_integer(rate: f64, noise_multiplier: f64, order: f64) -> f64 {
    let (log_rate, log_rest) = (libm::log(rate), libm::log1p(-rate));
    let half_inverse_variance = 0.5 / (noise_multiplier * noise_multiplier);
    let mut sum = LogSum::default();
    let mut log_binomial = libm::log(order);
    let mut k = 2.0;
    while k <= order {
        log_binomial += libm::log((order - k + 1.0) / k);
        let growth = log_exp_m1((k * k - k) * half_inverse_variance);
        sum.add(log_binomial + k * log_rate + (order - k) * log_rest + growth);
        k += 1.0;
    }
    let log_excess = sum.log();
    if log_excess > 0.0 { log_excess + libm::log1p(libm::exp(-log_excess)) } else { libm::log1p(libm::exp(log_excess)) }
}

/// log(exp(x) - 1) for x >= 0, minus infinity at 0.
fn log_exp_m1(x: f64) -> f64 {
    if x < 1.0 { libm::log(libm::expm1(x)) } else { x + libm::log1p(-libm::exp(-x)) }
}

/// log(A) from the two half-line expansions; NaN when the noise is beyond f64.
fn log_moment_fractional(rate: f64, noise_multiplier: f64, order: f64) -> f64 {
    let terms = HalfLineTerms::new(rate, noise_multiplier, order);
    let first_negative = libm::ceil(order) + 1.0;
    let mut head = LogSum::default();
    let mut log_binomial = 0.0;
    let mut i = 0.0;
    while i < first_negative {
        head.add(log_binomial + terms.left(i));
        head.add(log_binomial + terms.right(i));
        log_binomial += libm::log((order - i).abs() / (i + 1.0));
        i += 1.0;
    }
    let first = log_add(terms.left(i), terms.right(i)) + log_binomial;
    let tail = alternating_sum(|_| {
        let log_term = log_add(terms.left(i), terms.right(i)) + log_binomial;
        log_binomial += libm::log((i - order) / (i + 1.0));
        i += 1.0;
        libm::exp(log_term - first)
    });
    let log_head = head.log();
    log_head + libm::log1p(-tail * libm::exp(first - log_head))
}

/// a_0 - a_1 + a_2 - ... for a totally monotone sequence with a_0 = 1, called in order.
///
/// Cohen, Rodriguez Villegas, Zagier 2000, "Convergence acceleration of alternating series", algorithm 1: with n terms
/// the error is below 2 / (3 + sqrt 8)^n, here 5e-17. The terms of either expansion past the order are the moments of a
/// positive measure on [0, 1] (likelihood ratio, or its inverse) times |binomial(a, i)|, a Beta integral: totally
/// monotone, as the theorem wants.
fn alternating_sum(mut term: impl FnMut(usize) -> f64) -> f64 {
    const TERMS: usize = 22;
    let n = TERMS as f64;
    let power = libm::pow(3.0 + 8.0_f64.sqrt(), n);
    let d = 0.5 * (power + 1.0 / power);
    let (mut b, mut c, mut sum) = (-1.0, -d, 0.0);
    for index in 0..TERMS {
        let k = index as f64;
        c = b - c;
        sum += c * term(index);
        b *= (k + n) * (k - n) / ((k + 0.5) * (k + 1.0));
    }
    sum / d
}

/// The integrals that multiply the binomial coefficients.
struct HalfLineTerms {
    log_rate: f64,
    log_rest: f64,
    order: f64,
    variance: f64,
    /// sqrt(2) s.
    width: f64,
    /// Where (1-q) N(0, s^2) and q N(1, s^2) weigh the same.
    cut: f64,
    /// (1-q)^a exp(-cut^2 / 2s^2), the weight at the cut.
    log_at_cut: f64,
}

impl HalfLineTerms {
    fn new(rate: f64, noise_multiplier: f64, order: f64) -> Self {
        let (log_rate, log_rest) = (libm::log(rate), libm::log1p(-rate));
        let variance = noise_multiplier * noise_multiplier;
        let cut = variance * (log_rest - log_rate) + 0.5;
        let log_at_cut = order * log_rest - cut * cut / (2.0 * variance);
        let width = core::f64::consts::SQRT_2 * noise_multiplier;
        Self { log_rate, log_rest, order, variance, width, cut, log_at_cut }
    }

    /// log of the integral below the cut of q^i (1-q)^(a-i) exp(i(2x-1) / 2s^2) under N(0, s^2).
    fn left(&self, i: f64) -> f64 {
        self.half_line(i, (i - self.cut) / self.width)
    }

    /// The same above the cut, for the term i of the expansion in the inverse ratio: the power of q is a - i.
    fn right(&self, i: f64) -> f64 {
        self.half_line(self.order - i, (self.cut - self.order + i) / self.width)
    }

    /// `q^p (1-q)^(a-p) exp((p^2-p) / 2s^2) erfc(x) / 2`. For x >= 0 the exponents cancel to the weight at the cut.
    fn half_line(&self, p: f64, x: f64) -> f64 {
        if x >= 0.0 {
            self.log_at_cut + libm::log(0.5 * erfcx(x))
        } else {
            let weight = p * self.log_rate + (self.order - p) * self.log_rest;
            weight + (p * p - p) / (2.0 * self.variance) + libm::log(0.5 * libm::erfc(x))
        }
    }
}

/// log(exp(a) + exp(b)).
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + libm::log1p(libm::exp(low - high)) }
}

/// The log of a sum of exponentials, kept as a scale and a factor.
#[derive(Default)]
pub(super) struct LogSum(Option<(f64, f64)>);

impl LogSum {
    pub(super) fn add(&mut self, log_term: f64) {
        if log_term == f64::NEG_INFINITY {
            return;
        }
        self.0 = Some(match self.0 {
            None => (log_term, 1.0),
            Some((scale, factor)) if log_term <= scale => (scale, factor + libm::exp(log_term - scale)),
            Some((scale, factor)) => (log_term, factor * libm::exp(scale - log_term) + 1.0),
        });
    }

    pub(super) fn log(&self) -> f64 {
        self.0.map_or(f64::NEG_INFINITY, |(scale, factor)| scale + libm::log(factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accelerated_sum_is_that_of_the_logarithm() {
        // 1 - 1/2 + 1/3 - ... = ln 2, totally monotone.
        let sum = alternating_sum(|k| 1.0 / (k as f64 + 1.0));
        assert!((sum - core::f64::consts::LN_2).abs() < 1e-15, "{sum}");
    }

    #[test]
    fn extreme_noise_is_never_nan() {
        for noise in [0.0, 1e-300, 1e-160, 1e-3, 1e3, 1e160, 1e300] {
            for rate in [1e-300, 1e-12, 0.5, 1.0 - 1e-15] {
                for order in [1.1, 2.0, 10.9, 63.0, 1024.0] {
                    let got = renyi(rate, noise, order);
                    assert!(got >= 0.0, "z={noise} q={rate} order={order}: {got}");
                    assert!(noise > 1e-3 || rate < 1e-200 || got > 1.0, "z={noise} q={rate} order={order}: {got}");
                }
            }
        }
    }
}
