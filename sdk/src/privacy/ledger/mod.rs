//! The ledger: what this device took part in before, and so what it may still take part in.
//!
//! A participation is debited, and the ledger stored durably, *before* the first byte of its report leaves. Killed at any
//! moment, the device may have counted a report that never left, but none left uncounted. The same report of the same
//! session is debited once, however often the session is restored (only the last one of a population is remembered: an older
//! session that wakes up after it is a new participation, or refused). The key is the session's own random number and the
//! report's checksum, not the task's number, which a server could use twice.
//!
//! # Time
//! Times come from the clock that the app gives, which should go on through restarts. The ledger's time never runs backwards:
//! while the clock is behind the latest entry, no time has passed since that entry, so periods do not end and separations in
//! time are not reached. A clock that was once far ahead therefore blocks bounds in time until it is there again, or until the
//! app resets the ledger. Bounds in rounds and in counts ask no clock.
//!
//! # Failing closed
//! A ledger that is damaged, full, or absent where the policy needs one, refuses. Nothing is evicted and nothing starts over
//! by itself: [`Ledger::reset`] is the app's call, and the ledger remembers it.

mod bytes;
mod rules;
mod storage;
#[cfg(test)]
mod tests;

pub use bytes::{LEDGER_BYTES, LedgerError};
pub use storage::{LedgerStorage, Slot, StorageError, load, overwrite, store};

use super::Rho;
use crate::checkin::{Limits, PolicyViolation};
use core::num::NonZeroU32;
use heapless::Vec;

/// Populations that a ledger has room for.
pub const LEDGER_POPULATIONS: usize = 8;

/// The number under which a population stands in ledgers and logs: two XXH32 of its name, seeds 0 and 1, the second one in
/// the upper half. Two names with one number would share their bounds.
pub fn population_id(name: &str) -> u64 {
    let half = |seed| u64::from(twox_hash::XxHash32::oneshot(seed, name.as_bytes()));
    half(0) | half(1) << 32
}

/// A report that is about to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Participation {
    /// [`population_id`].
    pub population: u64,
    /// Number of the round.
    pub round: u32,
    /// What it costs.
    pub rho: Rho,
    /// The session's random number.
    pub session: u64,
    /// XXH32 of the report.
    pub report: u32,
    /// The app's clock, ms.
    pub time_ms: u64,
}

/// Whether a debit changed the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debit {
    /// It did: store it before anything leaves.
    Recorded,
    /// The same report of the same session was debited before.
    Known,
}

/// All participations in one population.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PopulationRecord {
    /// [`population_id`].
    pub population: u64,
    /// When the last one was, on the ledger's time, ms.
    pub time_ms: u64,
    /// The sum of their costs.
    pub rho: Rho,
    /// The last one's session.
    pub session: u64,
    /// The last one's round.
    pub round: u32,
    /// How many, at least 1.
    pub count: u32,
    /// The last one's report.
    pub report: u32,
}

/// What the ledger remembers of the times that the app started it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResetRecord {
    /// How often.
    pub count: u32,
    /// The app's reason for the last one; 0 if there was none.
    pub reason: u32,
    /// The app's clock then, ms.
    pub time_ms: u64,
    /// Participations that are counted no more; `u64::MAX` if a ledger was reset that could not be read.
    pub forgotten: u64,
}

/// What this device took part in: at most [`LEDGER_POPULATIONS`] populations, about 0.5 KiB. See [this module](self); a session
/// that was given it (`Session::use_ledger`, feature `ledger`) debits it, [`store`] and [`load`] keep it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Grows by one with every change; below 2^63.
    sequence: u64,
    /// Latest time ever debited, ms.
    clock_ms: u64,
    /// Start of the period, ms; at most `clock_ms`.
    period_start_ms: u64,
    /// Spent in the period, at most what is spent in all.
    period_rho: Rho,
    reset: ResetRecord,
    /// In order of their first participation; each population once, `time_ms` at most `clock_ms`.
    records: Vec<PopulationRecord, LEDGER_POPULATIONS>,
}

impl Ledger {
    /// The ledger of a device that never took part in anything: for the first start after installation, and only then.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts over, because the app decided so: for the `reason`, a number of its own that is kept with the time and with what
    /// is forgotten. `previous` is the ledger, or why it cannot be read.
    #[must_use]
    pub fn reset(previous: Result<&Self, LedgerError>, reason: NonZeroU32, time_ms: u64) -> Self {
        let (sequence, count, forgotten) = match previous {
            Ok(ledger) => {
                let forgotten = ledger.reset.forgotten.saturating_add(ledger.participations().into());
                (ledger.sequence, ledger.reset.count, forgotten)
            }
            Err(_) => (0, 0, u64::MAX),
        };
        let reset = ResetRecord { count: count.saturating_add(1), reason: reason.get(), time_ms, forgotten };
        Self { sequence: sequence + 1, reset, ..Self::new() }
    }

    /// Compares a plan's round with the limits, without debiting it: true if this session has one of this round already,
    /// so that only the report itself can tell whether it is the same.
    ///
    /// # Errors
    /// [`PolicyViolation`] with the rule and both numbers.
    pub fn check(&self, limits: &Limits, next: &Participation) -> Result<bool, PolicyViolation> {
        let again = |r: &&PopulationRecord| r.session == next.session && r.round == next.round;
        if self.of(next.population).filter(again).is_some() {
            return Ok(true);
        }
        rules::after(self, limits, next).map(|_| false)
    }

    /// Debits one report. Nothing changes if it is refused, or known.
    ///
    /// # Errors
    /// [`PolicyViolation`] with the rule and both numbers.
    pub fn debit(&mut self, limits: &Limits, next: &Participation) -> Result<Debit, PolicyViolation> {
        let same =
            |r: &&PopulationRecord| r.session == next.session && r.round == next.round && r.report == next.report;
        if self.of(next.population).filter(same).is_some() {
            return Ok(Debit::Known);
        }
        let after = rules::after(self, limits, next)?;
        let known = self.records.iter_mut().find(|r| r.population == next.population);
        match known {
            Some(record) => *record = after.record,
            None => {
                // `after` found room.
                let populations = LEDGER_POPULATIONS as u32;
                self.records.push(after.record).map_err(|_| PolicyViolation::LedgerFull { populations })?;
            }
        }
        self.sequence += 1;
        self.clock_ms = after.record.time_ms;
        (self.period_start_ms, self.period_rho) = (after.period_start_ms, after.period_rho);
        Ok(Debit::Recorded)
    }

    /// The participations in one population, if there were any.
    pub fn of(&self, population: u64) -> Option<&PopulationRecord> {
        self.records.iter().find(|r| r.population == population)
    }

    /// All populations, in the order of their first participation.
    pub fn records(&self) -> &[PopulationRecord] {
        &self.records
    }

    /// Participations in all populations.
    pub fn participations(&self) -> u32 {
        self.records.iter().fold(0, |sum, r| sum.saturating_add(r.count))
    }

    /// The cost of all participations.
    pub fn spent(&self) -> Rho {
        self.records.iter().fold(Rho::ZERO, |sum, r| sum.plus(r.rho))
    }

    /// When the period began, ms, and the cost of its participations so far.
    pub fn period(&self) -> (u64, Rho) {
        (self.period_start_ms, self.period_rho)
    }

    /// The times that the app started it over.
    pub fn resets(&self) -> &ResetRecord {
        &self.reset
    }

    /// Changes since the device's first ledger.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}
