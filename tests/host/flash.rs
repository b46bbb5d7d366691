//! A microcontroller that saves itself to flash as it goes and loses its power at any word that it writes: it is started again with
//! what the flash holds, and the round ends as on a device that never stopped.

use crate::device::{Lent, Line, play};
use crate::problem::{Profile, config, profiles, rng};
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use siskin::flash::FlashStore;
use siskin::session::{Outcome, Session};

const FRAME: usize = 1024;
const SEED: u64 = 6;
const SECTOR: usize = 1024;
const WORD: usize = 8;
const STRIDE: usize = if cfg!(debug_assertions) { 3 } else { 1 };

/// A chip whose power ends after so many words that were written or erased.
struct Chip {
    bytes: Vec<u8>,
    power: usize,
    used: usize,
}

impl Chip {
    fn spend(&mut self) -> Result<(), NorFlashErrorKind> {
        self.power = self.power.checked_sub(1).ok_or(NorFlashErrorKind::Other)?;
        self.used += 1;
        Ok(())
    }

    fn end(&self) -> u32 {
        self.bytes.len() as u32
    }
}

impl ErrorType for Chip {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 1;

    fn read(&mut self, at: u32, out: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        out.copy_from_slice(&self.bytes[at as usize..][..out.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        for at in (from as usize..to as usize).step_by(WORD) {
            self.spend()?;
            self.bytes[at..at + WORD].fill(0xff);
        }
        Ok(())
    }

    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        for (at, word) in (at as usize..).step_by(WORD).zip(bytes.chunks(WORD)) {
            assert_eq!(self.bytes[at..at + WORD], [0xff; WORD], "a word is written twice");
            self.spend()?;
            self.bytes[at..at + WORD].copy_from_slice(word);
        }
        Ok(())
    }
}

/// How a life ended.
enum Life {
    Ended(Outcome),
    /// In the middle of a save.
    Cut,
}

/// From a start to the end of the round or of the power. Saves after every poll.
fn live(
    chip: &mut Chip,
    profile: &Profile,
    line: &mut Line<'_>,
    lent: &mut Lent,
    report: &mut Option<Vec<u8>>,
) -> Life {
    let mut store = FlashStore::open(chip, 0, chip.end()).unwrap();
    let mut bytes = vec![0; store.capacity()];
    let mut session = match store.load(chip, &mut bytes).unwrap() {
        0 => Session::new(lent.bytes(), config(FRAME), &mut rng(SEED)).unwrap(),
        n => Session::restore(lent.bytes(), config(FRAME), &bytes[..n]).unwrap(),
    };
    let examples = profile.examples(SEED);
    for _ in 0..5000 {
        if let Some(outcome) = line.step(&mut session, &mut examples.store()) {
            return Life::Ended(outcome);
        }
        if let Some(made) = session.report() {
            assert_eq!(report.get_or_insert_with(|| made.to_vec()), made, "another report after a restart");
        }
        if let Ok(n) = session.save(&mut bytes)
            && store.save(chip, &bytes[..n]).is_err()
        {
            return Life::Cut;
        }
    }
    panic!("the session hangs")
}

#[test]
fn a_power_cut_at_any_word_of_the_flash_changes_no_report() {
    let profile = &profiles()[0];
    let round = profile.round(FRAME);
    let undisturbed = play(&round, &config(FRAME), SEED, &mut profile.examples(SEED).store()).report.unwrap();
    let mut lent = Lent::for_plan(&round.offer.plan, FRAME);
    let (mut words, mut counted) = (usize::MAX, 0);
    let mut power = 0;
    while power < words {
        // Whatever another program left in the flash.
        let mut chip = Chip { bytes: vec![0x5a; 64 * SECTOR], power, used: 0 };
        let mut server = profile.server(FRAME);
        let round = server.open().unwrap();
        let mut report = None;
        let mut cuts = 0;
        let outcome = loop {
            // What was on the line is lost with the device.
            match live(&mut chip, profile, &mut Line::new(&round, 200), &mut lent, &mut report) {
                Life::Ended(outcome) => break outcome,
                Life::Cut => (cuts, chip.power) = (cuts + 1, usize::MAX),
            }
            assert_eq!(cuts, 1);
        };
        if cuts == 0 {
            words = chip.used;
        }
        assert!(matches!(outcome, Outcome::Accepted | Outcome::Duplicate), "{outcome:?} after a cut at word {power}");
        assert_eq!(report.as_deref(), Some(&undisturbed[..]));
        let closed = server.close(round, &mut rng(0)).unwrap();
        assert_eq!(closed.counts.accepted, 1);
        counted += 1;
        // Unoptimised, every third: a save has some hundred words, and each save is met at other places.
        power += STRIDE;
    }
    assert!(words > 1000 && counted > words / STRIDE, "{counted} of {words}");
}
