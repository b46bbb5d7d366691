//! The global model on held-out examples: the same forward pass as on a device.

use crate::data::Federated;
use rayon::prelude::*;
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

/// Sums over examples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    /// Examples.
    pub examples: u64,
    /// Those whose largest logit is at the label.
    pub right: u64,
    /// Sum of the losses, nats.
    pub loss: f64,
}

impl Score {
    /// Fraction right; `None` of nothing.
    pub fn accuracy(&self) -> Option<f64> {
        (self.examples > 0).then(|| self.right as f64 / self.examples as f64)
    }

    /// Mean loss, nats; `None` of nothing.
    pub fn mean_loss(&self) -> Option<f64> {
        (self.examples > 0).then(|| self.loss / self.examples as f64)
    }
}

impl<'a> Evaluator<'a> {
    /// Of the model that `offer` was made of.
    pub fn new(offer: &'a Offer, model: &GlobalModel) -> Self {
        Self { graph: &offer.graph, patterns: offer.patterns(), values: offer.values(model) }
    }

    /// Scores `count` examples that `fill` gives; sums in a fixed order, whatever the number of threads.
    pub fn score(&self, count: usize, fill: impl Fn(usize, &mut [f32]) -> u32 + Sync) -> Score {
        let batches: Vec<Score> = (0..count.div_ceil(BATCH))
            .into_par_iter()
            .map_init(
                || (vec![0.0; self.graph.activation_features() * BATCH], vec![0.0; self.graph.input.features()]),
                |(activations, row), b| self.batch(b * BATCH..((b + 1) * BATCH).min(count), &fill, activations, row),
            )
            .collect();
        batches.iter().fold(Score::default(), |sum, s| Score {
            examples: sum.examples + s.examples,
            right: sum.right + s.right,
            loss: sum.loss + s.loss,
        })
    }

    fn batch(
        &self,
        range: std::ops::Range<usize>,
        fill: &(impl Fn(usize, &mut [f32]) -> u32 + Sync),
        activations: &mut [f32],
        row: &mut [f32],
    ) -> Score {
        let batch = range.len();
        let mut labels = [0; BATCH];
        for (b, example) in range.enumerate() {
            labels[b] = fill(example, row);
            for (feature, value) in row.iter().enumerate() {
                activations[feature * batch + b] = *value;
            }
        }
        let parameters = Parameters { values: &self.values, ..self.patterns };
        let logits = forward(self.graph, &parameters, activations, batch);
        let mut score = Score { examples: batch as u64, ..Score::default() };
        for (b, label) in labels[..batch].iter().enumerate() {
            let column = || logits[b..].iter().step_by(batch);
            let max = column().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
            let best = column().position(|&v| v == max).unwrap_or(usize::MAX);
            score.right += u64::from(best == *label as usize);
            let sum: f64 = column().map(|&v| libm::exp(f64::from(v - max))).sum();
            let own = column().nth(*label as usize).map_or(f64::NAN, |&v| f64::from(v - max));
            score.loss += libm::log(sum) - own;
        }
        score
    }

    /// Scores the held-out examples of a data set.
    pub fn test(&self, data: &Federated) -> Score {
        self.score(data.test.len(), |i, features| data.test.fill(i, features))
    }
}
