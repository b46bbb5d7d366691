//! IDX files: an array of numbers behind a short big-endian header.
//!
//! `00 00`, type, number of dimensions, each dimension as `u32`, then the values, last dimension fastest (LeCun, Cortes,
//! Burges: "The MNIST database of handwritten digits", section "The IDX file format"). A file may be gzipped; its content
//! tells, not its name. [`load`] makes a [`super::Federated`] of a folder.

mod folder;
mod table;

pub use folder::{Layout, Options, Scaling, load};

use super::DataError;
use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Read},
    path::Path,
};

/// Most dimensions of a file: examples, then rows, columns and channels.
pub const MAX_DIMS: usize = 4;

/// Most bytes of values in a file, unpacked: 4 GiB. It bounds what a small gzip file can blow up to.
pub const MAX_BYTES: u64 = 4 << 30;

/// Type of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0x08.
    U8,
    /// 0x09.
    I8,
    /// 0x0b.
    I16,
    /// 0x0c.
    I32,
    /// 0x0d.
    F32,
    /// 0x0e.
    F64,
}

impl Kind {
    fn of(code: u8) -> Option<Self> {
        Some(match code {
            0x08 => Self::U8,
            0x09 => Self::I8,
            0x0b => Self::I16,
            0x0c => Self::I32,
            0x0d => Self::F32,
            0x0e => Self::F64,
            _ => return None,
        })
    }

    /// Bytes a value.
    #[must_use]
    pub const fn width(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// For reports: `uint8`, `int16` ...
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }
}

/// One file, unpacked.
#[derive(Debug)]
pub struct Idx {
    /// Type of the values.
    pub kind: Kind,
    /// Records, then the dimensions of a record; 1 to [`MAX_DIMS`] of them.
    pub dims: Vec<usize>,
    /// The values, big-endian: as many bytes as kind and dimensions say.
    bytes: Vec<u8>,
}

/// Up to four bytes that tell what a file is, unpacked.
fn read_up_to(reader: &mut impl Read, wanted: u64, into: &mut Vec<u8>) -> std::io::Result<()> {
    reader.by_ref().take(wanted).read_to_end(into).map(|_| ())
}

impl Idx {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// As [`Idx::parse`], and [`DataError::Read`] if the system refuses.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|source| DataError::Read { file: path.into(), source })?;
        Self::parse(BufReader::with_capacity(1 << 16, file), path)
    }

    /// Reads one file out of `reader`; `name` is for messages. Memory grows with the data that arrives, never with what the
    /// header promises.
    ///
    /// # Errors
    /// [`DataError`]: `NotIdx`, `CutOff`, `Trailing`, `TooLarge`, `Gzip`, `Read`.
    pub fn parse(mut reader: impl BufRead, name: &Path) -> Result<Self, DataError> {
        let start = reader.fill_buf().map_err(|source| DataError::Read { file: name.into(), source })?;
        if start.starts_with(&[0x1f, 0x8b]) {
            let unpacked = flate2::bufread::MultiGzDecoder::new(reader);
            Self::unpacked(unpacked, |unpacked, source| DataError::Gzip { file: name.into(), unpacked, source }, name)
        } else {
            Self::unpacked(reader, |_, source| DataError::Read { file: name.into(), source }, name)
        }
    }

    fn unpacked(
        mut reader: impl Read,
        failed: impl Fn(u64, std::io::Error) -> DataError,
        name: &Path,
    ) -> Result<Self, DataError> {
        let file = || name.to_path_buf();
        let mut header = Vec::new();
        read_up_to(&mut reader, 4, &mut header).map_err(|e| failed(header.len() as u64, e))?;
        let (kind, dims) = match header[..] {
            [0, 0, code, dims] if (1..=MAX_DIMS).contains(&usize::from(dims)) => (Kind::of(code), u64::from(dims)),
            _ => (None, 0),
        };
        let Some(kind) = kind else { return Err(DataError::NotIdx { file: file(), found: header }) };

        read_up_to(&mut reader, 4 * dims, &mut header).map_err(|e| failed(header.len() as u64, e))?;
        let head = 4 + 4 * dims;
        if (header.len() as u64) < head {
            return Err(DataError::CutOff { file: file(), record: 0, wanted: head, got: header.len() as u64 });
        }
        let dims: Vec<u32> =
            header[4..].chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect();
        // A dimension of 0 counts as 1 here: the product of any of the dimensions must fit, not of all of them alone.
        let most = dims.iter().try_fold(kind.width() as u64, |size, &n| size.checked_mul(u64::from(n.max(1))));
        if !most.is_some_and(|most| most <= MAX_BYTES && usize::try_from(most).is_ok()) {
            return Err(DataError::TooLarge { file: file(), dims, width: kind.width(), limit: MAX_BYTES });
        }
        let size = dims.iter().fold(kind.width() as u64, |size, &n| size * u64::from(n));

        // One byte more than wanted: it tells a file that goes on, and makes gzip check its trailer.
        let mut bytes = Vec::new();
        read_up_to(&mut reader, size + 1, &mut bytes).map_err(|e| failed(head + bytes.len() as u64, e))?;
        let got = bytes.len() as u64;
        if got < size {
            let record = got / (size / u64::from(dims[0])).max(1);
            return Err(DataError::CutOff { file: file(), record, wanted: head + size, got: head + got });
        }
        if got > size {
            return Err(DataError::Trailing { file: file(), end: head + size });
        }
        Ok(Self { kind, dims: dims.iter().map(|&n| n as usize).collect(), bytes })
    }

    /// Records: the first dimension.
    #[must_use]
    pub fn records(&self) -> usize {
        self.dims[0]
    }

    /// Values of one record: the product of the other dimensions.
    #[must_use]
    pub fn values_per_record(&self) -> usize {
        self.dims[1..].iter().product()
    }

    /// Where value `i` begins in the unpacked file.
    #[must_use]
    pub fn offset(&self, i: usize) -> u64 {
        4 + 4 * self.dims.len() as u64 + i as u64 * self.kind.width() as u64
    }

    fn at<const N: usize>(&self, i: usize) -> [u8; N] {
        std::array::from_fn(|k| self.bytes[i * N + k])
    }

    /// Value `i`, if the type is an integer.
    ///
    /// # Panics
    /// If there is no value `i`.
    #[must_use]
    pub fn integer(&self, i: usize) -> Option<i64> {
        Some(match self.kind {
            Kind::U8 => i64::from(self.bytes[i]),
            Kind::I8 => i64::from(i8::from_be_bytes(self.at(i))),
            Kind::I16 => i64::from(i16::from_be_bytes(self.at(i))),
            Kind::I32 => i64::from(i32::from_be_bytes(self.at(i))),
            Kind::F32 | Kind::F64 => return None,
        })
    }

    /// Value `i`.
    ///
    /// # Panics
    /// If there is no value `i`.
    #[must_use]
    pub fn real(&self, i: usize) -> f64 {
        match self.kind {
            Kind::F32 => f64::from(f32::from_be_bytes(self.at(i))),
            Kind::F64 => f64::from_be_bytes(self.at(i)),
            // Integers have at most 32 bits: exact.
            _ => self.integer(i).unwrap_or_default() as f64,
        }
    }
}

/// What a file begins with, unpacked: is it worth a look?
pub(super) fn looks_like_idx(path: &Path) -> Result<bool, DataError> {
    let file = File::open(path).map_err(|source| DataError::Read { file: path.into(), source })?;
    let mut reader = BufReader::with_capacity(1 << 12, file);
    let start = reader.fill_buf().map_err(|source| DataError::Read { file: path.into(), source })?;
    let mut magic = Vec::new();
    let read = if start.starts_with(&[0x1f, 0x8b]) {
        read_up_to(&mut flate2::bufread::MultiGzDecoder::new(reader), 4, &mut magic)
    } else {
        read_up_to(&mut reader, 4, &mut magic)
    };
    match read {
        Ok(()) => Ok(matches!(magic[..], [0, 0, code, dims] if Kind::of(code).is_some() && dims > 0)),
        // A damaged gzip file: the attempt to load it will say where.
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
            Ok(false)
        }
        Err(source) => Err(DataError::Read { file: path.into(), source }),
    }
}

#[cfg(test)]
mod bad;
#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
