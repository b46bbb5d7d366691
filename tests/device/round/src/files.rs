//! The line to the server and the examples: files of the host.

use core::ffi::CStr;
use semihosting::fs::File;
use semihosting::io::{Read, Seek, SeekFrom, Write};
use siskin::data::{ExampleStore, StoreError};

/// Longest name with its ending.
const LONGEST: usize = 240;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// To be read.
    Read,
    /// Anew, to be written.
    Create,
    /// To be read and written where it is; it must be there.
    Update,
}

/// Opens `NAME` and `ending`, where `NAME` is the second word of the emulator's arguments.
///
/// # Errors
/// What is wrong, in words.
pub fn open(ending: &str, mode: Mode) -> Result<File, &'static str> {
    let arguments = semihosting::experimental::env::args::<256>().map_err(|_| "the emulator has no arguments")?;
    let name = (&arguments).nth(1).and_then(Result::ok).ok_or("the emulator has no second argument")?;
    let mut path = [0; LONGEST];
    let length = name.len() + ending.len();
    // The last byte stays 0.
    if length >= LONGEST {
        return Err("the name of the files is too long");
    }
    path[..name.len()].copy_from_slice(name.as_bytes());
    path[name.len()..length].copy_from_slice(ending.as_bytes());
    let path = CStr::from_bytes_until_nul(&path).map_err(|_| "a name with a zero byte")?;
    let file = match mode {
        Mode::Read => File::open(path),
        Mode::Create => File::create(path),
        Mode::Update => File::options().read(true).write(true).open(path),
    };
    file.map_err(|_| "a file cannot be opened")
}

/// The next four bytes, little-endian.
pub fn word(file: &mut File) -> Option<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes).ok()?;
    Some(u32::from_le_bytes(bytes))
}

/// The server's side, recorded.
pub(crate) struct Line {
    down: File,
    up: File,
    /// Bytes of the answer that is on its way.
    pending: usize,
}

impl Line {
    #[inline(never)]
    pub(crate) fn open() -> Result<Self, &'static str> {
        Ok(Self { down: open(".down", Mode::Read)?, up: open(".up", Mode::Create)?, pending: 0 })
    }

    /// Sends a request; the next answer is then on its way.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        self.up.write_all(bytes).map_err(|_| "the line cannot be written to")?;
        self.pending = word(&mut self.down).ok_or("there is no answer to a request")? as usize;
        Ok(())
    }

    /// At least one byte.
    pub(crate) fn receive(&mut self, bytes: &mut [u8]) -> Result<usize, &'static str> {
        let count = self.pending.min(bytes.len());
        match self.down.read(&mut bytes[..count]) {
            Ok(0) | Err(_) => Err("the server's answer is at an end, the session waits"),
            Ok(count) => {
                self.pending -= count;
                Ok(count)
            }
        }
    }
}

/// Examples in a file: their number, features of each, targets of each (`u32`), then for each the features (`f32`) and
/// the targets (`u32`), all little-endian.
pub struct Examples {
    file: File,
    head: [u32; 3],
}

impl Examples {
    /// Opens them.
    ///
    /// # Errors
    /// What is wrong, in words.
    #[inline(never)]
    pub fn open() -> Result<Self, &'static str> {
        let (mut file, mut head) = (open(".examples", Mode::Read)?, [0; 3]);
        for number in &mut head {
            *number = word(&mut file).ok_or("the examples have no head")?;
        }
        Ok(Self { file, head })
    }

    fn words(&mut self, mut each: impl FnMut(u32), count: usize, index: u32) -> Result<(), StoreError> {
        for _ in 0..count {
            each(word(&mut self.file).ok_or(StoreError::Read { index, code: 1 })?);
        }
        Ok(())
    }
}

impl ExampleStore for Examples {
    fn len(&self) -> u32 {
        self.head[0]
    }

    fn read(&mut self, index: u32, features: &mut [f32]) -> Result<u32, StoreError> {
        let mut target = [0];
        self.read_targets(index, features, &mut target)?;
        Ok(target[0])
    }

    fn read_targets(&mut self, index: u32, features: &mut [f32], targets: &mut [u32]) -> Result<(), StoreError> {
        let [_, of_features, of_targets] = self.head;
        if features.len() != of_features as usize {
            return Err(StoreError::Shape { expected: features.len() as u32, got: of_features });
        }
        if targets.len() != of_targets as usize {
            return Err(StoreError::Targets { expected: targets.len() as u32, got: of_targets });
        }
        let at = 12 + 4 * u64::from(index) * u64::from(of_features + of_targets);
        self.file.seek(SeekFrom::Start(at)).map_err(|_| StoreError::Read { index, code: 2 })?;
        let (mut to, count) = (features.iter_mut(), of_features as usize);
        self.words(|word| to.next().into_iter().for_each(|f| *f = f32::from_bits(word)), count, index)?;
        let (mut to, count) = (targets.iter_mut(), of_targets as usize);
        self.words(|word| to.next().into_iter().for_each(|t| *t = word), count, index)
    }
}
