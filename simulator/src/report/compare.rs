//! Files of comparisons.

use super::json::{make_folder, write_whole};
use super::{WriteError, codec_pictures, render_codec_comparison, render_comparison, render_privacy_comparison};
use crate::codec;
use crate::compare::Comparison;
use crate::compare_privacy;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Writes the page and the figures. Each file is complete or, after an error or a crash, what it was before.
///
/// # Errors
/// [`WriteError`].
pub fn write_comparison(comparison: &Comparison, html: &Path, json: &Path) -> Result<(), WriteError> {
    write(comparison, &render_comparison(comparison), html, json)
}

/// The same for [`compare_privacy`].
///
/// # Errors
/// [`WriteError`].
pub fn write_privacy_comparison(
    comparison: &compare_privacy::Comparison,
    html: &Path,
    json: &Path,
) -> Result<(), WriteError> {
    write(comparison, &render_privacy_comparison(comparison), html, json)
}

/// The same for [`codec::compare`], with each picture of the page as a file of its own; gives all paths, the page first.
///
/// # Errors
/// [`WriteError`].
pub fn write_codec_comparison(
    comparison: &codec::compare::Comparison,
    folder: &Path,
    html: &str,
    json: &str,
) -> Result<Vec<PathBuf>, WriteError> {
    let mut files = vec![folder.join(html), folder.join(json)];
    write(comparison, &render_codec_comparison(comparison), &files[0], &files[1])?;
    for (name, svg) in codec_pictures(comparison) {
        let path = folder.join(format!("{name}.svg"));
        write_whole(&path, svg.as_bytes())?;
        files.push(path);
    }
    Ok(files)
}

fn write(figures: &impl Serialize, page: &str, html: &Path, json: &Path) -> Result<(), WriteError> {
    let mut text = serde_json::to_string_pretty(figures).map_err(|source| WriteError::Encode { source })?;
    text.push('\n');
    make_folder(html.parent().unwrap_or(Path::new("")))?;
    write_whole(json, text.as_bytes())?;
    write_whole(html, page.as_bytes())
}
