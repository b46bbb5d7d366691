//! From the bytes of a table to the lines of each user.

use crate::data::DataError;
use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::path::Path;

/// Most bytes of a table, unpacked: 1 GiB. It bounds what a small gzip file can blow up to.
pub const MAX_BYTES: u64 = 1 << 30;

/// Most symbols of a vocabulary: they and the id of all others are counted in 16 bits.
pub const MAX_SYMBOLS: usize = 65_534;

/// Bytes of a table, unpacked.
pub(super) fn read(reader: impl BufRead, name: &Path) -> Result<Vec<u8>, DataError> {
    read_up_to(reader, name, MAX_BYTES)
}

pub(super) fn read_up_to(mut reader: impl BufRead, name: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    let file = || name.to_path_buf();
    let start = reader.fill_buf().map_err(|source| DataError::Read { file: file(), source })?;
    let packed = start.starts_with(&[0x1f, 0x8b]);
    let mut bytes = Vec::new();
    if packed {
        let unpacked = flate2::bufread::MultiGzDecoder::new(reader).take(limit + 1).read_to_end(&mut bytes);
        unpacked.map_err(|source| DataError::Gzip { file: file(), unpacked: bytes.len() as u64, source })?;
    } else {
        let read = reader.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|source| DataError::Read { file: file(), source })?;
    }
    if bytes.len() as u64 > limit {
        return Err(DataError::LongTable { file: file(), limit });
    }
    Ok(bytes)
}

/// A user's text.
#[derive(Debug)]
pub(super) struct User<'a> {
    /// The line of the file that names the user first, from 1.
    pub(super) line: u64,
    /// The columns that name the user, with tabs between them.
    pub(super) name: &'a str,
    /// Lines of text in the file's order, without their line breaks.
    pub(super) lines: Vec<&'a str>,
}

/// A table, read.
#[derive(Debug)]
pub(super) struct Table<'a> {
    /// Names of the columns that name a user.
    pub(super) columns: Vec<&'a str>,
    /// Users in the order in which they come first.
    pub(super) users: Vec<User<'a>>,
    /// Lines of the file with text.
    pub(super) records: usize,
    /// Lines of the file with nothing in them, left out.
    pub(super) blank: usize,
}

impl<'a> Table<'a> {
    /// Reads the lines; `name` is for messages.
    pub(super) fn parse(bytes: &'a [u8], name: &Path) -> Result<Self, DataError> {
        let file = || name.to_path_buf();
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let mut lines = bytes.split(|&b| b == b'\n').zip(1u64..).map(|(line, number)| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match std::str::from_utf8(line) {
                Ok(text) => Ok((number, text)),
                Err(e) => Err(DataError::Utf8 { file: file(), line: number, column: e.valid_up_to() + 1 }),
            }
        });
        let header = match lines.next() {
            Some(line) => line?.1,
            None => "",
        };
        if header.is_empty() {
            return Err(DataError::Empty { file: file() });
        }
        let mut columns: Vec<&str> = header.split('\t').collect();
        let wanted = columns.len();
        match columns.pop() {
            Some("text") if wanted > 1 => {}
            Some("text") => return Err(DataError::NoUserColumn { file: file() }),
            last => {
                let found = format!("{:?}", last.unwrap_or_default());
                return Err(DataError::NoTextColumn { file: file(), column: wanted, found });
            }
        }
        let mut table = Self { columns, users: Vec::new(), records: 0, blank: 0 };
        let mut known = HashMap::new();
        for line in lines {
            let (line, row) = line?;
            if row.is_empty() {
                table.blank += 1;
                continue;
            }
            let got = row.split('\t').count();
            let Some((name, text)) = row.rsplit_once('\t').filter(|_| got == wanted) else {
                return Err(DataError::Columns { file: file(), line, got, wanted });
            };
            let next = table.users.len();
            let user = *known.entry(name).or_insert(next);
            if user == next {
                table.users.push(User { line, name, lines: Vec::new() });
            }
            table.users[user].lines.extend(text.split("\\n"));
            table.records += 1;
        }
        if table.records == 0 {
            return Err(DataError::Empty { file: file() });
        }
        match table.users.iter().find(|u| u.lines.iter().all(|l| l.is_empty())) {
            Some(User { line, name, .. }) => {
                let user = format!("{name:?}");
                Err(DataError::NoText { file: file(), line: *line, column: wanted, user })
            }
            None => Ok(table),
        }
    }
}
