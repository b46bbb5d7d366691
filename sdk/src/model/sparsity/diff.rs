//! What changed between two masks, in few bytes.
//!
//! | what | bytes |
//! |---|---|
//! | params that died | varint |
//! | params that came to life | varint |
//! | those that died, rising | a varint each: how many params were passed over since the one before |
//! | those that came to life, rising | the same, from the start again |
//!
//! A varint is LEB128 in its shortest form: 7 bits a byte, least significant group first, the high bit set in all but the
//! last. The first index of a list is its own gap; each later one is the index before, plus the gap, plus 1: no index can
//! come twice or out of order, so one change has one form. The number of params is not in the bytes; both sides know it.

use super::bitmap::bits;
use super::{Bitmap, BitmapMut};

/// Why bytes are no change of a mask, or a change does not fit a mask. Offsets count from the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MaskDiffError {
    /// Two masks of different lengths, or a change of a mask of another length.
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
    /// The bytes end within a number.
    Cut {
        /// Where the number begins.
        at: usize,
    },
    /// A number that is not in its shortest form, or does not fit in 32 bits.
    Varint {
        /// Where it begins.
        at: usize,
    },
    /// A list longer than the mask, or longer than the bytes that are left.
    Count {
        /// The most that it could be.
        expected: usize,
        /// What the bytes say.
        got: usize,
    },
    /// A param beyond the last.
    Index {
        /// Where its gap begins.
        at: usize,
        /// Params.
        expected: usize,
        /// The index.
        got: u64,
    },
    /// A param that dies and comes to life.
    Both {
        /// The param.
        index: usize,
    },
    /// Bytes are left over.
    Trailing {
        /// Where they begin.
        at: usize,
    },
    /// A param dies that does not live in this mask.
    NotLive {
        /// The param.
        index: usize,
    },
    /// A param comes to life that lives already.
    NotPruned {
        /// The param.
        index: usize,
    },
}

impl core::fmt::Display for MaskDiffError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::Length { expected, got } => write!(f, "a mask of {got} params where {expected} belong"),
            Self::Capacity { expected, got } => write!(f, "{got} bytes for a change of {expected}"),
            Self::TooLong { got } => write!(f, "{got} params are more than a u32 can index"),
            Self::Cut { at } => write!(f, "byte {at}: cut off within a number"),
            Self::Varint { at } => write!(f, "byte {at}: a number that is not the shortest form of one of 32 bits"),
            Self::Count { expected, got } => write!(f, "a list of {got} params where {expected} are the most"),
            Self::Index { at, expected, got } => write!(f, "byte {at}: param {got} of {expected}"),
            Self::Both { index } => write!(f, "param {index} dies and comes to life"),
            Self::Trailing { at } => write!(f, "byte {at}: bytes are left over"),
            Self::NotLive { index } => write!(f, "param {index} dies but does not live"),
            Self::NotPruned { index } => write!(f, "param {index} comes to life but lives"),
        }
    }
}

impl core::error::Error for MaskDiffError {}

/// Longest varint of a `u32`.
const MAX_VARINT: usize = 5;

/// A change of a mask, checked, over the bytes that carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskDiff<'a> {
    /// `dropped` gaps, then `grown` gaps, and nothing else; all indices are below `len`, none is in both lists.
    gaps: &'a [u8],
    dropped: u32,
    grown: u32,
    len: u32,
}

/// Bytes of the change from `old` to `new`.
///
/// # Errors
/// [`MaskDiffError`]: masks of different lengths, or too long.
pub fn mask_diff_len(old: Bitmap<'_>, new: Bitmap<'_>) -> Result<usize, MaskDiffError> {
    let mut bytes = 0;
    emit(old, new, |_| bytes += 1)?;
    Ok(bytes)
}

impl<'a> MaskDiff<'a> {
    /// Writes the change from `old` to `new` to the front of `out`; gives its bytes. Costs eight passes over the masks' bytes.
    ///
    /// # Errors
    /// [`MaskDiffError`]: masks of different lengths, or too long; `out` too short. Nothing is written then.
    ///
    /// ```
    /// use siskin::model::sparsity::{Bitmap, BitmapMut, MaskDiff};
    /// let (old, new) = ([0b0110u8], [0b1010u8]);
    /// let (old, new) = (Bitmap::new(&old, 4).unwrap(), Bitmap::new(&new, 4).unwrap());
    /// let mut out = [0; 8];
    /// let n = MaskDiff::encode(old, new, &mut out).unwrap();
    /// assert_eq!(out[..n], [1, 1, 2, 3]); // one dies: param 2; one comes to life: param 3
    /// let mut bits = [0b0110];
    /// MaskDiff::decode(&out[..n], 4).unwrap().apply(&mut BitmapMut::new(&mut bits, 4).unwrap()).unwrap();
    /// assert_eq!(bits, [0b1010]);
    /// ```
    pub fn encode(old: Bitmap<'_>, new: Bitmap<'_>, out: &mut [u8]) -> Result<usize, MaskDiffError> {
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

    /// Checks that `bytes` are a change of a mask of `len` params, and nothing else.
    ///
    /// # Errors
    /// [`MaskDiffError`], which says where.
    pub fn decode(bytes: &'a [u8], len: usize) -> Result<Self, MaskDiffError> {
        let len32 = u32::try_from(len).map_err(|_| MaskDiffError::TooLong { got: len })?;
        let mut reader = Reader { bytes, at: 0 };
        let (dropped, grown) = (reader.varint()?, reader.varint()?);
        // A gap takes a byte at least, and no param is in both lists.
        let most = len.min(bytes.len() - reader.at);
        let got = u64::from(dropped) + u64::from(grown);
        if got > most as u64 {
            return Err(MaskDiffError::Count { expected: most, got: usize::try_from(got).unwrap_or(usize::MAX) });
        }
        let gaps = &bytes[reader.at..];
        for count in [dropped, grown] {
            let mut next = 0u64;
            for _ in 0..count {
                let at = reader.at;
                let index = next + u64::from(reader.varint()?);
                if index >= u64::from(len32) {
                    return Err(MaskDiffError::Index { at, expected: len, got: index });
                }
                next = index + 1;
            }
        }
        if reader.at < bytes.len() {
            return Err(MaskDiffError::Trailing { at: reader.at });
        }
        let diff = Self { gaps, dropped, grown, len: len32 };
        match common(diff.dropped(), diff.grown()) {
            Some(index) => Err(MaskDiffError::Both { index }),
            None => Ok(diff),
        }
    }

    /// Params of the masks.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.dropped == 0 && self.grown == 0
    }

    /// The params that die, rising.
    pub fn dropped(&self) -> impl ExactSizeIterator<Item = usize> + use<'a> {
        Indices { reader: Reader { bytes: self.gaps, at: 0 }, left: self.dropped, next: 0 }
    }

    /// The params that come to life, rising. Reads over those that die first.
    pub fn grown(&self) -> impl ExactSizeIterator<Item = usize> + use<'a> {
        let mut reader = Reader { bytes: self.gaps, at: 0 };
        for _ in 0..self.dropped {
            // Checked when this was made.
            let _ = reader.varint();
        }
        Indices { reader, left: self.grown, next: 0 }
    }

    /// Makes the old mask the new one.
    ///
    /// # Errors
    /// [`MaskDiffError`]: a mask of another length, a param that dies but does not live, or comes to life but lives.
    /// Nothing is written then.
    pub fn apply(&self, mask: &mut BitmapMut<'_>) -> Result<(), MaskDiffError> {
        if mask.len() != self.len() {
            return Err(MaskDiffError::Length { expected: self.len(), got: mask.len() });
        }
        let old = mask.as_bitmap();
        if let Some(index) = self.dropped().find(|&i| old.get(i) != Some(true)) {
            return Err(MaskDiffError::NotLive { index });
        }
        if let Some(index) = self.grown().find(|&i| old.get(i) != Some(false)) {
            return Err(MaskDiffError::NotPruned { index });
        }
        for i in self.dropped() {
            mask.set(i, false);
        }
        for i in self.grown() {
            mask.set(i, true);
        }
        Ok(())
    }
}

/// Calls `byte` with the bytes of the change.
fn emit(old: Bitmap<'_>, new: Bitmap<'_>, mut byte: impl FnMut(u8)) -> Result<(), MaskDiffError> {
    if old.len() != new.len() {
        return Err(MaskDiffError::Length { expected: old.len(), got: new.len() });
    }
    if u32::try_from(old.len()).is_err() {
        return Err(MaskDiffError::TooLong { got: old.len() });
    }
    // The indices are below the length, which is a `u32`.
    put(only(old, new).count() as u32, &mut byte);
    put(only(new, old).count() as u32, &mut byte);
    for (from, but_not) in [(old, new), (new, old)] {
        let mut next = 0;
        for i in only(from, but_not) {
            put((i - next) as u32, &mut byte);
            next = i + 1;
        }
    }
    Ok(())
}

/// The set bits of `from` that are not set in `but_not`, rising.
fn only<'a>(from: Bitmap<'a>, but_not: Bitmap<'a>) -> impl Iterator<Item = usize> + 'a {
    let bytes = from.bytes().iter().zip(but_not.bytes());
    bytes.enumerate().flat_map(|(at, (byte, other))| bits(at, byte & !other))
}

fn put(mut value: u32, byte: &mut impl FnMut(u8)) {
    while value >= 0x80 {
        byte(value as u8 | 0x80);
        value >>= 7;
    }
    byte(value as u8);
}

/// The first index in both of two rising lists.
fn common(mut a: impl Iterator<Item = usize>, mut b: impl Iterator<Item = usize>) -> Option<usize> {
    let (mut x, mut y) = (a.next()?, b.next()?);
    while x != y {
        if x < y {
            x = a.next()?;
        } else {
            y = b.next()?;
        }
    }
    Some(x)
}

#[derive(Clone, Copy, Debug)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn varint(&mut self) -> Result<u32, MaskDiffError> {
        let at = self.at;
        let mut value = 0u64;
        for i in 0..MAX_VARINT {
            let byte = *self.bytes.get(at + i).ok_or(MaskDiffError::Cut { at })?;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                // A last group of zeros could be left out; five groups can exceed 32 bits.
                let shortest = i == 0 || byte != 0;
                self.at = at + i + 1;
                return u32::try_from(value).ok().filter(|_| shortest).ok_or(MaskDiffError::Varint { at });
            }
        }
        Err(MaskDiffError::Varint { at })
    }
}

/// The indices of one list, whose gaps were checked.
struct Indices<'a> {
    reader: Reader<'a>,
    left: u32,
    next: usize,
}

impl Iterator for Indices<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let index = self.next + self.reader.varint().ok()? as usize;
        self.next = index + 1;
        Some(index)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Indices<'_> {}
