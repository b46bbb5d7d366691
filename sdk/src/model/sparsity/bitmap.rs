//! A mask as the checkpoint carries it: one bit per param in flat (row-major) order, **least significant bit first**, so
//! param `i` is bit `i % 8` of byte `i / 8`; a set bit lives. The bits after the last param are zero. (JaxPruner's packed
//! masks are numpy's `packbits`, most significant bit first.)

/// Why bytes are no bitmap of a given length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BitmapError {
    /// Not [`bitmap_bytes`] bytes.
    Length {
        /// Bytes that the bits need.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// A bit after the last param is set: two different byte strings would mean the same mask.
    Padding {
        /// The last byte.
        got: u8,
    },
}

impl core::fmt::Display for BitmapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::Length { expected, got } => write!(f, "bitmap has {got} bytes, needs {expected}"),
            Self::Padding { got } => write!(f, "last byte {got:#04x} of the bitmap has bits beyond the last param"),
        }
    }
}

impl core::error::Error for BitmapError {}

/// Bytes of a bitmap of `len` bits.
pub const fn bitmap_bytes(len: usize) -> usize {
    len.div_ceil(8)
}

/// Bits of the last byte that are beyond the last of `len` bits.
const fn padding(len: usize) -> u8 {
    match len % 8 {
        0 => 0,
        used => !0 << used,
    }
}

/// A read-only view of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bitmap<'a> {
    /// Exactly `bitmap_bytes(len)` bytes with zero padding.
    bytes: &'a [u8],
    len: usize,
}

impl<'a> Bitmap<'a> {
    /// Checks that `bytes` are a bitmap of `len` bits.
    ///
    /// # Errors
    /// [`BitmapError`]: wrong number of bytes, or padding that is not zero.
    pub fn new(bytes: &'a [u8], len: usize) -> Result<Self, BitmapError> {
        let expected = bitmap_bytes(len);
        if bytes.len() != expected {
            return Err(BitmapError::Length { expected, got: bytes.len() });
        }
        match bytes.last() {
            Some(&last) if last & padding(len) != 0 => Err(BitmapError::Padding { got: last }),
            _ => Ok(Self { bytes, len }),
        }
    }

    /// Bits, which is params.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No bits at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes, as the checkpoint carries them.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether param `i` lives; `None` beyond the last.
    pub fn get(&self, i: usize) -> Option<bool> {
        (i < self.len).then(|| (self.bytes[i / 8] >> (i % 8)) & 1 == 1)
    }

    /// How many live.
    pub fn count(&self) -> usize {
        self.bytes.iter().map(|b| b.count_ones() as usize).sum()
    }

    /// Every bit in order.
    pub fn iter(&self) -> impl Iterator<Item = bool> + 'a {
        let bytes = self.bytes;
        (0..self.len).map(move |i| (bytes[i / 8] >> (i % 8)) & 1 == 1)
    }

    /// The indices of those that live, rising. Costs one step per byte and one per set bit.
    pub fn ones(&self) -> impl Iterator<Item = usize> + 'a {
        self.bytes.iter().enumerate().flat_map(|(at, &byte)| bits(at, byte))
    }
}

/// The indices of the set bits of the byte at `at`, rising.
pub(super) fn bits(at: usize, byte: u8) -> impl Iterator<Item = usize> {
    let mut rest = byte;
    core::iter::from_fn(move || {
        let bit = rest.trailing_zeros() as usize;
        // Clears the lowest set bit; of zero there is none.
        rest &= rest.checked_sub(1)?;
        Some(at * 8 + bit)
    })
}

/// A view through which a mask is written. The padding stays zero.
#[derive(Debug)]
pub struct BitmapMut<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> BitmapMut<'a> {
    /// Takes exactly `bitmap_bytes(len)` bytes. Their bits are kept, the padding is cleared.
    ///
    /// # Errors
    /// [`BitmapError::Length`].
    pub fn new(bytes: &'a mut [u8], len: usize) -> Result<Self, BitmapError> {
        let expected = bitmap_bytes(len);
        if bytes.len() != expected {
            return Err(BitmapError::Length { expected, got: bytes.len() });
        }
        if let Some(last) = bytes.last_mut() {
            *last &= !padding(len);
        }
        Ok(Self { bytes, len })
    }

    /// Bits, which is params.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No bits at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes bit `i`; false, and nothing written, beyond the last.
    pub fn set(&mut self, i: usize, live: bool) -> bool {
        if i >= self.len {
            return false;
        }
        let bit = 1 << (i % 8);
        if live {
            self.bytes[i / 8] |= bit;
        } else {
            self.bytes[i / 8] &= !bit;
        }
        true
    }

    /// Writes every bit.
    pub fn fill(&mut self, live: bool) {
        self.bytes.fill(if live { 0xff } else { 0 });
        if let Some(last) = self.bytes.last_mut() {
            *last &= !padding(self.len);
        }
    }

    /// The same bits, to read.
    pub fn as_bitmap(&self) -> Bitmap<'_> {
        Bitmap { bytes: self.bytes, len: self.len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn refuses_wrong_length_and_padding() {
        assert_eq!(Bitmap::new(&[0, 0], 8), Err(BitmapError::Length { expected: 1, got: 2 }));
        assert_eq!(Bitmap::new(&[], 1), Err(BitmapError::Length { expected: 1, got: 0 }));
        assert_eq!(Bitmap::new(&[0b0010_0000], 5), Err(BitmapError::Padding { got: 0x20 }));
        assert!(Bitmap::new(&[0b0001_0000], 5).is_ok());
        assert!(Bitmap::new(&[], 0).unwrap().is_empty());
        let mut bytes = [0xff];
        assert_eq!(BitmapMut::new(&mut bytes, 3).unwrap().as_bitmap().bytes(), [0b111]);
    }

    #[test]
    fn bit_order_is_least_significant_first() {
        let mut bytes = [0u8; 2];
        let mut mask = BitmapMut::new(&mut bytes, 10).unwrap();
        assert!(mask.set(0, true) && mask.set(9, true));
        assert!(!mask.set(10, true));
        assert_eq!(bytes, [1, 2]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_vec_of_bools(bits in proptest::collection::vec(any::<bool>(), 0..70)) {
            let mut bytes = std::vec![0xa5; bitmap_bytes(bits.len())];
            let mut mask = BitmapMut::new(&mut bytes, bits.len()).unwrap();
            for (i, &bit) in bits.iter().enumerate() {
                prop_assert!(mask.set(i, bit));
            }
            let view = Bitmap::new(&bytes, bits.len()).unwrap();
            prop_assert_eq!(view.iter().collect::<Vec<_>>(), bits.clone());
            prop_assert_eq!(view.count(), bits.iter().filter(|b| **b).count());
            let ones: Vec<usize> = (0..bits.len()).filter(|&i| bits[i]).collect();
            prop_assert_eq!(view.ones().collect::<Vec<_>>(), ones);
            prop_assert_eq!(view.get(bits.len()), None);
            for (i, &bit) in bits.iter().enumerate() {
                prop_assert_eq!(view.get(i), Some(bit));
            }
        }
    }
}
