//! Lossless coders of symbols by name: the device's, and those that it is compared with.

use super::CodecError;
use super::rivals::bits::{BitReader, BitWriter, Order};
use super::rivals::general::General;
use super::rivals::run_length::{DELTA, GAMMA, OMEGA, RunLength, best_rice};
use super::rivals::universal::Code;
use siskin::quantize::MAX_SYMBOL;
use siskin::range_coder::{self, EntropyCoder, RowColumn, Support};

/// A coder of symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coder {
    /// The range coder of the sdk.
    Siskin,
    /// Zero runs, signs and magnitudes in one universal code.
    Runs(RunLength),
    /// The same in Rice codes whose two parameters, in the first byte, are the best ones.
    RunsRice,
    /// Every symbol by itself: `2|q| + (q < 0)`, plus 1, in one universal code, highest bit first.
    Each(Code),
    /// Symbols in one, two or four bytes each, and a general-purpose compressor.
    General(General),
}

/// What a coder made of symbols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded {
    /// The message.
    pub bytes: Vec<u8>,
    /// Its length before it was filled up to bytes.
    pub bits: usize,
}

impl Coder {
    /// All coders and their names.
    pub const NAMES: [(&'static str, Self); 10] = [
        ("siskin", Self::Siskin),
        ("rlgamma", Self::Runs(GAMMA)),
        ("rldelta", Self::Runs(DELTA)),
        ("rlomega", Self::Runs(OMEGA)),
        ("rlrice", Self::RunsRice),
        ("elias-gamma", Self::Each(Code::Gamma)),
        ("elias-delta", Self::Each(Code::Delta)),
        ("elias-omega", Self::Each(Code::Omega)),
        ("gzip", Self::General(General::Gzip)),
        ("zstd", Self::General(General::Zstd)),
    ];

    /// The coder of a name.
    ///
    /// # Errors
    /// [`CodecError`] with all names.
    pub fn named(name: &str) -> Result<Self, CodecError> {
        Self::NAMES.into_iter().find(|(n, _)| *n == name).map(|(_, coder)| coder).ok_or_else(|| {
            let names: Vec<&str> = Self::NAMES.iter().map(|(n, _)| *n).collect();
            CodecError::new("codec", format!("{} are known", names.join(", ")))
        })
    }

    /// Codes the symbols of matrices of these rows and columns, one after the other; only [`Self::Siskin`] looks at the shapes.
    ///
    /// # Errors
    /// [`CodecError`]: as many symbols as the shapes have, magnitudes of at most `2^24 - 1`.
    pub fn encode(self, shapes: &[[u32; 2]], symbols: &[i32]) -> Result<Coded, CodecError> {
        let supports = supports(shapes, symbols.len())?;
        if let Some(i) = symbols.iter().position(|q| q.unsigned_abs() > MAX_SYMBOL as u32) {
            return Err(CodecError::new("symbols", format!("{} at {i} is beyond {MAX_SYMBOL}", symbols[i])));
        }
        let full = |bytes: Vec<u8>| Coded { bits: 8 * bytes.len(), bytes };
        match self {
            Self::Siskin => siskin_encode(&supports, symbols),
            Self::Runs(code) => Ok(Coded { bytes: code.encode(symbols), bits: code.bits(symbols) }),
            Self::RunsRice => {
                let code = best_rice(symbols);
                let [low, high] =
                    [code.runs, code.magnitudes].map(|code| if let Code::Rice { k } = code { k } else { 0 });
                let mut bytes = vec![(low | high << 4) as u8];
                bytes.extend(code.encode(symbols));
                Ok(Coded { bytes, bits: 8 + code.bits(symbols) })
            }
            Self::General(general) => Ok(full(general.encode(symbols))),
            Self::Each(code) => {
                let mut bits = BitWriter::new(Order::HighFirst);
                for &q in symbols {
                    code.write(&mut bits, 1 + 2 * q.unsigned_abs() + u32::from(q < 0));
                }
                Ok(Coded { bits: bits.length(), bytes: bits.finish() })
            }
        }
    }

    /// The symbols of what [`Self::encode`] wrote for the same shapes.
    ///
    /// # Errors
    /// [`CodecError`]: why the bytes are not that.
    pub fn decode(self, shapes: &[[u32; 2]], bytes: &[u8]) -> Result<Vec<i32>, CodecError> {
        let count = shapes.iter().map(|[rows, cols]| *rows as usize * *cols as usize).sum();
        let wrong = |what: &dyn std::fmt::Display| CodecError::new("bytes", what);
        match self {
            Self::Siskin => {
                let supports = supports(shapes, count)?;
                let mut scratch = scratch(&supports);
                let mut symbols = vec![0; count];
                let scratch = bytemuck::cast_slice_mut(&mut scratch);
                range_coder::decode::<RowColumn>(&supports, bytes, scratch, |i, q| symbols[i] = q)
                    .map_err(|e| wrong(&e))?;
                Ok(symbols)
            }
            Self::Runs(code) => code.decode(bytes, count).map_err(|e| wrong(&e)),
            Self::RunsRice => {
                let (head, rest) = bytes.split_first().ok_or_else(|| wrong(&"there are none"))?;
                let code = |k: u8| Code::Rice { k: u32::from(k) };
                let code = RunLength { runs: code(head & 15), magnitudes: code(head >> 4) };
                code.decode(rest, count).map_err(|e| wrong(&e))
            }
            Self::General(general) => general.decode(bytes, count).map_err(|e| wrong(&e)),
            Self::Each(code) => {
                let mut bits = BitReader::new(Order::HighFirst, bytes);
                let mut symbols = Vec::new();
                for _ in 0..count {
                    let n = code.read(&mut bits).map_err(|e| wrong(&e))? - 1;
                    let magnitude = (n / 2) as i32;
                    symbols.push(if n % 2 == 1 { -magnitude } else { magnitude });
                }
                let used = bits.position().div_ceil(8);
                if used == bytes.len() {
                    Ok(symbols)
                } else {
                    Err(wrong(&format!("byte {used} is behind the last code")))
                }
            }
        }
    }
}

fn siskin_encode(supports: &[Support<'_>], symbols: &[i32]) -> Result<Coded, CodecError> {
    let mut bytes = vec![0; RowColumn::encoded_bound(symbols.len())];
    let mut scratch = scratch(supports);
    let scratch = bytemuck::cast_slice_mut(&mut scratch);
    let length = range_coder::encode::<RowColumn>(supports, symbols, &mut bytes, scratch)
        .map_err(|e| CodecError::new("symbols", e))?;
    bytes.truncate(length);
    Ok(Coded { bits: 8 * bytes.len(), bytes })
}

fn supports(shapes: &[[u32; 2]], count: usize) -> Result<Vec<Support<'static>>, CodecError> {
    let wrong = |what: &dyn std::fmt::Display| CodecError::new("shape", what);
    let supports: Vec<Support<'_>> = shapes
        .iter()
        .map(|&[rows, cols]| Support::dense(rows, cols))
        .collect::<Result<_, _>>()
        .map_err(|e| wrong(&e))?;
    let live: usize = supports.iter().map(Support::live).sum();
    if live == count { Ok(supports) } else { Err(wrong(&format!("it has {live} params, there are {count} symbols"))) }
}

fn scratch(supports: &[Support<'_>]) -> Vec<u32> {
    let width = supports.iter().map(Support::width).max().unwrap_or(0);
    vec![0; RowColumn::required_scratch(width).div_ceil(4)]
}
