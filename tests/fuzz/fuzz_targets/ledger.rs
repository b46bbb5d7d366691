//! A ledger of any bytes, with a right checksum: refused, or debited and written again; a log of any bytes: read and added to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use siskin::checkin::Limits;
use siskin::privacy::{Debit, LEDGER_BYTES, Ledger, Participation, Rho};
use siskin::report::EgressLog;
use siskin::wire::checksum;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(log) = EgressLog::open(bytes) {
        let count = log.records().map(|(number, record)| format!("{number} {record}")).count() as u64;
        assert!(count + log.missing() >= count);
    }
    let mut content = bytes.to_vec();
    content.resize(LEDGER_BYTES - 4, 0);
    let sum = checksum(&content).to_le_bytes();
    content.extend(sum);
    let Ok(mut ledger) = Ledger::from_bytes(&content) else { return };
    assert_eq!(ledger.to_bytes()[..], content[..]);
    let limits = Limits {
        min_separation: 2,
        min_separation_ms: 10,
        most_participations: 1 << 31,
        period_ms: 1000,
        largest_epsilon_per_period: 10.0,
        largest_epsilon: 100.0,
        ..Limits::NONE
    };
    // What stands there already, and what does not.
    let known = ledger.records().first().map_or(7, |record| record.population);
    for (population, round, time_ms) in [(known, u32::MAX, u64::MAX), (known, 3, 5), (9, 0, 0)] {
        let before = (ledger.participations(), ledger.spent());
        let next = Participation { population, round, rho: Rho::ZERO, session: 1, report: 2, time_ms };
        if let Ok(Debit::Recorded) = ledger.debit(&limits, &next) {
            assert!(ledger.participations() >= before.0 && ledger.spent() >= before.1);
            let sealed = ledger.sequence() < 1 << 63;
            assert!(!sealed || Ledger::from_bytes(&ledger.to_bytes()).as_ref() == Ok(&ledger));
        }
    }
});
