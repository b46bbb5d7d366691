//! An imported network in memory, as a session would hold it.

use siskin::checkin::{ClientOptimizer, ModelSpec, Path, Storage, Training};
use siskin::model::{Buffers, Draw, Graph, Parameters, backward, forward, train_step};
use siskin::optim::Gradients;
use siskin_onnx::Imported;

pub(crate) struct Net<'a> {
    pub(crate) imported: &'a Imported,
    graph: Graph,
    row_ptrs: Vec<u32>,
    columns: Vec<u16>,
    /// Stored values, as each tensor's range says.
    pub(crate) values: Vec<f32>,
    velocity: Vec<f32>,
    /// For each tensor, which entries are stored.
    kept: Vec<Vec<bool>>,
}

const DRAW: Draw = Draw { seed: 1, step: 0 };

impl<'a> Net<'a> {
    /// With everything live.
    pub(crate) fn new(imported: &'a Imported) -> Self {
        let masks: Vec<_> = imported.params.iter().map(|p| vec![true; p.len()]).collect();
        Self::pruned(imported, &masks, Path::Dense)
    }

    /// With a mask for each tensor.
    pub(crate) fn pruned(imported: &'a Imported, masks: &[Vec<bool>], path: Path) -> Self {
        let prunable = imported.sources.iter().zip(masks).filter(|(s, _)| s.role.prunes());
        let mut model: ModelSpec = imported.model.clone();
        let storages = model.layers.iter_mut().flat_map(|l| l.spec.storages_mut());
        for (storage, (_, mask)) in storages.zip(prunable) {
            *storage = Storage { live: mask.iter().filter(|l| **l).count() as u32, path };
        }
        let graph = Graph::new(&model).unwrap();
        let (mut row_ptrs, mut columns, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        let mut values = vec![f32::NAN; graph.stored];
        assert_eq!(graph.tensors.len(), imported.params.len());
        for ((tensor, mask), params) in graph.tensors.iter().zip(masks).zip(&imported.params) {
            assert_eq!((tensor.size(), tensor.size()), (mask.len(), params.len()));
            if tensor.has_pattern() {
                let first = columns.len();
                row_ptrs.push(0);
                for row in mask.chunks(tensor.cols as usize) {
                    columns.extend((0..row.len()).filter(|c| row[*c]).map(|c| c as u16));
                    row_ptrs.push((columns.len() - first) as u32);
                }
            }
            let keep: Vec<bool> = mask.iter().map(|live| *live || tensor.path == Path::Dense).collect();
            let masked = params.iter().zip(mask).map(|(v, live)| if *live { *v } else { 0.0 });
            let stored = masked.zip(&keep).filter(|(_, keep)| **keep).map(|(v, _)| v);
            values[tensor.range()].iter_mut().zip(stored).for_each(|(to, v)| *to = v);
            kept.push(keep);
        }
        let velocity = vec![0.0; graph.trained];
        Self { imported, graph, row_ptrs, columns, values, velocity, kept }
    }

    fn activations(&self, examples: &[f32], batch: usize) -> Vec<f32> {
        let features = examples.len() / batch;
        assert_eq!(features, self.graph.input.features());
        let mut out = vec![f32::NAN; self.graph.activation_features() * batch];
        for (b, example) in examples.chunks(features).enumerate() {
            for (f, value) in example.iter().enumerate() {
                out[f * batch + b] = *value;
            }
        }
        out
    }

    /// Outputs, example after example, each in the file's order.
    pub(crate) fn outputs(&self, examples: &[f32], batch: usize) -> Vec<f32> {
        let parameters = Parameters { row_ptrs: &self.row_ptrs, columns: &self.columns, values: &self.values };
        let mut activations = self.activations(examples, batch);
        let ours = forward(&self.graph, &parameters, &mut activations, batch);
        let features = ours.len() / batch;
        let mut out = Vec::new();
        for b in 0..batch {
            let one: Vec<f32> = (0..features).map(|f| ours[f * batch + b]).collect();
            out.extend(self.imported.output.in_onnx_order(&one));
        }
        out
    }

    /// Classes of each example's positions, moved to where the loss wants them.
    fn targets(labels: &[u32], batch: usize) -> Vec<u32> {
        let positions = labels.len() / batch;
        (0..labels.len()).map(|i| labels[i % batch * positions + i / batch]).collect()
    }

    /// Loss, and the gradient of each tensor as a dense one.
    pub(crate) fn gradient(&self, examples: &[f32], labels: &[u32], batch: usize) -> (f32, Vec<Vec<f32>>) {
        let mut gradients = vec![f32::NAN; self.graph.trained];
        let mut activations = self.activations(examples, batch);
        let mut work = vec![f32::NAN; self.graph.gradient_features() * batch];
        let loss = backward(
            &self.graph,
            self.imported.model.loss,
            DRAW,
            (&self.row_ptrs, &self.columns),
            &mut Gradients { values: &self.values, gradients: &mut gradients },
            Buffers { activations: &mut activations, gradients: &mut work },
            &Self::targets(labels, batch),
            batch,
        );
        gradients.resize(self.graph.stored, 0.0);
        (loss, self.dense(&gradients))
    }

    /// One step on a batch; the loss before it.
    pub(crate) fn step(&mut self, rate: f32, momentum: f32, examples: &[f32], labels: &[u32], batch: usize) -> f32 {
        let optimizer = ClientOptimizer::Sgd { momentum, nesterov: false };
        let training = Training { optimizer, ..Training::sgd(1, 1, rate) };
        let global = self.values[..self.graph.trained].to_vec();
        let mut activations = self.activations(examples, batch);
        let mut work = vec![f32::NAN; self.graph.gradient_features() * batch];
        let moments = if momentum > 0.0 { &mut self.velocity[..] } else { &mut [] };
        train_step(
            &self.graph,
            (self.imported.model.loss, &training),
            (DRAW, 1),
            (&self.row_ptrs, &self.columns),
            (&mut self.values, &global, moments),
            Buffers { activations: &mut activations, gradients: &mut work },
            &Self::targets(labels, batch),
            batch,
        )
    }

    /// Where the values of tensor `t` lie.
    pub(crate) fn range(&self, t: usize) -> std::ops::Range<usize> {
        self.graph.tensors[t].range()
    }

    /// The parameters as dense tensors.
    pub(crate) fn params(&self) -> Vec<Vec<f32>> {
        self.dense(&self.values)
    }

    fn dense(&self, values: &[f32]) -> Vec<Vec<f32>> {
        let tensors = self.graph.tensors.iter().zip(&self.kept);
        tensors
            .map(|(tensor, keep)| {
                let mut stored = values[tensor.range()].iter();
                keep.iter().map(|k| if *k { *stored.next().unwrap() } else { 0.0 }).collect()
            })
            .collect()
    }
}
