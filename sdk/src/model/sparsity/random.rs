//! Random pruning: the baseline that every score must beat (JaxPruner's `RandomPruning`, Lee et al. 2023,
//! arXiv 2304.14082).
//!
//! The numbers come from a counter, not from a state: any of them is found from its place alone, in any order, on any
//! target. They are SplitMix64's (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"), not those
//! of JAX, so that only the number of ones agrees with upstream's masks. They hide nothing and must not serve privacy.

use super::{Bitmap, Scores, SparsityError};

/// Which random numbers: those of one tensor at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Of the whole run.
    pub seed: u64,
    /// Index of the tensor.
    pub tensor: u32,
    /// Of the schedule.
    pub step: u32,
}

/// 2^64 over the golden ratio: SplitMix64's increment.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Draw {
    /// Number `i` of this draw: a multiple of 2^-24 in `(0, 1]`.
    pub fn uniform(self, i: usize) -> f32 {
        let place = u64::from(self.tensor) << 32 | u64::from(self.step);
        let key = mix(self.seed.wrapping_add(mix(place.wrapping_add(GAMMA))));
        let bits = mix(key.wrapping_add((i as u64).wrapping_add(1).wrapping_mul(GAMMA)));
        ((bits >> 40) + 1) as f32 * (1.0 / 16_777_216.0)
    }
}

/// SplitMix64's finaliser.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A random number for each of `len` params; 0 for those that `live` has pruned, so that a param which died never comes
/// back before one that lives.
///
/// # Errors
/// [`SparsityError::MaskLength`] if `live` is there and has another length.
pub fn random_scores(
    len: usize,
    draw: Draw,
    live: Option<Bitmap<'_>>,
) -> Result<Scores<impl Fn(usize) -> f32>, SparsityError> {
    match live {
        Some(live) if live.len() != len => Err(SparsityError::MaskLength { expected: len, got: live.len() }),
        _ => Ok(Scores::new(len, move |i| match live {
            Some(live) if live.get(i) != Some(true) => 0.0,
            _ => draw.uniform(i),
        })),
    }
}
