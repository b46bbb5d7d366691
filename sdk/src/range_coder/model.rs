//! What the coder knows while it codes: how busy the row and the columns have been, and which probabilities that selects.
//! Integer arithmetic only; the module's documentation has the same rules in prose.

use super::Start;
use super::binary::Bins;
use super::mixer::{INPUTS, Mixer, Pace};

/// Coordinates of one row that are left out together if all are zero.
pub(super) const BLOCK: usize = 16;
/// Magnitudes from here on are escaped; averages saturate here too.
pub(super) const ESCAPE: u32 = 15;

/// Numbers of the first cell of each table of contexts.
const FLAG: [usize; INPUTS] = [0, 81, 107, 188];
const NONZERO: [usize; INPUTS] = [228, 336, 436, 502];
const MORE: [usize; INPUTS] = [622, 818, 898, 970];
const SIGN: [usize; INPUTS] = [1090, 1120, 1147, 1154];
const PREFIX: [usize; INPUTS] = [1184, 1196, 1220, 1244];
pub(super) const CELLS: usize = 1268;

/// Numbers of the first set of weights of each kind of decision.
const FLAG_SET: usize = 0;
const NONZERO_SET: usize = 2;
const MORE_SET: usize = 5;
const SIGN_SET: usize = 11;
const PREFIX_SET: usize = 12;
pub(super) const SETS: usize = 13;

const FLAG_PACE: Pace = Pace { shift: 15, limit: 64 };
const NONZERO_PACE: Pace = Pace { shift: 15, limit: 64 };
/// Where nonzero symbols are few, weights that follow each of them are noise.
const QUIET_PACE: Pace = Pace { shift: 16, limit: 80 };
const MORE_PACE: Pace = Pace { shift: 14, limit: 40 };
const SIGN_PACE: Pace = Pace { shift: 13, limit: 40 };
/// Less than two in four blocks.
const QUIET: u32 = 512;

/// Blocks whose [`Model::level`] is below are worth a decision of their own: about a third of a magnitude is expected.
pub(super) const SPARSE: u32 = 34;

/// Coordinates that the average of a row remembers, and rows that the slow average of a column does; before there are as
/// many, they remember all, and what they start from counts as two coordinates and as one row.
const ROW_MEMORY: usize = 512;
const COLUMN_MEMORY: usize = 64;
const ROW_RATE: [u16; ROW_MEMORY - 2] = {
    let mut table = [0; ROW_MEMORY - 2];
    let mut at = 0;
    while at < table.len() {
        table[at] = (65_536 / (at + 3)) as u16;
        at += 1;
    }
    table
};

/// What is left of a row's average, in 1/65536, after a block of zeros, by number of blocks before it.
const ROW_KEEPS: [u16; ROW_MEMORY / BLOCK + 1] = {
    let mut table = [0; ROW_MEMORY / BLOCK + 1];
    let mut block = 0;
    while block < table.len() {
        let (mut keeps, mut i) = (65_536, 0);
        while i < BLOCK {
            let n = block * BLOCK + i + 3;
            keeps -= keeps / if n < ROW_MEMORY { n } else { ROW_MEMORY };
            i += 1;
        }
        table[block] = keeps as u16;
        block += 1;
    }
    table
};

/// Length in binary, at most `most`.
#[inline(always)]
fn bits(x: u32, most: u32) -> usize {
    (32 - x.leading_zeros()).min(most) as usize
}

/// `2 log2(x) + 1`, in steps, at most `most`; 0 for 0.
#[inline(always)]
fn halves(x: u32, most: u32) -> usize {
    if x < 2 {
        return x as usize;
    }
    let top = 31 - x.leading_zeros();
    (2 * top + 1 + (x >> (top - 1) & 1)).min(most) as usize
}

/// `4 log2(x + 1)`, in steps.
#[inline(always)]
fn quarters(x: u32) -> u32 {
    let x = (x + 1) << 2;
    let top = 31 - x.leading_zeros();
    4 * (top - 2) + (x >> (top - 2) & 3)
}

/// One step of a column's average in 1/4096 towards magnitude `m`, at a rate in 1/65536. What is rounded away would
/// empty columns that are seldom busy, so it is rounded up as often as it should be: `phase` is equidistributed over rows.
#[inline(always)]
fn settle(average: u16, m: u32, rate: u32, phase: u32) -> u16 {
    let average = u32::from(average);
    (average - ((average * rate + phase) >> 16) + (((m << 12) * rate) >> 16)) as u16
}

/// Product of an average and a factor in 1/65536.
#[inline(always)]
fn part(average: u32, factor: u16) -> u32 {
    ((u64::from(average) * u64::from(factor)) >> 16) as u32
}

/// One block's columns. Entries beyond its length are zero.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    /// Average magnitude in 1/4096, memory of [`COLUMN_MEMORY`] rows.
    pub(super) slow: [u16; BLOCK],
    /// The same in 1/16, memory of 4 rows.
    pub(super) fast: [u8; BLOCK],
    /// Upper 4 bits: running vote on the sign, -6 .. 6. Lower 4 bits: the symbol of the row above, limited to -2 .. 2.
    pub(super) signs: [u8; BLOCK],
}

/// Probabilities and averages; those of columns are lent beside it.
pub(super) struct Model<'a> {
    mixer: Mixer<'a, CELLS, SETS>,
    start: Start<'a>,
    /// Average magnitude of all that went before, in 1/65536, memory of 512 coordinates.
    all: i32,
    /// `quarters` of it.
    all_log: u32,
    /// Average magnitude in this row in 1/65536, memory of [`ROW_MEMORY`] coordinates.
    row: u32,
    /// Sum of magnitudes in a block, in 1/256, memory of 4 blocks of this row.
    blocks: u32,
    /// Magnitudes of the two coordinates before, up to 15.
    last: [u32; 2],
    /// `fast` of the column before.
    left: u8,
    /// Running vote on the sign of this row against those of its columns.
    vote: i32,
    /// Rate of the slow averages of columns in this row, in 1/65536.
    column_rate: u32,
    /// What is added before rounding down in this row, in 1/65536.
    phase: u32,
}

/// All that a model knows, to go back to: 4 KB.
pub(super) struct Memory {
    weights: [[i32; INPUTS]; SETS],
    chances: [u16; CELLS],
    counts: [u8; CELLS],
    averages: (i32, u32, u32, u32),
    before: ([u32; 2], u8, i32),
}

impl Memory {
    pub(super) const NONE: Self = Self {
        weights: [[0; INPUTS]; SETS],
        chances: [0; CELLS],
        counts: [0; CELLS],
        averages: (0, 0, 0, 0),
        before: ([0; 2], 0, 0),
    };
}

impl Model<'_> {
    /// Rates of a row stay where they are.
    pub(super) fn save(&self, memory: &mut Memory) {
        memory.weights = *self.mixer.weights;
        memory.chances = *self.mixer.chances;
        memory.counts = *self.mixer.counts;
        memory.averages = (self.all, self.all_log, self.row, self.blocks);
        memory.before = (self.last, self.left, self.vote);
    }

    pub(super) fn restore(&mut self, memory: &Memory) {
        *self.mixer.weights = memory.weights;
        *self.mixer.chances = memory.chances;
        *self.mixer.counts = memory.counts;
        (self.all, self.all_log, self.row, self.blocks) = memory.averages;
        (self.last, self.left, self.vote) = memory.before;
    }
}

/// Where a coordinate is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Index in its block.
    pub(super) i: usize,
    /// Length of the block.
    pub(super) len: usize,
    /// Index of the block's first coordinate in its row.
    pub(super) start: usize,
    /// Whether zero is as good as any: a nonzero coordinate came before it in the block, or the block had no flag.
    pub(super) free: bool,
}

impl<'a> Model<'a> {
    pub(super) fn new(mixer: Mixer<'a, CELLS, SETS>) -> Self {
        let (all, all_log, row, blocks, last) = (0, 0, 0, 0, [0; 2]);
        let (left, vote, column_rate, phase) = (0, 0, 0, 0);
        let start = Start::NONE;
        let mut model = Self { mixer, start, all, all_log, row, blocks, last, left, vote, column_rate, phase };
        model.reset();
        model
    }

    /// Begins with what `start` says, now and after every reset.
    pub(super) fn begin(&mut self, start: Start<'a>) {
        self.start = start;
        self.reset();
    }

    /// As before the first tensor.
    pub(super) fn reset(&mut self) {
        self.mixer.reset();
        self.start.apply(self.mixer.chances, self.mixer.counts);
        self.all = self.start.average() as i32;
        self.all_log = quarters((self.all >> 4) as u32);
        self.start_row(0);
    }

    /// What the slow averages of columns start from.
    pub(super) fn column_start(&self) -> u16 {
        (self.all >> 4) as u16
    }

    pub(super) fn start_row(&mut self, row: usize) {
        self.row = self.all as u32;
        self.blocks = (self.all >> 4) as u32;
        (self.last, self.left, self.vote) = ([0; 2], 0, i32::from(row == 0));
        self.column_rate = (65_536 / row.saturating_add(2).min(COLUMN_MEMORY)) as u32;
        self.phase = (row as u32).wrapping_mul(40_503) & 0xffff;
    }

    /// Logarithm of the magnitude that is expected in a block if rows and columns have independent scales.
    #[inline(always)]
    pub(super) fn level(&self, columns: &Columns) -> u32 {
        let slow: u32 = columns.slow.iter().map(|&a| u32::from(a)).sum();
        (quarters(self.row >> 4) + quarters(slow >> 4) + 8).saturating_sub(self.all_log)
    }

    /// Codes whether a block of `len` coordinates has a nonzero one.
    #[inline(always)]
    pub(super) fn flag<B: Bins>(&mut self, bins: &mut B, columns: &Columns, level: u32, len: usize, bit: bool) -> bool {
        let slow: u32 = columns.slow.iter().map(|&a| u32::from(a)).sum();
        let fast: u32 = columns.fast.iter().map(|&a| u32::from(a)).sum();
        let cells = [
            FLAG[0] + bits(self.blocks >> 3, 8) * 9 + bits(fast, 8),
            FLAG[1] + halves(self.blocks, 25),
            FLAG[2] + bits(slow >> 7, 8) * 9 + bits(self.row >> 9, 8),
            FLAG[3] + level.min(39) as usize,
        ];
        self.mixer.decide(bins, FLAG_PACE, FLAG_SET + usize::from(len <= BLOCK / 2), cells, bit)
    }

    /// Takes in a block of `len` zeros that starts at coordinate `start` of its row.
    #[inline(always)]
    pub(super) fn skip(&mut self, columns: &mut Columns, start: usize, len: usize) {
        for slow in &mut columns.slow {
            *slow = settle(*slow, 0, self.column_rate, self.phase);
        }
        for fast in &mut columns.fast {
            *fast -= (*fast + 3) >> 2;
        }
        for signs in &mut columns.signs {
            *signs &= 0xf0;
        }
        self.row = part(self.row, ROW_KEEPS[(start / BLOCK).min(ROW_KEEPS.len() - 1)]);
        (self.last, self.left) = ([0; 2], columns.fast[BLOCK - 1]);
        self.end_block(0, len);
    }

    /// Takes in the sum of (saturated) magnitudes of a block that is done.
    #[inline(always)]
    pub(super) fn end_block(&mut self, sum: u32, len: usize) {
        let full = if len == BLOCK { sum } else { sum * BLOCK as u32 / len.max(1) as u32 };
        self.blocks = (self.blocks as i32 + (((full << 8) as i32 - self.blocks as i32) >> 2)) as u32;
        self.all += ((sum << 16) as i32 - len as i32 * self.all) >> 9;
        self.all_log = quarters((self.all >> 4) as u32);
    }

    /// Codes one coordinate's magnitude and, unless that is 0, sign; `known` is the symbol if it is. `None` if the escape is
    /// longer than any magnitude's.
    #[inline(always)]
    pub(super) fn coordinate<B: Bins>(
        &mut self,
        bins: &mut B,
        columns: &mut Columns,
        place: Place,
        known: i32,
    ) -> Option<i32> {
        let (slow, fast, signs) = (columns.slow[place.i], columns.fast[place.i], columns.signs[place.i]);
        let next = if place.i + 1 < place.len { columns.fast[place.i + 1] } else { fast };
        let above = i32::from((signs << 4) as i8 >> 4);
        // Logarithm of the magnitude that is expected here if rows and columns have independent scales.
        let level = (quarters(self.row >> 4) + quarters(slow.into())).saturating_sub(self.all_log);
        let remaining = place.len - place.i;
        let nonzero = if place.free || remaining > 1 {
            let part = if place.free { 0 } else { 1 + usize::from(remaining <= 4) };
            let [before, before_that] = self.last.map(|m| m.min(2) as usize);
            let beside = bits((u32::from(self.left) + u32::from(next)) >> 1, 3);
            let cells = [
                NONZERO[0] + (before * 3 + before_that) * 12 + above.unsigned_abs() as usize * 4 + beside,
                NONZERO[1] + bits(u32::from(slow) >> 5, 9) * 10 + bits(self.row >> 11, 9),
                NONZERO[2] + part * 22 + halves(fast.into(), 21),
                NONZERO[3] + part * 40 + level.min(39) as usize,
            ];
            let pace = if self.blocks < QUIET { QUIET_PACE } else { NONZERO_PACE };
            self.mixer.decide(bins, pace, NONZERO_SET + part, cells, known != 0)
        } else {
            true
        };
        let mut symbol = 0;
        let mut m = 0;
        if nonzero {
            let magnitude = self.magnitude(bins, slow, fast, level, known.unsigned_abs())?;
            m = magnitude.min(ESCAPE);
            let vote = i32::from(signs as i8 >> 4);
            let (negative, vote) = self.sign(bins, vote, above, m, known < 0);
            symbol = if negative { -(magnitude as i32) } else { magnitude as i32 };
            columns.signs[place.i] = (vote << 4) as u8 | (symbol.clamp(-2, 2) as u8 & 15);
        } else {
            columns.signs[place.i] = signs & 0xf0;
        }
        columns.slow[place.i] = settle(slow, m, self.column_rate, self.phase);
        columns.fast[place.i] = fast - ((fast + 3) >> 2) + 4 * m as u8;
        self.left = columns.fast[place.i];
        let rate = ROW_RATE[(place.start + place.i).min(ROW_RATE.len() - 1)];
        self.row = self.row - part(self.row, rate) + part(m << 16, rate);
        self.last = [m, self.last[0]];
        Some(symbol)
    }

    /// Codes how much a magnitude is above 0.
    #[inline(always)]
    fn magnitude<B: Bins>(&mut self, bins: &mut B, slow: u16, fast: u8, level: u32, known: u32) -> Option<u32> {
        let [before, before_that] = self.last.map(|m| m.min(3) as usize);
        let scales = bits(self.row >> 12, 6) * 7 + bits(u32::from(slow) >> 8, 6);
        let quick = bits(u32::from(fast) << 1, 9);
        let level = (level.clamp(8, 47) as usize - 8) / 2;
        let mut value = 1;
        while value < ESCAPE {
            let k = value.min(6) as usize - 1;
            let cells = [
                MORE[0] + k.min(3) * 49 + scales,
                MORE[1] + k.min(4) * 16 + before * 4 + before_that,
                MORE[2] + k * 12 + quick,
                MORE[3] + k * 20 + level,
            ];
            if !self.mixer.decide(bins, MORE_PACE, MORE_SET + k, cells, known > value) {
                return Some(value);
            }
            value += 1;
        }
        self.escape(bins, fast, known.wrapping_sub(ESCAPE)).map(|excess| ESCAPE + excess)
    }

    /// Exp-Golomb code of order 0: length of `excess + 1` in mixed decisions, its bits but the highest plainly.
    #[cold]
    fn escape<B: Bins>(&mut self, bins: &mut B, fast: u8, excess: u32) -> Option<u32> {
        let word = excess.wrapping_add(1).max(1);
        let width = 31 - word.leading_zeros();
        let large = [self.last[0] >= ESCAPE, self.last[1] >= ESCAPE, fast >= 128].map(usize::from);
        let mut length = 0;
        loop {
            let k = length.min(11) as usize;
            let cells = [
                PREFIX[0] + k,
                PREFIX[1] + 2 * k + large[0],
                PREFIX[2] + 2 * k + large[1],
                PREFIX[3] + 2 * k + large[2],
            ];
            if !self.mixer.decide(bins, MORE_PACE, PREFIX_SET, cells, width > length) {
                break;
            }
            length += 1;
            if length >= 24 {
                return None;
            }
        }
        let (mut value, mut rest) = (1, length);
        while rest > 0 {
            let count = rest.min(8);
            rest -= count;
            value = value << count | bins.plain((word >> rest) & ((1 << count) - 1), count);
        }
        Some(value - 1)
    }

    /// Codes the sign of a nonzero coordinate as "agrees with row times column" and lets it vote; returns whether it is
    /// negative, and the column's new vote. Dense updates are sums of few outer products, so one pattern of signs dominates.
    #[inline(always)]
    fn sign<B: Bins>(&mut self, bins: &mut B, other: i32, above: i32, m: u32, negative: bool) -> (bool, i32) {
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
        let row = self.vote.signum();
        let both = if row == 0 || other == 0 { 0 } else { 1 + 3 * trust(self.vote) + trust(other) };
        let expected = row * other < 0;
        // What the symbol above says if the row has the sign that its vote says: for, against or nothing.
        let hint = above.signum() * row * if expected { -1 } else { 1 };
        let hint = (hint + 1) as usize;
        let cells = [
            SIGN[0] + both * 3 + hint,
            SIGN[1] + self.vote.unsigned_abs() as usize * 3 + hint,
            SIGN[2] + other.unsigned_abs() as usize,
            SIGN[3] + both * 3 + m.min(3) as usize - 1,
        ];
        let negative = self.mixer.decide(bins, SIGN_PACE, SIGN_SET, cells, negative != expected) != expected;
        let sign = if negative { -1 } else { 1 };
        self.vote = (self.vote + sign * other.signum()).clamp(-8, 8);
        (negative, (other + sign * row).clamp(-6, 6))
    }
}
