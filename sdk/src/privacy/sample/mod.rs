//! Exact samplers of integer noise: integer arithmetic on random words, no float, no table, no memory.
//!
//! | sampler | distribution | source |
//! |---|---|---|
//! | [`below`] | uniform on `0..n` | Lemire 2019, "Fast random integer generation in an interval" |
//! | [`bernoulli`], [`bernoulli_exp`] | true with probability `a / b`, `exp(-a / b)` | Canonne, Kamath, Steinke 2020, algorithm 1 |
//! | [`DiscreteLaplace`] | `P(x) ~ exp(-abs(x) * s / t)` | the same, algorithm 2 |
//! | [`DiscreteGaussian`] | `P(x) ~ exp(-x^2 / (2 sigma^2))` | the same, algorithm 3 |
//! | [`Skellam`] | difference of two Poissons of mean `variance / 2` | Agarwal, Kairouz, Liu 2021 (2110.04995); see [`Skellam`] |
//!
//! "Exact" means that, if the generator's words are independent and uniform, each distribution is the one that is named, to
//! no error at all: every decision compares a uniform integer with an integer. (Floating-point samplers have holes that
//! reveal what was noised: Mironov 2012.) Targets agree to the bit.
//!
//! Each takes a variable number of words, so its time depends on the sample, not on what the sample is added to.
//!
//! In the time of a 64-bit word of ChaCha20, measured side by side (`benches/noise.rs` has the numbers and the machine's load): a
//! coin [`bernoulli_exp`] 2 to 8, a discrete Gaussian 22 to 40 for deviations of 0.5 to 65,536, a Skellam 21, 40, 440 and 13,000 for
//! deviations of 0.5, 2, 10 and 64.

mod bernoulli;
mod gaussian;
mod laplace;
mod skellam;
#[cfg(test)]
mod tests;
mod variance;

pub use bernoulli::{below, bernoulli, bernoulli_exp};
pub use gaussian::DiscreteGaussian;
pub use laplace::DiscreteLaplace;
pub use skellam::{MAX_SKELLAM_DEVIATION, Skellam};
pub use variance::{DeviationError, MAX_DEVIATION, Variance};
