//! What is refused, with which numbers.

use super::*;
use crate::checkin::PolicyViolation as V;

fn limits() -> Limits {
    Limits::NONE
}

#[test]
fn no_limit_refuses_nothing_and_everything_is_counted() {
    let ledger = filled();
    assert_eq!((ledger.participations(), ledger.sequence(), ledger.records().len()), (12, 12, 5));
    assert_eq!(ledger.spent(), Rho(12 << 30));
    let second = ledger.of(2).unwrap();
    assert_eq!((second.round, second.count, second.time_ms, second.rho), (11, 3, 1100, Rho(3 << 30)));
    assert!(!Limits::NONE.need_ledger());
}

#[test]
fn the_same_report_of_the_same_session_is_debited_once() {
    let mut ledger = Ledger::new();
    let strict = Limits { min_separation: 10, most_participations: 1, ..limits() };
    assert_eq!(ledger.debit(&strict, &next(1, 7, 50)), Ok(Debit::Recorded));
    let once = ledger.clone();
    // Restored later: another time, the same report.
    assert_eq!(ledger.debit(&strict, &next(1, 7, 9000)), Ok(Debit::Known));
    assert_eq!(ledger.check(&strict, &next(1, 7, 9000)), Ok(true));
    assert_eq!(ledger, once);
    // Another report, another session, another population: none of them is the same.
    let other = Participation { report: 1, ..next(1, 7, 50) };
    assert_eq!(ledger.debit(&strict, &other), Err(V::Participations { most: 1, would_be: 2 }));
    let other = Participation { session: 1, ..next(1, 7, 50) };
    assert_eq!(ledger.debit(&strict, &other), Err(V::Participations { most: 1, would_be: 2 }));
    assert_eq!(ledger.check(&strict, &other), Err(V::Participations { most: 1, would_be: 2 }));
    assert_eq!(ledger, once);
    assert_eq!(ledger.debit(&strict, &next(2, 7, 50)), Ok(Debit::Recorded));
}

#[test]
fn separation_in_rounds() {
    let mut ledger = Ledger::new();
    let limits = Limits { min_separation: 3, ..limits() };
    ledger.debit(&limits, &next(1, 10, 0)).unwrap();
    for round in [0, 9, 10, 12] {
        let again = Participation { session: 1, ..next(1, round, 5) };
        assert_eq!(ledger.debit(&limits, &again), Err(V::Separation { least: 3, last: 10, plan: round }));
    }
    assert_eq!(ledger.debit(&limits, &next(1, 13, 5)), Ok(Debit::Recorded));
    let extreme = Limits { min_separation: u32::MAX, ..limits };
    assert!(ledger.debit(&extreme, &next(1, u32::MAX, 5)).is_err());
    // The text has all numbers.
    let e = ledger.debit(&limits, &next(1, 14, 5)).unwrap_err();
    assert_eq!(std::format!("{e}"), "round 14 is 1 after round 13, the app wants at least 3");
}

#[test]
fn counts_in_one_population_and_in_all() {
    let mut ledger = Ledger::new();
    let limits = Limits { most_participations: 2, most_participations_in_all: 3, ..limits() };
    for round in 0..2 {
        ledger.debit(&limits, &next(1, round, 0)).unwrap();
    }
    assert_eq!(ledger.debit(&limits, &next(1, 2, 0)), Err(V::Participations { most: 2, would_be: 3 }));
    ledger.debit(&limits, &next(2, 2, 0)).unwrap();
    assert_eq!(ledger.debit(&limits, &next(3, 3, 0)), Err(V::ParticipationsInAll { most: 3, would_be: 4 }));
    let nothing = Limits { most_participations: 0, ..limits };
    assert_eq!(Ledger::new().debit(&nothing, &next(1, 0, 0)), Err(V::Participations { most: 0, would_be: 1 }));
}

#[test]
fn a_clock_that_runs_backwards_passes_no_time() {
    let mut ledger = Ledger::new();
    let limits = Limits { min_separation_ms: 100, ..limits() };
    ledger.debit(&limits, &next(1, 0, 1000)).unwrap();
    for (time, passed_ms) in [(1000, 0), (1099, 99), (999, 0), (0, 0)] {
        let refused = V::SeparationTime { least_ms: 100, passed_ms };
        assert_eq!(ledger.debit(&limits, &next(1, 1, time)), Err(refused), "{time}");
    }
    // Far ahead, then back: refused until the clock is there again, in this population and, for what it debits, in others.
    ledger.debit(&limits, &next(1, 2, 1 << 50)).unwrap();
    assert_eq!(ledger.debit(&limits, &next(1, 3, 2000)), Err(V::SeparationTime { least_ms: 100, passed_ms: 0 }));
    ledger.debit(&limits, &next(2, 4, 2000)).unwrap();
    assert_eq!(ledger.of(2).unwrap().time_ms, 1 << 50);
    assert_eq!(ledger.debit(&limits, &next(2, 5, u64::MAX)), Ok(Debit::Recorded));
}

#[test]
fn a_period_ends_by_time_and_starts_with_a_participation() {
    let one = Rho(1 << 30).epsilon(1e-6);
    let two = Rho(2 << 30).epsilon(1e-6);
    let limits = Limits { period_ms: 100, largest_epsilon_per_period: (one + two) / 2.0, dp_delta: 1e-6, ..limits() };
    let mut ledger = Ledger::new();
    ledger.debit(&limits, &next(1, 0, 1000)).unwrap();
    let refused = V::EpsilonOfPeriod { largest: (one + two) / 2.0, would_be: two };
    // Another population spends from the same period; a clock behind does not end it.
    for (population, time) in [(1, 1099), (2, 1099), (2, 3)] {
        assert_eq!(ledger.debit(&limits, &next(population, 1, time)), Err(refused));
    }
    ledger.debit(&limits, &next(2, 2, 1150)).unwrap();
    assert_eq!(ledger.period(), (1150, Rho(1 << 30)));
    assert!(ledger.debit(&limits, &next(2, 3, 1249)).is_err());
    let total = Limits { largest_epsilon: two, ..limits };
    let three = Rho(3 << 30).epsilon(1e-6);
    assert_eq!(ledger.debit(&total, &next(2, 3, 1250)), Err(V::Epsilon { largest: two, would_be: three }));
    assert_eq!(ledger.debit(&Limits { period_ms: 0, ..limits }, &next(2, 3, 1150)), Ok(Debit::Recorded));
}

#[test]
fn numbers_that_make_no_sense_refuse() {
    for limits in [
        Limits { largest_epsilon: f64::NAN, ..limits() },
        Limits { largest_epsilon_per_period: f64::NAN, ..limits() },
        Limits { largest_epsilon: 1e9, dp_delta: f64::NAN, ..limits() },
        Limits { largest_epsilon: 1e9, dp_delta: 0.0, ..limits() },
        Limits { largest_epsilon: -1.0, ..limits() },
    ] {
        assert!(limits.need_ledger());
        assert!(Ledger::new().debit(&limits, &next(1, 0, 0)).is_err(), "{limits:?}");
    }
    let limits = Limits { largest_epsilon: 1e300, ..limits() };
    let bare = Participation { rho: Rho::INFINITE, ..next(1, 0, 0) };
    let refused = V::Epsilon { largest: 1e300, would_be: f64::INFINITY };
    assert_eq!(Ledger::new().debit(&limits, &bare), Err(refused));
    // Once spent, an infinite cost stays.
    let mut ledger = Ledger::new();
    ledger.debit(&Limits::NONE, &bare).unwrap();
    assert_eq!(ledger.debit(&limits, &next(2, 1, 0)), Err(refused));
}

#[test]
fn a_full_ledger_refuses_and_forgets_nothing() {
    let mut ledger = Ledger::new();
    for population in 0..LEDGER_POPULATIONS as u64 {
        ledger.debit(&Limits::NONE, &next(population, 1, 0)).unwrap();
    }
    let before = ledger.clone();
    let populations = LEDGER_POPULATIONS as u32;
    assert_eq!(ledger.debit(&Limits::NONE, &next(99, 2, 0)), Err(V::LedgerFull { populations }));
    assert_eq!(ledger, before);
    assert_eq!(ledger.debit(&Limits::NONE, &next(3, 2, 0)), Ok(Debit::Recorded));
}

#[test]
fn a_reset_is_remembered() {
    let reason = |n| NonZeroU32::new(n).unwrap();
    let ledger = Ledger::reset(Ok(&filled()), reason(7), 5000);
    assert_eq!(*ledger.resets(), ResetRecord { count: 1, reason: 7, time_ms: 5000, forgotten: 12 });
    assert_eq!((ledger.sequence(), ledger.participations(), ledger.spent()), (13, 0, Rho::ZERO));
    let ledger = Ledger::reset(Ok(&ledger), reason(8), 6000);
    assert_eq!(*ledger.resets(), ResetRecord { count: 2, reason: 8, time_ms: 6000, forgotten: 12 });
    let unknown = Ledger::reset(Err(LedgerError::Wire(crate::wire::WireError::Checksum)), reason(9), 1);
    assert_eq!(*unknown.resets(), ResetRecord { count: 1, reason: 9, time_ms: 1, forgotten: u64::MAX });
}

#[test]
fn names_have_numbers_of_their_own() {
    let names = ["", "a", "b", "keyboard/en", "keyboard/de", "siskin/simulated"];
    for (i, a) in names.iter().enumerate() {
        assert_eq!(names.iter().position(|b| population_id(a) == population_id(b)), Some(i));
    }
    // XXH32 of no bytes with seed 0, as its authors publish it.
    assert_eq!(population_id("") as u32, 0x02cc_5d05);
}
