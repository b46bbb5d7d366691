//! A Poisson cohort with a cap: where more users come than the cap admits, a uniform subset of that size takes part.
//!
//! Method of dp_accounting's supplementary material, section 4.3: given that the sensitive user's round is not truncated
//! it is a Poisson-sampled Gaussian; if it is, the user displaces another one, a change of up to 2C, and replace-one at
//! twice the sensitivity with the conditional probability of being in is a bound (slightly loose). Which of the two it
//! was is given away to the adversary.

use super::binomial::at_least;
use super::pmf::Directions;
use super::{Grid, Mixture, SampledReplaced, discretise};

/// `sigma` above 0, `rate` in (0, 1), `population` and `cap` at least 1.
pub(crate) fn truncated_poisson(sigma: f64, rate: f64, population: u64, cap: u64, grid: Grid) -> Directions {
    let sampled = discretise(&Mixture::new(sigma, &[1.0 - rate, rate], &[0.0, 1.0], 0.0), grid);
    // The others alone fill the cohort.
    let full = at_least(population - 1, rate, cap);
    if full == 0.0 {
        return sampled;
    }
    // Of the truncated cohorts, the share that has the user in. Both probabilities are rounded up, by 1e-9; the ratio too.
    let inside =
        (at_least(population, rate, cap + 1) * cap as f64 / full / population as f64 * (1.0 + 4e-9)).clamp(0.0, 1.0);
    if inside == 0.0 {
        return sampled;
    }
    let replaced = discretise(&SampledReplaced::new(0.5 * sigma, inside), grid);
    Directions {
        remove: replaced.remove.mixed(full, &sampled.remove),
        add: Some(replaced.adding().mixed(full, sampled.adding())),
    }
}
