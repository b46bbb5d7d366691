//! Bytes and checked values: documents (plans, saved sessions), frames and messages.
//!
//! `WIRE.md` beside this file gives every byte. Everything that comes from outside is parsed here, once, into a checked
//! type; lengths are capped before anything is reserved or copied.

mod frame;
mod message;

pub use frame::{FRAME_OVERHEAD, Frame, FrameAssembler, encode_frame};
pub use message::{Capabilities, MAX_MESSAGE, Request, Response, UploadStatus};

use core::fmt;
use serde::{Serialize, de::DeserializeOwned};

/// Version of the protocol that this code speaks. It understands this one and the one before (there is none yet).
pub const PROTOCOL_VERSION: u16 = 1;

/// Why bytes were not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum WireError {
    /// The first bytes are not those of this kind of document.
    Magic,
    /// A version that this code does not know.
    Version {
        /// The newest that it knows.
        known: u8,
        /// What the bytes say.
        got: u8,
    },
    /// The content does not decode.
    Malformed,
    /// Bytes are left over.
    Trailing {
        /// How many.
        bytes: u32,
    },
    /// The destination is too short.
    Capacity {
        /// Its length, bytes.
        capacity: u32,
    },
    /// A length in the bytes is larger than allowed.
    TooLong {
        /// Largest allowed, bytes.
        limit: u32,
        /// What the bytes say.
        got: u32,
    },
    /// The checksum does not match.
    Checksum,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => write!(f, "not a document of this kind (first four bytes)"),
            Self::Version { known, got } => write!(f, "version {got}, this code knows up to {known}"),
            Self::Malformed => write!(f, "malformed content"),
            Self::Trailing { bytes } => write!(f, "{bytes} bytes too many"),
            Self::Capacity { capacity } => write!(f, "a buffer of {capacity} bytes is too short"),
            Self::TooLong { limit, got } => write!(f, "length {got} is over the limit of {limit}"),
            Self::Checksum => write!(f, "wrong checksum"),
        }
    }
}

impl core::error::Error for WireError {}

/// XXH32 with seed 0: error detection, not authentication.
pub fn checksum(bytes: &[u8]) -> u32 {
    twox_hash::XxHash32::oneshot(0, bytes)
}

/// [`checksum`] of bytes that come in pieces.
pub(crate) struct Checksum(twox_hash::XxHash32);

impl Checksum {
    pub(crate) fn new() -> Self {
        Self(twox_hash::XxHash32::with_seed(0))
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        core::hash::Hasher::write(&mut self.0, bytes);
    }

    /// Of all that was added.
    pub(crate) fn get(&self) -> u32 {
        self.0.finish_32()
    }
}

/// Writes `magic, version, postcard(value)`.
pub(crate) fn encode_document<T: Serialize>(
    magic: [u8; 4],
    version: u8,
    value: &T,
    out: &mut [u8],
) -> Result<usize, WireError> {
    let capacity = WireError::Capacity { capacity: out.len() as u32 };
    let (head, body) = out.split_at_mut_checked(5).ok_or(capacity)?;
    head[..4].copy_from_slice(&magic);
    head[4] = version;
    let used = postcard::to_slice(value, body).map_err(|_| capacity)?.len();
    Ok(5 + used)
}

/// Reads documents.
pub(crate) struct Reader;

impl Reader {
    /// The fields after magic and version, to be read one by one: what derived code does by itself, but it holds some copies
    /// of a large value on the stack.
    pub(crate) fn fields(magic: [u8; 4], version: u8, bytes: &[u8]) -> Result<Fields<'_>, WireError> {
        Ok(Fields(postcard::Deserializer::from_bytes(Self::body(magic, version, bytes)?)))
    }

    /// Reads `magic, version, postcard(value)`, and gives what follows it.
    pub(crate) fn prefix<T: DeserializeOwned>(
        magic: [u8; 4],
        version: u8,
        bytes: &[u8],
    ) -> Result<(T, &[u8]), WireError> {
        postcard::take_from_bytes(Self::body(magic, version, bytes)?).map_err(|_| WireError::Malformed)
    }

    fn body(magic: [u8; 4], version: u8, bytes: &[u8]) -> Result<&[u8], WireError> {
        let (head, body) = bytes.split_at_checked(5).ok_or(WireError::Magic)?;
        if head[..4] != magic {
            return Err(WireError::Magic);
        }
        if head[4] != version {
            return Err(WireError::Version { known: version, got: head[4] });
        }
        Ok(body)
    }
}

/// The fields of a document, one after the other.
pub(crate) struct Fields<'a>(postcard::Deserializer<'a, postcard::de_flavors::Slice<'a>>);

impl Fields<'_> {
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<T, WireError> {
        T::deserialize(&mut self.0).map_err(|_| WireError::Malformed)
    }

    /// A field that is a list, onto the end of `list`.
    pub(crate) fn list<T: DeserializeOwned, const N: usize>(
        &mut self,
        list: &mut heapless::Vec<T, N>,
    ) -> Result<(), WireError> {
        for _ in 0..self.next::<u32>()? {
            list.push(self.next()?).map_err(|_| WireError::Malformed)?;
        }
        Ok(())
    }

    /// There are no more.
    pub(crate) fn end(self) -> Result<(), WireError> {
        match self.0.finalize() {
            Ok([]) => Ok(()),
            Ok(rest) => Err(WireError::Trailing { bytes: rest.len() as u32 }),
            Err(_) => Err(WireError::Malformed),
        }
    }
}
