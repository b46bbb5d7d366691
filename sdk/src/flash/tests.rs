//! A chip in memory that keeps the rules of NOR flash, and a power cut at every one of its operations.

use super::*;
use crate::checkin::Limits;
use crate::privacy::{Ledger, Participation, Rho, load, population_id, store};
use embedded_storage::nor_flash::{ErrorType, NorFlashErrorKind, ReadNorFlash};
use proptest::prelude::*;
use std::vec::Vec;

/// Words of 8 bytes, sectors of 256. A word is written once between two erases.
#[derive(Debug, Clone)]
struct Chip {
    bytes: Vec<u8>,
    written: Vec<bool>,
    erases: Vec<u32>,
    /// Words that can still be written or erased.
    power: usize,
    used: usize,
    /// A sector that loses a bit of what is written to it.
    worn: Option<usize>,
}

const SECTOR: usize = 256;
const WORD_BYTES: usize = 8;

impl Chip {
    fn new(sectors: usize) -> Self {
        let bytes = sectors * SECTOR;
        Self {
            // As after other firmware: not erased.
            bytes: (0..bytes).map(|i| (i * 37) as u8).collect(),
            written: std::vec![true; bytes / WORD_BYTES],
            erases: std::vec![0; sectors],
            power: usize::MAX,
            used: 0,
            worn: None,
        }
    }

    fn erased(sectors: usize) -> Self {
        let mut chip = Self::new(sectors);
        chip.erase(0, (sectors * SECTOR) as u32).unwrap();
        Self { erases: std::vec![0; sectors], used: 0, ..chip }
    }

    fn spend(&mut self) -> Result<(), NorFlashErrorKind> {
        self.power = self.power.checked_sub(1).ok_or(NorFlashErrorKind::Other)?;
        self.used += 1;
        Ok(())
    }
}

impl ErrorType for Chip {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 4;

    fn read(&mut self, at: u32, out: &mut [u8]) -> Result<(), Self::Error> {
        assert!(at.is_multiple_of(4) && out.len().is_multiple_of(4), "{at} {}", out.len());
        out.copy_from_slice(&self.bytes[at as usize..][..out.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = SECTOR;

    /// Word by word, from the middle of a sector on: what a cut leaves is neither old nor erased.
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        assert!((from as usize).is_multiple_of(SECTOR) && (to as usize).is_multiple_of(SECTOR));
        for sector in from as usize / SECTOR..to as usize / SECTOR {
            self.erases[sector] += 1;
            let words = SECTOR / WORD_BYTES;
            for k in 0..words {
                self.spend()?;
                let word = sector * words + (k + words / 2) % words;
                self.bytes[word * WORD_BYTES..][..WORD_BYTES].fill(0xff);
                self.written[word] = false;
            }
        }
        Ok(())
    }

    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        assert!((at as usize).is_multiple_of(WORD_BYTES) && bytes.len().is_multiple_of(WORD_BYTES));
        for (k, word) in bytes.chunks(WORD_BYTES).enumerate() {
            let number = at as usize / WORD_BYTES + k;
            assert!(!self.written[number], "word {number} is written twice");
            self.written[number] = true;
            let place = &mut self.bytes[number * WORD_BYTES..][..WORD_BYTES];
            if self.power == 0 {
                // Cut in the middle of a word.
                place[..3].copy_from_slice(&word[..3]);
            }
            self.spend()?;
            let place = &mut self.bytes[number * WORD_BYTES..][..WORD_BYTES];
            place.copy_from_slice(word);
            if self.worn == Some(number * WORD_BYTES / SECTOR) {
                place[7] |= 0x80;
            }
        }
        Ok(())
    }
}

fn document(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + seed * 101 + i / 7) as u8).collect()
}

fn loaded(chip: &mut Chip, end: u32) -> Vec<u8> {
    let store = FlashStore::open(chip, 0, end).unwrap();
    let mut out = std::vec![0; store.stored()];
    assert_eq!(store.load(chip, &mut out), Ok(out.len()));
    out
}

const PART: usize = SECTOR - 32;

#[test]
fn what_was_saved_is_loaded_whatever_its_length() {
    let (mut chip, end) = (Chip::new(8), 8 * SECTOR as u32);
    let mut store = FlashStore::open(&mut chip, 0, end).unwrap();
    assert_eq!((store.capacity(), store.stored(), store.saves()), (4 * PART, 0, 0));
    for (i, length) in
        [1, 7, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 5, 4 * PART, 0, 100].into_iter().enumerate()
    {
        store.save(&mut chip, &document(i, length)).unwrap();
        assert_eq!(loaded(&mut chip, end), document(i, length));
        assert_eq!(FlashStore::open(&mut chip, 0, end).unwrap(), store);
        assert_eq!(store.saves(), i as u64 + 1);
    }
    let required = 4 * PART + 1;
    let before = chip.used;
    assert_eq!(store.save(&mut chip, &document(0, required)), Err(FlashError::Capacity { required, got: 4 * PART }));
    assert_eq!(store.load(&mut chip, &mut [0; 99]), Err(FlashError::Capacity { required: 100, got: 99 }));
    assert_eq!(chip.used, before, "a refusal writes nothing");
}

/// The power is cut at every word of every save, and again at every word of the save after it.
#[test]
fn a_power_cut_at_any_word_leaves_the_old_document_or_the_new() {
    for sectors in [4, 5, 7] {
        let end = (sectors * SECTOR) as u32;
        let mut chip = Chip::new(sectors);
        let mut old = Vec::new();
        for (i, length) in [300, 300, 10, 2 * PART, 0, 2 * PART, PART, 300].into_iter().enumerate() {
            let new = document(i, length);
            let mut clean = Chip { used: 0, ..chip.clone() };
            FlashStore::open(&mut clean, 0, end).unwrap().save(&mut clean, &new).unwrap();
            let mut news = 0;
            for power in 0..clean.used {
                let mut cut = Chip { power, ..chip.clone() };
                let mut store = FlashStore::open(&mut cut, 0, end).unwrap();
                assert_eq!(store.save(&mut cut, &new), Err(FlashError::Flash(NorFlashErrorKind::Other)));
                cut.power = usize::MAX;
                let now = loaded(&mut cut, end);
                assert!(now == old || now == new, "{sectors} sectors, save {i}, word {power}");
                news += usize::from(now != old);
                // A second cut, in a save of the same length, which lies in the same sectors.
                let other = document(i + 50, length);
                let mut again = Chip { power: power * 7 % clean.used, ..cut.clone() };
                let _ = store.save(&mut again, &other);
                again.power = usize::MAX;
                let later = loaded(&mut again, end);
                assert!(later == now || later == old || later == other, "{sectors} sectors, save {i}, word {power}");
                for chip in [&mut cut, &mut again] {
                    let mut store = FlashStore::open(chip, 0, end).unwrap();
                    store.save(chip, &new).unwrap();
                    assert_eq!(loaded(chip, end), new);
                }
            }
            // Only where the last word of all was cut, of which all bytes that matter were written.
            assert!(news <= 1, "{news}");
            (chip, old) = (Chip { power: usize::MAX, ..clean }, new);
        }
    }
}

#[test]
fn all_sectors_wear_alike() {
    let (sectors, saves) = (10, 400);
    let (mut chip, end) = (Chip::erased(sectors), (sectors * SECTOR) as u32);
    let mut store = FlashStore::open(&mut chip, 0, end).unwrap();
    let mut parts = 0;
    for i in 0..saves {
        let length = 1 + i * 131 % store.capacity();
        parts += length.div_ceil(PART);
        store.save(&mut chip, &document(i, length)).unwrap();
        // Restarts in between change nothing.
        store = FlashStore::open(&mut chip, 0, end).unwrap();
    }
    let (least, most) = (chip.erases.iter().min().unwrap(), chip.erases.iter().max().unwrap());
    assert!(most - least <= 1, "{:?}", chip.erases);
    assert_eq!(chip.erases.iter().sum::<u32>() as usize, parts);
}

#[test]
fn damage_is_seen() {
    let (mut chip, end) = (Chip::new(6), 6 * SECTOR as u32);
    let mut store = FlashStore::open(&mut chip, 0, end).unwrap();
    store.save(&mut chip, &document(1, 300)).unwrap();
    store.save(&mut chip, &document(2, 400)).unwrap();
    let whole = chip.clone();
    for at in (0..24).chain(32..SECTOR).chain(SECTOR..SECTOR + 24).chain(SECTOR + 32..SECTOR + 32 + 400 - PART) {
        let mut chip = whole.clone();
        // The second document lies behind the two sectors of the first.
        chip.bytes[2 * SECTOR + at] ^= 4;
        assert_eq!(loaded(&mut chip, end), document(1, 300), "byte {at}");
        let mut out = [0; 400];
        assert_eq!(store.load(&mut chip, &mut out), Err(FlashError::Worn { sector: 2 * SECTOR as u32 }));
    }
}

#[test]
fn a_worn_sector_is_told_and_the_old_document_stays() {
    let (mut chip, end) = (Chip::new(6), 6 * SECTOR as u32);
    let mut store = FlashStore::open(&mut chip, 0, end).unwrap();
    store.save(&mut chip, &document(1, 300)).unwrap();
    chip.worn = Some(3);
    assert_eq!(store.save(&mut chip, &[7; 400]), Err(FlashError::Worn { sector: 2 * SECTOR as u32 }));
    assert_eq!(loaded(&mut chip, end), document(1, 300));
}

#[test]
fn regions_that_cannot_be_used_are_refused() {
    let mut chip = Chip::new(4);
    let sector = SECTOR as u32;
    for (start, end) in
        [(0, sector), (1, 2 * sector + 1), (0, 2 * sector + 8), (512, 512), (1024, 512), (0, 5 * sector)]
    {
        let refused = FlashStore::open(&mut chip, start, end);
        assert_eq!(refused, Err(FlashError::Region { start, end, sector }));
    }
    let refused = FlashLedger::new(&mut chip, 3 * sector).map(|_| ());
    assert!(matches!(refused, Err(FlashError::Region { .. })), "{refused:?}");
}

/// The ledger's own protocol over flash: cut at every word of every store.
#[test]
fn a_ledger_in_flash_survives_a_power_cut_at_any_word() {
    let mut ledger = Ledger::new();
    let mut life = std::vec![ledger.clone()];
    for round in 0..3u32 {
        let participation = Participation {
            population: population_id("a"),
            round,
            rho: Rho(1 << 30),
            session: u64::from(round),
            report: !round,
            time_ms: u64::from(round) * 1000,
        };
        ledger.debit(&Limits::NONE, &participation).unwrap();
        life.push(ledger.clone());
    }
    let mut chip = Chip::erased(FlashLedger::<Chip>::BYTES as usize / SECTOR + 1);
    let start = SECTOR as u32;
    assert_eq!(load(&mut FlashLedger::new(&mut chip, start).unwrap()), Ok(None));
    for (i, new) in life.iter().enumerate() {
        let old = i.checked_sub(1).map(|i| life[i].clone());
        let mut clean = Chip { used: 0, ..chip.clone() };
        store(&mut FlashLedger::new(&mut clean, start).unwrap(), new).unwrap();
        let (mut olds, mut news) = (0, 0);
        for power in 0..clean.used {
            let mut cut = Chip { power, ..chip.clone() };
            store(&mut FlashLedger::new(&mut cut, start).unwrap(), new).unwrap_err();
            cut.power = usize::MAX;
            let now =
                load(&mut FlashLedger::new(&mut cut, start).unwrap()).unwrap_or_else(|e| panic!("{i}, {power}: {e:?}"));
            if now == old {
                olds += 1;
            } else {
                news += 1;
            }
            assert!(now == old || now.as_ref() == Some(new), "change {i}, word {power}");
            store(&mut FlashLedger::new(&mut cut, start).unwrap(), new).unwrap();
            assert_eq!(load(&mut FlashLedger::new(&mut cut, start).unwrap()).as_ref(), Ok(&Some(new.clone())));
        }
        assert!(olds > 10 && news > 10, "{olds} {news}");
        chip = Chip { power: usize::MAX, ..clean };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever lies in the region, it is opened, and what it seems to hold is read or refused.
    #[test]
    fn any_bytes_are_a_region(bytes in prop::collection::vec(any::<u8>(), 4 * SECTOR), headers in prop::collection::vec((0usize..4, 0u8..4, 0u32..900, 0u8..3), 0..5)) {
        let mut chip = Chip { bytes, ..Chip::new(4) };
        for (sector, number, length, part) in headers {
            let header = &mut chip.bytes[sector * SECTOR..][..24];
            header.fill(0);
            header[..4].copy_from_slice(b"SKFL");
            header[4] = number;
            header[12..16].copy_from_slice(&length.to_le_bytes());
            header[16] = part;
        }
        let end = 4 * SECTOR as u32;
        let mut store = FlashStore::open(&mut chip, 0, end).unwrap();
        prop_assert_eq!(store.stored(), 0);
        store.save(&mut chip, b"new").unwrap();
        prop_assert_eq!(loaded(&mut chip, end), b"new");
    }

    /// Any life of saves, cuts and restarts: what is there is the last document that was saved, or the one after it.
    #[test]
    fn a_life_of_cuts(steps in prop::collection::vec((0usize..900, prop::option::of(0usize..300)), 1..40), sectors in 2usize..9) {
        let (mut chip, end) = (Chip::new(sectors), (sectors * SECTOR) as u32);
        let mut last = Vec::new();
        for (i, (length, power)) in steps.into_iter().enumerate() {
            let mut store = FlashStore::open(&mut chip, 0, end).unwrap();
            let new = document(i, length.min(store.capacity()));
            chip.power = power.unwrap_or(usize::MAX);
            let saved = store.save(&mut chip, &new).is_ok();
            chip.power = usize::MAX;
            let now = loaded(&mut chip, end);
            prop_assert!(now == new || (!saved && now == last));
            last = now;
        }
    }
}
