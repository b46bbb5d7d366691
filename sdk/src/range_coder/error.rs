//! What can go wrong, with numbers.

use super::SupportError;
use core::fmt;

/// Why symbols were not encoded.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodeError {
    /// The stream does not fit the slice.
    Full {
        /// Length of the slice.
        capacity: usize,
    },
    /// Scratch memory is too short for the widest tensor.
    Scratch {
        /// Bytes that would do.
        expected: usize,
        /// Bytes that there are.
        got: usize,
    },
    /// Scratch memory does not start at a multiple of `expected` bytes.
    Misaligned {
        /// [`super::SCRATCH_ALIGN`].
        expected: usize,
    },
    /// Not as many symbols as live coordinates.
    Length {
        /// Live coordinates.
        expected: usize,
        /// Symbols.
        got: usize,
    },
    /// A magnitude above [`crate::quantize::MAX_SYMBOL`].
    Symbol {
        /// Index over all tensors.
        index: usize,
        /// The symbol.
        got: i32,
    },
    /// The support contradicts itself.
    Support(SupportError),
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { capacity } => write!(f, "the stream does not fit {capacity} bytes"),
            Self::Scratch { expected, got } => write!(f, "scratch has {got} bytes, needs {expected}"),
            Self::Misaligned { expected } => write!(f, "scratch is not aligned to {expected} bytes"),
            Self::Length { expected, got } => write!(f, "{got} symbols for {expected} live coordinates"),
            Self::Symbol { index, got } => write!(f, "symbol {got} at {index} is out of range"),
            Self::Support(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for CodeError {}

/// Why bytes were not decoded. A `position` is a byte of the stream.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The stream goes on after its last byte.
    Truncated {
        /// Its length.
        position: usize,
    },
    /// The stream ends before its last byte.
    Trailing {
        /// First byte too many.
        position: usize,
    },
    /// The last bytes are not those that an encoder writes.
    Ending {
        /// Where they start.
        position: usize,
    },
    /// A magnitude above [`crate::quantize::MAX_SYMBOL`].
    Symbol {
        /// Index over all tensors.
        index: usize,
        /// Byte reached.
        position: usize,
    },
    /// More live coordinates than `usize` counts.
    TooLong {
        /// Live coordinates before this tensor.
        position: usize,
    },
    /// Scratch memory is too short for the widest tensor.
    Scratch {
        /// Bytes that would do.
        expected: usize,
        /// Bytes that there are.
        got: usize,
    },
    /// Scratch memory does not start at a multiple of `expected` bytes.
    Misaligned {
        /// [`super::SCRATCH_ALIGN`].
        expected: usize,
    },
    /// The support contradicts itself.
    Support(SupportError),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { position } => write!(f, "the stream breaks off at byte {position}"),
            Self::Trailing { position } => write!(f, "the stream ends before byte {position}, but more follow"),
            Self::Ending { position } => write!(f, "the stream does not end properly at byte {position}"),
            Self::Symbol { index, position } => write!(f, "symbol {index}, near byte {position}, is out of range"),
            Self::TooLong { position } => write!(f, "too many live coordinates after {position}"),
            Self::Scratch { expected, got } => write!(f, "scratch has {got} bytes, needs {expected}"),
            Self::Misaligned { expected } => write!(f, "scratch is not aligned to {expected} bytes"),
            Self::Support(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for DecodeError {}
