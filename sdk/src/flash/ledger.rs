//! The ledger of participations in two sectors.

use super::{FlashError, WORD, check_region, read_padded, write_padded};
use crate::privacy::{LEDGER_BYTES, LedgerStorage, Slot};
use embedded_storage::nor_flash::NorFlash;

/// The two slots of the [ledger](crate::privacy::ledger) in flash, each in sectors of its own.
///
/// Not in a ring, as a [`FlashStore`](super::FlashStore) is: where the newest ledger is damaged, no older one may come back. A participation
/// costs each slot an erase: flash that bears 10,000 lasts for one a day for 27 years.
#[derive(Debug)]
pub struct FlashLedger<'f, F> {
    flash: &'f mut F,
    start: u32,
    /// Bytes of a slot.
    slot: u32,
}

impl<'f, F: NorFlash> FlashLedger<'f, F> {
    /// Sectors of both slots, bytes.
    pub const BYTES: u32 = 2 * (LEDGER_BYTES as u32).next_multiple_of(F::ERASE_SIZE as u32);

    /// The ledger in [`BYTES`](Self::BYTES) bytes from `start` on, an address as the driver counts them.
    ///
    /// # Errors
    /// [`FlashError::Region`] and [`FlashError::Geometry`] if they cannot be used.
    pub fn new(flash: &'f mut F, start: u32) -> Result<Self, FlashError<F::Error>> {
        let end = start.saturating_add(Self::BYTES);
        check_region(flash, start, end)?;
        Ok(Self { flash, start, slot: Self::BYTES / 2 })
    }

    fn address(&self, slot: Slot) -> u32 {
        match slot {
            Slot::First => self.start,
            Slot::Second => self.start + self.slot,
        }
    }
}

impl<F: NorFlash> LedgerStorage for FlashLedger<'_, F> {
    type Error = FlashError<F::Error>;

    fn read(&mut self, slot: Slot, out: &mut [u8; LEDGER_BYTES]) -> Result<bool, Self::Error> {
        read_padded(self.flash, self.address(slot), out)?;
        // Erased flash is ones; a ledger is never all ones.
        Ok(out.iter().any(|byte| *byte != 0xff))
    }

    fn write(&mut self, slot: Slot, bytes: &[u8; LEDGER_BYTES]) -> Result<(), Self::Error> {
        let at = self.address(slot);
        self.flash.erase(at, at + self.slot).map_err(FlashError::Flash)?;
        write_padded(self.flash, at, bytes)?;
        let (mut from, mut block) = (at, [0; 4 * WORD]);
        for written in bytes.chunks(4 * WORD) {
            let block = &mut block[..written.len()];
            read_padded(self.flash, from, block)?;
            if block != written {
                return Err(FlashError::Worn { sector: at });
            }
            from += written.len() as u32;
        }
        Ok(())
    }
}
