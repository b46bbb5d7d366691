//! The global model on held-out examples: the same forward pass as on a device.

use crate::data::Federated;
use rayon::prelude::*;
use siskin::model::kernel::IGNORE;
use siskin::model::{Graph, Parameters, forward};
use siskin_server::round::{GlobalModel, Offer};

const BATCH: usize = 32;

/// A model ready to evaluate.
#[derive(Debug)]
pub struct Evaluator<'a> {
    graph: &'a Graph,
    patterns: Parameters<'a>,
    values: Vec<f32>,
}

/// Memory of one thread.
struct Room {
    activations: Vec<f32>,
    /// One example.
    row: Vec<f32>,
    /// Those of one example, then `[position][batch]`.
    targets: Vec<u32>,
}

/// Sums over examples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    /// Examples.
    pub examples: u64,
    /// Their labels: one an example, or one for each position that has one.
    pub targets: u64,
    /// Labels at which the largest logit is.
    pub right: u64,
    /// Sum of the losses, nats.
    pub loss: f64,
}

impl Score {
    /// Fraction of the labels that are right; `None` of nothing.
    pub fn accuracy(&self) -> Option<f64> {
        (self.targets > 0).then(|| self.right as f64 / self.targets as f64)
    }

    /// Mean loss of a label, nats; `None` of nothing.
    pub fn mean_loss(&self) -> Option<f64> {
        (self.targets > 0).then(|| self.loss / self.targets as f64)
    }
}

impl<'a> Evaluator<'a> {
    /// Of the model that `offer` was made of.
    pub fn new(offer: &'a Offer, model: &GlobalModel) -> Self {
        Self { graph: &offer.graph, patterns: offer.patterns(), values: offer.values(model) }
    }

    /// Of a network without masks and its stored values.
    pub(crate) fn of_values(graph: &'a Graph, values: Vec<f32>) -> Self {
        Self { graph, patterns: Parameters { row_ptrs: &[], columns: &[], values: &[] }, values }
    }

    /// Scores `count` examples, of each of which `fill` writes features and targets (one a position of the output, [`IGNORE`]
    /// for none); sums in a fixed order, whatever the number of threads.
    pub fn score(&self, count: usize, fill: impl Fn(usize, &mut [f32], &mut [u32]) + Sync) -> Score {
        let positions = self.graph.output.positions();
        let room = || Room {
            activations: vec![0.0; self.graph.activation_features() * BATCH],
            row: vec![0.0; self.graph.input.features()],
            targets: vec![0; positions * (BATCH + 1)],
        };
        let batches: Vec<Score> = (0..count.div_ceil(BATCH))
            .into_par_iter()
            .map_init(room, |room, b| self.batch(b * BATCH..((b + 1) * BATCH).min(count), &fill, room))
            .collect();
        batches.iter().fold(Score::default(), |sum, s| Score {
            examples: sum.examples + s.examples,
            targets: sum.targets + s.targets,
            right: sum.right + s.right,
            loss: sum.loss + s.loss,
        })
    }

    fn batch(
        &self,
        range: std::ops::Range<usize>,
        fill: &(impl Fn(usize, &mut [f32], &mut [u32]) + Sync),
        Room { activations, row, targets }: &mut Room,
    ) -> Score {
        let batch = range.len();
        let lanes = batch * self.graph.output.positions();
        let (own, targets) = targets.split_at_mut(self.graph.output.positions());
        for (b, example) in range.enumerate() {
            fill(example, row, own);
            for (feature, value) in row.iter().enumerate() {
                activations[feature * batch + b] = *value;
            }
            for (position, target) in own.iter().enumerate() {
                targets[position * batch + b] = *target;
            }
        }
        let parameters = Parameters { values: &self.values, ..self.patterns };
        let logits = forward(self.graph, &parameters, activations, batch);
        let mut score = Score { examples: batch as u64, ..Score::default() };
        for (lane, label) in targets[..lanes].iter().enumerate().filter(|(_, label)| **label != IGNORE) {
            let column = || logits[lane..].iter().step_by(lanes);
            let max = column().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
            let best = column().position(|&v| v == max).unwrap_or(usize::MAX);
            score.targets += 1;
            score.right += u64::from(best == *label as usize);
            let sum: f64 = column().map(|&v| libm::exp(f64::from(v - max))).sum();
            let own = column().nth(*label as usize).map_or(f64::NAN, |&v| f64::from(v - max));
            score.loss += libm::log(sum) - own;
        }
        score
    }

    /// The same model with the smaller half of one layer's live weights zero; `None` for a layer without weights.
    pub fn halved(&self, layer: usize) -> Option<Self> {
        let mut values = self.values.clone();
        let mut live = 0;
        for tensor in self.graph.tensors_of(self.graph.nodes.get(layer)?).iter().filter(|t| t.role.prunes()) {
            let mut magnitudes: Vec<f32> =
                values[tensor.range()].iter().map(|v| v.abs()).filter(|v| *v > 0.0).collect();
            live += magnitudes.len();
            magnitudes.sort_by(f32::total_cmp);
            let median = magnitudes.get(magnitudes.len() / 2).copied().unwrap_or(0.0);
            values[tensor.range()].iter_mut().filter(|v| v.abs() < median).for_each(|v| *v = 0.0);
        }
        (live > 0).then_some(Self { values, ..*self })
    }

    /// Scores the held-out examples of a data set.
    pub fn test(&self, data: &Federated) -> Score {
        self.score(data.test.len(), |i, features, targets| data.test.fill_targets(i, features, targets))
    }
}

#[cfg(test)]
mod tests;
