//! Compression of updates beside what is published: single cases as JSON, sizes of a file's update by codec, tables of all codecs,
//! and the other codecs themselves, as oracles that never run on a device.

mod case;
pub mod compare;
mod lossless;
mod measure;
pub mod rivals;
mod update;

pub use case::{decode_case, encode_case};
pub use lossless::{Coded, Coder};
pub use measure::{Measured, PRICE, RoundingKind, dither, measure, measure_update, symbols_of};
pub use update::Update;

/// What is wrong, and where: a file, an option or a member of a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct CodecError {
    /// Where.
    pub at: String,
    /// What.
    pub what: String,
}

impl CodecError {
    fn new(at: impl Into<String>, what: impl std::fmt::Display) -> Self {
        Self { at: at.into(), what: what.to_string() }
    }
}
