//! From a privacy target to the noise that it needs.
//!
//! For rounds without a sampling assumption see [`crate::analytic::noise_multiplier`].

use crate::analytic::bisect;
use crate::error::{check_dp_delta, check_epsilon, check_rate};
use crate::rdp::Curve;
use crate::{Adjacency, Error, Event};

/// The least noise multiplier with which `rounds` Poisson-sampled rounds stay within (`epsilon`, `dp_delta`) under
/// add/remove or zero-out, by the RDP accountant over its default orders.
///
/// A [`Ledger`](crate::Ledger) that observes the rounds with the result shows an epsilon of at most `epsilon`. Because
/// the accountant is an upper bound, this is more noise than a tight accountant would ask for (less than 15 % more on
/// every golden; `tests/golden.rs` asserts it). A rate of 0 needs no noise: 0 comes back. Cost: some 60 curves, that is
/// tens of milliseconds.
///
/// ```
/// use siskin_accounting::{Adjacency, Enforcement, Event, Ledger, calibrate};
///
/// let noise_multiplier = calibrate::poisson_noise_multiplier(8.0, 1e-6, 0.05, 2000)?;
/// assert_eq!(format!("{noise_multiplier:.4}"), "1.7240");
///
/// let mut ledger = Ledger::poisson(Adjacency::AddOrRemove, Enforcement::Enforced)?;
/// ledger.observe_many(Event::PoissonGaussian { noise_multiplier, rate: 0.05 }, 2000)?;
/// assert!(ledger.guarantee(1e-6)?.epsilon <= 8.0);
/// # Ok::<(), siskin_accounting::Error>(())
/// ```
///
/// # Errors
/// [`Error::Epsilon`], [`Error::DpDelta`], [`Error::Rate`]; [`Error::Rounds`] for 0.
pub fn poisson_noise_multiplier(epsilon: f64, dp_delta: f64, rate: f64, rounds: u64) -> Result<f64, Error> {
    check_epsilon(epsilon)?;
    check_dp_delta(dp_delta)?;
    check_rate(rate)?;
    if rounds == 0 {
        return Err(Error::Rounds { got: 0 });
    }
    if rate == 0.0 {
        return Ok(0.0);
    }
    let zero = Curve::zero();
    let enough = |noise_multiplier: f64| {
        let mut released = zero.clone();
        let one = zero.of(Event::PoissonGaussian { noise_multiplier, rate }, Adjacency::AddOrRemove);
        one.is_ok_and(|one| {
            released.compose(&one, rounds);
            released.epsilon(dp_delta).is_ok_and(|converted| converted.epsilon <= epsilon)
        })
    };
    // Epsilon falls from infinity to 0 as the noise grows, so both loops end.
    let (mut low, mut high) = (1.0, 1.0);
    while !enough(high) {
        low = high;
        high *= 2.0;
    }
    while enough(low) {
        high = low;
        low *= 0.5;
    }
    Ok(bisect(low, high, enough))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_targets_are_refused() {
        let calibrate = poisson_noise_multiplier;
        assert_eq!(calibrate(-1.0, 1e-5, 0.1, 1), Err(Error::Epsilon { got: -1.0 }));
        assert_eq!(calibrate(f64::INFINITY, 1e-5, 0.1, 1), Err(Error::Epsilon { got: f64::INFINITY }));
        assert_eq!(calibrate(1.0, 0.0, 0.1, 1), Err(Error::DpDelta { got: 0.0 }));
        assert_eq!(calibrate(1.0, 1e-5, 1.1, 1), Err(Error::Rate { got: 1.1 }));
        assert_eq!(calibrate(1.0, 1e-5, 0.1, 0), Err(Error::Rounds { got: 0 }));
    }

    #[test]
    fn targets_at_the_edges_have_an_answer() {
        assert_eq!(poisson_noise_multiplier(1.0, 1e-5, 0.0, 10), Ok(0.0));
        assert!(poisson_noise_multiplier(0.0, 1e-5, 0.1, 10).unwrap() > 1e3);
        assert!(poisson_noise_multiplier(500.0, 1e-5, 0.1, 10).unwrap() < 0.5);
    }
}
