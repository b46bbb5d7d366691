//! Any composition of releases, and what it guarantees.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::error::check_epsilon;
use crate::guarantee::{Round, rounded};
use crate::pld::DEFAULT_INTERVAL;
use crate::rdp::Curve;
use crate::release::Law;
use crate::{Accountant, Adjacency, Error, Prepared, Release, Unit};

/// A release and how many times it happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// How many times, at least 1.
    pub rounds: u64,
    /// What.
    pub release: Release,
}

/// Releases one after another, on the data of the same users, each of which may depend on the earlier ones' results (but
/// not how much noise and which rates: those are fixed beforehand).
///
/// ```
/// use siskin_accounting::{Adjacency, Composition, Release};
///
/// let text = r#"{
///     "adjacency": "add_or_remove",
///     "events": [
///         {"rounds": 500, "release": {"mechanism": "uls", "noise_multiplier": 1.0, "rate": 0.01}},
///         {"rounds": 500, "release": {"mechanism": "uls", "noise_multiplier": 2.0, "rate": 0.01}}
///     ]
/// }"#;
/// let composition: Composition = serde_json::from_str(text)?;
/// let account = composition.account(1e-6)?;
/// assert_eq!(format!("{:.5}", account.epsilon), "1.65386");
/// assert!(account.add_epsilon < account.remove_epsilon);
/// assert_eq!(account.to_string(), "epsilon 1.66 at dp_delta 1e-6 (user-level, add/remove; T=1000; tight PLD)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Composition {
    /// What is compared with what.
    pub adjacency: Adjacency,
    /// In order; at least one.
    pub events: Vec<Counted>,
}

/// How an account is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Method {
    /// Gap of the grid of privacy losses; finer is tighter and slower. Doubled where the grid would be too long, and
    /// refined for an epsilon below 500 gaps if `refine` is set.
    pub interval: f64,
    /// Whether to refine the grid for a small epsilon.
    pub refine: bool,
    /// The accountant; by default the tightest one that knows all the mechanisms.
    pub accountant: Option<Accountant>,
}

impl Default for Method {
    fn default() -> Self {
        Self { interval: DEFAULT_INTERVAL, refine: true, accountant: None }
    }
}

/// (epsilon, dp_delta)-differential privacy of a [`Composition`], and how it follows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Account {
    /// At least 0; infinite when there is no guarantee. The larger of the two directions.
    #[serde(
        serialize_with = "crate::guarantee::number_or_inf",
        deserialize_with = "crate::guarantee::from_number_or_inf"
    )]
    pub epsilon: f64,
    /// In (0, 1).
    pub dp_delta: f64,
    /// Which populations are hard to tell apart.
    pub adjacency: Adjacency,
    /// Epsilon when the user's data are in the first of the two populations.
    #[serde(
        serialize_with = "crate::guarantee::number_or_inf",
        deserialize_with = "crate::guarantee::from_number_or_inf"
    )]
    pub remove_epsilon: f64,
    /// Epsilon the other way round.
    #[serde(
        serialize_with = "crate::guarantee::number_or_inf",
        deserialize_with = "crate::guarantee::from_number_or_inf"
    )]
    pub add_epsilon: f64,
    /// How epsilon was computed.
    pub accountant: Accountant,
    /// Gap of the grid of privacy losses, where there is one.
    pub interval: Option<f64>,
    /// Releases in all.
    pub rounds: u64,
}

/// One line that stands on its own; epsilon is rounded up in it.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epsilon.is_finite() {
            write!(f, "epsilon {}", rounded(self.epsilon, 3, Round::Up))?;
        } else {
            f.write_str("no guarantee: epsilon is infinite")?;
        }
        let Self { dp_delta, adjacency, rounds, accountant, .. } = self;
        write!(f, " at dp_delta {dp_delta:e} ({}, {adjacency}; T={rounds}; {accountant})", Unit::User)
    }
}

/// One point of epsilon over rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// After so many rounds.
    pub rounds: u64,
    /// As in [`Account`].
    #[serde(
        serialize_with = "crate::guarantee::number_or_inf",
        deserialize_with = "crate::guarantee::from_number_or_inf"
    )]
    pub epsilon: f64,
}

impl Composition {
    /// One release, so many times.
    pub fn of(adjacency: Adjacency, release: Release, rounds: u64) -> Self {
        Self { adjacency, events: vec![Counted { rounds, release }] }
    }

    /// Releases in all; saturates.
    pub fn rounds(&self) -> u64 {
        self.events.iter().fold(0, |sum, event| sum.saturating_add(event.rounds))
    }

    /// The same with this much noise in every release, as in [`Release::with_noise`].
    ///
    /// # Errors
    /// [`Error::NoNoise`].
    pub fn with_noise(&self, noise: f64) -> Result<Self, Error> {
        let events: Result<_, Error> = self
            .events
            .iter()
            .map(|event| Ok(Counted { rounds: event.rounds, release: event.release.with_noise(noise)? }))
            .collect();
        Ok(Self { adjacency: self.adjacency, events: events? })
    }

    /// The tightest account known here at `dp_delta`.
    ///
    /// Cost: milliseconds to tens of milliseconds for each distinct mechanism, whatever the rounds.
    ///
    /// # Errors
    /// Whatever a release is refused for; [`Error::Rounds`] for an event of 0 rounds, or no event; [`Error::DpDelta`];
    /// [`Error::NoAccountant`] when no accountant knows all the mechanisms.
    pub fn account(&self, dp_delta: f64) -> Result<Account, Error> {
        self.account_by(dp_delta, Method::default())
    }

    /// The same by a given method.
    ///
    /// # Errors
    /// As [`Self::account`], and [`Error::Interval`].
    pub fn account_by(&self, dp_delta: f64, method: Method) -> Result<Account, Error> {
        crate::error::check_dp_delta(dp_delta)?;
        let prepared = Prepared::new(self, dp_delta, method)?;
        let account = prepared.account(dp_delta)?;
        let refinable = account.accountant == Accountant::Pld && method.refine;
        if refinable && account.epsilon > 0.0 && account.epsilon < 500.0 * method.interval {
            // An error of a gap's order would show in the digits: take some thousand gaps.
            let interval = (account.epsilon / 1000.0).max(1e-3 * method.interval);
            let fine = Method { interval, refine: false, accountant: method.accountant };
            let finer = Prepared::new(self, dp_delta, fine)?.account(dp_delta)?;
            return Ok(if finer.epsilon < account.epsilon { finer } else { account });
        }
        Ok(account)
    }

    /// The least dp_delta known here at `epsilon`, in [0, 1].
    ///
    /// # Errors
    /// As [`Self::account_by`], with [`Error::Epsilon`] instead of [`Error::DpDelta`].
    pub fn dp_delta(&self, epsilon: f64, method: Method) -> Result<f64, Error> {
        check_epsilon(epsilon)?;
        // The tails that may be cut off depend on the answer.
        let mut expected = 1e-12;
        loop {
            let prepared = Prepared::new(self, expected, method)?;
            let delta = prepared.dp_delta(epsilon)?;
            if delta >= 0.1 * expected || expected < 1e-280 {
                return Ok(delta);
            }
            expected = (0.5 * delta).min(1e-10 * expected);
        }
    }

    /// Epsilon after each of these numbers of rounds, taken from the front of the events; numbers above
    /// [`Self::rounds`] count as that.
    ///
    /// # Errors
    /// As [`Self::account`].
    pub fn curve(&self, dp_delta: f64, rounds: &[u64]) -> Result<Vec<Point>, Error> {
        let prepared = Prepared::new(self, dp_delta, Method::default())?;
        rounds
            .iter()
            .map(|&rounds| {
                let rounds = rounds.min(self.rounds());
                Ok(Point { rounds, epsilon: prepared.account_of(dp_delta, &self.first(rounds))?.epsilon })
            })
            .collect()
    }

    /// The upper bound by Renyi divergences, where all the mechanisms have one: a check on the tight value.
    ///
    /// # Errors
    /// As [`Self::account`].
    pub fn rdp_epsilon(&self, dp_delta: f64) -> Result<Option<f64>, Error> {
        self.checked_laws()?;
        let Some(curve) = self.renyi()? else { return Ok(None) };
        Ok(Some(curve.epsilon(dp_delta)?.epsilon))
    }

    fn renyi(&self) -> Result<Option<Curve>, Error> {
        let mut sum = Curve::zero();
        for event in &self.events {
            let Some(one) = sum.of_release(&event.release, self.adjacency)? else { return Ok(None) };
            sum.compose(&one, event.rounds);
        }
        Ok(Some(sum))
    }

    pub(crate) fn checked_laws(&self) -> Result<Vec<Law>, Error> {
        if self.events.iter().any(|event| event.rounds == 0) || self.events.is_empty() {
            return Err(Error::Rounds { got: 0 });
        }
        self.events.iter().map(|event| event.release.law(self.adjacency)).collect()
    }

    /// How often each event has happened after so many rounds.
    fn first(&self, rounds: u64) -> Vec<u64> {
        let mut left = rounds;
        self.events
            .iter()
            .map(|event| {
                let taken = event.rounds.min(left);
                left -= taken;
                taken
            })
            .collect()
    }
}
