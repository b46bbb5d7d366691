//! The ledger's rules, bytes and storage.

mod bytes;
mod rules;
mod storage;

use super::*;

/// A report of population `population` in round `round`; sessions differ by round.
fn next(population: u64, round: u32, time_ms: u64) -> Participation {
    Participation { population, round, rho: Rho(1 << 30), session: u64::from(round) + 1000, report: !round, time_ms }
}

/// A ledger of many participations.
fn filled() -> Ledger {
    let mut ledger = Ledger::new();
    for round in 0..12 {
        let population = u64::from(round % 5) + 1;
        assert_eq!(ledger.debit(&Limits::NONE, &next(population, round, 100 * u64::from(round))), Ok(Debit::Recorded));
    }
    ledger
}
