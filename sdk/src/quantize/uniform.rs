//! Random numbers by index: any coordinate's can be computed again without those before it.

/// The numbers of one seed. `at(i)` mixes the index and both halves of a 64-bit key with two 32-bit multiplications:
/// shifts and constants of `lowbias32` (Chris Wellons, "Prospecting for hash functions", 2018; public domain), the second
/// half of the key added between its rounds so that no two seeds give shifted copies of one sequence.
///
/// It decides roundings, it does not hide them: not a cryptographic generator. Noise for privacy never comes from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uniform {
    before: u32,
    between: u32,
}

impl Uniform {
    /// The sequence of `seed`. Neighbouring seeds are unrelated: the key is `splitmix64`'s finaliser of the seed
    /// (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators"; constants of David Stafford's mix 13).
    pub const fn new(seed: u64) -> Self {
        let mut key = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        key ^= key >> 31;
        Self { before: key as u32, between: (key >> 32) as u32 }
    }

    /// 32 random bits of coordinate `index`; a permutation of the indices.
    #[inline(always)]
    pub const fn bits(self, index: u32) -> u32 {
        let mut x = index.wrapping_add(self.before);
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = x.wrapping_add(self.between);
        x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x ^ (x >> 16)
    }

    /// Uniform on the multiples of `2^-24` in `[0, 1)`: the upper 24 bits of [`Self::bits`].
    #[inline(always)]
    pub fn at(self, index: u32) -> f32 {
        // Below 2^24, so the detour through i32 (a conversion that every vector unit has) is exact.
        (self.bits(index) >> 8) as i32 as f32 * (1.0 / 16_777_216.0)
    }
}
