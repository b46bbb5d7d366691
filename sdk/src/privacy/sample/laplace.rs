//! The discrete Laplace distribution (two-sided geometric).

use super::bernoulli::{below, bernoulli_exp_unit};
use core::num::NonZeroU32;
use rand_core::CryptoRng;

/// `P(x) ~ exp(-abs(x) * s / t)`: scale `t / s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiscreteLaplace {
    t: NonZeroU32,
    s: NonZeroU32,
}

impl DiscreteLaplace {
    /// Of scale `t / s`.
    pub const fn new(t: NonZeroU32, s: NonZeroU32) -> Self {
        Self { t, s }
    }

    /// One sample. `x = u + t v` with `u` uniform, kept with probability `exp(-u / t)`, and `v` geometric has `P(x) ~ exp(-x / t)`;
    /// its quotient by `s` gets a sign, and the zero that has two is drawn again.
    pub fn sample(&self, rng: &mut impl CryptoRng) -> i64 {
        let (t, s) = (u128::from(self.t.get()), u64::from(self.s.get()));
        loop {
            let u = below(t, rng);
            if !bernoulli_exp_unit(u, t, rng) {
                continue;
            }
            // Below 2^31 for certain: each further one has chance 1 / e.
            let mut v = 0u64;
            while v < 1 << 31 && bernoulli_exp_unit(1, 1, rng) {
                v += 1;
            }
            let x = (u as u64 + u64::from(self.t.get()) * v) / s;
            let negative = rng.next_u32() & 1 == 1;
            if negative && x == 0 {
                continue;
            }
            // Below 2^63: u and t are below 2^32, v at most 2^31.
            return if negative { -(x as i64) } else { x as i64 };
        }
    }
}
