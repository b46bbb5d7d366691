//! What the coder's cells begin with where a server says so: what it learned of earlier reports.
//!
//! A report of a few hundred coordinates is over before the cells have learned anything. A server that has seen reports of the same model can
//! say what they come to, and both sides begin there; the README says what that gains for 241 and for 3,444 coordinates. It is a document of one byte for each cell that it names, some hundreds for a small model.
//!
//! It says of earlier reports what their statistics say of them: where noise is added after them, by the server, it would not be covered.

use super::binary::Bins;
use super::blocks::State;
use super::model::{CELLS, ESCAPE};
use super::row_column::{scratch_error, walk_part};
use super::{CodeError, Support};
use crate::quantize::{MAX_SYMBOL, Subset};
use core::fmt;

/// Bytes before the cells: the average magnitude in 1/65536.
const HEADER: usize = 3;
/// A byte that names no cell and passes over so many.
const PASS: u8 = 15;
/// Decisions that a cell counts as seen if it is named.
const SEEN: u8 = 20;
/// Decisions of all reports together that a cell must have seen to be named.
const LEAST_SEEN: u64 = 6;
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

/// Counts decisions and writes nothing.
struct Tally<'a>(&'a mut [[u32; 2]; CELLS]);

impl Bins for Tally<'_> {
    #[inline(always)]
    fn bin(&mut self, _: u32, bit: bool) -> bool {
        bit
    }
    fn plain(&mut self, bits: u32, _: u32) -> u32 {
        bits
    }
    #[inline(always)]
    fn saw(&mut self, cells: &[usize], bit: bool) {
        for cell in cells {
            let count = &mut self.0[*cell][usize::from(bit)];
            *count = count.saturating_add(1);
        }
    }
    fn over(&self) -> bool {
        false
    }
}

/// Learns a start from the symbols of many reports. Counts add up, so that their order is no matter. 10 KB: for servers.
#[derive(Clone)]
pub struct Learner {
    /// Decisions of each cell that were false and true.
    decisions: [[u32; 2]; CELLS],
    /// Of magnitudes, each at most 15.
    sum: u64,
    symbols: u64,
}

impl fmt::Debug for Learner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Learner").field("symbols", &self.symbols).field("sum", &self.sum).finish_non_exhaustive()
    }
}

impl Default for Learner {
    fn default() -> Self {
        Self { decisions: [[0; 2]; CELLS], sum: 0, symbols: 0 }
    }
}

impl Learner {
    /// Takes in one report that began with `start`: `symbols` are those of all its `tensors`, of which `subset` travelled (none is all;
    /// the others are 0). `scratch` is as for an [`Encoder`](super::Encoder).
    ///
    /// # Errors
    /// [`CodeError`] of arguments that do not go together; then nothing of this report may be relied on.
    pub fn learn<'s>(
        &mut self,
        (start, subset): (Start<'_>, Option<Subset>),
        tensors: impl IntoIterator<Item = Support<'s>>,
        symbols: &[i32],
        scratch: &mut [u8],
    ) -> Result<(), CodeError> {
        let mut state = State::new(scratch).map_err(scratch_error)?;
        state.model.begin(start);
        if let Some(index) = symbols.iter().position(|q| q.unsigned_abs() > MAX_SYMBOL as u32) {
            return Err(CodeError::Symbol { index, got: symbols[index] });
        }
        let (mut rest, mut before, mut coded) = (symbols, 0, 0);
        for support in tensors {
            support.check().map_err(CodeError::Support)?;
            if let Some((expected, got)) = state.too_narrow(support.width()) {
                return Err(CodeError::Scratch { expected, got });
            }
            let live = support.live();
            let Some((tensor, after)) = rest.split_at_checked(live) else {
                return Err(CodeError::Length { expected: live, got: rest.len() });
            };
            let kept = subset.map_or(live, |subset| subset.count(before, live));
            if kept > 0 {
                // Symbols are in range, and a tally has no end.
                let tally = &mut Tally(&mut self.decisions);
                let _ = walk_part(tally, &mut state, &support, tensor, (subset, before), |_, _| ());
            }
            (rest, before, coded) = (after, before + live, coded + kept);
        }
        if !rest.is_empty() {
            return Err(CodeError::Length { expected: symbols.len() - rest.len(), got: symbols.len() });
        }
        self.sum += symbols.iter().map(|q| u64::from(q.unsigned_abs().min(ESCAPE))).sum::<u64>();
        self.symbols += coded as u64;
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
        let (mut at, mut gap) = (HEADER, 0usize);
        for [no, yes] in self.decisions {
            let total = u64::from(no) + u64::from(yes);
            if total < LEAST_SEEN {
                gap += 1;
                continue;
            }
            while gap >= usize::from(PASS) {
                *out.get_mut(at).ok_or(full)? = PASS;
                (at, gap) = (at + 1, gap - usize::from(PASS));
            }
            // With half a decision of each beside: between 1 and 65535 for any counts.
            let chance = ((2 * u64::from(yes) + 1) << 16) / (2 * total + 2);
            *out.get_mut(at).ok_or(full)? = level(chance.min(65_535) as u16) << 4 | gap as u8;
            (at, gap) = (at + 1, 0);
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests;
