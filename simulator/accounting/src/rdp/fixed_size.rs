//! A Gaussian on a cohort of fixed size, drawn without replacement, when one user becomes another.
//!
//! Wang, Balle, Kasiviswanathan 2019, "Subsampled Renyi Differential Privacy and Analytical Moments Accountant",
//! theorem 27. For a whole order a, with q the sampled share and e(j) = exp(j (j-1) / 2 s^2) the j-th moment of the
//! unsampled likelihood ratio r, log A is at most
//!
//! `log(1 + q^2 C(a,2) min(4 (e(2) - 1), 2 e(2)) + sum over j >= 3 of q^j C(a,j) min(4 sqrt(B(2 floor(j/2)) B(2 ceil(j/2))), 2 e(j)))`
//!
//! with B(l) = E (r - 1)^l. Between whole orders log A is convex (corollary 10), so a chord is a bound.

use super::sampled_gaussian::LogSum;

/// log B(l) by quadrature instead of alternating binomial sums, which cancel: for even l every term is positive.
const MOST_ORDER: usize = 256;

#[derive(Debug)]
pub(super) struct FixedSize {
    log_share: f64,
    log_rest_sum: Vec<f64>,
    half_inverse_variance: f64,
}

impl FixedSize {
    /// A share in (0, 1) and noise above 0; prepared for `orders`.
    pub(super) fn new(share: f64, noise: f64, orders: &[f64]) -> Self {
        let most = orders.iter().fold(2.0, |most: f64, &order| most.max(libm::ceil(order)));
        let most = (most as usize).min(MOST_ORDER);
        let log_central = (0..=most / 2 + 1).map(|half| log_central_moment(2 * half, noise)).collect();
        Self { log_share: libm::log(share), log_rest_sum: log_central, half_inverse_variance: 0.5 / (noise * noise) }
    }

    pub(super) fn renyi(&self, order: f64) -> f64 {
        let (below, above) = (libm::floor(order), libm::ceil(order));
        let left = if below <= 1.0 { 0.0 } else { self.log_moment(below) };
        let moment = if below == order { left } else { left + (order - below) * (self.log_moment(above) - left) };
        // Sampling never hurts.
        (moment / (order - 1.0)).min(order * self.half_inverse_variance)
    }

    fn log_moment(&self, order: f64) -> f64 {
        let log_plain = |j: f64| j * (j - 1.0) * self.half_inverse_variance;
        let mut sum = LogSum::default();
        sum.add(0.0);
        let mut log_binomial = libm::log(order);
        let mut j = 2.0;
        while j <= order {
            log_binomial += libm::log((order - j + 1.0) / j);
            let plain = libm::log(2.0) + log_plain(j);
            let index = j as usize;
            let bound = if index == 2 {
                plain.min(libm::log(4.0) + libm::log(libm::expm1(log_plain(2.0))))
            } else if order <= MOST_ORDER as f64 {
                let pair = self.log_rest_sum[index / 2] + self.log_rest_sum[index.div_ceil(2)];
                plain.min(libm::log(4.0) + 0.5 * pair)
            } else {
                plain
            };
            sum.add(log_binomial + j * self.log_share + bound);
            j += 1.0;
        }
        sum.log()
    }
}

/// log E (r - 1)^l for an even l, with r = exp(y/s - 1/2s^2) and y standard normal.
///
/// The trapezoidal rule on the line: the integrand is entire and dies like a normal density, so that with steps of 1/16
/// its error is far below the last place (Trefethen & Weideman 2014).
fn log_central_moment(l: usize, noise: f64) -> f64 {
    const STEPS: i64 = 16;
    if l == 0 {
        return 0.0;
    }
    let (power, inverse) = (l as f64, 1.0 / noise);
    // The mass lies around 0 and around l / s.
    let reach = libm::ceil((power * inverse + 14.0) * STEPS as f64) as i64;
    let mut sum = LogSum::default();
    for i in -14 * STEPS..=reach {
        let y = i as f64 / STEPS as f64;
        let ratio_log = (y - 0.5 * inverse) * inverse;
        let log_excess = if ratio_log > 1.0 {
            ratio_log + libm::log1p(-libm::exp(-ratio_log))
        } else {
            libm::log(libm::expm1(ratio_log).abs())
        };
        sum.add(power * log_excess - 0.5 * y * y);
    }
    sum.log() - libm::log(STEPS as f64 * (2.0 * core::f64::consts::PI).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn central_moments_agree_with_binomial_sums() {
        for noise in [0.7_f64, 1.0, 2.0] {
            let moment = |j: f64| libm::exp(0.5 * j * (j - 1.0) / (noise * noise));
            let second = moment(2.0) - 1.0;
            let fourth = moment(4.0) - 4.0 * moment(3.0) + 6.0 * moment(2.0) - 3.0;
            for (l, want) in [(2, second), (4, fourth)] {
                let got = libm::exp(log_central_moment(l, noise));
                assert!((got / want - 1.0).abs() < 1e-12, "s={noise} l={l}: {got} {want}");
            }
        }
    }
}
