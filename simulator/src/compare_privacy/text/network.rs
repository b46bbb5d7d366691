//! Gradients of a network on examples of a user, by the kernels that devices run.

use crate::data::Federated;
use crate::run::{Evaluator, RunError, Score};
use siskin::checkin::Loss;
use siskin::model::kernel::IGNORE;
use siskin::model::{Buffers, Draw, Graph, backward};
use siskin::optim::Gradients;
use siskin_server::round::GlobalModel;

/// A network all of whose parameters train. Values are in the order in which devices store them.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) graph: Graph,
    pub(super) start: Vec<f32>,
}

/// Memory of one thread.
#[derive(Debug)]
pub(super) struct Worker {
    activations: Vec<f32>,
    gradients: Vec<f32>,
    row: Vec<f32>,
    targets: Vec<u32>,
    own: Vec<u32>,
    /// The gradient that was taken last.
    pub(super) gradient: Vec<f32>,
}

impl Network {
    /// Fresh weights for the layers in `line` on `data`.
    pub(super) fn new(line: &str, data: &Federated, seed: u64) -> Result<Self, RunError> {
        let model = GlobalModel::new(&crate::config::architecture(line, &data.problem())?, seed)?;
        // Fully live: everything runs through the dense loops.
        let spec = model.spec(Some(0.5), 1).map_err(siskin_server::round::ModelError::from)?;
        let graph = Graph::new(&spec).map_err(siskin_server::round::ModelError::from)?;
        // Stored values are ordered by what trains; a model's parameters by layer.
        let mut start = vec![0.0; graph.stored];
        let mut rest = model.params();
        for tensor in &graph.tensors {
            let (own, behind) = rest.split_at(tensor.size());
            start[tensor.range()].copy_from_slice(own);
            rest = behind;
        }
        Ok(Self { graph, start })
    }

    /// Parameters.
    pub(super) fn params(&self) -> usize {
        self.graph.trained
    }

    /// Room for batches of at most `batch` examples.
    pub(super) fn worker(&self, batch: usize) -> Worker {
        let positions = self.graph.output.positions();
        Worker {
            activations: vec![0.0; self.graph.activation_features() * batch],
            gradients: vec![0.0; self.graph.gradient_features() * batch],
            row: vec![0.0; self.graph.input.features()],
            targets: vec![0; positions * batch],
            own: vec![IGNORE; positions],
            gradient: vec![0.0; self.graph.trained],
        }
    }

    /// The gradient of the mean loss over the targets of (device, example) pairs, left in the worker.
    pub(super) fn gradient(&self, worker: &mut Worker, values: &[f32], data: &Federated, examples: &[(u32, u32)]) {
        let batch = examples.len();
        let Worker { activations, gradients, row, targets, own, gradient } = worker;
        for (b, &(device, example)) in examples.iter().enumerate() {
            data.fill_targets(device as usize, example as usize, row, own);
            for (feature, value) in row.iter().enumerate() {
                activations[feature * batch + b] = *value;
            }
            for (position, target) in own.iter().enumerate() {
                targets[position * batch + b] = *target;
            }
        }
        gradient.fill(0.0);
        let positions = own.len();
        backward(
            &self.graph,
            Loss::SoftmaxCrossEntropy,
            Draw { seed: 0, step: 0 },
            (&[], &[]),
            &mut Gradients { values, gradients: gradient },
            Buffers { activations, gradients },
            &targets[..positions * batch],
            batch,
        );
    }

    /// Scores held-out examples by number.
    pub(super) fn score(&self, values: Vec<f32>, data: &Federated, examples: &[u32]) -> Score {
        let evaluator = Evaluator::of_values(&self.graph, values);
        evaluator.score(examples.len(), |i, row, targets| data.test.fill_targets(examples[i] as usize, row, targets))
    }
}

/// L2 norm in f64.
pub(super) fn norm(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}
