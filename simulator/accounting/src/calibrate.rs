//! From a privacy target to the noise that it needs.
//!
//! For rounds without a sampling assumption see [`crate::analytic::noise_multiplier`].

use crate::analytic::bisect;
use crate::error::{check_dp_delta, check_epsilon, check_rate};
use crate::rdp::Curve;
use crate::{Account, Adjacency, Composition, Enforcement, Error, Event, Ledger, Method, Prepared, Release};

/// The least noise multiplier with which `rounds` Poisson-sampled rounds stay within (`epsilon`, `dp_delta`) under
/// add/remove or zero-out.
///
/// A [`Ledger`] that observes the rounds with the result shows an epsilon of at most `epsilon`, and no more
/// than 1e-4 below it, relatively. A rate of 0 needs no noise: 0 comes back. Cost: some ten accounts, that is a fraction of
/// a second.
///
/// ```
/// use siskin_accounting::{Adjacency, Enforcement, Event, Ledger, calibrate};
///
/// let noise_multiplier = calibrate::poisson_noise_multiplier(8.0, 1e-6, 0.05, 2000)?;
/// assert_eq!(format!("{noise_multiplier:.4}"), "1.6428");
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
    if epsilon > 0.0 {
        let release = Release::Uls { noise_multiplier: 1.0, rate };
        let template = Composition::of(Adjacency::AddOrRemove, release, rounds);
        let mut noise_multiplier = noise(&template, epsilon, dp_delta, Method::default())?.noise;
        // A ledger cuts tails off elsewhere than one account of everything: with rare sampling and a small `dp_delta` its epsilon
        // was seen 2e-5 above.
        while ledger_epsilon(noise_multiplier, rate, rounds, dp_delta)? > epsilon {
            noise_multiplier *= 1.0 + 1e-5;
        }
        return Ok(noise_multiplier);
    }
    // Epsilon 0: a bound of the total variation, which the Renyi divergences have.
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

/// What a ledger says of these rounds.
fn ledger_epsilon(noise_multiplier: f64, rate: f64, rounds: u64, dp_delta: f64) -> Result<f64, Error> {
    let mut ledger = Ledger::poisson(Adjacency::AddOrRemove, Enforcement::Assumed)?;
    ledger.observe_many(Event::PoissonGaussian { noise_multiplier, rate }, rounds)?;
    Ok(ledger.guarantee(dp_delta)?.epsilon)
}

/// Noise that meets a target, with the account that it gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibrated {
    /// In the unit of [`Release::with_noise`].
    pub noise: f64,
    /// Its epsilon is at most the target, and within 1e-6 of it, relatively.
    pub account: Account,
}

/// No noise beyond this is tried.
const MOST_NOISE: f64 = 1e9;

/// The least noise, in every release of `template` alike, with which it stays within (`epsilon`, `dp_delta`).
///
/// The noise in `template` does not matter. Cost: some ten accounts.
///
/// ```
/// use siskin_accounting::{Adjacency, Composition, Method, Release, calibrate};
///
/// let release = Release::Els { noise_multiplier: 1.0, rate: 0.01, group: 8 };
/// let template = Composition::of(Adjacency::AddOrRemove, release, 1000);
/// let found = calibrate::noise(&template, 4.0, 1e-6, Method::default())?;
/// assert_eq!(format!("{:.3}", found.noise), "3.166");
/// assert!(found.account.epsilon <= 4.0);
/// # Ok::<(), siskin_accounting::Error>(())
/// ```
///
/// # Errors
/// As [`Composition::account_by`], and [`Error::Epsilon`] unless `epsilon` is above 0, [`Error::NoNoise`],
/// [`Error::Unreachable`].
pub fn noise(template: &Composition, epsilon: f64, dp_delta: f64, method: Method) -> Result<Calibrated, Error> {
    if check_epsilon(epsilon)? == 0.0 {
        return Err(Error::Epsilon { got: epsilon });
    }
    // So that an account with other tails, which differs by less, meets the target too.
    let epsilon = epsilon * (1.0 - 1e-7);
    let at = |log_noise: f64| {
        let noise = libm::exp(log_noise);
        template.with_noise(noise)?.account_by(dp_delta, method).map(|account| Calibrated { noise, account })
    };
    // log epsilon over log noise is smooth and falls: regula falsi (Illinois) between a point on each side.
    let goal = libm::log(epsilon);
    let height = |found: &Calibrated| libm::log(found.account.epsilon.clamp(1e-300, 1e300)) - goal;
    let (mut x, mut found) = (0.0, at(0.0)?);
    let mut step = if found.account.epsilon <= epsilon { -0.7 } else { 0.7 };
    let (mut fails, mut holds, mut best);
    loop {
        let next = at(x + step)?;
        let crossed = (next.account.epsilon <= epsilon) != (found.account.epsilon <= epsilon);
        if crossed {
            let (bad, good) = if step > 0.0 { ((x, found), (x + step, next)) } else { ((x + step, next), (x, found)) };
            fails = (bad.0, height(&bad.1));
            holds = (good.0, height(&good.1));
            best = good.1;
            break;
        }
        x += step;
        if x > libm::log(MOST_NOISE) {
            return Err(Error::Unreachable { epsilon, most: MOST_NOISE });
        }
        if x < -libm::log(MOST_NOISE) {
            // Even almost no noise is enough: nothing is released.
            return Ok(next);
        }
        found = next;
        step *= 1.5;
    }
    for _ in 0..100 {
        if best.account.epsilon >= epsilon * (1.0 - 1e-6) || (fails.0 - holds.0).abs() < 1e-13 {
            break;
        }
        // Aim a little to the private side, where the search must end.
        let share = (fails.1 + 3e-7) / (fails.1 - holds.1);
        let middle = fails.0 + (holds.0 - fails.0) * share.clamp(0.01, 0.99);
        let next = at(middle)?;
        if next.account.epsilon <= epsilon {
            holds = (middle, height(&next));
            best = next;
            fails.1 *= 0.5;
        } else {
            fails = (middle, height(&next));
            holds.1 *= 0.5;
        }
    }
    Ok(best)
}

/// The largest number of times that `release` may happen within (`epsilon`, `dp_delta`); 0 when once is too often.
///
/// A release that says nothing could happen for ever: `u64::MAX`. Otherwise at most 2^40 is found.
///
/// # Errors
/// As [`noise`], but a target of 0 is allowed.
pub fn rounds(
    release: &Release,
    adjacency: Adjacency,
    epsilon: f64,
    dp_delta: f64,
    method: Method,
) -> Result<u64, Error> {
    const MOST: u64 = 1 << 40;
    check_epsilon(epsilon)?;
    check_dp_delta(dp_delta)?;
    // Prepared for as many rounds as are asked for: the tails that may be cut depend on it.
    let mut prepared_for = 0;
    let mut prepared: Option<Prepared> = None;
    let mut private = |rounds: u64| {
        if rounds > prepared_for {
            prepared_for = rounds.saturating_mul(64);
            prepared = None;
        }
        let ready = match prepared.take() {
            Some(ready) => ready,
            None => {
                let composition = Composition::of(adjacency, release.clone(), prepared_for);
                Prepared::new(&composition, dp_delta, method)?
            }
        };
        let account = ready.account_of(dp_delta, &[rounds]);
        prepared = Some(ready);
        Ok(account?.epsilon <= epsilon)
    };
    let (mut holds, mut fails) = (0, 1);
    while private(fails)? {
        holds = fails;
        if fails >= MOST {
            let ends = release.law(adjacency)? == crate::release::Law::Nothing;
            return Ok(if ends { u64::MAX } else { MOST });
        }
        fails *= 2;
    }
    while fails - holds > 1 {
        let middle = holds + (fails - holds) / 2;
        if private(middle)? { holds = middle } else { fails = middle }
    }
    Ok(holds)
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
