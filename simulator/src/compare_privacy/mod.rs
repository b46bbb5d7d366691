//! Example-level against user-level sampling (ELS, ULS) at the same compute and the same user-level epsilon: Charles, Ganesh,
//! McKenna, McMahan, Mitchell, Pillutla, Rush 2024, "Fine-Tuning Large Language Models with User-Level Differential Privacy"
//! (arXiv 2407.07737).
//!
//! * ELS: every user keeps at most `G` examples, each of them is in a step's batch by a coin of its own, `B` on average, and
//!   each gradient is clipped on its own.
//! * ULS: every user is in a step by a coin, `M = B / G` on average; the mean gradient of `G` of the user's examples is clipped.
//!
//! Both divide by the planned number, `B` or `M`, never by the one that came, and both take `B` gradients a step. The noise of
//! each is the least with which the accountant keeps one *user*, add-or-remove, within epsilon: for ELS by the mixture
//! of Gaussians that a user's examples make, not by a lemma on groups.
//!
//! Two parts: [`mean`] estimates a mean from users that are drawn, and [`text`] fine-tunes a next-character model.
//! [`conclude`] says what the numbers say.

mod conclusion;
mod estimate;
pub mod mean;
mod noise;
pub mod text;

pub use conclusion::{Entry, Finding, Goal, Setting, Verdict, conclude};
pub use estimate::Estimate;
pub use noise::{Sampling, multiplier, users_needed};

use crate::report::{WriteError, check_writable, write_privacy_comparison};
use crate::run::RunError;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Version of the layout of `compare-privacy.json`.
pub const FORMAT: u32 = 1;
/// Name of the comparison for programs.
pub const JSON_NAME: &str = "compare-privacy.json";
/// Name of the page for people.
pub const HTML_NAME: &str = "compare-privacy.html";

/// Who flips the coins, and so what is clipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Examples.
    Els,
    /// Users.
    Uls,
    /// Examples, without clipping and noise: what privacy costs is measured against it.
    None,
}

impl Method {
    /// As tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Els => "ELS",
            Self::Uls => "ULS",
            Self::None => "no privacy",
        }
    }
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A setting.
    #[error("{what} {got}: must be {range}")]
    Setting {
        /// Which.
        what: &'static str,
        /// What was asked for.
        got: String,
        /// What it may be.
        range: &'static str,
    },
    /// The accountant has no noise for it.
    #[error(transparent)]
    Accounting(#[from] siskin_accounting::Error),
    /// The data or the model of the second part.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A step of the server failed.
    #[error(transparent)]
    Step(#[from] siskin_server::optim::OptimError),
    /// A file.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// All of it.
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
    /// The first part.
    pub mean: Option<mean::Report>,
    /// The second part.
    pub text: Option<text::Report>,
    /// What follows, computed from the numbers above.
    pub findings: Vec<Finding>,
}

impl Comparison {
    /// Puts the parts together and concludes.
    pub fn new(command: Vec<String>, seed: u64, mean: Option<mean::Report>, text: Option<text::Report>) -> Self {
        let settings = mean.iter().flat_map(mean::Report::settings).chain(text.iter().flat_map(text::Report::settings));
        let findings = settings.filter_map(|setting| conclude(&setting)).collect();
        let siskin_version = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, siskin_version, command, seed, mean, text, findings }
    }

    /// Writes the page and the figures into `folder`.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 2], WriteError> {
        let files = [folder.join(HTML_NAME), folder.join(JSON_NAME)];
        write_privacy_comparison(self, &files[0], &files[1])?;
        Ok(files)
    }
}

/// Fails where [`Comparison::write`] would, before the work.
///
/// # Errors
/// [`WriteError`].
pub fn check_folder(folder: &Path) -> Result<(), WriteError> {
    check_writable(folder)
}

/// What both parts have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Common {
    /// Of everything random.
    pub seed: u64,
    /// Probability at which epsilon is stated, in (0, 1).
    pub dp_delta: f64,
}

/// `value` must be what `range` says.
fn check(
    what: &'static str,
    got: impl std::fmt::Display,
    range: &'static str,
    holds: bool,
) -> Result<(), CompareError> {
    if holds { Ok(()) } else { Err(CompareError::Setting { what, got: got.to_string(), range }) }
}
