//! Bits in bytes, in the two orders that codes are written in.

use super::RivalError;

/// Which bit of a byte, and of a number, comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The lowest, as in tensorflow-compression's bit coder.
    LowFirst,
    /// The highest, as in textbooks.
    HighFirst,
}

/// Bits that were written; the last byte is filled up with zeros.
#[derive(Debug, Clone)]
pub struct BitWriter {
    order: Order,
    bytes: Vec<u8>,
    length: usize,
}

impl BitWriter {
    /// No bits yet.
    pub fn new(order: Order) -> Self {
        Self { order, bytes: Vec::new(), length: 0 }
    }

    /// One bit.
    pub fn bit(&mut self, bit: bool) {
        let at = self.length % 8;
        if at == 0 {
            self.bytes.push(0);
        }
        let shift = if self.order == Order::LowFirst { at } else { 7 - at };
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << shift;
        }
        self.length += 1;
    }

    /// `count` zeros.
    pub fn zeros(&mut self, count: u32) {
        (0..count).for_each(|_| self.bit(false));
    }

    /// The low `count <= 32` bits of a number.
    pub fn number(&mut self, number: u32, count: u32) {
        for i in 0..count {
            let place = if self.order == Order::LowFirst { i } else { count - 1 - i };
            self.bit(number >> place & 1 == 1);
        }
    }

    /// Number of bits so far.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads what a [`BitWriter`] wrote.
#[derive(Debug, Clone)]
pub struct BitReader<'a> {
    order: Order,
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    /// From the first bit on.
    pub fn new(order: Order, bytes: &'a [u8]) -> Self {
        Self { order, bytes, position: 0 }
    }

    /// Index of the next bit.
    pub fn position(&self) -> usize {
        self.position
    }

    /// One bit.
    ///
    /// # Errors
    /// [`RivalError::OutOfBits`].
    pub fn bit(&mut self) -> Result<bool, RivalError> {
        let byte = *self.bytes.get(self.position / 8).ok_or(RivalError::OutOfBits { position: self.position })?;
        let at = self.position % 8;
        self.position += 1;
        Ok(byte >> if self.order == Order::LowFirst { at } else { 7 - at } & 1 == 1)
    }

    /// A number of `count <= 32` bits.
    ///
    /// # Errors
    /// [`RivalError::OutOfBits`].
    pub fn number(&mut self, count: u32) -> Result<u32, RivalError> {
        let mut number = 0;
        for i in 0..count {
            let bit = u32::from(self.bit()?);
            number = if self.order == Order::LowFirst { number | bit << i } else { number << 1 | bit };
        }
        Ok(number)
    }

    /// How many zeros come before the next one; the one is read too.
    ///
    /// # Errors
    /// [`RivalError::OutOfBits`], or [`RivalError::TooLarge`] beyond `most`.
    pub fn unary(&mut self, most: u32) -> Result<u32, RivalError> {
        let start = self.position;
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > most {
                return Err(RivalError::TooLarge { position: start });
            }
        }
        Ok(zeros)
    }
}
