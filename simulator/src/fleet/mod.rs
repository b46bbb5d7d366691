//! A fleet of virtual devices: the same session as on a phone, the same bytes, in process.
//!
//! A device that is idle costs its examples, what it keeps of the last mask, which all share, its ledger where the policy
//! needs one, and nothing else: everything
//! about it follows from the seed and its number.

mod device;
mod kept;
mod ledgers;
mod time;

pub use device::{DeviceRun, Ended, Examples, Worker};
pub use kept::{KeptMasks, Written};
pub use ledgers::Ledgers;
pub use time::{Profile, TimeModel};

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

/// What randomness is for; no two purposes share a stream.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// Initial weights.
    Weights = 1,
    /// The cohort of a round.
    Selection = 2,
    /// Speed and network of a device.
    Profile = 3,
    /// When a device of a cohort checks in and whether it dies.
    Fate = 4,
    /// The session's own randomness.
    Session = 5,
    /// The server's noise.
    Noise = 6,
    /// Which devices are looked at.
    Sample = 7,
    /// Random masks.
    Mask = 8,
}

/// The stream of one purpose, for `a` (a round) and `b` (a device).
pub fn stream(seed: u64, purpose: Purpose, a: u64, b: u64) -> ChaCha12Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, a, b]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha12Rng::from_seed(key)
}
