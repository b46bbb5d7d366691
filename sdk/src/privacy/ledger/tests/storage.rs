//! Two slots, and a power cut at every byte.

use super::*;
use crate::wire::WireError;
use std::vec::Vec;

/// What a write that was cut off leaves where the new bytes did not come.
#[derive(Debug, Clone, Copy)]
enum Rest {
    Old,
    /// A page of flash is erased before it is written.
    Erased,
}

#[derive(Debug, Clone)]
struct Memory {
    slots: [Option<[u8; LEDGER_BYTES]>; 2],
    /// Bytes that can still be written.
    power: usize,
    rest: Rest,
    written: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut;

impl Memory {
    fn new() -> Self {
        Self { slots: [None; 2], power: usize::MAX, rest: Rest::Old, written: 0 }
    }
}

impl LedgerStorage for Memory {
    type Error = Cut;

    fn read(&mut self, slot: Slot, out: &mut [u8; LEDGER_BYTES]) -> Result<bool, Cut> {
        let stored = self.slots[slot as usize];
        if let Some(bytes) = stored {
            *out = bytes;
        }
        Ok(stored.is_some())
    }

    fn write(&mut self, slot: Slot, bytes: &[u8; LEDGER_BYTES]) -> Result<(), Cut> {
        let place = &mut self.slots[slot as usize];
        let n = bytes.len().min(self.power);
        self.power -= n;
        self.written += n;
        if n == bytes.len() {
            *place = Some(*bytes);
            return Ok(());
        }
        let mut torn = match (self.rest, *place) {
            (Rest::Old, Some(old)) => old,
            // Nothing was there, and not a byte came: there is still nothing.
            (Rest::Old, None) if n == 0 => return Err(Cut),
            _ => [0xff; LEDGER_BYTES],
        };
        torn[..n].copy_from_slice(&bytes[..n]);
        *place = Some(torn);
        Err(Cut)
    }
}

/// The ledgers of a device's life, one change apart.
fn life() -> Vec<Ledger> {
    let mut ledger = Ledger::new();
    let mut life = std::vec![ledger.clone()];
    for round in 0..4 {
        ledger.debit(&Limits::NONE, &next(u64::from(round % 2), round, u64::from(round))).unwrap();
        life.push(ledger.clone());
    }
    life.push(Ledger::reset(Ok(&ledger), NonZeroU32::MIN, 9));
    life
}

#[test]
fn what_was_stored_is_loaded() {
    let mut memory = Memory::new();
    assert_eq!(load(&mut memory), Ok(None));
    for ledger in life() {
        store(&mut memory, &ledger).unwrap();
        assert_eq!(load(&mut memory), Ok(Some(ledger.clone())));
        let written = memory.written;
        store(&mut memory, &ledger).unwrap();
        assert_eq!(memory.written, written, "storing the same again costs nothing");
    }
}

/// The power is cut at every byte of every store, and again at every byte of what repairs it.
#[test]
fn a_power_cut_at_any_byte_leaves_the_old_ledger_or_the_new() {
    let life = life();
    for rest in [Rest::Old, Rest::Erased] {
        let mut before = Memory { rest, ..Memory::new() };
        for (i, new) in life.iter().enumerate() {
            let old = i.checked_sub(1).map(|i| life[i].clone());
            let (mut olds, mut news) = (0, 0);
            for power in 0..2 * LEDGER_BYTES {
                let mut cut = Memory { power, ..before.clone() };
                assert_eq!(store(&mut cut, new), Err(StorageError::Storage(Cut)));
                // A second cut, while the start after the first one repairs what it finds.
                let mut again = Memory { power: power % (LEDGER_BYTES - 1), ..cut.clone() };
                let _ = load(&mut again);
                for mut memory in [cut, again] {
                    memory.power = usize::MAX;
                    let loaded =
                        load(&mut memory).unwrap_or_else(|e| panic!("{rest:?}, change {i}, byte {power}: {e:?}"));
                    assert!(loaded == old || loaded.as_ref() == Some(new), "{rest:?}, change {i}, byte {power}");
                    if loaded == old {
                        olds += 1;
                    } else {
                        news += 1;
                    }
                    // And life goes on.
                    store(&mut memory, new).unwrap();
                    assert_eq!(load(&mut memory).as_ref(), Ok(&Some(new.clone())));
                }
            }
            assert!(olds > 100 && news > 100, "{olds} {news}");
            store(&mut before, new).unwrap();
        }
    }
}

/// The slot in use is damaged at any byte, or lost: an error, never the ledger before it.
#[test]
fn damage_brings_no_older_ledger_back() {
    let mut memory = Memory::new();
    for ledger in life() {
        store(&mut memory, &ledger).unwrap();
        let used = memory.slots.iter().position(|s| s.is_some_and(|bytes| bytes == ledger.to_bytes())).unwrap();
        for at in 0..LEDGER_BYTES {
            let mut damaged = memory.clone();
            damaged.slots[used].as_mut().unwrap()[at] ^= 0x10;
            let e = load(&mut damaged).unwrap_err();
            assert!(matches!(e, StorageError::Damaged(LedgerError::Wire(_))), "{at}: {e:?}");
            assert_eq!(store(&mut damaged, &ledger), Err(e), "nothing is stored over it");
        }
        let mut lost = memory.clone();
        lost.slots[used] = None;
        assert_eq!(load(&mut lost), Err(StorageError::Damaged(LedgerError::Wire(WireError::Magic))));
    }
}

#[test]
fn only_the_app_starts_over() {
    let mut memory = Memory::new();
    let life = life();
    for ledger in &life {
        store(&mut memory, ledger).unwrap();
    }
    let last = life.last().unwrap();
    let stored = last.sequence();
    let fresh = Ledger::reset(Err(WireError::Checksum.into()), NonZeroU32::MIN, 5);
    assert_eq!(store(&mut memory, &fresh), Err(StorageError::Conflict { stored, given: 1 }));
    assert_eq!(overwrite(&mut memory, &fresh), Err(StorageError::Conflict { stored, given: 1 }));
    memory.slots.iter_mut().flatten().for_each(|slot| slot[20] ^= 1);
    for power in 0..2 * LEDGER_BYTES {
        let mut cut = Memory { power, ..memory.clone() };
        assert_eq!(overwrite(&mut cut, &fresh), Err(StorageError::Storage(Cut)));
        cut.power = usize::MAX;
        match load(&mut cut) {
            Err(StorageError::Damaged(_)) => assert!(power < LEDGER_BYTES),
            loaded => assert_eq!(loaded, Ok(Some(fresh.clone())), "{power}"),
        }
    }
    overwrite(&mut memory, &fresh).unwrap();
    assert_eq!(load(&mut memory), Ok(Some(fresh)));
}

/// Two sessions that began with the same ledger: the second one to store is told.
#[test]
fn a_ledger_that_changed_in_between_is_a_conflict() {
    let mut memory = Memory::new();
    let start = Ledger::new();
    store(&mut memory, &start).unwrap();
    let (mut one, mut other) = (start.clone(), start);
    one.debit(&Limits::NONE, &next(1, 1, 1)).unwrap();
    other.debit(&Limits::NONE, &next(2, 2, 2)).unwrap();
    store(&mut memory, &one).unwrap();
    assert_eq!(store(&mut memory, &other), Err(StorageError::Conflict { stored: 1, given: 1 }));
    let mut other = load(&mut memory).unwrap().unwrap();
    other.debit(&Limits::NONE, &next(2, 2, 2)).unwrap();
    store(&mut memory, &other).unwrap();
    // A ledger that follows nothing is no first one.
    assert_eq!(store(&mut Memory::new(), &other), Err(StorageError::Conflict { stored: 0, given: 2 }));
}
