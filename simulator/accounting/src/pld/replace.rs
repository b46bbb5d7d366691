//! A Poisson-sampled Gaussian when one user becomes another: P = (1-q) N(0, s^2) + q N(-1, s^2) against
//! Q = (1-q) N(0, s^2) + q N(1, s^2). Doubling the sensitivity of a *sampled* Gaussian would be wrong.

use super::mixture::normal;
use super::pair::{Pair, Tails};

/// `rate` in (0, 1], `sigma` above 0. Outcomes are in units of s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SampledReplaced {
    rate: f64,
    /// 1 / s.
    shift: f64,
}

impl SampledReplaced {
    pub(crate) fn new(sigma: f64, rate: f64) -> Self {
        Self { rate, shift: 1.0 / sigma }
    }

    /// log(1 - q + q exp(t)) and its derivative by t.
    fn sampled(&self, t: f64) -> (f64, f64) {
        let (rest, most) = (1.0 - self.rate, t.max(0.0));
        let (near, far) = (rest * libm::exp(-most), self.rate * libm::exp(t - most));
        (most + libm::log(near + far), far / (near + far))
    }
}

impl Pair for SampledReplaced {
    fn loss(&self, x: f64) -> (f64, f64) {
        let half = 0.5 * self.shift * self.shift;
        let (up, up_slope) = self.sampled(-self.shift * x - half);
        let (down, down_slope) = self.sampled(self.shift * x - half);
        (up - down, self.shift * (up_slope + down_slope))
    }

    fn least_loss(&self) -> f64 {
        f64::NEG_INFINITY
    }

    fn span(&self, tail: f64) -> (f64, f64) {
        let (mut outside, mut inside) = (-self.shift - 40.0, 0.0);
        while inside - outside > 1e-3 {
            let middle = 0.5 * (outside + inside);
            if self.tails(middle).p_low <= tail { outside = middle } else { inside = middle }
        }
        (outside, -outside)
    }

    fn tails(&self, x: f64) -> Tails {
        let (middle, left, right) = (normal(x), normal(x + self.shift), normal(x - self.shift));
        let (rest, rate) = (1.0 - self.rate, self.rate);
        Tails {
            p_low: rest * middle.0 + rate * left.0,
            p_up: rest * middle.1 + rate * left.1,
            q_low: rest * middle.0 + rate * right.0,
            q_up: rest * middle.1 + rate * right.1,
        }
    }

    fn missing(&self) -> f64 {
        0.0
    }

    fn symmetric(&self) -> bool {
        true
    }
}
