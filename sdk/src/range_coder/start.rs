//! What the coder's cells begin with where a server says so: what it learned of earlier reports.
//!
//! A report of a few hundred coordinates is over before the cells have learned anything. A server that has seen reports of the same model can
//! say what they come to, and both sides begin there: 4 to 19 % fewer bits for reports of 128 to 2,000 coordinates, 1 to 2 % for 17,000. It
//! is a document of one byte for each cell that it names, some hundreds for a small model.
//!
//! It says of earlier reports what their statistics say of them: where noise is added after them, by the server, it would not be covered.

use super::binary::Bins;
use super::blocks::{All, State, walk};
use super::model::{CELLS, ESCAPE};
use super::row_column::scratch_error;
use super::{CodeError, Support};
use core::fmt;

/// Bytes before the cells: the average magnitude in 1/65536.
const HEADER: usize = 3;
/// A byte that names no cell and passes over so many.
const PASS: u8 = 15;
/// Decisions that a cell counts as seen if it is named.
const SEEN: u8 = 20;
/// Decisions that a cell must have seen to be named.
const LEAST_SEEN: u8 = 6;
/// Largest average magnitude.
const LARGEST: u32 = ESCAPE << 16;

/// `65536 / (1 + exp(-3/4 (l - 8)))`, rounded, for levels of 1 to 15.
const CHANCES: [u16; 15] =
    [342, 720, 1506, 3108, 6249, 11_955, 21_025, 32_768, 44_511, 53_581, 59_287, 62_428, 64_030, 64_816, 65_194];

/// A start that was checked: see the [module](super)'s format. The empty one changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Start<'a>(&'a [u8]);

/// Bytes that are no start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StartError {
    /// The byte that makes no sense, or their number if they end too early.
    pub position: usize,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a start of the coder: byte {} makes no sense", self.position)
    }
}

impl core::error::Error for StartError {}

/// Longest start, bytes.
pub const MAX_START: usize = HEADER + CELLS;

impl<'a> Start<'a> {
    /// Changes nothing.
    pub const NONE: Self = Self(&[]);

    /// Checks bytes.
    ///
    /// # Errors
    /// [`StartError`] says where they stop making sense.
    pub fn new(bytes: &'a [u8]) -> Result<Self, StartError> {
        if bytes.is_empty() {
            return Ok(Self::NONE);
        }
        let Some((average, cells)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(StartError { position: bytes.len() });
        };
        if average_of(average) > LARGEST {
            return Err(StartError { position: 0 });
        }
        let mut next = 0;
        for (position, byte) in (HEADER..).zip(cells) {
            let (level, gap) = (byte >> 4, usize::from(byte & 15));
            let passes = *byte == PASS;
            // A gap of 15 is a byte of its own, and none passes to the end.
            if (level == 0 || gap == 15) && !passes || passes && position + 1 == bytes.len() {
                return Err(StartError { position });
            }
            next += gap + usize::from(!passes);
            if next > CELLS {
                return Err(StartError { position });
            }
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Average magnitude of all before, in 1/65536.
    pub(super) fn average(&self) -> u32 {
        self.0.first_chunk().map_or(0, average_of)
    }

    /// Sets the cells that it names.
    pub(super) fn apply(&self, chances: &mut [u16; CELLS], counts: &mut [u8; CELLS]) {
        let mut next = 0;
        for byte in self.0.get(HEADER..).unwrap_or_default() {
            next += usize::from(byte & 15);
            if *byte != PASS {
                // Both are in range: it was checked.
                if let (Some(chance), Some(count), Some(start)) =
                    (chances.get_mut(next), counts.get_mut(next), CHANCES.get(usize::from(byte >> 4).wrapping_sub(1)))
                {
                    (*chance, *count) = (*start, SEEN);
                }
                next += 1;
            }
        }
    }
}

fn average_of(bytes: &[u8; HEADER]) -> u32 {
    let [a, b, c] = *bytes;
    u32::from_le_bytes([a, b, c, 0])
}

/// The level of a probability: that of the nearest logarithm of its odds.
fn level(chance: u16) -> u8 {
    // Where two levels meet: at 65536 / (1 + exp(-3/4 (l - 7.5))) from l to l + 1.
    const BOUNDS: [u16; 14] =
        [497, 1043, 2169, 4427, 8714, 16_062, 26_696, 38_841, 49_475, 56_823, 61_110, 63_368, 64_494, 65_040];
    1 + BOUNDS.iter().filter(|bound| chance >= **bound).count() as u8
}

/// Drives a model and writes nothing.
struct Silent;

impl Bins for Silent {
    #[inline(always)]
    fn bin(&mut self, _: u32, bit: bool) -> bool {
        bit
    }
    fn plain(&mut self, bits: u32, _: u32) -> u32 {
        bits
    }
    fn over(&self) -> bool {
        false
    }
}

/// Learns a start from the symbols of many reports, in any order; what comes last counts most.
pub struct Learner<'a> {
    state: State<'a>,
    /// Of magnitudes, each at most 15.
    sum: u64,
    symbols: u64,
}

impl<'a> Learner<'a> {
    /// That knows nothing; `scratch` as for an [`Encoder`](super::Encoder), for as long as it learns.
    ///
    /// # Errors
    /// [`CodeError::Scratch`], [`CodeError::Misaligned`].
    pub fn new(scratch: &'a mut [u8]) -> Result<Self, CodeError> {
        Ok(Self { state: State::new(scratch).map_err(scratch_error)?, sum: 0, symbols: 0 })
    }

    /// Takes in one tensor of a report: `symbols[i]` is its i-th live coordinate.
    ///
    /// # Errors
    /// [`CodeError`] of arguments that do not go together; nothing was learned of them then, but of a symbol that is too large.
    pub fn learn(&mut self, support: &Support<'_>, symbols: &[i32]) -> Result<(), CodeError> {
        support.check().map_err(CodeError::Support)?;
        let (expected, got) = (support.live(), symbols.len());
        if expected != got {
            return Err(CodeError::Length { expected, got });
        }
        if let Some((expected, got)) = self.state.too_narrow(support.width()) {
            return Err(CodeError::Scratch { expected, got });
        }
        let walked = walk(&mut Silent, &mut self.state, support, symbols, All, |_, _| ());
        if walked.is_err() {
            let index = symbols.iter().position(|q| q.unsigned_abs() > crate::quantize::MAX_SYMBOL as u32);
            let index = index.unwrap_or(0);
            return Err(CodeError::Symbol { index, got: symbols[index] });
        }
        self.sum += symbols.iter().map(|q| u64::from(q.unsigned_abs().min(ESCAPE))).sum::<u64>();
        self.symbols += symbols.len() as u64;
        Ok(())
    }

    /// Writes the start to the front of `out`, [`MAX_START`] at the most, and gives its length: 0 if nothing was learned.
    ///
    /// # Errors
    /// [`CodeError::Full`].
    pub fn write(&self, out: &mut [u8]) -> Result<usize, CodeError> {
        let full = CodeError::Full { capacity: out.len() };
        if self.symbols == 0 {
            return Ok(0);
        }
        let average = (u128::from(self.sum) << 16) / u128::from(self.symbols);
        out.get_mut(..HEADER).ok_or(full)?.copy_from_slice(&(average as u32).to_le_bytes()[..HEADER]);
        let (mut at, mut gap) = (HEADER, 0u8);
        let (chances, counts) = self.state.model.cells();
        for (chance, count) in chances.iter().zip(counts) {
            if *count < LEAST_SEEN {
                gap += 1;
                continue;
            }
            while gap >= PASS {
                *out.get_mut(at).ok_or(full)? = PASS;
                (at, gap) = (at + 1, gap - PASS);
            }
            *out.get_mut(at).ok_or(full)? = level(*chance) << 4 | gap;
            (at, gap) = (at + 1, 0);
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests;
