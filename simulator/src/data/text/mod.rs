//! Text of many users: a table (TSV) whose last column is `text` and whose other columns together name the user.
//!
//! The first line names the columns; every other line is one speech, message or note of a user. `\n` (two characters) in it is a
//! line break, anything else stands for itself; nothing is quoted. The file is UTF-8 and may be gzipped; its content tells,
//! not its name.
//!
//! A user's lines follow each other in the file's order, each with the line break that ends it. They become windows of
//! [`Options::window`] symbols with the next symbol as the target at each position, so that every symbol of the text is a
//! target exactly once; the first one of a part is asked for behind a line break.
//!
//! The vocabulary is that of all users' training parts together. A real population would have to agree on one without
//! sending text: take the symbols of its keyboard, say.

mod parts;
mod table;

pub use parts::{Options, load};
pub use table::{MAX_BYTES, MAX_SYMBOLS};

use super::{DataError, idx};
use std::path::{Path, PathBuf};

/// Does a name end like that of a table?
fn is_table(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_ascii_lowercase();
    name.ends_with(".tsv") || name.ends_with(".tsv.gz")
}

/// The table that `path` is, or that is the only one in the folder `path`; `None` of a folder of IDX files, or without a table.
///
/// # Errors
/// [`DataError::Read`], and [`DataError::Ambiguous`] for a folder of more than one table and no IDX file.
pub fn find(path: &Path) -> Result<Option<PathBuf>, DataError> {
    if !path.is_dir() {
        return Ok(is_table(path).then(|| path.into()));
    }
    let read = |source| DataError::Read { file: path.into(), source };
    let (mut tables, mut others) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(path).map_err(read)? {
        let file = entry.map_err(read)?.path();
        if file.is_file() {
            if is_table(&file) { &mut tables } else { &mut others }.push(file);
        }
    }
    if tables.is_empty() {
        return Ok(None);
    }
    for file in others {
        if idx::looks_like_idx(&file)? {
            return Ok(None);
        }
    }
    tables.sort();
    let mut tables = tables.into_iter();
    match (tables.next(), tables.next()) {
        (Some(first), Some(second)) => Err(DataError::Ambiguous { first, second, part: "training", role: "text" }),
        (table, _) => Ok(table),
    }
}

#[cfg(test)]
mod tests;
