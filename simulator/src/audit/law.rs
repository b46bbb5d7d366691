//! Laws of noise on integers, exactly, and whether samples follow them.

use super::statistics::{chi_square, goodness_of_fit, normal_cdf};
use serde::{Deserialize, Serialize};

/// What an integer is drawn from; all are symmetric around 0. The variances are at least `2^-20` and at most `2^32`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// `P(k)` proportional to `exp(-k^2 / 2 variance)` (Canonne, Kamath, Steinke 2020, definition 1). The variance of the
    /// samples is a little below `variance` where that is small.
    DiscreteGaussian {
        /// The parameter.
        variance: f64,
    },
    /// The difference of two Poisson numbers of mean `variance / 2`.
    Skellam {
        /// The variance.
        variance: f64,
    },
    /// A normal deviate rounded to the nearest integer.
    Rounded {
        /// Variance of the deviate.
        variance: f64,
    },
}

impl std::fmt::Display for Law {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Self::DiscreteGaussian { .. } => "discrete Gaussian",
            Self::Skellam { .. } => "Skellam",
            Self::Rounded { .. } => "rounded Gaussian",
        };
        write!(f, "{name}, deviation {:.4} steps", self.variance().sqrt())
    }
}

/// Standard deviations that are listed on either side; what is beyond has less than 1e-23.
const REACH: f64 = 10.0;

impl Law {
    /// The parameter.
    pub fn variance(self) -> f64 {
        match self {
            Self::DiscreteGaussian { variance } | Self::Skellam { variance } | Self::Rounded { variance } => variance,
        }
    }

    /// `P(0), P(1), ...` as far as they matter.
    pub fn half(self) -> Vec<f64> {
        let variance = self.variance();
        let reach = (REACH * variance.sqrt()).ceil() as usize + 12;
        match self {
            Self::DiscreteGaussian { .. } => {
                let weights: Vec<f64> = (0..=reach).map(|k| libm::exp(-0.5 * (k as f64).powi(2) / variance)).collect();
                let total = weights[0] + 2.0 * weights[1..].iter().rev().sum::<f64>();
                weights.into_iter().map(|w| w / total).collect()
            }
            // e^-v I_k(v): the recurrence I_{k-1} = I_{k+1} + 2k/v I_k, downwards from far out, where it is stable (Miller), and
            // scaled by what all of them sum to.
            Self::Skellam { .. } => {
                let start = 2 * reach + 20;
                let mut values = vec![0.0; start + 2];
                values[start] = 1e-300;
                for k in (1..=start).rev() {
                    values[k - 1] = values[k + 1] + 2.0 * k as f64 / variance * values[k];
                    if values[k - 1] > 1e250 {
                        for value in &mut values[k - 1..] {
                            *value *= 1e-250;
                        }
                    }
                }
                let total = values[0] + 2.0 * values[1..].iter().rev().sum::<f64>();
                values.truncate(reach + 1);
                values.into_iter().map(|v| v / total).collect()
            }
            Self::Rounded { .. } => {
                let below = |x: f64| normal_cdf(-x / variance.sqrt());
                (0..=reach).map(|k| below(k as f64 - 0.5) - below(k as f64 + 0.5)).collect()
            }
        }
    }

    /// Pearson's chi-square of samples against the exact probabilities: (statistic, degrees of freedom, probability of as
    /// much or more). Integers that are too rare to be cells of their own are merged.
    pub fn fit(self, samples: impl Iterator<Item = i64>) -> (f64, f64, f64) {
        let half = self.half();
        let last = half.len() - 1;
        // From far below to far above; what is still farther is in the end cells.
        let mut probabilities: Vec<f64> = half.iter().rev().chain(&half[1..]).copied().collect();
        let rest = (1.0 - probabilities.iter().sum::<f64>()).max(0.0) / 2.0;
        probabilities[0] += rest;
        probabilities[2 * last] += rest;
        let mut counts = vec![0u64; probabilities.len()];
        for sample in samples {
            counts[(sample.clamp(-(last as i64), last as i64) + last as i64) as usize] += 1;
        }
        // Of a wide law every cell would be merged with some of its neighbours only on one side: about a hundred are enough.
        let together = (last / 50).max(1);
        let coarse = |values: &[f64]| values.chunks(together).map(|c| c.iter().sum()).collect::<Vec<f64>>();
        let counts: Vec<u64> = counts.chunks(together).map(|c| c.iter().sum()).collect();
        let (statistic, freedom) = goodness_of_fit(&counts, &coarse(&probabilities));
        (statistic, freedom, chi_square(statistic, freedom).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(half: &[f64]) -> (f64, f64) {
        let total = half[0] + 2.0 * half[1..].iter().sum::<f64>();
        (total, 2.0 * half.iter().enumerate().map(|(k, p)| (k as f64).powi(2) * p).sum::<f64>())
    }

    #[test]
    fn probabilities_sum_to_one_and_have_the_variance() {
        for variance in [0.25, 1.0, 9.0, 400.0, 1e6] {
            for law in [Law::DiscreteGaussian { variance }, Law::Skellam { variance }, Law::Rounded { variance }] {
                let (total, got) = moments(&law.half());
                assert!((total - 1.0).abs() < 1e-12, "{law:?}: {total}");
                let expected = match law {
                    // Poisson's summation: beyond a deviation of 2 the variance is the parameter but for 1e-30.
                    Law::DiscreteGaussian { .. } if variance < 4.0 => continue,
                    // Sheppard's correction, which is exact but for as little.
                    Law::Rounded { .. } if variance < 4.0 => continue,
                    Law::Rounded { .. } => variance + 1.0 / 12.0,
                    _ => variance,
                };
                assert!((got / expected - 1.0).abs() < 1e-9, "{law:?}: {got}");
            }
        }
    }

    #[test]
    fn known_probabilities() {
        // e^-1 I_0(1), e^-1 I_1(1); Abramowitz and Stegun, table 9.8.
        let skellam = Law::Skellam { variance: 1.0 }.half();
        assert!((skellam[0] - 0.465_759_607_6).abs() < 1e-9 && (skellam[1] - 0.207_910_415_4).abs() < 1e-9);
        // Ratios of neighbours.
        let gaussian = Law::DiscreteGaussian { variance: 2.0 }.half();
        assert!((gaussian[1] / gaussian[0] - libm::exp(-0.25)).abs() < 1e-12);
    }

    #[test]
    fn a_fit_tells_laws_apart() {
        // As many of each integer as the law says: the statistic is what the other law alone adds.
        let n = 4e6;
        let half = Law::DiscreteGaussian { variance: 9.0 }.half();
        let exact: Vec<i64> = (-20i64..=20)
            .flat_map(|k| std::iter::repeat_n(k, (n * half[k.unsigned_abs() as usize]).round() as usize))
            .collect();
        let fit = |law: Law| law.fit(exact.iter().copied()).2;
        assert!(fit(Law::DiscreteGaussian { variance: 9.0 }) > 0.999);
        // Sheppard's twelfth, a percent of the variance, and the fourth moment of a Skellam show in four million samples.
        assert!(fit(Law::DiscreteGaussian { variance: 9.1 }) < 1e-6);
        assert!(fit(Law::Skellam { variance: 9.0 }) < 1e-6);
        assert!(fit(Law::Rounded { variance: 9.0 }) < 1e-6);
    }
}
