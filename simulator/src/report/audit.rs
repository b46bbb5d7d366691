//! Files of an audit.

use super::json::{make_folder, write_whole};
use super::{WriteError, render_audit};
use crate::audit::AuditReport;
use std::path::Path;

/// The report as JSON: two spaces of indent, a newline at the end.
///
/// # Errors
/// [`WriteError::Encode`].
pub fn audit_json(report: &AuditReport) -> Result<String, WriteError> {
    let mut text = serde_json::to_string_pretty(report).map_err(|source| WriteError::Encode { source })?;
    text.push('\n');
    Ok(text)
}

/// Writes the page and the figures. Each file is complete or, after an error or a crash, what it was before.
///
/// # Errors
/// [`WriteError`].
pub fn write_audit(report: &AuditReport, html: &Path, json: &Path) -> Result<(), WriteError> {
    let text = audit_json(report)?;
    make_folder(html.parent().unwrap_or(Path::new("")))?;
    write_whole(json, text.as_bytes())?;
    write_whole(html, render_audit(report).as_bytes())
}
