//! Adaptive probabilities, four at a time, mixed in the logistic domain into the one that a decision is coded with.
//!
//! Logistic mixing is that of Mahoney's PAQ7 (2005; "Adaptive weighing of context models for lossless data compression"
//! treats its predecessors): each probability `p` becomes `ln(p / (1 - p))`, a weighted sum of those becomes a probability
//! again, and the weights follow the gradient of the code length. What four small sets of contexts know is thus combined
//! without the table of all their combinations, which would have to be learned first. Integers only.

use super::binary::Bins;

/// Probabilities that one decision mixes.
pub(super) const INPUTS: usize = 4;
/// Weights at first, in 1/65536: they sum to nearly 1, so inputs that agree are believed.
const WEIGHT: i32 = 16_000;
/// Weights stay strictly between -2 and 2.
const HEAVIEST: i32 = 131_071;
/// Logistic values are in 1/256 and limited to -11 .. 11.
const FURTHEST: i32 = 2816;

/// Longest memory of a cell, in decisions.
pub(super) const LONGEST: usize = 80;
/// Rates of adaptation, in 1/65536, by number of decisions seen: from 2/3 down to `1 / (LONGEST + 1.5)`.
const RATE: [u16; LONGEST + 1] = {
    let mut table = [0; LONGEST + 1];
    let mut n = 0;
    while n <= LONGEST {
        table[n] = (131_072 / (2 * n + 3)) as u16;
        n += 1;
    }
    table
};

/// `256 ln(p / (1 - p))`, rounded, for `p = (i + 1/2) / 1024`.
pub(super) const STRETCH: [i16; 1024] = {
    let mut table = [0; 1024];
    let mut i = 0;
    while i < 512 {
        // ln((2047 - 2i) / (2i + 1)) = 2 artanh(z) after powers of two are taken out.
        let (mut x, mut sum) = ((2047 - 2 * i) as f64 / (2 * i + 1) as f64, 0.0);
        while x > 1.5 {
            x *= 0.5;
            sum += core::f64::consts::LN_2;
        }
        let z = (x - 1.0) / (x + 1.0);
        let (mut power, mut k) = (z, 1);
        while k < 40 {
            sum += 2.0 * power / k as f64;
            power *= z * z;
            k += 2;
        }
        let rounded = (256.0 * sum + 0.5) as i16;
        table[i] = -rounded;
        table[1023 - i] = rounded;
        i += 1;
    }
    table
};

/// `65536 / (1 + exp(-x / 256))`, rounded and limited to 16 .. 65520, for `x = 8 i - 2812`: no decision costs more than 12 bits.
pub(super) const SQUASH: [u16; 704] = {
    let mut table = [0; 704];
    // exp(1/64) by its series, then exp(x / 256) for x = 4, 12, 20, ...
    let (mut step, mut term, mut k) = (1.0, 1.0, 1);
    while k < 12 {
        term /= 64.0 * k as f64;
        step += term;
        k += 1;
    }
    let (mut power, mut i) = (step, 0);
    while i < 352 {
        let p = (65_536.0 / (1.0 + 1.0 / power) + 0.5) as u32;
        let p = if p > 65_520 { 65_520 } else { p };
        table[352 + i] = p as u16;
        table[351 - i] = (65_536 - p) as u16;
        power *= step * step;
        i += 1;
    }
    table
};

/// The probability `p` of a cell that has seen `count` decisions before, after one more: its distance from certainty shrinks.
#[inline(always)]
pub(super) fn adapted(p: u16, count: u8, bit: bool) -> u16 {
    // `x ^ 0xffff` is `65535 - x`.
    let mirror = if bit { 0xffff } else { 0 };
    let distance = p ^ mirror;
    let rate = u32::from(RATE[usize::from(count).min(LONGEST)]);
    (distance - ((u32::from(distance) * rate) >> 16) as u16) ^ mirror
}

/// How a kind of decision learns.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// Weights move by error times input over `2^shift`.
    pub(super) shift: u32,
    /// Memory of the cells, at most [`LONGEST`].
    pub(super) limit: u8,
}

/// Cells and weights. A cell is the probability of `true` in 1/65536 and the number of decisions that it has seen, up to a limit.
pub(super) struct Mixer<'a, const CELLS: usize, const SETS: usize> {
    pub(super) weights: &'a mut [[i32; INPUTS]; SETS],
    pub(super) chances: &'a mut [u16; CELLS],
    pub(super) counts: &'a mut [u8; CELLS],
}

impl<const CELLS: usize, const SETS: usize> Mixer<'_, CELLS, SETS> {
    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        *self.weights = [[WEIGHT; INPUTS]; SETS];
        *self.chances = [1 << 15; CELLS];
        *self.counts = [0; CELLS];
    }

    /// Codes one decision with what the four `cells` say, weighted by the weights number `set`; all of them learn from it.
    #[inline(always)]
    pub(super) fn decide<B: Bins>(
        &mut self,
        bins: &mut B,
        pace: Pace,
        set: usize,
        cells: [usize; INPUTS],
        bit: bool,
    ) -> bool {
        let weights = &mut self.weights[set];
        let chances = cells.map(|cell| self.chances[cell]);
        let inputs = chances.map(|p| i32::from(STRETCH[usize::from(p >> 6)]));
        // Magnitudes: 4 * 1952 * 131,071 < 2^30.
        let sum: i32 = inputs.iter().zip(&*weights).map(|(&input, &weight)| input * weight).sum();
        let logistic = (sum >> 16).clamp(-FURTHEST, FURTHEST - 1);
        let p = u32::from(SQUASH[((logistic + FURTHEST) >> 3) as usize]);
        let bit = bins.bin(p, bit);
        bins.saw(&cells, bit);
        let error = (i32::from(bit) << 16) - p as i32;
        for (weight, &input) in weights.iter_mut().zip(&inputs) {
            let change = (input * error + (1 << (pace.shift - 1))) >> pace.shift;
            *weight = (*weight + change).clamp(-HEAVIEST, HEAVIEST);
        }
        for (cell, p) in cells.into_iter().zip(chances) {
            let count = &mut self.counts[cell];
            self.chances[cell] = adapted(p, *count, bit);
            *count += u8::from(*count < pace.limit);
        }
        bit
    }
}
