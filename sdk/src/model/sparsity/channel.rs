//! Channel sparsity: all entries with the same index on one axis live or die together, scored by their sum (JaxPruner
//! `Channel`).

use super::sparsity_type::Along;
use super::top_k::{highest, rising};
use super::{BitmapMut, Scores, SparsityError, num_ones};

/// The channels of a tensor.
pub(super) struct Channels(Along);

impl Channels {
    pub(super) fn new(axis: i32, shape: &[usize]) -> Result<Self, SparsityError> {
        Along::new(axis, shape).map(Self)
    }

    /// An index and a sum per channel.
    pub(super) fn scratch_len(&self) -> usize {
        2usize.saturating_mul(self.0.length)
    }

    /// Calls `each` with the flat indices of a channel, rising.
    fn each_entry(&self, channel: usize, mut each: impl FnMut(usize)) {
        let Along { outer, length, inner } = self.0;
        for from in (0..outer).map(|o| (o * length + channel) * inner) {
            (from..from + inner).for_each(&mut each);
        }
    }

    pub(super) fn mask<F: Fn(usize) -> f32>(
        &self,
        scores: &Scores<F>,
        sparsity: f32,
        scratch: &mut [u32],
        mask: &mut BitmapMut<'_>,
    ) -> Result<usize, SparsityError> {
        let count = self.0.length;
        let (indices, sums) = scratch.split_at_mut(count);
        for (channel, slot) in sums.iter_mut().enumerate() {
            let mut sum = 0.0f32;
            self.each_entry(channel, |i| sum += scores.of(i));
            *slot = sum.to_bits();
        }
        let k = num_ones(count, sparsity)?;
        let indices = rising(indices, count)?;
        mask.fill(false);
        let mut ones = 0;
        for channel in highest(indices, k, |channel| f32::from_bits(sums[channel])) {
            self.each_entry(channel, |i| {
                mask.set(i, true);
                ones += 1;
            });
        }
        Ok(ones)
    }
}
