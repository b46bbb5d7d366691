//! Files of a comparison.

use super::json::{make_folder, write_whole};
use super::{WriteError, render_comparison};
use crate::compare::Comparison;
use std::path::Path;

/// Writes the page and the figures. Each file is complete or, after an error or a crash, what it was before.
///
/// # Errors
/// [`WriteError`].
pub fn write_comparison(comparison: &Comparison, html: &Path, json: &Path) -> Result<(), WriteError> {
    let mut text = serde_json::to_string_pretty(comparison).map_err(|source| WriteError::Encode { source })?;
    text.push('\n');
    make_folder(html.parent().unwrap_or(Path::new("")))?;
    write_whole(json, text.as_bytes())?;
    write_whole(html, render_comparison(comparison).as_bytes())
}
