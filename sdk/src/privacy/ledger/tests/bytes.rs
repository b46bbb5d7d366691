//! The ledger's bytes: whole, damaged, forged.

use super::*;
use crate::wire::{WireError, checksum};
use proptest::prelude::*;

fn sealed(mut bytes: [u8; LEDGER_BYTES]) -> [u8; LEDGER_BYTES] {
    let sum = checksum(&bytes[..LEDGER_BYTES - 4]);
    bytes[LEDGER_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn ledgers_come_back_and_the_bytes_are_these() {
    let reset = Ledger::reset(Ok(&filled()), NonZeroU32::MIN, 77);
    for ledger in [Ledger::new(), filled(), reset] {
        assert_eq!(Ledger::from_bytes(&ledger.to_bytes()), Ok(ledger));
    }
    let bytes = filled().to_bytes();
    assert_eq!(bytes.len(), 452);
    assert_eq!(bytes[..16], *b"SKLG\x01\x05\0\0\x0c\0\0\0\0\0\0\0");
    // The second record: population 2, last time 1100, three costs, session 1011, round 11, three times, report !11.
    let second =
        "0200000000000000 4c04000000000000 000000c000000000 f303000000000000 0b000000 03000000 f4ffffff 00000000";
    let hex: std::string::String = bytes[112..160].iter().map(|b| std::format!("{b:02x}")).collect();
    assert_eq!(hex, second.replace(' ', ""));
}

#[test]
fn damage_at_any_bit_is_an_error() {
    let good = filled().to_bytes();
    for at in 0..8 * LEDGER_BYTES {
        let mut bytes = good;
        bytes[at / 8] ^= 1 << (at % 8);
        let expected = match at / 8 {
            0..4 => WireError::Magic,
            4 => WireError::Version { known: 1, got: bytes[4] },
            _ => WireError::Checksum,
        };
        assert_eq!(Ledger::from_bytes(&bytes), Err(expected.into()), "bit {at}");
    }
    for got in [0, 1, LEDGER_BYTES - 1] {
        let e = LedgerError::Length { expected: LEDGER_BYTES, got };
        assert_eq!(Ledger::from_bytes(&good[..got]), Err(e));
    }
}

#[test]
fn numbers_that_no_ledger_has_are_refused() {
    let good = filled().to_bytes();
    let forged = |at: usize, with: &[u8]| {
        let mut bytes = good;
        bytes[at..at + with.len()].copy_from_slice(with);
        Ledger::from_bytes(&sealed(bytes))
    };
    assert!(forged(0, b"SKLG").is_ok());
    let ones = [0xff; 8];
    for (at, with, what) in [
        (5, &[9][..], "nine records"),
        (5, &[4], "a record beyond the number"),
        (5, &[6], "a record of zeros"),
        (6, &[1], "a byte that is zero"),
        (8, &ones, "the sequence"),
        (16, &[0; 8], "an entry after the latest time"),
        (24, &ones, "a period after the latest time"),
        (32, &ones, "a period that cost more than all"),
        (44, &[1], "a reason without a reset"),
        (64 + 36, &[0; 4], "a count of 0"),
        (64 + 44, &[1], "a padding byte"),
        (112, &[1], "a population twice"),
        (446, &[1], "a byte behind the records"),
    ] {
        assert_eq!(forged(at, with), Err(WireError::Malformed.into()), "{what}");
    }
}

proptest! {
    /// Whatever is read is written again to the byte, and can be debited.
    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        prop_assert!(Ledger::from_bytes(&bytes).is_err());
    }

    #[test]
    fn what_is_read_was_written(changes in proptest::collection::vec((5..448usize, any::<u8>()), 0..6), round in any::<u32>()) {
        let mut bytes = filled().to_bytes();
        for (at, value) in changes {
            bytes[at] = value;
        }
        let bytes = sealed(bytes);
        if let Ok(mut ledger) = Ledger::from_bytes(&bytes) {
            prop_assert_eq!(ledger.to_bytes(), bytes);
            let before = (ledger.participations(), ledger.spent());
            let limits = Limits { largest_epsilon: 50.0, largest_epsilon_per_period: 20.0, period_ms: 9, ..Limits::NONE };
            match ledger.debit(&limits, &next(3, round, 70)) {
                Ok(Debit::Recorded) => {
                    prop_assert!((ledger.participations(), ledger.spent()) > before);
                    prop_assert!(Ledger::from_bytes(&ledger.to_bytes()).as_ref() == Ok(&ledger));
                }
                _ => prop_assert_eq!(ledger.to_bytes(), bytes),
            }
        }
    }
}
