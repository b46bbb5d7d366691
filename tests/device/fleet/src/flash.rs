//! A chip of NOR flash whose contents outlive the emulator: a file of the host, `NAME.flash`. It keeps the rules of flash: bits
//! are cleared by a write and set by an erase, of whole sectors, and a word that was written is not written again.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use semihosting::fs::File;
use semihosting::io::{Read, Seek, SeekFrom, Write};
use siskin_device_round::files::{Mode, open};

/// Bytes.
pub const BYTES: u32 = 256 * 1024;
const SECTOR: usize = 4096;
/// As the flash of an STM32L4, which has error correction: a word is written whole, and once.
const WORD: usize = 8;

/// The chip.
pub struct Chip(File);

impl Chip {
    /// The one of the board; new ones are erased.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn open() -> Result<Self, &'static str> {
        if let Ok(mut file) = open(".flash", Mode::Update)
            && file.seek(SeekFrom::End(0)).is_ok_and(|length| length == u64::from(BYTES))
        {
            return Ok(Self(file));
        }
        let mut file = open(".flash", Mode::Create)?;
        for _ in 0..BYTES as usize / SECTOR {
            file.write_all(&[0xff; SECTOR]).map_err(|_| "the flash cannot be made")?;
        }
        drop(file);
        Ok(Self(open(".flash", Mode::Update)?))
    }

    fn seek(&mut self, at: u32, length: usize, unit: usize) -> Result<(), NorFlashErrorKind> {
        if !(at as usize).is_multiple_of(unit) || !length.is_multiple_of(unit) {
            return Err(NorFlashErrorKind::NotAligned);
        }
        if at as usize + length > BYTES as usize {
            return Err(NorFlashErrorKind::OutOfBounds);
        }
        self.0.seek(SeekFrom::Start(at.into())).map(drop).map_err(|_| NorFlashErrorKind::Other)
    }
}

impl ErrorType for Chip {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 1;

    fn read(&mut self, at: u32, out: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        self.seek(at, out.len(), 1)?;
        self.0.read_exact(out).map_err(|_| NorFlashErrorKind::Other)
    }

    fn capacity(&self) -> usize {
        BYTES as usize
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.seek(from, (to - from) as usize, SECTOR)?;
        // In pieces: the emulator may be killed between any two.
        for _ in 0..(to - from) as usize / 256 {
            self.0.write_all(&[0xff; 256]).map_err(|_| NorFlashErrorKind::Other)?;
        }
        Ok(())
    }

    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        // In pieces: the emulator may be killed between any two.
        for (i, piece) in bytes.chunks(128).enumerate() {
            let at = at + (i * 128) as u32;
            let mut old = [0; 128];
            self.read(at, &mut old[..piece.len()])?;
            if old[..piece.len()].iter().any(|byte| *byte != 0xff) {
                // Written before, and not erased since.
                return Err(NorFlashErrorKind::Other);
            }
            self.seek(at, piece.len(), WORD)?;
            self.0.write_all(piece).map_err(|_| NorFlashErrorKind::Other)?;
        }
        Ok(())
    }
}
