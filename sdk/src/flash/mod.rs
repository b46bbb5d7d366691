//! State in NOR flash that survives a power cut at any moment, through the traits of `embedded-storage`.
//!
//! A [`FlashStore`] keeps one document, such as a [saved session](crate::session::Session::save) or a
//! [kept mask](crate::session::Session::keep_mask), in a ring of sectors: each save goes to the sectors behind the last one, so
//! that all of the region wears alike, and the document before it stays whole until the new one is. A [`FlashLedger`] is the
//! [`LedgerStorage`](crate::privacy::LedgerStorage) of a microcontroller.
//!
//! Neither owns the flash: every call borrows it, so that several of them, and the rest of the firmware, share one chip.
//!
//! Flash is erased by the sector ([`NorFlash::ERASE_SIZE`]), and after that each of its words ([`NorFlash::WRITE_SIZE`]) is
//! written once: nothing here writes a word twice, which flash with error correction does not allow.

mod ledger;
mod store;
#[cfg(test)]
mod tests;

pub use ledger::FlashLedger;
pub use store::FlashStore;

use embedded_storage::nor_flash::NorFlash;

/// A region of flash cannot be used, or does not do what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlashError<E> {
    /// The driver's own error.
    Flash(E),
    /// The region does not start and end at a sector, is empty, or lies beyond the chip.
    Region {
        /// Its first byte.
        start: u32,
        /// Behind its last.
        end: u32,
        /// Bytes of a sector.
        sector: u32,
    },
    /// The words or sectors of this chip do not fit the format.
    Geometry {
        /// Bytes of a word; at most 32, a power of two.
        word: u32,
        /// Bytes of a sector; at least 64.
        sector: u32,
    },
    /// What is to be stored, or the buffer for what is stored, does not fit.
    Capacity {
        /// Bytes needed.
        required: usize,
        /// Bytes there are.
        got: usize,
    },
    /// A sector does not give back what was written to it: it is worn. What was stored before is still there.
    Worn {
        /// Its first byte.
        sector: u32,
    },
}

impl<E: core::fmt::Debug> core::fmt::Display for FlashError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Flash(e) => write!(f, "the flash failed: {e:?}"),
            Self::Region { start, end, sector } => {
                write!(f, "flash {start:#x}..{end:#x} is not whole sectors of {sector} bytes of the chip")
            }
            Self::Geometry { word, sector } => {
                write!(
                    f,
                    "flash with words of {word} bytes and sectors of {sector}: at most 32 and at least 64 are needed"
                )
            }
            Self::Capacity { required, got } => write!(f, "{required} bytes do not fit into {got}"),
            Self::Worn { sector } => write!(f, "the sector at {sector:#x} does not keep what is written to it"),
        }
    }
}

impl<E: core::fmt::Debug> core::error::Error for FlashError<E> {}

/// Largest [`NorFlash::WRITE_SIZE`].
const WORD: usize = 32;

/// That the chip's words and sectors fit, and `start..end` is whole sectors of it; gives the bytes of a sector.
fn check_region<F: NorFlash>(flash: &F, start: u32, end: u32) -> Result<u32, FlashError<F::Error>> {
    let (word, sector) = (F::WRITE_SIZE.max(F::READ_SIZE) as u32, F::ERASE_SIZE as u32);
    if !word.is_power_of_two() || word > WORD as u32 || sector < 2 * WORD as u32 || !sector.is_multiple_of(WORD as u32)
    {
        return Err(FlashError::Geometry { word, sector });
    }
    let whole = start.is_multiple_of(sector) && end.is_multiple_of(sector);
    if !whole || start >= end || end as usize > flash.capacity() {
        return Err(FlashError::Region { start, end, sector });
    }
    Ok(sector)
}

/// Writes `bytes` from `at` on, filled up with ones to whole words.
fn write_padded<F: NorFlash>(flash: &mut F, at: u32, bytes: &[u8]) -> Result<(), FlashError<F::Error>> {
    let (words, rest) = bytes.split_at(bytes.len() - bytes.len() % F::WRITE_SIZE);
    if !words.is_empty() {
        flash.write(at, words).map_err(FlashError::Flash)?;
    }
    if !rest.is_empty() {
        let mut padded = [0xff; WORD];
        padded[..rest.len()].copy_from_slice(rest);
        flash.write(at + words.len() as u32, &padded[..F::WRITE_SIZE]).map_err(FlashError::Flash)?;
    }
    Ok(())
}

/// Reads `out.len()` bytes from `at` on, which may end within a word.
fn read_padded<F: NorFlash>(flash: &mut F, at: u32, out: &mut [u8]) -> Result<(), FlashError<F::Error>> {
    let end = out.len() - out.len() % F::READ_SIZE;
    let (words, rest) = out.split_at_mut(end);
    if !words.is_empty() {
        flash.read(at, words).map_err(FlashError::Flash)?;
    }
    if !rest.is_empty() {
        let mut padded = [0; WORD];
        flash.read(at + end as u32, &mut padded[..F::READ_SIZE]).map_err(FlashError::Flash)?;
        rest.copy_from_slice(&padded[..rest.len()]);
    }
    Ok(())
}
