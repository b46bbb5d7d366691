//! One document in a ring of sectors.
//!
//! Every sector that a document takes:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `SKFL` |
//! | 4 | 8 | number of the save, from 1 on |
//! | 12 | 4 | length of the whole document, bytes |
//! | 16 | 4 | which part of it this is, from 0 on |
//! | 20 | 4 | XXH32 of bytes 0 to 20 and the part, seeded with 0 |
//! | 24 | 8 | ones |
//! | 32 | | the part: as much of the document as the sector has room for |
//!
//! little-endian. Parts lie in sectors that follow each other, the region's first behind its last. A document is there if all its parts
//! are; of those that are, the one with the highest number counts. A save erases all its sectors, writes the parts, and of each
//! its first 32 bytes last. It never touches the document that counts, since neither has more than half of the sectors; so
//! whatever a power cut leaves, that one is still there, and a part of an unfinished save is never taken for one of the next, which erases
//! the same sectors before it writes the first.

use super::{FlashError, WORD, check_region, read_padded, write_padded};
use crate::wire::Checksum;
use embedded_storage::nor_flash::NorFlash;

const MAGIC: [u8; 4] = *b"SKFL";
const HEADER: u32 = WORD as u32;
/// Read at a time where all is read, bytes.
const BLOCK: usize = 128;

/// The document that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Newest {
    number: u64,
    /// First sector, counted in the region.
    first: u32,
    length: u32,
}

/// What a sector says of itself.
#[derive(Debug, Clone, Copy)]
struct Header {
    number: u64,
    length: u32,
    part: u32,
    sum: u32,
}

/// One document in a ring of sectors: a save that is cut off leaves the one before it. See the [module](super).
///
/// ```
/// # use embedded_storage::nor_flash::*;
/// # struct Chip([u8; 4096]);
/// # impl ErrorType for Chip { type Error = NorFlashErrorKind; }
/// # impl ReadNorFlash for Chip {
/// #     const READ_SIZE: usize = 1;
/// #     fn read(&mut self, at: u32, out: &mut [u8]) -> Result<(), NorFlashErrorKind> {
/// #         out.copy_from_slice(&self.0[at as usize..][..out.len()]);
/// #         Ok(())
/// #     }
/// #     fn capacity(&self) -> usize { 4096 }
/// # }
/// # impl NorFlash for Chip {
/// #     const WRITE_SIZE: usize = 4;
/// #     const ERASE_SIZE: usize = 512;
/// #     fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
/// #         self.0[from as usize..to as usize].fill(0xff);
/// #         Ok(())
/// #     }
/// #     fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
/// #         self.0[at as usize..][..bytes.len()].copy_from_slice(bytes);
/// #         Ok(())
/// #     }
/// # }
/// # let mut chip = Chip([0xff; 4096]);
/// use siskin::flash::FlashStore;
/// let mut store = FlashStore::open(&mut chip, 0, 4096)?;
/// assert_eq!(store.capacity(), 4 * (512 - 32));
/// store.save(&mut chip, b"where the session stands")?;
///
/// let after_a_restart = FlashStore::open(&mut chip, 0, 4096)?;
/// let mut bytes = [0; 100];
/// let length = after_a_restart.load(&mut chip, &mut bytes)?;
/// assert_eq!(&bytes[..length], b"where the session stands");
/// # Ok::<(), siskin::flash::FlashError<NorFlashErrorKind>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlashStore {
    start: u32,
    sectors: u32,
    sector: u32,
    newest: Option<Newest>,
}

impl FlashStore {
    /// Looks for the document in `start..end`, addresses as the driver counts them. Reads the region once, and each document
    /// that is not whole again.
    ///
    /// # Errors
    /// [`FlashError::Region`] and [`FlashError::Geometry`] if the region cannot be used (two sectors at the least), and the driver's.
    pub fn open<F: NorFlash>(flash: &mut F, start: u32, end: u32) -> Result<Self, FlashError<F::Error>> {
        let sector = check_region(flash, start, end)?;
        let sectors = (end - start) / sector;
        if sectors < 2 {
            return Err(FlashError::Region { start, end, sector });
        }
        let mut store = Self { start, sectors, sector, newest: None };
        // The highest number that has all its parts; below `limit` are those that were not looked at.
        let mut limit = u64::MAX;
        loop {
            let mut best: Option<Newest> = None;
            for first in 0..sectors {
                match store.header(flash, first)? {
                    Some(Header { number, length, part: 0, .. })
                        if number < limit && best.is_none_or(|best| number > best.number) =>
                    {
                        best = Some(Newest { number, first, length });
                    }
                    _ => {}
                }
            }
            let Some(best) = best else { return Ok(store) };
            if store.is_whole(flash, &best)? {
                store.newest = Some(best);
                return Ok(store);
            }
            limit = best.number;
        }
    }

    /// Longest document, bytes: half of the sectors without their headers.
    pub fn capacity(&self) -> usize {
        (self.sectors / 2) as usize * self.part() as usize
    }

    /// Length of the document, bytes; 0 if there is none.
    pub fn stored(&self) -> usize {
        self.newest.map_or(0, |newest| newest.length as usize)
    }

    /// How often the region was saved to. Each sector was erased about `saves * sectors of a document / sectors` times.
    pub fn saves(&self) -> u64 {
        self.newest.map_or(0, |newest| newest.number)
    }

    /// Copies the document to the front of `out` and gives its length, bytes; 0 if there is none.
    ///
    /// # Errors
    /// [`FlashError::Capacity`] if `out` is too short; [`FlashError::Worn`] if it is not what it was when the region was
    /// opened; the driver's.
    pub fn load<F: NorFlash>(&self, flash: &mut F, out: &mut [u8]) -> Result<usize, FlashError<F::Error>> {
        let Some(newest) = self.newest else { return Ok(0) };
        let (required, got) = (newest.length as usize, out.len());
        let out = out.get_mut(..required).ok_or(FlashError::Capacity { required, got })?;
        for (part, bytes) in out.chunks_mut(self.part() as usize).enumerate() {
            let at = self.address(newest.first + part as u32);
            read_padded(flash, at + HEADER, bytes)?;
        }
        if self.is_whole(flash, &newest)? {
            Ok(required)
        } else {
            Err(FlashError::Worn { sector: self.address(newest.first) })
        }
    }

    /// Replaces the document. When this comes back, the new one is there after any power cut; before, the old one or the new.
    /// No bytes: there is none any more.
    ///
    /// # Errors
    /// [`FlashError::Capacity`] if it is longer than [`capacity`](Self::capacity); [`FlashError::Worn`] if it does not read back as
    /// written; the driver's. The old document is still there then.
    pub fn save<F: NorFlash>(&mut self, flash: &mut F, bytes: &[u8]) -> Result<(), FlashError<F::Error>> {
        if bytes.len() > self.capacity() {
            return Err(FlashError::Capacity { required: bytes.len(), got: self.capacity() });
        }
        let next = match self.newest {
            None => Newest { number: 1, first: 0, length: bytes.len() as u32 },
            Some(old) => {
                let first = (old.first + self.sectors_of(old.length)) % self.sectors;
                Newest { number: old.number + 1, first, length: bytes.len() as u32 }
            }
        };
        for part in 0..self.sectors_of(next.length) {
            let at = self.address(next.first + part);
            flash.erase(at, at + self.sector).map_err(FlashError::Flash)?;
        }
        // A document of no bytes has a part too, which is empty.
        for part in 0..self.sectors_of(next.length) {
            let at = self.address(next.first + part);
            let from = (part * self.part()) as usize;
            let bytes = &bytes[from..bytes.len().min(from + self.part() as usize)];
            write_padded(flash, at + HEADER, bytes)?;
            let mut header = [0xff; WORD];
            header[..4].copy_from_slice(&MAGIC);
            header[4..12].copy_from_slice(&next.number.to_le_bytes());
            header[12..16].copy_from_slice(&next.length.to_le_bytes());
            header[16..20].copy_from_slice(&part.to_le_bytes());
            let mut sum = Checksum::new();
            sum.add(&header[..20]);
            sum.add(bytes);
            header[20..24].copy_from_slice(&sum.get().to_le_bytes());
            write_padded(flash, at, &header)?;
        }
        if !self.is_whole(flash, &next)? {
            return Err(FlashError::Worn { sector: self.address(next.first) });
        }
        self.newest = Some(next);
        Ok(())
    }

    /// Bytes of a document in one sector.
    fn part(&self) -> u32 {
        self.sector - HEADER
    }

    fn sectors_of(&self, length: u32) -> u32 {
        length.div_ceil(self.part()).max(1)
    }

    /// The address of a sector, counted round the ring.
    fn address(&self, sector: u32) -> u32 {
        self.start + sector % self.sectors * self.sector
    }

    /// What a sector says of itself, whether it is true or not; none where it is no part of a document that fits here.
    fn header<F: NorFlash>(&self, flash: &mut F, sector: u32) -> Result<Option<Header>, FlashError<F::Error>> {
        let mut bytes = [0; WORD];
        read_padded(flash, self.address(sector), &mut bytes)?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let number = u64::from(word(4)) | u64::from(word(8)) << 32;
        let header = Header { number, length: word(12), part: word(16), sum: word(20) };
        let fits = bytes[..4] == MAGIC && number > 0 && header.length as usize <= self.capacity();
        Ok(Some(header).filter(|_| fits))
    }

    /// All parts are there.
    fn is_whole<F: NorFlash>(&self, flash: &mut F, document: &Newest) -> Result<bool, FlashError<F::Error>> {
        for part in 0..self.sectors_of(document.length) {
            let Some(header) = self.header(flash, document.first + part)? else { return Ok(false) };
            if (header.number, header.length, header.part) != (document.number, document.length, part) {
                return Ok(false);
            }
            let at = self.address(document.first + part);
            let mut block = [0; BLOCK];
            read_padded(flash, at, &mut block[..WORD])?;
            let mut sum = Checksum::new();
            sum.add(&block[..20]);
            let mut left = (document.length - part * self.part()).min(self.part()) as usize;
            let mut from = at + HEADER;
            while left > 0 {
                let n = left.min(BLOCK);
                read_padded(flash, from, &mut block[..n])?;
                sum.add(&block[..n]);
                (left, from) = (left - n, from + n as u32);
            }
            if sum.get() != header.sum {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
