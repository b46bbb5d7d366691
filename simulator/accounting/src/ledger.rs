//! What has been released so far, round by round.

use serde::{Deserialize, Serialize};

use crate::rdp::Curve;
use crate::{
    Accountant, Adjacency, Composition, Counted, Enforcement, Error, Event, Guarantee, Mechanism, Method, Prepared,
    Range, SamplingAssumption, Unit, analytic,
};

/// A streaming account: [`observe`](Self::observe) each round, ask for the [`guarantee`](Self::guarantee) at any time.
///
/// A ledger with no rounds is valid: nothing was released, epsilon is 0, and the guarantee says so. A new kind of event
/// costs some ten milliseconds in `observe`, a repeated one under a microsecond; a query costs milliseconds whatever the
/// number of rounds.
///
/// Noise and rates may depend on earlier results only in a run that stops at a budget fixed beforehand (Feldman & Zrnic
/// 2021, "Individual Privacy Accounting via a Renyi Filter"); otherwise fix them in advance.
///
/// Serialises with serde as its assumptions and the list of distinct events with their counts, and is checked again
/// when read, so that a server can keep it across restarts.
///
/// ```
/// use siskin_accounting::{Adjacency, Enforcement, Event, Ledger};
///
/// let mut ledger = Ledger::poisson(Adjacency::AddOrRemove, Enforcement::Assumed)?;
/// for round in 0..30 {
///     let noise_multiplier = if round < 20 { 1.0 } else { 0.8 };
///     ledger.observe(Event::PoissonGaussian { noise_multiplier, rate: 0.02 })?;
/// }
/// assert_eq!(
///     ledger.guarantee(1e-5)?.to_string(),
///     "epsilon 1.62 at dp_delta 1e-5 (user-level, add/remove; Gaussian z=0.80 to 1.00 on Poisson-sampled rounds, \
///      q=0.02, T=30; tight PLD; sampling ASSUMED, not enforced)"
/// );
/// # Ok::<(), siskin_accounting::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Record", into = "Record")]
pub struct Ledger {
    record: Record,
    /// Sum of the counts in `record`; saturates.
    rounds: u64,
    /// Noise multipliers and rates in `record`; none before the first round.
    ranges: Option<(Range, Range)>,
    /// Always that of `record`.
    total: Total,
}

/// What determines a ledger, and what is written down of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    adjacency: Adjacency,
    claim: Claim,
    /// Distinct events in the order in which they came first, each with its rounds (>= 1).
    events: Vec<(Event, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Claim {
    Poisson(Enforcement),
    /// At least 1.
    MaxParticipations(u64),
}

/// The sum over the rounds that the claim's accountant needs.
#[derive(Clone, Debug)]
enum Total {
    Sampled {
        sum: Curve,
        /// The latest distinct events and their curves, at most [`KEPT_CURVES`]; the oldest is replaced first.
        kept: Vec<(Event, Curve)>,
        next: usize,
        /// The privacy losses of the record's events, in order; `None` before the first, and for good once there are
        /// more than [`KEPT_CURVES`] kinds.
        tight: Option<Box<Prepared>>,
    },
    /// mu^2 of the worst user: 1/z^2 summed over the `max_participations` rounds with the least noise.
    Gaussian { mu_squared: f64 },
}

/// A run has one event, or a few by turns; adaptive noise makes each round a new one, and need not be kept: then the bound
/// by Renyi divergences is given, which needs a sum only.
const KEPT_CURVES: usize = 16;

/// The tails that are cut off every round's losses are negligible for a dp_delta down to this, over [`TIGHT_ROUNDS`].
const TIGHT_DELTA: f64 = 1e-12;
const TIGHT_ROUNDS: u64 = 1 << 16;

impl Ledger {
    /// An account of Poisson-sampled rounds, by privacy-loss distributions; by Renyi divergences when there are more than
    /// 16 kinds of rounds.
    ///
    /// # Errors
    /// [`Error::SampledAdjacency`] for replace-one: a ledger must be able to fall back on Renyi divergences, which have no
    /// sampled bound here. A [`Composition`] has one.
    pub fn poisson(adjacency: Adjacency, enforcement: Enforcement) -> Result<Self, Error> {
        if adjacency == Adjacency::ReplaceOne {
            return Err(Error::SampledAdjacency { got: adjacency });
        }
        let total = Total::Sampled { sum: Curve::zero(), kept: Vec::new(), next: 0, tight: None };
        Ok(Self {
            record: Record { adjacency, claim: Claim::Poisson(enforcement), events: Vec::new() },
            rounds: 0,
            ranges: None,
            total,
        })
    }

    /// An account without any assumption on who takes part when, except that no user does so in more than
    /// `max_participations` rounds: exact, by the analytic Gaussian. Sampled events are taken at rate 1.
    ///
    /// Where a user who was in round t may not be in another before t + b, T rounds allow ceil(T / b) participations.
    ///
    /// # Errors
    /// [`Error::MaxParticipations`] for 0.
    pub fn unsampled(adjacency: Adjacency, max_participations: u64) -> Result<Self, Error> {
        if max_participations == 0 {
            return Err(Error::MaxParticipations { got: 0 });
        }
        let claim = Claim::MaxParticipations(max_participations);
        let record = Record { adjacency, claim, events: Vec::new() };
        Ok(Self { record, rounds: 0, ranges: None, total: Total::Gaussian { mu_squared: 0.0 } })
    }

    /// Adds one round.
    ///
    /// # Errors
    /// [`Error::NoiseMultiplier`], [`Error::Rate`]; the ledger is then unchanged.
    pub fn observe(&mut self, round: Event) -> Result<(), Error> {
        self.observe_many(round, 1)
    }

    /// Adds `rounds` equal rounds; none when 0.
    ///
    /// # Errors
    /// [`Error::NoiseMultiplier`], [`Error::Rate`]; the ledger is then unchanged.
    pub fn observe_many(&mut self, round: Event, rounds: u64) -> Result<(), Error> {
        let round = round.checked()?;
        if rounds == 0 {
            return Ok(());
        }
        if let Total::Sampled { sum, kept, next, .. } = &mut self.total {
            let index = match kept.iter().position(|(event, _)| *event == round) {
                Some(index) => index,
                None => {
                    let curve = sum.of(round, self.record.adjacency)?;
                    let index = *next;
                    *next = (index + 1) % KEPT_CURVES;
                    if index < kept.len() {
                        kept[index] = (round, curve);
                    } else {
                        kept.push((round, curve));
                    }
                    index
                }
            };
            sum.compose(&kept[index].1, rounds);
        }
        self.rounds = self.rounds.saturating_add(rounds);
        let (z, rate) = (round.noise_multiplier(), round.rate());
        let (noise_multipliers, rates) = self.ranges.unwrap_or((Range::one(z), Range::one(rate)));
        self.ranges = Some((noise_multipliers.with(z), rates.with(rate)));
        match self.record.events.iter_mut().find(|(event, _)| *event == round) {
            Some((_, count)) => *count = count.saturating_add(rounds),
            None => {
                self.record.events.push((round, rounds));
                if let Total::Sampled { tight, .. } = &mut self.total {
                    *tight = tightly(&self.record, tight.take())?;
                }
            }
        }
        if let (Total::Gaussian { mu_squared }, Claim::MaxParticipations(most)) = (&mut self.total, self.record.claim) {
            *mu_squared = worst_mu_squared(&self.record.events, self.record.adjacency, most);
        }
        Ok(())
    }

    /// How many rounds were observed.
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// The distinct events in the order in which they came first, each with its number of rounds.
    pub fn events(&self) -> &[(Event, u64)] {
        &self.record.events
    }

    /// What holds of everything observed.
    ///
    /// # Errors
    /// [`Error::DpDelta`].
    pub fn guarantee(&self, dp_delta: f64) -> Result<Guarantee, Error> {
        let (epsilon, accountant) = match &self.total {
            Total::Sampled { sum, tight, .. } => {
                let bound = (sum.epsilon(dp_delta)?.epsilon, Accountant::Rdp);
                match tight {
                    // Both are bounds.
                    Some(tight) if self.rounds > 0 => {
                        let counts: Vec<u64> = self.record.events.iter().map(|event| event.1).collect();
                        match tight.account_of(dp_delta, &counts) {
                            Ok(account) if account.epsilon <= bound.0 => (account.epsilon, account.accountant),
                            _ => bound,
                        }
                    }
                    _ => bound,
                }
            }
            Total::Gaussian { mu_squared } => {
                (analytic::epsilon(mu_squared.sqrt(), dp_delta)?, Accountant::AnalyticGaussian)
            }
        };
        let caps = self.record.events.iter().filter_map(|(event, _)| event.cap()).fold(None, |range, cap| {
            let cap = cap as f64;
            Some(range.map_or(Range::one(cap), |range: Range| range.with(cap)))
        });
        let (mechanism, rate) = match (self.ranges, caps) {
            (Some((noise_multiplier, rate)), Some(cap)) => {
                (Mechanism::CappedGaussian { noise_multiplier, rounds: self.rounds, cap }, rate)
            }
            (Some((noise_multiplier, rate)), None) => {
                (Mechanism::Gaussian { noise_multiplier, rounds: self.rounds }, rate)
            }
            (None, _) => (Mechanism::Nothing, Range::one(0.0)),
        };
        let sampling = match self.record.claim {
            Claim::Poisson(Enforcement::Enforced) => SamplingAssumption::PoissonEnforced { rate },
            Claim::Poisson(Enforcement::Assumed) => SamplingAssumption::PoissonAssumed { rate },
            Claim::MaxParticipations(max_participations) => SamplingAssumption::None { max_participations },
        };
        let adjacency = self.record.adjacency;
        Ok(Guarantee { epsilon, dp_delta, adjacency, unit: Unit::User, sampling, mechanism, accountant })
    }
}

/// The losses of a record's events, whose last one is new; those of the others are taken over.
fn tightly(record: &Record, others: Option<Box<Prepared>>) -> Result<Option<Box<Prepared>>, Error> {
    let kinds = record.events.len();
    if kinds > KEPT_CURVES || (kinds > 1 && others.is_none()) {
        return Ok(None);
    }
    let events = record.events.iter().map(|(event, _)| Counted { rounds: TIGHT_ROUNDS, release: event.release() });
    let composition = Composition { adjacency: record.adjacency, events: events.collect() };
    let prepared = match others {
        Some(others) => others.extended(&composition, TIGHT_DELTA, Method::default()),
        None => Prepared::new(&composition, TIGHT_DELTA, Method::default()),
    };
    Ok(Some(Box::new(prepared?)))
}

/// (sensitivity / z)^2 summed over the `most` rounds with the least noise.
fn worst_mu_squared(events: &[(Event, u64)], adjacency: Adjacency, most: u64) -> f64 {
    let mut by_noise: Vec<(f64, u64)> =
        events.iter().map(|&(event, rounds)| (event.noise_multiplier(), rounds)).collect();
    by_noise.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut left, mut sum) = (most, 0.0);
    for (z, rounds) in by_noise {
        let taken = rounds.min(left);
        left -= taken;
        if taken > 0 {
            let ratio = adjacency.sensitivity() / z;
            sum += taken as f64 * ratio * ratio;
        }
    }
    sum
}

impl From<Ledger> for Record {
    fn from(ledger: Ledger) -> Self {
        ledger.record
    }
}

impl TryFrom<Record> for Ledger {
    type Error = Error;

    fn try_from(record: Record) -> Result<Self, Error> {
        let mut ledger = match record.claim {
            Claim::Poisson(enforcement) => Self::poisson(record.adjacency, enforcement)?,
            Claim::MaxParticipations(most) => Self::unsampled(record.adjacency, most)?,
        };
        for (round, rounds) in record.events {
            ledger.observe_many(round, rounds)?;
        }
        Ok(ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: Event = Event::PoissonGaussian { noise_multiplier: 1.0, rate: 0.05 };

    #[test]
    fn no_rounds_are_no_release() {
        for ledger in [
            Ledger::poisson(Adjacency::AddOrRemove, Enforcement::Enforced).unwrap(),
            Ledger::unsampled(Adjacency::ZeroOut, 3).unwrap(),
        ] {
            let guarantee = ledger.guarantee(1e-5).unwrap();
            assert_eq!((guarantee.epsilon, guarantee.mechanism), (0.0, Mechanism::Nothing));
            assert!(guarantee.to_string().contains("nothing released yet"), "{guarantee}");
        }
    }

    #[test]
    fn a_refused_round_changes_nothing() {
        let mut ledger = Ledger::poisson(Adjacency::AddOrRemove, Enforcement::Enforced).unwrap();
        ledger.observe(SAMPLED).unwrap();
        let before = ledger.guarantee(1e-5).unwrap();
        let bad = |noise_multiplier, rate| Event::PoissonGaussian { noise_multiplier, rate };
        assert_eq!(ledger.observe(bad(-1.0, 0.5)), Err(Error::NoiseMultiplier { got: -1.0 }));
        assert!(matches!(ledger.observe(bad(f64::NAN, 0.5)), Err(Error::NoiseMultiplier { got }) if got.is_nan()));
        assert_eq!(ledger.observe(bad(1.0, 1.5)), Err(Error::Rate { got: 1.5 }));
        assert_eq!(ledger.observe(bad(1.0, -0.1)), Err(Error::Rate { got: -0.1 }));
        assert_eq!(ledger.observe_many(bad(1.0, 0.3), 0), Ok(()));
        assert_eq!(ledger.guarantee(1e-5).unwrap(), before);
        for got in [0.0, 1.0, -1.0, f64::INFINITY] {
            assert_eq!(ledger.guarantee(got), Err(Error::DpDelta { got }));
        }
    }

    #[test]
    fn impossible_claims_are_refused() {
        let replace = Ledger::poisson(Adjacency::ReplaceOne, Enforcement::Enforced);
        assert_eq!(replace.err(), Some(Error::SampledAdjacency { got: Adjacency::ReplaceOne }));
        assert_eq!(Ledger::unsampled(Adjacency::ZeroOut, 0).err(), Some(Error::MaxParticipations { got: 0 }));
    }

    #[test]
    fn the_worst_user_takes_part_in_the_least_noisy_rounds() {
        let mut ledger = Ledger::unsampled(Adjacency::ZeroOut, 3).unwrap();
        for (noise_multiplier, rounds) in [(4.0, 50), (2.0, 2), (8.0, 50)] {
            ledger.observe_many(Event::Gaussian { noise_multiplier }, rounds).unwrap();
        }
        let mu = (0.25_f64 + 0.25 + 0.0625).sqrt();
        assert_eq!(ledger.guarantee(1e-6).unwrap().epsilon, analytic::epsilon(mu, 1e-6).unwrap());
        // Two rounds only: nobody can have taken part three times.
        let mut short = Ledger::unsampled(Adjacency::ZeroOut, 3).unwrap();
        short.observe_many(Event::Gaussian { noise_multiplier: 4.0 }, 2).unwrap();
        let twice = analytic::mu(Adjacency::ZeroOut, 4.0, 2).unwrap();
        let epsilon = short.guarantee(1e-6).unwrap().epsilon;
        assert!((epsilon / analytic::epsilon(twice, 1e-6).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn more_kinds_of_rounds_than_are_kept() {
        let event = |k: u64| Event::PoissonGaussian { noise_multiplier: 1.0 + k as f64 / 64.0, rate: 0.01 };
        let (mut by_turns, mut in_blocks) =
            [(); 2].map(|()| Ledger::poisson(Adjacency::AddOrRemove, Enforcement::Enforced).unwrap()).into();
        let kinds = KEPT_CURVES as u64 + 3;
        (0..2 * kinds).for_each(|k| by_turns.observe(event(k % kinds)).unwrap());
        (0..kinds).for_each(|k| in_blocks.observe_many(event(k), 2).unwrap());
        let [a, b] = [&by_turns, &in_blocks].map(|ledger| ledger.guarantee(1e-5).unwrap());
        assert!((a.epsilon / b.epsilon - 1.0).abs() < 1e-12, "{a} {b}");
        assert_eq!((by_turns.events(), by_turns.rounds()), (in_blocks.events(), 2 * kinds));
    }

    #[test]
    fn survives_json() {
        let mut ledger = Ledger::poisson(Adjacency::ZeroOut, Enforcement::Assumed).unwrap();
        ledger.observe_many(SAMPLED, 7).unwrap();
        ledger.observe(Event::Gaussian { noise_multiplier: 30.0 }).unwrap();
        let text = serde_json::to_string(&ledger).unwrap();
        let back: Ledger = serde_json::from_str(&text).unwrap();
        assert_eq!(back.guarantee(1e-5), ledger.guarantee(1e-5));
        let tampered = text.replace("30.0", "-30.0");
        assert!(serde_json::from_str::<Ledger>(&tampered).unwrap_err().to_string().contains("-30"));

        let mut bare = Ledger::unsampled(Adjacency::ZeroOut, 1).unwrap();
        bare.observe(Event::Gaussian { noise_multiplier: 0.0 }).unwrap();
        for guarantee in [ledger.guarantee(1e-5).unwrap(), bare.guarantee(1e-5).unwrap()] {
            let text = serde_json::to_string(&guarantee).unwrap();
            assert_eq!(serde_json::from_str::<Guarantee>(&text).unwrap(), guarantee, "{text}");
        }
    }
}
