//! A random order of `0..n` that needs no memory: a four-round Feistel network, walked until it lands inside.
//!
//! Any position can be asked for at any time, so a session that was killed goes on in the same order from the position
//! alone. (Format-preserving permutation by cycle walking: Black & Rogaway 2002, section 3. The round function is an
//! integer hash, not a cipher: the order must be balanced, not secret.)

/// A permutation of `0..n`.
#[derive(Debug, Clone, Copy)]
pub struct Shuffle {
    n: u32,
    half_bits: u32,
    key: u64,
}

impl Shuffle {
    /// The permutation of `0..n` that `key` selects.
    pub fn new(n: u32, key: u64) -> Self {
        // Smallest even number of bits that covers n, at least 2: fewer than four walks on average.
        let bits = 32 - n.saturating_sub(1).leading_zeros();
        Self { n, half_bits: bits.max(2).div_ceil(2), key }
    }

    /// What stands at `position`.
    ///
    /// # Panics
    /// In debug builds if `position >= n`.
    pub fn at(&self, position: u32) -> u32 {
        debug_assert!(position < self.n);
        let mask = (1u32 << self.half_bits) - 1;
        let mut x = position;
        loop {
            let (mut left, mut right) = (x >> self.half_bits, x & mask);
            for round in 0..4u32 {
                (left, right) = (right, left ^ (mix(self.key, right, round) & mask));
            }
            x = left << self.half_bits | right;
            if x < self.n {
                return x;
            }
        }
    }
}

fn mix(key: u64, value: u32, round: u32) -> u32 {
    // splitmix64's finaliser (Steele, Lea, Flood 2014).
    let mut z = key ^ (u64::from(value) << 8 | u64::from(round)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    proptest! {
        #[test]
        fn every_index_comes_exactly_once(n in 1u32..700, key in any::<u64>()) {
            let shuffle = Shuffle::new(n, key);
            let mut seen = vec![false; n as usize];
            for i in 0..n {
                prop_assert!(!core::mem::replace(&mut seen[shuffle.at(i) as usize], true));
            }
        }
    }

    #[test]
    fn positions_are_balanced() {
        // Chi-square of "which index comes first" over 8,000 keys, 19 degrees of freedom; alpha = 0.001 is 43.8.
        let mut count = [0u32; 20];
        for key in 0..8000u64 {
            count[Shuffle::new(20, key.wrapping_mul(0x1234_5678_9abc_def1)).at(0) as usize] += 1;
        }
        let chi: f64 = count.iter().map(|&c| (f64::from(c) - 400.0).powi(2) / 400.0).sum();
        assert!(chi < 43.8, "chi-square {chi}");
    }
}
