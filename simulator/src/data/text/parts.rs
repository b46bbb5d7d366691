//! Which lines are held out, the vocabulary, and the windows.

use super::table::{MAX_BYTES, MAX_SYMBOLS, Table, read};
use crate::data::{DataError, DeviceRows, Federated, InputShape, Parts, TestSet, Windows};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Choices where the file leaves some.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Symbols of an example, from 1 to 16,384.
    pub window: usize,
    /// The fraction of each user's lines, last in the file's order, that is held out (rounded down). In (0, 1).
    pub hold_out: f64,
}

impl Default for Options {
    /// Windows of 80 symbols (Caldas et al. 2018, LEAF, section 3), and the last fifth held out.
    fn default() -> Self {
        Self { window: 80, hold_out: 0.2 }
    }
}

impl Options {
    fn check(&self) -> Result<(), DataError> {
        let error = |name, value, allowed| Err(DataError::Setting { name, value, allowed });
        if !(1..=16_384).contains(&self.window) {
            return error("window", self.window.to_string(), "1 to 16384");
        }
        if !(self.hold_out > 0.0 && self.hold_out < 1.0) {
            return error("hold_out_lines", self.hold_out.to_string(), "above 0 and below 1");
        }
        Ok(())
    }

    /// Of so many lines: the training part's; at least one.
    fn trained(&self, lines: usize) -> usize {
        // The nudge keeps a product that is a whole number from falling just short of it.
        lines - (((lines as f64) * self.hold_out + 1e-9) as usize).min(lines - 1)
    }
}

/// Reads the table at `file`: what it must be is said [above](super).
///
/// # Errors
/// [`DataError`], naming the file, the line, the column and what to do.
pub fn load(file: &Path, options: &Options) -> Result<Federated, DataError> {
    options.check()?;
    let opened = File::open(file).map_err(|source| DataError::Read { file: file.into(), source })?;
    federated(&read(BufReader::with_capacity(1 << 16, opened), file)?, file, options)
}

/// Symbols of the training parts by code point; a symbol's id is its place, and all others have the id behind the last.
struct Vocabulary(Vec<char>);

impl Vocabulary {
    fn of<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut ascii = [false; 128];
        ascii[usize::from(b'\n')] = true;
        let mut other = BTreeSet::new();
        for symbol in lines.flat_map(str::chars) {
            match ascii.get_mut(symbol as usize) {
                Some(seen) => *seen = true,
                None => {
                    other.insert(symbol);
                }
            }
        }
        let ascii = (0..128u8).filter(|&b| ascii[usize::from(b)]).map(char::from);
        Self(ascii.chain(other).collect())
    }

    /// Id of symbols that no training part has; no larger than [`MAX_SYMBOLS`], as the caller has checked.
    fn unseen(&self) -> u16 {
        self.0.len() as u16
    }

    /// Lines, each with its line break.
    fn encode(&self, lines: &[&str], into: &mut Vec<u16>) {
        into.clear();
        for line in lines {
            let symbols = line.chars().chain(['\n']);
            into.extend(symbols.map(|s| self.0.binary_search(&s).map_or(self.unseen(), |id| id as u16)));
        }
    }

    fn names(&self) -> Vec<String> {
        let name = |symbol: &char| match symbol {
            ' ' => "space".to_owned(),
            symbol if symbol.is_control() || symbol.is_whitespace() => symbol.escape_default().to_string(),
            symbol => symbol.to_string(),
        };
        self.0.iter().map(name).chain(["unseen".to_owned()]).collect()
    }
}

pub(super) fn federated(bytes: &[u8], file: &Path, options: &Options) -> Result<Federated, DataError> {
    let table = Table::parse(bytes, file)?;
    let split: Vec<(&[&str], &[&str])> =
        table.users.iter().map(|user| user.lines.split_at(options.trained(user.lines.len()))).collect();
    let vocabulary = Vocabulary::of(split.iter().flat_map(|(train, _)| train.iter().copied()));
    if vocabulary.0.len() > MAX_SYMBOLS {
        return Err(DataError::Symbols { file: file.into(), symbols: vocabulary.0.len(), limit: MAX_SYMBOLS });
    }
    let too_long = || DataError::LongTable { file: file.into(), limit: MAX_BYTES };
    let unseen = vocabulary.unseen();
    let mut tokens = Vec::new();
    vocabulary.encode(&[""], &mut tokens);
    let line_break = tokens[0];
    let (mut train, mut test) = (Windows::new(options.window, unseen), Windows::new(options.window, unseen));
    let (mut devices, mut test_users) = (Vec::new(), Vec::new());
    let (mut lines, mut held_lines, mut unseen_symbols) = (0, 0, 0);
    for (user, (own, held)) in split.iter().enumerate() {
        lines += own.len() + held.len();
        held_lines += held.len();
        for (lines, windows, rows) in [(own, &mut train, &mut devices), (held, &mut test, &mut test_users)] {
            vocabulary.encode(lines, &mut tokens);
            unseen_symbols += tokens.iter().filter(|t| **t == unseen).count();
            let first = windows.len() as u32;
            let count = windows.push(line_break, &tokens).ok_or_else(too_long)?;
            if count > 0 {
                rows.push(DeviceRows { user: user as i64, first, train: count, personal: 0 });
            }
        }
    }
    train.shrink();
    test.shrink();
    let padding = (train.len() * options.window) as u64 - train.targets();
    let symbols = vocabulary.0.len();
    let mut split_text = format!(
        "the last {} % of each user's lines in the file's order, {held_lines} of {lines} lines: the same users' later \
         lines; {} of {} users have too few lines for that",
        // As it was given, not as binary fractions have it.
        (options.hold_out * 1e6).round() / 1e4,
        table.users.len() - test_users.len(),
        table.users.len()
    );
    if table.blank > 0 {
        split_text += &format!("; {} blank lines of the file left out", table.blank);
    }
    let scaling = format!(
        "the {symbols} symbols of the training text by code point and one id for all others (met {unseen_symbols} times in the \
         test); windows of {}, {padding} positions of training behind a user's end are padding",
        options.window
    );
    let mut set = Federated::new(Parts {
        name: format!("{}: {} records, users by {}", file.display(), table.records, table.columns.join(", ")),
        shape: InputShape { channels: 1, height: options.window, width: 1 },
        classes: u32::from(unseen) + 1,
        split: split_text,
        scaling,
        examples: train.into(),
        devices,
        test: TestSet::new(test.into(), test_users),
    })?;
    set.label_names = vocabulary.names();
    Ok(set)
}
