//! Published codecs, each by its definition, so that a comparison compares with them and not with a caricature.
//!
//! | module | scheme |
//! |---|---|
//! | [`rounding`] | nearest, stochastic and dithered rounding (Mitchell, Ballé, Charles, Konečný 2022) |
//! | [`run_length`] | zero runs and magnitudes in Elias gamma (the same paper), delta, omega or Rice codes |
//! | [`qsgd`] | stochastic rounding in units of the norm (Alistarh et al. 2017) |
//! | [`top_k`] | the k largest coordinates |
//! | [`one_bit`] | signs and two means (Seide et al. 2014, without its error feedback) |
//! | [`tern_grad`] | stochastic -1, 0, 1 in units of the maximum (Wen et al. 2017) |
//! | [`three_lc`] | ternary rounding, five to a byte, zero runs (Lim, Andersen, Kaminsky 2019) |
//! | [`drive`] | signs after a random rotation (Vargaftik et al. 2021) |
//! | [`eden`] | Lloyd-Max quantisation after a random rotation (Vargaftik et al. 2022) |
//! | [`min_max`] | 8-bit uniform quantisation between minimum and maximum |
//! | [`general`] | gzip and zstd of 16-bit floats, of 8-bit levels and of symbols |
//!
//! [`bits`], [`universal`] and [`hadamard`] are what they are made of. Arithmetic is in `f64`: these are yardsticks.

pub mod bits;
pub mod drive;
pub mod eden;
pub mod general;
pub mod hadamard;
pub mod min_max;
pub mod one_bit;
pub mod qsgd;
pub mod rounding;
pub mod run_length;
pub mod tern_grad;
pub mod three_lc;
pub mod top_k;
pub mod universal;

#[cfg(test)]
mod tests;

/// What a receiver makes of a vector, and what sending it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// Length of the message in bits; shapes and seeds, which both sides know, are not in it.
    pub bits: usize,
    /// The receiver's estimate, as long as the vector.
    pub estimate: Vec<f64>,
}

impl Sent {
    /// Puts the first `count` coordinates of another part of the vector behind this one.
    fn append(&mut self, part: Self, count: usize) {
        self.bits += part.bits;
        self.estimate.extend(&part.estimate[..count]);
    }
}

/// A number as 32 bits carry it.
fn f32_of(x: f64) -> f64 {
    f64::from(x as f32)
}

/// Why bytes were not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RivalError {
    /// The bits end inside a code.
    #[error("the bits end at {position}, inside a code")]
    OutOfBits {
        /// Bits that there are.
        position: usize,
    },
    /// A run goes beyond the last symbol.
    #[error("a run ends at symbol {got}, but there are {expected}")]
    PastEnd {
        /// Number of symbols.
        expected: usize,
        /// Where the run ends.
        got: usize,
    },
    /// A number too large for 31 bits.
    #[error("a number at bit {position} has more than 31 bits")]
    TooLarge {
        /// Where its code starts.
        position: usize,
    },
    /// Bytes of a general-purpose compressor that are not its own, or not so many symbols.
    #[error("the bytes do not unpack to {length}")]
    Packed {
        /// How many bytes, or symbols, belong there.
        length: usize,
    },
    /// Bytes after the last code.
    #[error("byte {position} is behind the last code")]
    Trailing {
        /// The first of them.
        position: usize,
    },
}
