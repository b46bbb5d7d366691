//! Zero runs, signs and magnitudes, each in a universal code: with gamma, the code of Mitchell et al. (2022), bit for bit what
//! tensorflow-compression's `run_length_gamma_encode` writes; with Rice codes its `run_length_encode`.

use super::RivalError;
use super::bits::{BitReader, BitWriter, Order};
use super::universal::Code;

/// Codes of runs and of magnitudes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLength {
    /// Of the number of zeros before a nonzero symbol, plus 1 if the code starts at 1.
    pub runs: Code,
    /// Of the magnitude, minus 1 if the code starts at 0.
    pub magnitudes: Code,
}

/// The paper's code.
pub const GAMMA: RunLength = RunLength { runs: Code::Gamma, magnitudes: Code::Gamma };
/// The same with Elias delta.
pub const DELTA: RunLength = RunLength { runs: Code::Delta, magnitudes: Code::Delta };
/// The same with Elias omega.
pub const OMEGA: RunLength = RunLength { runs: Code::Omega, magnitudes: Code::Omega };

impl RunLength {
    fn write(self, symbols: &[i32]) -> BitWriter {
        let mut bits = BitWriter::new(Order::LowFirst);
        let start = self.runs.first();
        let mut run = start;
        for &symbol in symbols {
            if symbol == 0 {
                run += 1;
                continue;
            }
            self.runs.write(&mut bits, run);
            bits.bit(symbol > 0);
            // The smallest integer is coded as the one above it.
            let magnitude = symbol.saturating_abs() as u32;
            self.magnitudes.write(&mut bits, magnitude - 1 + self.magnitudes.first());
            run = start;
        }
        if run > start {
            self.runs.write(&mut bits, run);
        }
        bits
    }

    /// The bytes; nothing marks their end, nor how many symbols there are.
    pub fn encode(self, symbols: &[i32]) -> Vec<u8> {
        self.write(symbols).finish()
    }

    /// Their length in bits, before they are filled up to bytes.
    pub fn bits(self, symbols: &[i32]) -> usize {
        self.write(symbols).length()
    }

    /// The `count` symbols that all of `bytes` stand for.
    ///
    /// # Errors
    /// [`RivalError`]; bytes after the last code too.
    pub fn decode(self, bytes: &[u8], count: usize) -> Result<Vec<i32>, RivalError> {
        let mut bits = BitReader::new(Order::LowFirst, bytes);
        let mut symbols = vec![0; count];
        let mut at = 0usize;
        while at < count {
            at += (self.runs.read(&mut bits)? - self.runs.first()) as usize;
            if at > count {
                return Err(RivalError::PastEnd { expected: count, got: at });
            }
            if at == count {
                break;
            }
            let positive = bits.bit()?;
            let position = bits.position();
            let magnitude = self.magnitudes.read(&mut bits)?;
            let magnitude = (magnitude + 1 - self.magnitudes.first()) as i32;
            if magnitude <= 0 {
                return Err(RivalError::TooLarge { position });
            }
            symbols[at] = if positive { magnitude } else { -magnitude };
            at += 1;
        }
        let used = bits.position().div_ceil(8);
        if used < bytes.len() { Err(RivalError::Trailing { position: used }) } else { Ok(symbols) }
    }
}

/// The library's other form: runs of zeros and of nonzero symbols by turns, the first of zeros. Every run but the first has at least one
/// symbol, so that one less is coded; the symbols of a nonzero run follow its length.
impl RunLength {
    /// The bytes; nothing marks their end, nor how many symbols there are.
    pub fn encode_alternating(self, symbols: &[i32]) -> Vec<u8> {
        let mut bits = BitWriter::new(Order::LowFirst);
        let (mut left, mut zeros, mut least) = (symbols, true, 0);
        while !left.is_empty() {
            let length = left.iter().position(|q| (*q == 0) != zeros).unwrap_or(left.len());
            let (run, rest) = left.split_at(length);
            self.runs.write(&mut bits, length as u32 - least + self.runs.first());
            for symbol in run.iter().filter(|_| !zeros) {
                bits.bit(*symbol > 0);
                self.magnitudes.write(&mut bits, symbol.saturating_abs() as u32 - 1 + self.magnitudes.first());
            }
            (left, zeros, least) = (rest, !zeros, 1);
        }
        bits.finish()
    }

    /// The `count` symbols that all of `bytes` stand for.
    ///
    /// # Errors
    /// [`RivalError`]; bytes after the last code too.
    pub fn decode_alternating(self, bytes: &[u8], count: usize) -> Result<Vec<i32>, RivalError> {
        let mut bits = BitReader::new(Order::LowFirst, bytes);
        let mut symbols = Vec::new();
        let (mut zeros, mut least) = (true, 0);
        while symbols.len() < count {
            let length = (self.runs.read(&mut bits)? - self.runs.first()) as usize + least;
            let end = symbols.len() + length;
            if end > count {
                return Err(RivalError::PastEnd { expected: count, got: end });
            }
            while symbols.len() < end {
                if zeros {
                    symbols.push(0);
                    continue;
                }
                let positive = bits.bit()?;
                let position = bits.position();
                let magnitude = self.magnitudes.read(&mut bits)? - self.magnitudes.first();
                let magnitude = i32::try_from(magnitude).ok().and_then(|m| m.checked_add(1));
                let magnitude = magnitude.ok_or(RivalError::TooLarge { position })?;
                symbols.push(if positive { magnitude } else { -magnitude });
            }
            (zeros, least) = (!zeros, 1);
        }
        let used = bits.position().div_ceil(8);
        if used < bytes.len() { Err(RivalError::Trailing { position: used }) } else { Ok(symbols) }
    }
}

/// The Rice parameters, each at most 15, that make runs and magnitudes shortest: what a sender would put into one byte.
pub fn best_rice(symbols: &[i32]) -> RunLength {
    let mut lengths = [[0u64; 16]; 2];
    let add = |lengths: &mut [u64; 16], n: u32| {
        for (k, length) in lengths.iter_mut().enumerate() {
            *length += u64::from(n >> k) + 1 + k as u64;
        }
    };
    let mut run = 0;
    for &symbol in symbols {
        if symbol == 0 {
            run += 1;
        } else {
            add(&mut lengths[0], run);
            add(&mut lengths[1], symbol.unsigned_abs() - 1);
            run = 0;
        }
    }
    if run > 0 {
        add(&mut lengths[0], run);
    }
    let [runs, magnitudes] = lengths.map(|lengths| {
        let k = (0..16).min_by_key(|&k| lengths[k]).unwrap_or(0);
        Code::Rice { k: k as u32 }
    });
    RunLength { runs, magnitudes }
}
