//! Positive numbers of many magnitudes, such as a diagonal of the Fisher information, on a logarithmic grid of 4 to 8 bits, and made
//! small for the coder.
//!
//! A [`LogScale`] cuts each octave below its largest value into `2^(bits - 4)` levels, so that its `2^bits - 1` levels reach down 15 to
//! 16 octaves; below them there is one level more, which is zero. Levels are read off the bits of an IEEE 754 binary32, exponent and
//! first bits of the fraction, so that there is no logarithm to compute, and all targets agree.
//!
//! The Fisher information of a layer's weight is a mean of products of squared activations and squared errors: nearly that of a row and
//! a column, whose logarithm is a sum. [`predict`] replaces each level by what is left of it after such a sum, which it learns from the
//! levels before, and [`restore`] puts it back. What is left is small and goes through the same
//! [`range_coder`](crate::range_coder) as an update.
//!
//! The sum, in integers of 1/16 level, divisions towards zero: `S`, what rows begin with, is `16 floor(highest / 2)` at first, and
//! `R = S`; `C[j] = 0` for every column; `n` rows were seen, none yet. The guess in column `j` is
//! `clamp((R + C[j] + 8) >> 4, 0, highest)`, and with `e = 16 level - R - C[j]` then `R += e / (min(k, 30) + 1)`, `k` being the number of
//! the coordinate in its row, from 1, and `C[j] = clamp(C[j] + e / (min(n, 30) + 2), -4095, 4095)`. After a row that is not empty
//! `S += (R - S) / (min(n, 15) + 1)`, `n` grows by 1, and `R = S`.
//!
//! ```
//! use siskin::quantize::log_scale::{LogScale, predict, restore};
//! use siskin::range_coder::Support;
//! let scale = LogScale::new(8, 4.0).unwrap();
//! let fisher = [4.0, 0.5, 2.0, 0.25, 1.0, 0.0];
//! let support = Support::dense(3, 2).unwrap();
//! let mut levels = fisher.map(|x| scale.level(x));
//! predict(scale, &support, &mut levels, &mut [0; 2]);
//! // Coded, sent and decoded here.
//! restore(scale, &support, &mut levels, &mut [0; 2]);
//! for (x, level) in fisher.into_iter().zip(levels) {
//!     assert!((scale.value(level) - x).abs() <= scale.relative_error() * x);
//! }
//! ```

use crate::range_coder::Support;
use core::fmt;

/// Bits of the fraction of a binary32.
const FRACTION: u32 = 23;
/// Averages are in 1/16 level.
const POINT: u32 = 4;
/// Slowest pace of a column's average, as a number of rows.
const LONGEST: i32 = 30;

/// A logarithmic grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogScale {
    bits: u8,
    /// The top level's bits of exponent and fraction.
    top: u32,
}

/// What cannot be a [`LogScale`].
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum LogScaleError {
    /// Bits outside 4 to 8.
    Bits {
        /// What was asked for.
        got: u8,
    },
    /// A largest value that is not finite, not above 0, or so small that 16 octaves below it are not normal numbers: `2^-110`.
    Largest {
        /// What was asked for.
        got: f32,
    },
}

impl fmt::Display for LogScaleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bits { got } => write!(f, "a logarithmic scale has 4 to 8 bits, not {got}"),
            Self::Largest { got } => write!(f, "the largest value {got} is not finite and at least 2^-110"),
        }
    }
}

impl core::error::Error for LogScaleError {}

impl LogScale {
    /// `2^bits - 1` levels up to `largest`, which the receiver must be told, and zero. `bits` is 4 to 8.
    ///
    /// # Errors
    /// [`LogScaleError`].
    pub fn new(bits: u8, largest: f32) -> Result<Self, LogScaleError> {
        if !(4..=8).contains(&bits) {
            return Err(LogScaleError::Bits { got: bits });
        }
        if !(largest.is_finite() && largest >= f32::from_bits((127 - 110) << FRACTION)) {
            return Err(LogScaleError::Largest { got: largest });
        }
        let mut scale = Self { bits, top: 0 };
        scale.top = scale.key(largest);
        Ok(scale)
    }

    /// Grows by 1 with each level.
    fn key(self, x: f32) -> u32 {
        x.to_bits() >> self.shift()
    }

    /// Bits of a binary32 below those that make a level.
    fn shift(self) -> u32 {
        FRACTION + 4 - u32::from(self.bits)
    }

    /// The highest level, `2^bits - 1`.
    pub fn highest(self) -> i32 {
        (1 << self.bits) - 1
    }

    /// The level of `x`, 0 to [`highest`](Self::highest): 0 of numbers that are below the scale, negative or no numbers, the highest
    /// of those above it.
    pub fn level(self, x: f32) -> i32 {
        if x.is_nan() || x <= 0.0 {
            return 0;
        }
        // Below 2^13, so that nothing overflows.
        (self.highest() + self.key(x) as i32 - self.top as i32).clamp(0, self.highest())
    }

    /// The middle of a level, 0 of those that there are not.
    pub fn value(self, level: i32) -> f32 {
        if !(1..=self.highest()).contains(&level) {
            return 0.0;
        }
        let key = (self.top + level as u32) - self.highest() as u32;
        f32::from_bits((key << self.shift()) + (1 << (self.shift() - 1)))
    }

    /// The most by which the value of a number's level is off, relative to it, if it is inside the scale: half the width of a level over
    /// its lower end, `2^-(bits - 3)`. A half at 4 bits, 1/32 at 8.
    pub fn relative_error(self) -> f32 {
        f32::from_bits((127 + 3 - u32::from(self.bits)) << FRACTION)
    }
}

/// What rows and columns say of the next level.
struct Sums<'a> {
    scale: LogScale,
    /// A column's average of what its levels are above their rows', in 1/16.
    columns: &'a mut [i16],
    /// The row's, in 1/16, and its first guess for the next one.
    row: i32,
    start: i32,
    /// Coordinates of the row so far, and rows.
    seen: i32,
    rows: i32,
}

impl Sums<'_> {
    fn start_row(&mut self) {
        if self.seen > 0 {
            self.start += (self.row - self.start) / (self.rows.min(15) + 1);
            self.rows += 1;
        }
        self.row = self.start;
        self.seen = 0;
    }

    fn guess(&self, column: usize) -> i32 {
        let sum = self.row + i32::from(self.columns[column]);
        ((sum + (1 << (POINT - 1))) >> POINT).clamp(0, self.scale.highest())
    }

    /// A row is believed more with each coordinate, a column with each row; neither ever completely.
    fn learn(&mut self, column: usize, level: i32) {
        let level = level.clamp(0, self.scale.highest()) << POINT;
        let error = level - self.row - i32::from(self.columns[column]);
        self.seen += 1;
        self.row += error / (self.seen.min(LONGEST) + 1);
        // Sixteen times 255 and its negative fit.
        let column = &mut self.columns[column];
        let moved = i32::from(*column) + error / (self.rows.min(LONGEST) + 2);
        *column = moved.clamp(-4095, 4095) as i16;
    }
}

/// Calls `each(position, guess)`, which gives the level, for every live coordinate in the order in which it is coded.
fn walk(scale: LogScale, support: &Support<'_>, columns: &mut [i16], mut each: impl FnMut(usize, i32) -> i32) {
    let width = support.width() as usize;
    columns[..width].fill(0);
    let start = (scale.highest() / 2) << POINT;
    let mut sums = Sums { scale, columns, row: start, start, seen: 0, rows: 0 };
    let mut position = 0;
    let mut row = |sums: &mut Sums<'_>, columns: &mut dyn Iterator<Item = usize>| {
        sums.start_row();
        for column in columns {
            let level = each(position, sums.guess(column));
            sums.learn(column, level);
            position += 1;
        }
    };
    match *support {
        Support::Dense { rows, cols } => {
            (0..rows).for_each(|_| row(&mut sums, &mut (0..cols as usize)));
        }
        Support::Csr { row_ptr, cols, .. } => {
            for ends in row_ptr.windows(2) {
                row(&mut sums, &mut cols[ends[0] as usize..ends[1] as usize].iter().map(|c| usize::from(*c)));
            }
        }
        Support::Blocks { row_ptr, cols, height, .. } => {
            for ends in row_ptr.windows(2) {
                for _ in 0..height {
                    row(&mut sums, &mut cols[ends[0] as usize..ends[1] as usize].iter().map(|c| usize::from(*c)));
                }
            }
        }
    }
}

/// Replaces the levels of one tensor by what is left of them, in the same memory; `columns` is scratch, an entry a column.
///
/// # Panics
/// If the support is not as [`Support::check`] wants it, `levels` is shorter than what lives, or `columns` than the support is wide.
pub fn predict(scale: LogScale, support: &Support<'_>, levels: &mut [i32], columns: &mut [i16]) {
    walk(scale, support, columns, |i, guess| {
        let level = levels[i];
        levels[i] = level - guess;
        level
    });
}

/// The inverse of [`predict`]. Of what no device wrote it makes levels that [`LogScale::value`] takes for 0, or others.
///
/// # Panics
/// As [`predict`].
pub fn restore(scale: LogScale, support: &Support<'_>, levels: &mut [i32], columns: &mut [i16]) {
    walk(scale, support, columns, |i, guess| {
        levels[i] = levels[i].saturating_add(guess);
        levels[i]
    });
}

#[cfg(test)]
mod tests;
