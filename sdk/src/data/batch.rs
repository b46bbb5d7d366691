//! Which examples make up which step, and how they come into the activations.

use super::{ExampleStore, Shuffle, StoreError};
use crate::checkin::{Loss, Training};
use crate::model::Graph;
use crate::model::kernel::IGNORE;

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

/// What a plan asks of an example.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    loss: Loss,
    classes: u32,
    /// 0 if features are numbers.
    vocabulary: u32,
}

impl Rules {
    pub(crate) fn new(graph: &Graph, loss: Loss) -> Self {
        Self { loss, classes: graph.classes(), vocabulary: graph.vocabulary }
    }

    fn check(&self, index: u32, features: &[f32], targets: &[u32]) -> Result<(), StoreError> {
        // One pass that vectorises: a finite number minus itself is zero, NaN and infinities are not.
        if !features.iter().fold(true, |all, v| all & v.is_finite()) {
            let feature = features.iter().position(|v| !v.is_finite()).unwrap_or(0) as u32;
            return Err(StoreError::NotFinite { index, feature });
        }
        if self.vocabulary > 0 {
            let is_token = |v: &f32| *v >= 0.0 && *v < self.vocabulary as f32 && *v as u32 as f32 == *v;
            if let Some(feature) = features.iter().position(|v| !is_token(v)) {
                return Err(StoreError::Token { index, feature: feature as u32, vocabulary: self.vocabulary });
            }
        }
        let number = |bits: &u32| f32::from_bits(*bits);
        let bad = match self.loss {
            Loss::SoftmaxCrossEntropy => {
                let classes = self.classes;
                if let Some(&label) = targets.iter().find(|&&label| label >= classes && label != IGNORE) {
                    return Err(StoreError::Label { index, label, classes });
                }
                None
            }
            Loss::BinaryCrossEntropy => targets.iter().position(|t| !(0.0..=1.0).contains(&number(t))),
            Loss::MeanSquaredError => targets.iter().position(|t| !number(t).is_finite()),
        };
        match bad {
            None => Ok(()),
            Some(target) => Err(StoreError::Target { index, target: target as u32 }),
        }
    }
}

/// Room for one example on its way into a batch.
#[derive(Debug)]
pub(crate) struct Staging<'a> {
    pub(crate) row: &'a mut [f32],
    pub(crate) targets: &'a mut [u32],
}

/// Reads examples into `x[feature][batch]` and `targets[..][batch]`, one at a time through `staging`; checks every number.
pub(crate) fn load(
    store: &mut dyn ExampleStore,
    indices: impl ExactSizeIterator<Item = u32>,
    rules: &Rules,
    staging: Staging<'_>,
    x: &mut [f32],
    targets: &mut [u32],
) -> Result<(), StoreError> {
    let batch = indices.len();
    for (b, index) in indices.enumerate() {
        store.read_targets(index, staging.row, staging.targets)?;
        rules.check(index, staging.row, staging.targets)?;
        for (column, value) in x.chunks_exact_mut(batch).zip(staging.row.iter()) {
            column[b] = *value;
        }
        for (column, value) in targets.chunks_exact_mut(batch).zip(staging.targets.iter()) {
            column[b] = *value;
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
        Training { max_examples, ..Training::sgd(epochs, batch, 0.1) }
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

    fn try_load(rules: Rules, features: &[f32], labels: &[u32]) -> Result<(Vec<f32>, Vec<u32>), StoreError> {
        let (mut row, mut label) = ([0.0; 2], [0]);
        let (mut x, mut targets) = (vec![0.0; 4], vec![0; 2]);
        let staging = Staging { row: &mut row, targets: &mut label };
        let mut store = SliceStore::new(features, labels);
        load(&mut store, [0, 1].into_iter(), &rules, staging, &mut x, &mut targets)?;
        Ok((x, targets))
    }

    #[test]
    fn bad_examples_are_named() {
        let rules = Rules { loss: Loss::SoftmaxCrossEntropy, classes: 3, vocabulary: 0 };
        let numbers = [1.0, 2.0, 3.0, 4.0];
        let with = |features: &[f32], labels: &[u32]| try_load(rules, features, labels);
        assert_eq!(with(&[1.0, 2.0, 3.0, f32::NAN], &[0, 1]), Err(StoreError::NotFinite { index: 1, feature: 1 }));
        assert_eq!(with(&numbers, &[0, 3]), Err(StoreError::Label { index: 1, label: 3, classes: 3 }));
        assert_eq!(with(&[1.0; 6], &[0, 1]), Err(StoreError::Shape { expected: 2, got: 3 }));
        assert_eq!(with(&numbers, &[2, 1]), Ok((vec![1.0, 3.0, 2.0, 4.0], vec![2, 1])));
        assert_eq!(with(&numbers, &[2, IGNORE]), Ok((vec![1.0, 3.0, 2.0, 4.0], vec![2, IGNORE])));
        let tokens = Rules { vocabulary: 4, ..rules };
        assert_eq!(try_load(tokens, &numbers, &[0, 0]), Err(StoreError::Token { index: 1, feature: 1, vocabulary: 4 }));
        let fraction = StoreError::Token { index: 0, feature: 1, vocabulary: 4 };
        assert_eq!(try_load(tokens, &[1.0, 0.5, 3.0, 1.0], &[0, 0]), Err(fraction));
        let regression = Rules { loss: Loss::MeanSquaredError, ..rules };
        assert!(try_load(regression, &numbers, &[(-2.5f32).to_bits(), 9f32.to_bits()]).is_ok());
        let nan = StoreError::Target { index: 1, target: 0 };
        assert_eq!(try_load(regression, &numbers, &[0, f32::NAN.to_bits()]), Err(nan));
        let binary = Rules { loss: Loss::BinaryCrossEntropy, ..rules };
        assert!(try_load(binary, &numbers, &[0.25f32.to_bits(), 1f32.to_bits()]).is_ok());
        let above = StoreError::Target { index: 0, target: 0 };
        assert_eq!(try_load(binary, &numbers, &[1.5f32.to_bits(), 0]), Err(above));
    }
}
