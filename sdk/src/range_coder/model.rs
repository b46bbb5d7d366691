//! What the coder knows while it codes: adaptive probabilities, and how busy the row and the columns have been.
//! Integer arithmetic only; the module's documentation has the same rules in prose.

use super::binary::Bins;

/// Coordinates of one row that share a flag "all zero".
pub(super) const BLOCK: usize = 16;
/// Magnitudes from here on are escaped; activities saturate here too.
pub(super) const ESCAPE: u32 = 15;

/// Numbers of the first cell of each kind of decision.
const FLAG: usize = 0;
const FIRST: usize = FLAG + 3 * 10 * 10;
const LATER: usize = FIRST + 6 * 4 * 8;
const SMALL: usize = LATER + 8 * 8;
const LARGE: usize = SMALL + 8 * 8 * 4;
const SIGN: usize = LARGE + 8 * 10;
const PREFIX: usize = SIGN + 10;
const MORE: usize = PREFIX + 24;
const HALF_ZERO: usize = MORE + 5 * 8;
pub(super) const CELLS: usize = HALF_ZERO + 2 * 5 * 5;

/// The rate of adaptation goes from 2/3 down to `1 / (LIMIT + 1.5)`.
const LIMIT: usize = 63;
const RECIPROCAL: [u16; LIMIT + 1] = {
    let mut table = [0; LIMIT + 1];
    let mut n = 0;
    while n <= LIMIT {
        table[n] = (131_072 / (2 * n + 3)) as u16;
        n += 1;
    }
    table
};
/// Probabilities that are used stay this far (in 1/65536) from 0 and 1: no decision costs more than 12 bits.
const MARGIN: u32 = 16;

/// A cell is an adaptive probability of `true`: 22 bits of it, then 10 bits of how often it was used (up to `LIMIT`).
const HALF: u32 = 1 << 31;

#[inline(always)]
fn probability(cell: u32) -> u32 {
    (cell >> 16).clamp(MARGIN, 65_536 - MARGIN)
}

#[inline(always)]
fn learn(cell: u32, bit: bool) -> u32 {
    let (p, n) = (cell >> 10, cell & 1023);
    let rate = u32::from(RECIPROCAL[(n as usize).min(LIMIT)]);
    let p = if bit { p + (((((1 << 22) - 1 - p) >> 7) * rate) >> 9) } else { p - (((p >> 7) * rate) >> 9) };
    p << 10 | (n + 1).min(LIMIT as u32)
}

/// Class 0..8 of an average magnitude in 1/256; thresholds 8, 24, 56, 112, 200, 360, 800.
const CLASS: [u8; 128] = {
    let mut table = [0; 128];
    let mut a = 0;
    while a < 128 {
        let x = a * 8;
        table[a] = (x >= 8) as u8
            + (x >= 24) as u8
            + (x >= 56) as u8
            + (x >= 112) as u8
            + (x >= 200) as u8
            + (x >= 360) as u8
            + (x >= 800) as u8;
        a += 1;
    }
    table
};

#[inline(always)]
fn class(average: u32) -> usize {
    usize::from(CLASS[((average >> 3) as usize).min(127)])
}

/// Class 0..10 of a sum over a block: its bit length less 3.
#[inline(always)]
fn octave(sum: u32) -> usize {
    (32 - sum.leading_zeros()).saturating_sub(3).min(9) as usize
}

/// `65536 * (7/8)^n` rounded down at each step.
const DECAY: [u32; BLOCK + 1] = {
    let mut table = [65_536; BLOCK + 1];
    let mut n = 1;
    while n <= BLOCK {
        table[n] = table[n - 1] * 7 / 8;
        n += 1;
    }
    table
};

/// Classes of the number of coordinates left, from 2.
const LEFT: [u8; BLOCK + 1] = [0, 0, 0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5];
const SPARSE: u32 = 128;

/// Probabilities and activities; columns are lent as slices beside it.
pub(super) struct Model<'a> {
    cells: &'a mut [u32; CELLS],
    /// Recent average magnitude in this row, in 1/256, memory of 8 coordinates.
    row: u32,
    /// The same summed over a block, memory of 4 blocks.
    blocks: u32,
    /// Average magnitude of all that went before, in 1/65536, memory of 512 coordinates.
    slow: i32,
    /// Running vote on the sign of this row against those of its columns.
    vote: i32,
}

/// One block's columns: how busy each was (1/256, memory of 4 rows).
pub(super) type Activity = [u16; BLOCK];

/// At most 16 * 3840: the sum fits its type, and adding 16-bit lanes vectorises.
#[inline(always)]
fn total(activity: &Activity) -> u16 {
    activity.iter().fold(0u16, |sum, &a| sum.wrapping_add(a))
}

impl<'a> Model<'a> {
    pub(super) fn new(cells: &'a mut [u32; CELLS]) -> Self {
        let mut model = Self { cells, row: 0, blocks: 0, slow: 0, vote: 0 };
        model.reset();
        model
    }

    pub(super) fn reset(&mut self) {
        self.cells.fill(HALF);
        (self.row, self.blocks, self.slow, self.vote) = (0, 0, 0, 0);
    }

    pub(super) fn start_row(&mut self, is_first: bool) {
        self.row = (self.slow >> 8) as u32;
        self.blocks = (self.slow >> 4) as u32;
        self.vote = i32::from(is_first);
    }

    #[inline(always)]
    fn decide<B: Bins>(&mut self, bins: &mut B, cell: usize, bit: bool) -> bool {
        let cell = &mut self.cells[cell];
        let bit = bins.bin(probability(*cell), bit);
        *cell = learn(*cell, bit);
        bit
    }

    /// Codes whether a block of `len` coordinates has a nonzero one.
    #[inline(always)]
    pub(super) fn flag<B: Bins>(&mut self, bins: &mut B, activity: &Activity, len: usize, bit: bool) -> bool {
        let sum = total(activity);
        let kind = if len <= BLOCK / 2 { 2 } else { usize::from(self.row >= 24) };
        let context = (kind * 10 + octave(self.blocks)) * 10 + octave(u32::from(sum));
        self.decide(bins, FLAG + context, bit)
    }

    /// Forgets over `len` zeros.
    #[inline(always)]
    pub(super) fn skip(&mut self, activity: &mut Activity, len: usize) {
        for a in activity {
            *a -= a.wrapping_add(3) >> 2;
        }
        self.row = (self.row * DECAY[len]) >> 16;
        self.end_block(0, len);
    }

    /// Whether nonzero symbols are so few, of late in this row and in these columns, that a block is better searched than
    /// walked through: fewer than one in two blocks.
    #[inline(always)]
    pub(super) fn is_sparse(&self, activity: &Activity) -> bool {
        self.blocks.max(u32::from(total(activity))) < SPARSE
    }

    /// Forgets over `len` zeros, in the row only.
    #[inline(always)]
    pub(super) fn skip_row(&mut self, len: usize) {
        self.row = (self.row * DECAY[len]) >> 16;
    }

    /// Codes whether a nonzero coordinate follows among the `left` columns of `rest`.
    #[inline(always)]
    pub(super) fn more<B: Bins>(&mut self, bins: &mut B, rest: &[u16], bit: bool) -> bool {
        let sum: u32 = rest.iter().map(|&a| u32::from(a)).sum();
        let place = usize::from(LEFT[rest.len()]).min(4);
        self.decide(bins, MORE + place * 8 + octave(sum).min(7), bit)
    }

    /// Codes whether the first of two halves, one of which is known to have a nonzero coordinate, has one.
    #[inline(always)]
    pub(super) fn half<B: Bins>(&mut self, bins: &mut B, halves: [&[u16]; 2], bit: bool) -> bool {
        let [a, b] = halves.map(|half| {
            let sum: u32 = half.iter().map(|&a| u32::from(a)).sum();
            (32 - sum.leading_zeros()).saturating_sub(4).div_ceil(2).min(4) as usize
        });
        let large = usize::from(halves[0].len() > 4);
        self.decide(bins, HALF_ZERO + (large * 5 + a) * 5 + b, bit)
    }

    /// Takes in the sum of (saturated) magnitudes of a block that is done.
    #[inline(always)]
    pub(super) fn end_block(&mut self, sum: u32, len: usize) {
        let full = if len == BLOCK { sum } else { sum * BLOCK as u32 / len.max(1) as u32 };
        self.blocks = (self.blocks as i32 + (((full << 8) as i32 - self.blocks as i32) >> 2)) as u32;
        self.slow += ((sum << 16) as i32 - len as i32 * self.slow) >> 9;
    }

    /// Codes one coordinate's magnitude; `left` counts it and those after it in the block, `seen` says whether a nonzero
    /// one came before it there. `None` if the escape is longer than any magnitude's.
    #[inline(always)]
    pub(super) fn magnitude<B: Bins>(
        &mut self,
        bins: &mut B,
        activity: &mut u16,
        left: usize,
        seen: bool,
        magnitude: u32,
    ) -> Option<u32> {
        let (row, column) = (class(self.row), class(u32::from(*activity)));
        let both = row * 8 + column;
        let nonzero = if seen || (row >= 2 && left > 4) {
            self.decide(bins, LATER + both, magnitude != 0)
        } else if left == 1 {
            true
        } else {
            let place = usize::from(LEFT[left]) * 4 + row / 2;
            self.decide(bins, FIRST + place * 8 + column, magnitude != 0)
        };
        let mut value = 0;
        if nonzero {
            value = 1;
            while value < ESCAPE {
                let k = value as usize - 1;
                let cell = if k < 4 { SMALL + both * 4 + k } else { LARGE + row * 10 + k - 4 };
                if !self.decide(bins, cell, magnitude > value) {
                    break;
                }
                value += 1;
            }
            if value == ESCAPE {
                value += self.escape(bins, magnitude.wrapping_sub(ESCAPE))?;
            }
        }
        let heard = value.min(ESCAPE) << 8;
        self.row = (self.row as i32 + ((heard as i32 - self.row as i32) >> 3)) as u32;
        *activity = (i32::from(*activity) + ((heard as i32 - i32::from(*activity)) >> 2)) as u16;
        Some(value)
    }

    /// Exp-Golomb code of order 0 with adaptive prefix.
    #[cold]
    fn escape<B: Bins>(&mut self, bins: &mut B, excess: u32) -> Option<u32> {
        let width = 31 - excess.wrapping_add(1).max(1).leading_zeros();
        let mut prefix = 0;
        while self.decide(bins, PREFIX + prefix as usize, width > prefix) {
            prefix += 1;
            if prefix >= 24 {
                return None;
            }
        }
        let mut value = 1;
        let mut rest = prefix;
        while rest > 0 {
            let count = rest.min(8);
            rest -= count;
            value = value << count | bins.plain((excess.wrapping_add(1) >> rest) & ((1 << count) - 1), count);
        }
        Some(value - 1)
    }

    /// Codes the sign of a nonzero coordinate as "agrees with row times column" and lets it vote. Dense updates are sums
    /// of few outer products, so one pattern of signs dominates.
    #[inline(always)]
    pub(super) fn sign<B: Bins>(&mut self, bins: &mut B, column: &mut i8, negative: bool) -> bool {
        /// Confidence in a vote.
        const fn trust(vote: i32) -> usize {
            let size = vote.unsigned_abs();
            if size < 2 {
                0
            } else if size < 4 {
                1
            } else {
                2
            }
        }
        let other = i32::from(*column);
        let context = if self.vote == 0 || other == 0 { 0 } else { 1 + 3 * trust(self.vote) + trust(other) };
        let expected = (self.vote < 0) != (other < 0);
        let negative = self.decide(bins, SIGN + context, negative != expected) != expected;
        let sign = if negative { -1 } else { 1 };
        let row = self.vote.signum();
        self.vote = (self.vote + sign * other.signum()).clamp(-8, 8);
        *column = (other + sign * row).clamp(-6, 6) as i8;
        negative
    }
}
