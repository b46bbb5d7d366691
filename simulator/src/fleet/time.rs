//! Virtual time: how long a device takes, and what else chance decides of it in a round. All of it comes from the seed; no real
//! clock is read.

use super::{Purpose, stream};
use rand_core::Rng;

/// What a device can do, fixed for a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// Multiply-adds of training a second.
    pub speed: f64,
    /// Bytes a second to the device.
    pub download: f64,
    /// Bytes a second from it.
    pub upload: f64,
}

/// Durations from profiles.
#[derive(Debug, Clone, Copy)]
pub struct TimeModel {
    seed: u64,
    dropout: f64,
    /// Probability that an example is in a round of its device, and how many examples of a device count at all.
    examples: Option<(f64, usize)>,
}

/// What happens to a device in one round, whatever it computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fate {
    /// When it checks in, ms after the round opened.
    pub(crate) checkin_ms: f64,
    /// If it dies: after which part of its work, `[0, 1)`.
    pub(crate) dies_after: Option<f64>,
}

impl TimeModel {
    /// `dropout` is the probability that a device dies on the way.
    pub fn new(seed: u64, dropout: f64) -> Self {
        Self { seed, dropout, examples: None }
    }

    /// Of a device's first `most` examples, each is in a round of the device by an independent coin of probability `rate`.
    pub fn sampling_examples(self, rate: f64, most: usize) -> Self {
        Self { examples: Some((rate, most)), ..self }
    }

    /// The examples, of `count`, that are in a round; none if all are.
    pub(crate) fn sampled(&self, round: u32, device: usize, count: usize) -> Option<Vec<u32>> {
        let (rate, most) = self.examples?;
        let mut rng = stream(self.seed, Purpose::Examples, u64::from(round), device as u64);
        Some((0..count.min(most) as u32).filter(|_| uniform(&mut rng) < rate).collect())
    }

    /// The device's profile: log-normal around 200 million multiply-adds, 1 MB down and 250 kB up a second, with a tenth of
    /// the devices slower by about a factor of 3 or more.
    pub fn profile(&self, device: usize) -> Profile {
        let mut rng = stream(self.seed, Purpose::Profile, 0, device as u64);
        let mut around = |median: f64, spread: f64| median * libm::exp(spread * normal(&mut rng));
        Profile { speed: around(2e8, 0.9), download: around(1e6, 0.8), upload: around(2.5e5, 0.8) }
    }

    pub(crate) fn fate(&self, round: u32, device: usize) -> Fate {
        let mut rng = stream(self.seed, Purpose::Fate, u64::from(round), device as u64);
        let checkin_ms = 60_000.0 * uniform(&mut rng);
        let dies = uniform(&mut rng) < self.dropout;
        let after = uniform(&mut rng);
        Fate { checkin_ms, dies_after: dies.then_some(after) }
    }

    /// When the report of a device is in, ms after the round opened.
    pub(crate) fn arrival_ms(&self, round: u32, device: usize, down: u64, multiply_adds: f64, up: u64) -> u64 {
        let profile = self.profile(device);
        let seconds = down as f64 / profile.download + multiply_adds / profile.speed + up as f64 / profile.upload;
        (self.fate(round, device).checkin_ms + 1e3 * seconds) as u64
    }
}

/// In `[0, 1)`.
pub(crate) fn uniform(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
}

fn normal(rng: &mut impl Rng) -> f64 {
    let u = 1.0 - uniform(rng);
    libm::sqrt(-2.0 * libm::log(u)) * libm::cos(core::f64::consts::TAU * uniform(rng))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_follow_their_coins() {
        let time = TimeModel::new(3, 0.0);
        assert_eq!(time.sampled(0, 0, 10), None);
        let time = time.sampling_examples(0.25, 8);
        let mut counts = [0_u32; 8];
        for device in 0..4000 {
            let sampled = time.sampled(1, device, 10).unwrap();
            assert!(sampled.is_sorted());
            sampled.iter().for_each(|i| counts[*i as usize] += 1);
        }
        // 1,000 each, with a standard deviation of 27: five of them.
        assert!(counts.iter().all(|n| n.abs_diff(1000) < 137), "{counts:?}");
        assert_ne!(time.sampled(1, 7, 10), time.sampled(2, 7, 10));
    }
}
