//! Random numbers that are the same on every platform: ChaCha8, and float functions of the crate `libm`.
//!
//! `rand_distr` takes its float functions from `num-traits`, hence from the platform's libm as soon as any crate of the
//! build asks `num-traits` for `std`; so the three distributions are written out.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

pub(super) struct Random(ChaCha8Rng);

impl Random {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut key = *b"........siskin, virtual writers.";
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut random = ChaCha8Rng::from_seed(key);
        random.set_stream(stream);
        Self(random)
    }

    /// In [0, 1), 53 bits.
    pub(super) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn uniform(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.unit()
    }

    /// In `0..n`, without bias (Lemire 2019, "Fast random integer generation in an interval", algorithm 5). `n` > 0.
    pub(super) fn below(&mut self, n: u32) -> u32 {
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.0.next_u32()) * u64::from(n);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// Fisher and Yates.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }

    /// Standard normal (Box and Muller 1958; the cosine alone, so that nothing is carried from call to call).
    pub(super) fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// Logarithm of a Gamma(`alpha`, 1) variable (Marsaglia and Tsang 2000, "A simple method for generating gamma
    /// variables", sections 2 and 6). Always of alpha + 1, brought down by `U^(1/alpha)`: in logarithms, since for a small
    /// alpha that power underflows.
    fn log_gamma_variable(&mut self, alpha: f64) -> f64 {
        let d = alpha + 1.0 - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        let log_v = loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            let log_v = libm::log(v);
            if libm::log(1.0 - self.unit()) < 0.5 * x * x + d - d * v + d * log_v {
                break log_v;
            }
        };
        libm::log(d) + log_v + libm::log(1.0 - self.unit()) / alpha
    }

    /// Symmetric Dirichlet(`alpha`): Gamma variables over their sum.
    pub(super) fn dirichlet<const N: usize>(&mut self, alpha: f64) -> [f64; N] {
        let logs: [f64; N] = std::array::from_fn(|_| self.log_gamma_variable(alpha));
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares = logs.map(|l| libm::exp(l - most));
        let sum: f64 = shares.iter().sum();
        shares.map(|s| s / sum)
    }

    /// An index, as likely as its share; the shares sum to 1.
    pub(super) fn weighted(&mut self, shares: &[f64]) -> usize {
        let mut left = self.unit();
        for (i, share) in shares.iter().enumerate() {
            left -= share;
            if left < 0.0 {
                return i;
            }
        }
        // The sum may round to a little less than 1: then it is the likeliest.
        (0..shares.len()).max_by(|&a, &b| shares[a].total_cmp(&shares[b])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Means and variances against theory, 20,000 draws with a fixed seed. Each bound is five standard errors (two-sided
    /// alpha of 6e-7 a check, were the seed free).
    #[test]
    fn distributions_have_their_moments() {
        let n = 20_000u32;
        let mut random = Random::new(7, 0);
        let normals: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let (mean, square) = moments(&normals);
        assert!(mean.abs() < 5.0 / (f64::from(n)).sqrt(), "{mean}");
        assert!((square - 1.0).abs() < 5.0 * (2.0 / f64::from(n)).sqrt(), "{square}");
        for alpha in [0.1, 0.3, 1.0, 4.5] {
            // Gamma(a, 1): mean a, variance a, fourth central moment 3a^2 + 6a.
            let gammas: Vec<f64> = (0..n).map(|_| random.log_gamma_variable(alpha).exp()).collect();
            let (mean, square) = moments(&gammas);
            assert!((mean - alpha).abs() < 5.0 * (alpha / f64::from(n)).sqrt(), "alpha {alpha}: mean {mean}");
            let variance = square - mean * mean;
            let error = ((3.0 * alpha * alpha + 6.0 * alpha - alpha * alpha) / f64::from(n)).sqrt();
            assert!((variance - alpha).abs() < 5.0 * error, "alpha {alpha}: variance {variance}");
            // Dirichlet share of 10: mean 1/10, variance 0.09 / (10 alpha + 1).
            let shares: Vec<f64> = (0..n).map(|_| random.dirichlet::<10>(alpha)[3]).collect();
            let (mean, square) = moments(&shares);
            let variance = 0.09 / (10.0 * alpha + 1.0);
            assert!((mean - 0.1).abs() < 5.0 * (variance / f64::from(n)).sqrt(), "alpha {alpha}: share {mean}");
            assert!((square - mean * mean - variance).abs() < 0.1 * variance, "alpha {alpha}: share variance");
        }
    }

    #[test]
    fn bounded_integers_are_even_and_tiny_alpha_is_finite() {
        let mut random = Random::new(7, 1);
        let mut counts = [0u32; 6];
        (0..60_000).for_each(|_| counts[random.below(6) as usize] += 1);
        // Five standard deviations of Binomial(60,000, 1/6): 456.
        assert!(counts.iter().all(|&c| c.abs_diff(10_000) < 457), "{counts:?}");
        let shares = random.dirichlet::<10>(0.001);
        assert!(shares.iter().all(|s| s.is_finite()) && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{shares:?}");
    }

    fn moments(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        (values.iter().sum::<f64>() / n, values.iter().map(|v| v * v).sum::<f64>() / n)
    }
}
