//! Whose text is public, and whose is to be protected.

use crate::data::Federated;
use crate::fleet::{Purpose, stream};
use rand_core::Rng;
use siskin::data::Shuffle;
use std::collections::BTreeSet;

/// Devices in two parts, with the held-out examples of each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Users {
    /// Devices whose text anybody may use: for pretraining, clip norms and learning rates.
    pub(super) public: Vec<u32>,
    /// Devices that are protected.
    pub(super) private: Vec<u32>,
    /// Held-out examples of the public ones.
    pub(super) public_test: Vec<u32>,
    /// Held-out examples of the protected ones.
    pub(super) private_test: Vec<u32>,
}

impl Users {
    /// Parts them by a seeded permutation; at most `held_out` examples of each part are scored, drawn once. `None` where a part
    /// would have no user or nothing held out.
    pub(super) fn part(data: &Federated, public: f64, held_out: u32, seed: u64) -> Option<Self> {
        let count = data.devices() as u32;
        let mut coins = stream(seed, Purpose::Sample, 0, 0);
        let order = Shuffle::new(count, coins.next_u64());
        let first = (f64::from(count) * public).ceil() as u32;
        let mut devices: Vec<u32> = (0..count).map(|i| order.at(i)).collect();
        let mut private = devices.split_off(first.min(count) as usize);
        devices.sort_unstable();
        private.sort_unstable();
        let mut test = |of: &[u32]| {
            let users: BTreeSet<i64> = of.iter().map(|device| data.user(*device as usize)).collect();
            let own = data.test.users().iter().filter(|rows| users.contains(&rows.user));
            let all: Vec<u32> = own.flat_map(|rows| rows.first..rows.first + rows.train).collect();
            let order = Shuffle::new(all.len() as u32, coins.next_u64());
            let taken = held_out.min(all.len() as u32);
            let mut some: Vec<u32> = (0..taken).map(|i| all[order.at(i) as usize]).collect();
            some.sort_unstable();
            some
        };
        let (public_test, private_test) = (test(&devices), test(&private));
        let users = Self { public: devices, private, public_test, private_test };
        let none = users.public.is_empty() || users.private.is_empty();
        (!none && !users.public_test.is_empty() && !users.private_test.is_empty()).then_some(users)
    }

    /// Median number of examples of the protected users, at least 1.
    pub(super) fn median_examples(&self, data: &Federated) -> u32 {
        let mut counts: Vec<u32> = self.private.iter().map(|d| data.examples(*d as usize) as u32).collect();
        counts.sort_unstable();
        counts.get(counts.len() / 2).copied().unwrap_or(1).max(1)
    }
}

/// At most `group` of a device's examples, drawn with `key`.
pub(super) fn some(data: &Federated, device: u32, group: u32, key: u64, into: &mut Vec<(u32, u32)>) {
    let count = data.examples(device as usize) as u32;
    let order = Shuffle::new(count, key);
    into.extend((0..group.min(count)).map(|i| (device, order.at(i))));
}
