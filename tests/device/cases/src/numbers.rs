//! Inputs of the cases.

/// A stream of numbers without a crate: xorshift64*, Vigna 2016, "An experimental exploration of Marsaglia's xorshift
/// generators, scrambled", table of multipliers.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// In [-1, 1), 24 bits: exact in f32.
    pub(crate) fn next_f32(&mut self) -> f32 {
        (self.next() >> 40) as f32 * (1.0 / 8_388_608.0) - 1.0
    }
}
