//! What the limits say of one more participation.

use super::{LEDGER_POPULATIONS, Ledger, Participation, PopulationRecord};
use crate::checkin::{Limits, PolicyViolation};
use crate::privacy::Rho;

/// The parts of the ledger that one more participation changes.
pub(super) struct After {
    pub(super) record: PopulationRecord,
    pub(super) period_start_ms: u64,
    pub(super) period_rho: Rho,
}

/// Every rule, in the order in which a person would ask: room, counts, rounds, time, epsilon.
#[allow(clippy::neg_cmp_op_on_partial_ord, reason = "a NaN must refuse")]
pub(super) fn after(ledger: &Ledger, limits: &Limits, next: &Participation) -> Result<After, PolicyViolation> {
    let last = ledger.of(next.population);
    if last.is_none() && ledger.records().len() == LEDGER_POPULATIONS {
        return Err(PolicyViolation::LedgerFull { populations: LEDGER_POPULATIONS as u32 });
    }
    let count = counted(last.map_or(0, |r| r.count), limits.most_participations)
        .map_err(|(most, would_be)| PolicyViolation::Participations { most, would_be })?;
    counted(ledger.participations(), limits.most_participations_in_all)
        .map_err(|(most, would_be)| PolicyViolation::ParticipationsInAll { most, would_be })?;
    // Time never runs backwards: behind the latest entry, none has passed since.
    let now = next.time_ms.max(ledger.clock_ms);
    if let Some(last) = last {
        let least = limits.min_separation;
        if i64::from(next.round) - i64::from(last.round) < i64::from(least) && least > 0 {
            return Err(PolicyViolation::Separation { least, last: last.round, plan: next.round });
        }
        let passed_ms = now - last.time_ms;
        if passed_ms < limits.min_separation_ms {
            return Err(PolicyViolation::SeparationTime { least_ms: limits.min_separation_ms, passed_ms });
        }
    }
    let spent = ledger.spent().plus(next.rho);
    let same_period = !ledger.records().is_empty() && now - ledger.period_start_ms < limits.period_ms;
    let (period_start_ms, before) = if same_period { ledger.period() } else { (now, Rho::ZERO) };
    let period_rho = before.plus(next.rho);
    if limits.largest_epsilon_per_period != f64::INFINITY {
        let (largest, would_be) = (limits.largest_epsilon_per_period, period_rho.epsilon(limits.dp_delta));
        if !(would_be <= largest) {
            return Err(PolicyViolation::EpsilonOfPeriod { largest, would_be });
        }
    }
    if limits.largest_epsilon != f64::INFINITY {
        let (largest, would_be) = (limits.largest_epsilon, spent.epsilon(limits.dp_delta));
        if !(would_be <= largest) {
            return Err(PolicyViolation::Epsilon { largest, would_be });
        }
    }
    let rho = last.map_or(Rho::ZERO, |r| r.rho).plus(next.rho);
    let Participation { population, round, session, report, .. } = *next;
    let record = PopulationRecord { population, time_ms: now, rho, session, round, count, report };
    Ok(After { record, period_start_ms, period_rho })
}

/// One more than `count`, or the bound that this breaks and what it would be. A count that is full breaks every bound.
fn counted(count: u32, most: u32) -> Result<u32, (u32, u32)> {
    match count.checked_add(1) {
        Some(next) if next <= most => Ok(next),
        next => Err((most, next.unwrap_or(u32::MAX))),
    }
}
