//! One line for each way in which data can be bad: which file, what, where, what to do.

use std::{io, path::PathBuf};

/// Why data was refused. Records count from 0; offsets are bytes of the unpacked file, header included.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system said no.
    #[error("{}: cannot be read: {source}; check the path and its permissions", file.display())]
    Read {
        /// File or folder.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A gzip stream is broken or ends early.
    #[error("{}: gzip data is damaged or cut off after {unpacked} unpacked bytes: {source}; fetch or pack the file again", file.display())]
    Gzip {
        /// The packed file.
        file: PathBuf,
        /// Bytes that came out whole.
        unpacked: u64,
        /// What the decoder said.
        source: io::Error,
    },
    /// The first four bytes are no IDX magic number.
    #[error(
        "{}: not an IDX file: begins with {found:02x?}, wants 00 00, a type of 08 09 0b 0c 0d 0e and 1 to {} dimensions; \
         convert it or take it out of the folder", file.display(), super::idx::MAX_DIMS
    )]
    NotIdx {
        /// The file.
        file: PathBuf,
        /// Its first bytes, at most four.
        found: Vec<u8>,
    },
    /// The file is shorter than its header says, or than its header must be.
    #[error("{}: cut off in record {record} at offset {got}: wants {wanted} bytes; fetch the file again", file.display())]
    CutOff {
        /// The file.
        file: PathBuf,
        /// The record that is not whole.
        record: u64,
        /// Bytes that a whole file has.
        wanted: u64,
        /// Bytes that there are.
        got: u64,
    },
    /// The file goes on after its last record.
    #[error("{}: goes on after its last record, at offset {end}; the header's counts are wrong or two files were joined", file.display())]
    Trailing {
        /// The file.
        file: PathBuf,
        /// Where it should end.
        end: u64,
    },
    /// A header asks for more than this program loads.
    #[error("{}: header asks for {dims:?} values of {width} bytes, more than the limit of {limit} bytes; split the data", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Its dimensions.
        dims: Vec<u32>,
        /// Bytes a value.
        width: usize,
        /// [`super::idx::MAX_BYTES`].
        limit: u64,
    },
    /// Dimensions that cannot serve in this role.
    #[error("{}: dimensions {dims:?} cannot be {role}; {why}", file.display())]
    Dims {
        /// The file.
        file: PathBuf,
        /// Its dimensions.
        dims: Vec<usize>,
        /// What the file was taken for.
        role: &'static str,
        /// What is wanted instead.
        why: &'static str,
    },
    /// Reals where integers are wanted.
    #[error("{}: {role} must be integers, but the file holds {kind}; write it as int32 or smaller", file.display())]
    Kind {
        /// The file.
        file: PathBuf,
        /// What the file was taken for.
        role: &'static str,
        /// Its number type.
        kind: &'static str,
    },
    /// No file of the folder plays a role that is needed.
    #[error("{}: no {part} file for {role}: none is named like {wanted}; add it, or name it so", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// Training or test.
        part: &'static str,
        /// Examples, labels or users.
        role: &'static str,
        /// Names that would do.
        wanted: String,
    },
    /// Two files play one role.
    #[error("{}: both this and {} look like the {part} {role}; move one away", first.display(), second.display())]
    Ambiguous {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// Training or test.
        part: &'static str,
        /// Examples, labels or users.
        role: &'static str,
    },
    /// Files that belong together differ in length.
    #[error("{}: has {got} records, but {} has {wanted}; the files do not belong together", file.display(), other.display())]
    Counts {
        /// The file.
        file: PathBuf,
        /// Its records.
        got: usize,
        /// The examples' file.
        other: PathBuf,
        /// The examples' records.
        wanted: usize,
    },
    /// Test examples that are not like the training examples.
    #[error("{}: holds {test}, but {} holds {train}; make both the same", file.display(), other.display())]
    Differs {
        /// The test file.
        file: PathBuf,
        /// Its type and dimensions.
        test: String,
        /// The training file.
        other: PathBuf,
        /// Its type and dimensions.
        train: String,
    },
    /// A label that is no class.
    #[error("{}: record {record} (offset {offset}): label {label} is not in 0..={most}; number the classes from 0", file.display())]
    Label {
        /// The file.
        file: PathBuf,
        /// The record.
        record: usize,
        /// Where it begins.
        offset: u64,
        /// The label.
        label: i64,
        /// The largest that is allowed.
        most: u32,
    },
    /// NaN or infinity, or a double that no `f32` can hold.
    #[error("{}: record {record}, feature {feature} (offset {offset}): {value} is not a finite f32; drop or fill in the record", file.display())]
    NotFinite {
        /// The file.
        file: PathBuf,
        /// The record.
        record: usize,
        /// The value's place in the record, as the file orders them.
        feature: usize,
        /// Where the value begins.
        offset: u64,
        /// The value.
        value: f64,
    },
    /// No record, hence no user.
    #[error("{}: has no records, so there are no users; point to a folder with data", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// Too few users to hold some out.
    #[error("{}: {users} user(s), but {held_out} are to be held out and one must stay; add t10k files or lower hold_out", file.display())]
    FewUsers {
        /// The users' file.
        file: PathBuf,
        /// Users in it.
        users: usize,
        /// Users that the rule holds out.
        held_out: usize,
    },
    /// A setting outside its range.
    #[error("setting {name} = {value} is out of range; allowed: {allowed}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A description that cannot be understood, or asks for the impossible.
    #[error("{}: {what}; write the file again with its generator", file.display())]
    Meta {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A table that unpacks to more than this program loads.
    #[error("{}: has more than the limit of {limit} bytes unpacked; split the table", file.display())]
    LongTable {
        /// The table.
        file: PathBuf,
        /// [`super::text::MAX_BYTES`].
        limit: u64,
    },
    /// A table of text without text.
    #[error("{}: line 1, column {column}: the last column is {found}, but must be `text`; name or move the columns", file.display())]
    NoTextColumn {
        /// The table.
        file: PathBuf,
        /// Columns that there are.
        column: usize,
        /// Name of the last one, quoted.
        found: String,
    },
    /// A table of text that is nobody's.
    #[error("{}: line 1, column 1: `text` is the only column; put one before it that names the user", file.display())]
    NoUserColumn {
        /// The table.
        file: PathBuf,
    },
    /// A line with more or fewer columns than the first.
    #[error("{}: line {line}, column {}: has {got} columns, but line 1 has {wanted}; write a tab between columns and nowhere else", file.display(), got.min(wanted))]
    Columns {
        /// The table.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Its columns.
        got: usize,
        /// Columns of the first line.
        wanted: usize,
    },
    /// Bytes that are no UTF-8.
    #[error("{}: line {line}, byte {column}: not UTF-8; convert the file", file.display())]
    Utf8 {
        /// The table.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The first byte of the line that is wrong, from 1.
        column: usize,
    },
    /// A user with nothing to learn from.
    #[error("{}: line {line}, column {column}: user {user} has no text at all; leave such users out", file.display())]
    NoText {
        /// The table.
        file: PathBuf,
        /// The first line of that user, from 1.
        line: u64,
        /// Column of the text, from 1.
        column: usize,
        /// The columns that name the user, quoted.
        user: String,
    },
    /// More symbols than a vocabulary can have.
    #[error("{}: has {symbols} different symbols, more than the limit of {limit}; replace the rare ones", file.display())]
    Symbols {
        /// The table.
        file: PathBuf,
        /// Symbols of the training part.
        symbols: usize,
        /// [`super::text::MAX_SYMBOLS`].
        limit: usize,
    },
    /// A data set without devices.
    #[error("{name}: no devices; give it at least one user")]
    NoDevices {
        /// The data set.
        name: String,
    },
    /// Devices that could never train.
    #[error(
        "{name}: {devices} device(s) have no training examples, the first is device {first} (user {user}); leave such users out"
    )]
    EmptyDevices {
        /// The data set.
        name: String,
        /// How many.
        devices: usize,
        /// The first of them.
        first: usize,
        /// Its user.
        user: i64,
    },
    /// Nothing to measure on.
    #[error("{name}: no test examples; hold more out or add test files")]
    NoTest {
        /// The data set.
        name: String,
    },
    /// Rows, labels and shape that disagree.
    #[error("{name}: {what}; correct the table")]
    Table {
        /// The data set.
        name: String,
        /// What is wrong.
        what: String,
    },
}
