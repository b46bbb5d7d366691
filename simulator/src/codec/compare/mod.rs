//! The codec beside published ones, in tables: lossless on the same integers, bits at equal error, accuracy at equal bits, bits
//! under noise.

pub mod federated;
pub mod frontier;
pub mod lossless;
pub mod noised;
mod scheme;
pub mod shannon;

pub use scheme::{Parameter, Scheme};

use crate::report::{WriteError, write_codec_comparison};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Version of the layout of `codec-compare.json`.
pub const FORMAT: u32 = 1;
/// Name of the comparison for programs.
pub const JSON_NAME: &str = "codec-compare.json";
/// Name of the page for people.
pub const HTML_NAME: &str = "codec-compare.html";

/// The tables that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Version of siskin that ran.
    pub siskin_version: String,
    /// Program and arguments as they were given.
    pub command: Vec<String>,
    /// Seed of everything random.
    pub seed: u64,
    /// Table 1.
    pub lossless: Vec<lossless::Row>,
    /// Table 2.
    pub frontier: Vec<frontier::Round>,
    /// Table 3, data set by data set.
    pub federated: Vec<federated::Report>,
    /// Table 4.
    #[serde(default)]
    pub noised: Vec<noised::Row>,
}

impl Comparison {
    /// Without tables yet.
    pub fn new(command: Vec<String>, seed: u64) -> Self {
        Self { format: FORMAT, siskin_version: env!("CARGO_PKG_VERSION").to_owned(), command, seed, ..Self::default() }
    }

    /// Writes the page, the figures and each picture as a file of its own into `folder`; gives their paths.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, WriteError> {
        write_codec_comparison(self, folder, HTML_NAME, JSON_NAME)
    }
}
