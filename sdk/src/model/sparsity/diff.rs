//! What changed between two masks, in few bytes: how a mask travels to a device that has the one before.
//!
//! | what | bytes |
//! |---|---|
//! | params that changed | varint |
//! | those params, rising | a varint each: how many params were passed over since the one before |
//!
//! A param that lived dies, one that did not live comes to life: whoever reads this has the old mask, so that one list is
//! enough. A varint is LEB128 in its shortest form: 7 bits a byte, least significant group first, the high bit set in all
//! but the last. The first index is its own gap; each later one is the index before, plus the gap, plus 1: no index can come
//! twice or out of order, so one change has one form. The number of params is not in the bytes; both sides know it.
//!
//! Where values travel coded, so do the changes: see [`range_coder`](crate::range_coder).

use super::Bitmap;
use super::bitmap::bits;
use serde::{Deserialize, Serialize};

/// Why there is no change from one mask to another, or why bytes are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MaskDiffError {
    /// Two masks of different lengths.
    Length {
        /// Bits expected.
        expected: usize,
        /// Bits of the other.
        got: usize,
    },
    /// The destination is too short.
    Capacity {
        /// Bytes needed.
        expected: usize,
        /// Its bytes.
        got: usize,
    },
    /// More params than a `u32` can index.
    TooLong {
        /// Params.
        got: usize,
    },
    /// A number that is not in its shortest form, or does not fit in 32 bits.
    Varint,
    /// More changes than params.
    Count {
        /// Params.
        expected: u32,
        /// What the bytes say.
        got: u32,
    },
    /// A param beyond the last, or so near to it that the changes still to come have no room.
    Index {
        /// The last param that it could be.
        expected: u32,
        /// The index.
        got: u64,
    },
    /// A byte after the last change.
    Trailing,
}

impl core::fmt::Display for MaskDiffError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::Length { expected, got } => write!(f, "a mask of {got} params where {expected} belong"),
            Self::Capacity { expected, got } => write!(f, "{got} bytes for a change of {expected}"),
            Self::TooLong { got } => write!(f, "{got} params are more than a u32 can index"),
            Self::Varint => write!(f, "a number that is not the shortest form of one of 32 bits"),
            Self::Count { expected, got } => write!(f, "{got} changes of {expected} params"),
            Self::Index { expected, got } => write!(f, "a change of param {got} where {expected} is the last possible"),
            Self::Trailing => write!(f, "bytes after the last change"),
        }
    }
}

impl core::error::Error for MaskDiffError {}

/// Bytes of the change from `old` to `new`. Costs one pass over the masks' bytes.
///
/// # Errors
/// [`MaskDiffError`]: masks of different lengths, or too long.
pub fn mask_diff_len(old: Bitmap<'_>, new: Bitmap<'_>) -> Result<usize, MaskDiffError> {
    let mut bytes = 0;
    emit(old, new, |_| bytes += 1)?;
    Ok(bytes)
}

/// Writes the change from `old` to `new` to the front of `out`; gives its bytes. Costs four passes over the masks' bytes.
///
/// # Errors
/// [`MaskDiffError`]: masks of different lengths, or too long; `out` too short. Nothing is written then.
///
/// ```
/// use siskin::model::sparsity::{Bitmap, MaskDiffReader, write_mask_diff};
/// let (old, new) = ([0b0110u8], [0b1010u8]);
/// let (old, new) = (Bitmap::new(&old, 4).unwrap(), Bitmap::new(&new, 4).unwrap());
/// let mut out = [0; 8];
/// let n = write_mask_diff(old, new, &mut out).unwrap();
/// assert_eq!(out[..n], [2, 2, 0]); // two changes: param 2, and the one right behind it
/// let mut reader = MaskDiffReader::new();
/// let changed: Vec<u32> = out[..n].iter().filter_map(|byte| reader.push(*byte, 4).unwrap()).collect();
/// assert_eq!(changed, [2, 3]);
/// assert!(reader.is_done());
/// ```
pub fn write_mask_diff(old: Bitmap<'_>, new: Bitmap<'_>, out: &mut [u8]) -> Result<usize, MaskDiffError> {
    let (expected, got) = (mask_diff_len(old, new)?, out.len());
    let out = out.get_mut(..expected).ok_or(MaskDiffError::Capacity { expected, got })?;
    let mut slots = out.iter_mut();
    emit(old, new, |byte| {
        if let Some(slot) = slots.next() {
            *slot = byte;
        }
    })?;
    Ok(expected)
}

/// Calls `byte` with the bytes of the change.
fn emit(old: Bitmap<'_>, new: Bitmap<'_>, mut byte: impl FnMut(u8)) -> Result<(), MaskDiffError> {
    if old.len() != new.len() {
        return Err(MaskDiffError::Length { expected: old.len(), got: new.len() });
    }
    if u32::try_from(old.len()).is_err() {
        return Err(MaskDiffError::TooLong { got: old.len() });
    }
    // Counts and indices are at most the length, which is a `u32`.
    put(changed(old, new).count() as u32, &mut byte);
    let mut next = 0;
    for i in changed(old, new) {
        put((i - next) as u32, &mut byte);
        next = i + 1;
    }
    Ok(())
}

/// The bits that differ, rising.
fn changed<'a>(old: Bitmap<'a>, new: Bitmap<'a>) -> impl Iterator<Item = usize> + 'a {
    let bytes = old.bytes().iter().zip(new.bytes());
    bytes.enumerate().flat_map(|(at, (old, new))| bits(at, old ^ new))
}

fn put(mut value: u32, byte: &mut impl FnMut(u8)) {
    while value >= 0x80 {
        byte(value as u8 | 0x80);
        value >>= 7;
    }
    byte(value as u8);
}

/// Reads a change as it arrives, byte by byte. A small value: a reader that was saved goes on where it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MaskDiffReader {
    /// The number that is being read, as far as it is here.
    value: u32,
    /// Bytes of it that are here, at most 4.
    read: u8,
    /// Changes still to come; none before their number is known.
    left: Option<u32>,
    /// The first param that can still change: all before it are settled.
    next: u32,
}

impl MaskDiffReader {
    /// One that stands before the first byte.
    pub const fn new() -> Self {
        Self { value: 0, read: 0, left: None, next: 0 }
    }

    /// Takes the next byte of a change of a mask of `len` params; gives the param that changes, if the byte completes it.
    ///
    /// # Errors
    /// [`MaskDiffError`]; the reader must not be used any more then.
    pub fn push(&mut self, byte: u8, len: u32) -> Result<Option<u32>, MaskDiffError> {
        if self.is_done() {
            return Err(MaskDiffError::Trailing);
        }
        let group = u32::from(byte & 0x7f);
        // Of the fifth group four bits are left of 32. A last group of zeros could have been left out.
        let fits = self.read < 4 || (self.read == 4 && byte < 0x10);
        if !fits || (byte == 0 && self.read > 0) {
            return Err(MaskDiffError::Varint);
        }
        self.value |= group << (7 * self.read);
        self.read += 1;
        if byte >= 0x80 {
            return Ok(None);
        }
        let value = core::mem::take(&mut self.value);
        self.read = 0;
        let Some(left) = self.left else {
            if value > len {
                return Err(MaskDiffError::Count { expected: len, got: value });
            }
            self.left = Some(value);
            return Ok(None);
        };
        let index = u64::from(self.next) + u64::from(value);
        // Those after it need a param each. There is one to come at least, so this one is counted in `left`.
        let end = len.saturating_sub(left - 1);
        if index >= u64::from(end) {
            return Err(MaskDiffError::Index { expected: end.saturating_sub(1), got: index });
        }
        let index = index as u32;
        (self.left, self.next) = (Some(left - 1), index + 1);
        Ok(Some(index))
    }

    /// True if the change is complete.
    pub fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// Params from the first that are settled: those up to the last change, with it.
    pub fn settled(&self) -> u32 {
        self.next
    }

    /// True if a reader that comes from a saved session stands at a possible place in a change of `len` params.
    pub(crate) fn is_consistent(&self, len: u32) -> bool {
        let room = len.checked_sub(self.next);
        let number = self.read <= 4 && u64::from(self.value) < 1 << (7 * self.read);
        let place = match self.left {
            None => self.next == 0,
            Some(left) => room.is_some_and(|room| left <= room) && (left > 0 || (self.read == 0 && self.value == 0)),
        };
        number && place
    }
}
