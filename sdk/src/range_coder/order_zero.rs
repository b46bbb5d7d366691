//! Symbols without contexts, for tensors that are over before contexts have been learned: the [module](super)'s "Without contexts".

use super::binary::Bins;
use super::mixer::{LONGEST, adapted};

/// Binary digits of the largest magnitude.
const DIGITS: usize = 24;

/// Adaptive probabilities of how many binary digits a magnitude has, and of the digit below its highest; the others and the sign are
/// written as they are.
pub(super) struct OrderZero {
    /// Of `true`, in 1/65536: "more digits than this", then "the digit below the highest of so many is 1".
    chances: [u16; 2 * DIGITS],
    /// Decisions seen, up to the longest memory.
    counts: [u8; 2 * DIGITS],
}

impl OrderZero {
    pub(super) const NEW: Self = Self { chances: [1 << 15; 2 * DIGITS], counts: [0; 2 * DIGITS] };

    fn decide<B: Bins>(&mut self, bins: &mut B, cell: usize, bit: bool) -> bool {
        let (chance, count) = (&mut self.chances[cell], &mut self.counts[cell]);
        let bit = bins.bin((*chance).into(), bit);
        *chance = adapted(*chance, *count, bit);
        *count += u8::from(usize::from(*count) < LONGEST);
        bit
    }

    /// Codes a symbol of magnitude below `2^24`.
    pub(super) fn symbol<B: Bins>(&mut self, bins: &mut B, known: i32) -> i32 {
        let magnitude = known.unsigned_abs();
        let digits = (32 - magnitude.leading_zeros()) as usize;
        let mut length = 0;
        while length < DIGITS && self.decide(bins, length, digits > length) {
            length += 1;
        }
        if length == 0 {
            return 0;
        }
        let (mut value, mut rest) = (1, length as u32 - 1);
        if rest > 0 {
            rest -= 1;
            value = 2 + u32::from(self.decide(bins, DIGITS + length - 1, magnitude >> rest & 1 == 1));
        }
        while rest > 0 {
            let count = rest.min(8);
            rest -= count;
            value = value << count | bins.plain(magnitude >> rest & ((1 << count) - 1), count);
        }
        if bins.plain(u32::from(known < 0), 1) == 1 { -(value as i32) } else { value as i32 }
    }
}
