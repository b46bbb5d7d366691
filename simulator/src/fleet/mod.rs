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
use rand_core::{Rng, SeedableRng, TryCryptoRng, TryRng};
use std::convert::Infallible;

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
    /// The public signs of the distributed profile's rotation.
    Rotation = 9,
    /// Which examples are in a round of their device.
    Examples = 10,
    /// Examples of users that are drawn.
    Synthetic = 20,
}

/// Randomness of a simulation: ChaCha12 with a key that anybody can write down, so that a run can be repeated and its noise
/// taken off again. It stands where a device has the generator of its operating system, and exists in the simulator alone: the
/// sdk offers no generator that is seeded with a number, so nothing built for a device can name one.
#[derive(Debug, Clone)]
pub struct SimulatedEntropy(ChaCha12Rng);

impl TryRng for SimulatedEntropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(out);
        Ok(())
    }
}

impl TryCryptoRng for SimulatedEntropy {}

/// The stream of one purpose, for `a` (a round) and `b` (a device): of each device and round its own.
pub fn stream(seed: u64, purpose: Purpose, a: u64, b: u64) -> SimulatedEntropy {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, a, b]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    SimulatedEntropy(ChaCha12Rng::from_seed(key))
}
