//! Which examples make up which step, and how they come into the activations.

use super::{ExampleStore, Shuffle, StoreError};
use crate::checkin::Training;

/// The steps of one local training, any of which can be asked for at any time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batches {
    subset: Shuffle,
    examples: u32,
    batch: u32,
    epochs: u32,
    key: u64,
}

impl Batches {
    /// `available` examples on the device; at most `max_examples` of them are used, drawn once.
    pub(crate) fn new(available: u32, training: &Training, key: u64) -> Self {
        Self {
            subset: Shuffle::new(available, key),
            examples: available.min(training.max_examples),
            batch: u32::from(training.batch),
            epochs: u32::from(training.epochs),
            key,
        }
    }

    /// Examples that are used in each epoch.
    pub(crate) fn examples(&self) -> u32 {
        self.examples
    }

    fn per_epoch(&self) -> u32 {
        self.examples.div_ceil(self.batch)
    }

    /// Steps in all.
    pub(crate) fn steps(&self) -> u32 {
        self.epochs.saturating_mul(self.per_epoch())
    }

    /// The indices of one step, in order.
    pub(crate) fn indices(&self, step: u32) -> impl ExactSizeIterator<Item = u32> + '_ {
        let (epoch, within) = (step / self.per_epoch(), step % self.per_epoch());
        let first = within * self.batch;
        let last = first.saturating_add(self.batch).min(self.examples);
        let key = self.key.rotate_left(17) ^ u64::from(epoch + 1).wrapping_mul(0xd6e8_feb8_6659_fd93);
        let order = Shuffle::new(self.examples, key);
        (first..last).map(move |i| self.subset.at(order.at(i)))
    }
}

/// Reads examples into `x[feature][batch]`, one at a time through `row`; checks every number.
pub(crate) fn load(
    store: &mut dyn ExampleStore,
    indices: impl ExactSizeIterator<Item = u32>,
    classes: u32,
    row: &mut [f32],
    x: &mut [f32],
    labels: &mut [u32],
) -> Result<(), StoreError> {
    let batch = indices.len();
    for (b, index) in indices.enumerate() {
        let label = store.read(index, row)?;
        if label >= classes {
            return Err(StoreError::Label { index, label, classes });
        }
        labels[b] = label;
        // One pass that vectorises: a finite number minus itself is zero, NaN and infinities are not.
        let mut finite = true;
        for (column, value) in x.chunks_exact_mut(batch).zip(row.iter()) {
            column[b] = *value;
            finite &= value.is_finite();
        }
        if !finite {
            let feature = row.iter().position(|v| !v.is_finite()).unwrap_or(0) as u32;
            return Err(StoreError::NotFinite { index, feature });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::SliceStore;
    use std::vec;
    use std::vec::Vec;

    fn training(epochs: u16, batch: u16, max_examples: u32) -> Training {
        Training { epochs, batch, max_examples, learning_rate: 0.1, momentum: 0.0, proximal: 0.0 }
    }

    #[test]
    fn each_epoch_uses_the_same_examples_in_another_order() {
        let batches = Batches::new(50, &training(3, 8, 20), 99);
        assert_eq!((batches.examples(), batches.steps()), (20, 9));
        let epoch = |e: u32| -> Vec<u32> { (e * 3..e * 3 + 3).flat_map(|s| batches.indices(s)).collect() };
        let (a, b) = (epoch(0), epoch(1));
        assert_ne!(a, b);
        let sorted = |mut v: Vec<u32>| {
            v.sort_unstable();
            v
        };
        assert_eq!(sorted(a.clone()), sorted(b));
        let mut distinct = sorted(a);
        distinct.dedup();
        assert_eq!(distinct.len(), 20);
        assert_eq!(batches.indices(2).len(), 4, "the last step of an epoch has what is left");
    }

    #[test]
    fn bad_examples_are_named() {
        let mut row = [0.0; 2];
        let (mut x, mut labels) = (vec![0.0; 4], [0; 2]);
        let mut try_with = |features: &[f32], label: &[u32]| {
            load(&mut SliceStore::new(features, label), [0, 1].into_iter(), 3, &mut row, &mut x, &mut labels)
        };
        assert_eq!(try_with(&[1.0, 2.0, 3.0, f32::NAN], &[0, 1]), Err(StoreError::NotFinite { index: 1, feature: 1 }));
        assert_eq!(try_with(&[1.0, 2.0, 3.0, 4.0], &[0, 3]), Err(StoreError::Label { index: 1, label: 3, classes: 3 }));
        assert_eq!(try_with(&[1.0; 6], &[0, 1]), Err(StoreError::Shape { expected: 2, got: 3 }));
        assert_eq!(try_with(&[1.0, 2.0, 3.0, 4.0], &[2, 1]), Ok(()));
        assert_eq!((x, labels), (vec![1.0, 3.0, 2.0, 4.0], [2, 1]));
    }
}
