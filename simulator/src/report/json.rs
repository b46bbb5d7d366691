//! Files of a report: checked before the run, written whole or not at all.

use super::RunReport;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Name of the machine-readable report in the folder of a run.
pub const JSON_NAME: &str = "report.json";
/// Name of the page for people.
pub const HTML_NAME: &str = "report.html";

/// Where [`write_all`] put its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// `report.html`.
    pub html: PathBuf,
    /// `report.json`.
    pub json: PathBuf,
}

/// Why a report was not written.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// The folder cannot be made.
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file in the folder cannot be written.
    File {
        /// The file that was meant.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The report is not JSON (never seen: its types hold nothing that JSON cannot say).
    Encode {
        /// What the encoder said.
        source: serde_json::Error,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, source } if source.kind() == io::ErrorKind::AlreadyExists => write!(
                f,
                "{} is a file, so no report can be put inside: name another folder, or move the file away",
                path.display()
            ),
            Self::Folder { path, source } => {
                write!(f, "cannot make the folder {}: {source}; {}", path.display(), advice(source))
            }
            Self::File { path, source } => write!(f, "cannot write {}: {source}; {}", path.display(), advice(source)),
            Self::Encode { source } => write!(f, "cannot write the report as JSON: {source}; please report this bug"),
        }
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder { source, .. } | Self::File { source, .. } => Some(source),
            Self::Encode { source } => Some(source),
        }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "name a folder that you may write to, or change its permissions"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on that disk, or name another folder",
        io::ErrorKind::NotFound => "it went away while the run was going: make it again, or name another folder",
        io::ErrorKind::IsADirectory => "a folder stands in its place: move it away, or name another folder",
        io::ErrorKind::NotADirectory => "a part of that path is a file: name another folder",
        _ => "name another folder, or mend the cause and run again",
    }
}

/// The report as JSON: two spaces of indent, fields in the order of the types, a newline at the end.
///
/// # Errors
/// [`WriteError::Encode`].
pub fn to_json(report: &RunReport) -> Result<String, WriteError> {
    let mut text = serde_json::to_string_pretty(report).map_err(|source| WriteError::Encode { source })?;
    text.push('\n');
    Ok(text)
}

/// Makes `folder` where needed and proves that files can be written and renamed in it, so that a long run does not end
/// with nothing to show. Leaves nothing but the folder.
///
/// # Errors
/// [`WriteError::Folder`] and [`WriteError::File`].
pub fn check_writable(folder: &Path) -> Result<(), WriteError> {
    make_folder(folder)?;
    for name in [JSON_NAME, HTML_NAME] {
        let path = folder.join(name);
        if path.is_dir() {
            return Err(WriteError::File { path, source: io::ErrorKind::IsADirectory.into() });
        }
    }
    let probe = folder.join(format!(".siskin-probe-{}", std::process::id()));
    write_whole(&probe, b"probe")?;
    fs::remove_file(&probe).map_err(|source| WriteError::File { path: probe, source })
}

/// Writes `report.json` and `report.html` into `folder`, which is made where needed. Each file is complete or, after an
/// error or a crash, what it was before.
///
/// # Errors
/// [`WriteError`].
pub fn write_all(report: &RunReport, folder: &Path) -> Result<Written, WriteError> {
    let json = to_json(report)?;
    let html = super::html::render(report);
    make_folder(folder)?;
    let written = Written { html: folder.join(HTML_NAME), json: folder.join(JSON_NAME) };
    write_whole(&written.json, json.as_bytes())?;
    write_whole(&written.html, html.as_bytes())?;
    Ok(written)
}

pub(super) fn make_folder(folder: &Path) -> Result<(), WriteError> {
    fs::create_dir_all(folder).map_err(|source| WriteError::Folder { path: folder.to_owned(), source })
}

/// Writes beside `path`, then renames over it: a rename within a folder is atomic, a write is not. The process id in the
/// name keeps two runs into one folder from writing into each other's file.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = File::create(&part)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            // Without this a power cut after the rename may leave a file of the right name and no content.
            file.sync_all()
        })
        .and_then(|()| fs::rename(&part, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&part);
        WriteError::File { path: path.to_owned(), source }
    })
}
