//! Before the first byte of a report leaves: it is debited from the ledger, and the host has stored that.

use super::{Abandoned, Poll, Session, Stage, Task};
use crate::checkin::{Plan, PolicyViolation};
use crate::privacy::{Debit, Ledger, Participation, Rho, population_id};
use crate::report::{EgressRecord, Report};
use crate::wire::checksum;

/// The ledger that a session was given, and how far the debit is.
#[derive(Debug)]
pub(super) struct Account {
    ledger: Ledger,
    /// The app's clock when the ledger was given, ms.
    clock_ms: u64,
    /// The clock of the polls at the first one after that.
    since: Option<u64>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Nothing is debited for this session here.
    #[cfg_attr(not(feature = "ledger"), allow(dead_code, reason = "accounts begin with it"))]
    Open,
    /// In memory only.
    Debited,
    /// The ledger, as it was stored, has it.
    Durable,
}

/// The account of a session: without the feature `ledger` none, for which there is neither code nor room.
#[cfg(feature = "ledger")]
pub(super) type Held = Account;

/// There is none.
#[cfg(not(feature = "ledger"))]
#[derive(Debug)]
pub(super) enum Held {}

#[cfg(not(feature = "ledger"))]
impl core::ops::Deref for Held {
    type Target = Account;

    fn deref(&self) -> &Account {
        match *self {}
    }
}

#[cfg(not(feature = "ledger"))]
impl core::ops::DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Account {
        match *self {}
    }
}

impl Account {
    /// The app's clock at a moment of the polls' clock.
    fn time(&self, now: u64) -> u64 {
        self.clock_ms.saturating_add(now.saturating_sub(self.since.unwrap_or(now)))
    }
}

impl Session<'_> {
    /// Gives the session the ledger of this device, as it is stored, and the time. `clock_ms` should be of a clock that goes on
    /// through restarts, such as milliseconds since 1970: separations in time and periods are measured with it; from then on
    /// it moves with the clock of the polls. To be called after each [`new`](Self::new) and [`restore`](Self::restore), before
    /// the first poll, and again if the stored ledger turns out to have changed in between.
    ///
    /// One session at a time should have the ledger of a device. Two that have it are told apart when they are stored: see
    /// [`StorageError::Conflict`](crate::privacy::StorageError::Conflict). Only with the feature `ledger`: without it a policy with
    /// limits refuses every plan.
    #[cfg(feature = "ledger")]
    pub fn use_ledger(&mut self, ledger: Ledger, clock_ms: u64) {
        self.account = Some(Account { ledger, clock_ms, since: None, state: State::Open });
    }

    /// The ledger: at [`Poll::Persist`], the one to store.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.account.as_ref().map(|account| &account.ledger)
    }

    /// True from [`Poll::Persist`] to [`persisted`](Self::persisted).
    pub fn must_persist(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.state == State::Debited)
    }

    /// Tells the session that its [`ledger`](Self::ledger) is stored durably. Only the answer to [`Poll::Persist`]: without it
    /// nothing of the report leaves.
    pub fn persisted(&mut self) {
        if let Some(account) = self.account.as_mut().filter(|account| account.state == State::Debited) {
            account.state = State::Durable;
        }
    }

    /// The clock of the polls starts for the ledger.
    pub(super) fn observe_clock(&mut self, now: u64) {
        self.now = now;
        if let Some(account) = &mut self.account {
            account.since.get_or_insert(now);
        }
    }

    /// Compares a plan with the limits before anything is downloaded for it. The debit compares again.
    pub(super) fn check_limits(&self, plan: &Plan) -> Result<(), PolicyViolation> {
        let limits = &self.config.policy.limits;
        match &self.account {
            Some(account) => {
                let next = participation(plan, self.id, 0, account.time(self.now));
                account.ledger.check(limits, &next).map(|_| ())
            }
            None if limits.need_ledger() => Err(PolicyViolation::NoLedger),
            None => Ok(()),
        }
    }

    /// What to do before the report may leave; nothing any more if it may.
    pub(super) fn debit(&mut self, now: u64) -> Option<Poll> {
        let (Stage::Upload { total, .. }, Some(task)) = (self.stage, &self.task) else {
            return Some(self.give_up(Abandoned::Internal));
        };
        let limits = &self.config.policy.limits;
        let Some(account) = &mut self.account else {
            if limits.need_ledger() {
                return Some(self.give_up(Abandoned::Policy(PolicyViolation::NoLedger)));
            }
            self.record_egress(now);
            return None;
        };
        match account.state {
            State::Durable => return None,
            State::Debited => return Some(Poll::Persist),
            State::Open => {}
        }
        let report = &self.arena.bytes(task.memory.report)[..total as usize];
        let time = account.time(now);
        let next = participation(&task.plan, self.id, checksum(report), time);
        match account.ledger.debit(limits, &next) {
            Ok(Debit::Known) => account.state = State::Durable,
            Ok(Debit::Recorded) => account.state = State::Debited,
            Err(violation) => return Some(self.give_up(Abandoned::Policy(violation))),
        }
        let persist = account.state == State::Debited;
        self.record_egress(time);
        persist.then_some(Poll::Persist)
    }

    /// Keeps the first record: a session that was restored sends the same report.
    fn record_egress(&mut self, time: u64) {
        if let (Stage::Upload { total, .. }, Some(task), None) = (self.stage, &self.task, &self.egress) {
            let report = &self.arena.bytes(task.memory.report)[..total as usize];
            self.egress = Some(record(task, report, time));
        }
    }
}

fn participation(plan: &Plan, session: u64, report: u32, time_ms: u64) -> Participation {
    let (population, rho) = (population_id(&plan.population), Rho::of(plan));
    Participation { population, round: plan.round, rho, session, report, time_ms }
}

fn record(task: &Task, report: &[u8], time_ms: u64) -> EgressRecord {
    let privacy = &task.plan.privacy;
    EgressRecord {
        population: population_id(&task.plan.population),
        plan: task.names.fingerprint,
        round: task.plan.round,
        bytes: report.len() as u32,
        report: checksum(report),
        growth: Report::parse(report).map_or(0, |report| report.header.growth),
        clip_norm: privacy.clip_norm,
        noise_multiplier: privacy.noise_multiplier,
        profile: privacy.profile,
        time_ms,
    }
}
