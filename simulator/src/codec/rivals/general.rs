//! General-purpose compressors of bytes: gzip (zlib's best level) and zstd (level 19, the best of its ordinary ones).

use super::{RivalError, Sent, min_max};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use half::f16;
use std::io::{Read, Write};

/// A compressor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum General {
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl General {
    /// What it makes of bytes; memory is all that it writes to, so it does not fail.
    pub fn pack(self, bytes: &[u8]) -> Vec<u8> {
        let packed = match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(bytes).and_then(|()| encoder.finish())
            }
            Self::Zstd => zstd::bulk::compress(bytes, 19),
        };
        packed.unwrap_or_else(|_| unreachable!("memory takes what is written to it"))
    }

    /// The `length` bytes that were packed.
    ///
    /// # Errors
    /// [`RivalError::Packed`] if it is something else.
    pub fn unpack(self, packed: &[u8], length: usize) -> Result<Vec<u8>, RivalError> {
        let mut bytes = Vec::new();
        match self {
            Self::Gzip => {
                let mut decoder = GzDecoder::new(packed).take((length as u64).saturating_add(1));
                decoder.read_to_end(&mut bytes).map_err(|_| RivalError::Packed { length })?;
            }
            Self::Zstd => bytes = zstd::bulk::decompress(packed, length).map_err(|_| RivalError::Packed { length })?,
        }
        if bytes.len() == length { Ok(bytes) } else { Err(RivalError::Packed { length }) }
    }

    /// Symbols in as many bytes each (1, 2 or 4, which the first byte says) as the largest needs, packed.
    pub fn encode(self, symbols: &[i32]) -> Vec<u8> {
        let fits = |low: i32, high: i32| symbols.iter().all(|q| (low..=high).contains(q));
        let width = if fits(-128, 127) {
            1
        } else if fits(-32_768, 32_767) {
            2
        } else {
            4
        };
        let bytes: Vec<u8> = symbols.iter().flat_map(|q| q.to_le_bytes().into_iter().take(width)).collect();
        let mut coded = vec![width as u8];
        coded.extend(self.pack(&bytes));
        coded
    }

    /// The `count` symbols of [`Self::encode`]'s bytes.
    ///
    /// # Errors
    /// [`RivalError`].
    pub fn decode(self, coded: &[u8], count: usize) -> Result<Vec<i32>, RivalError> {
        let wrong = RivalError::Packed { length: count };
        let (&width, packed) = coded.split_first().ok_or(RivalError::OutOfBits { position: 0 })?;
        if !matches!(width, 1 | 2 | 4) {
            return Err(wrong);
        }
        let bytes = self.unpack(packed, count.checked_mul(usize::from(width)).ok_or(wrong)?)?;
        let symbol = |bytes: &[u8]| {
            // The sign is that of the highest byte.
            let mut all = [if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 }; 4];
            all[..bytes.len()].copy_from_slice(bytes);
            i32::from_le_bytes(all)
        };
        Ok(bytes.chunks_exact(usize::from(width)).map(symbol).collect())
    }

    /// Coordinates as 16-bit floats (IEEE 754 binary16), packed.
    pub fn send_f16(self, x: &[f64]) -> Sent {
        let halves: Vec<f16> = x.iter().map(|x| f16::from_f64(*x)).collect();
        let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        Sent { bits: 8 * self.pack(&bytes).len(), estimate: halves.iter().map(|half| half.to_f64()).collect() }
    }

    /// Levels of [`min_max`], packed, and two `f32`.
    pub fn send_min_max(self, x: &[f64]) -> Sent {
        let (levels, ..) = min_max::quantize(x);
        Sent { bits: 8 * self.pack(&levels).len() + 64, ..min_max::send(x) }
    }
}
