//! Against PyTorch: logits, loss, gradients and three steps of momentum on recorded models, dense, sparse and masked.
//! Within 1e-4 of a tensor's largest entry, as the recording states.

use crate::problem::{chain, conv, dense, momentum, plan_of};
use safetensors::SafeTensors;
use siskin::arena::MemoryPlan;
use siskin::checkin::{LayerSpec, Loss, ModelSpec, Path, Storage, Training, Window};
use siskin::model::{Buffers, Draw, Graph, Parameters, forward, train_step};
use std::path::PathBuf;

const TOLERANCE: f32 = 1e-4;

fn recorded(name: &str) -> Option<Vec<u8>> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let root = std::env::var_os("SISKIN_SHARED").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = root.join("golden/models").join(name);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("skipped: {} not found", path.display());
    }
    bytes
}

struct Recording<'a>(SafeTensors<'a>);

impl Recording<'_> {
    fn floats(&self, key: &str) -> Vec<f32> {
        let tensor = self.0.tensor(key).unwrap();
        assert_eq!(tensor.dtype(), safetensors::Dtype::F32, "{key}");
        tensor.data().chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
    }

    fn labels(&self) -> Vec<u32> {
        let tensor = self.0.tensor("labels").unwrap();
        tensor.data().chunks_exact(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect()
    }

    /// True where a weight lives; a bias always does.
    fn mask(&self, param: &str, size: usize) -> Vec<bool> {
        match self.0.tensor(&format!("mask/{param}")) {
            Ok(tensor) => tensor.data().iter().map(|b| *b != 0).collect(),
            Err(_) => vec![true; size],
        }
    }
}

/// A network in memory as a session would hold it.
struct Net {
    graph: Graph,
    memory: MemoryPlan,
    row_ptrs: Vec<u32>,
    columns: Vec<u16>,
    local: Vec<f32>,
    /// Per tensor, which entries are stored.
    stored: Vec<Vec<bool>>,
}

impl Net {
    fn new(spec: &ModelSpec, masks: &[Vec<bool>], path: Path, params: &[Vec<f32>], batch: u16) -> Self {
        let mut spec = spec.clone();
        let weights = spec.layers.iter_mut().flat_map(|l| l.spec.storages_mut());
        for (storage, mask) in weights.zip(masks.iter().step_by(2)) {
            *storage = Storage { live: mask.iter().filter(|l| **l).count() as u32, path };
        }
        let graph = Graph::new(&spec).unwrap();
        let mut plan = plan_of(spec);
        plan.training.batch = batch;
        let memory = MemoryPlan::new(&plan, &graph, 1024);
        let (mut row_ptrs, mut columns, mut local, mut stored) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for ((tensor, mask), values) in graph.tensors.iter().zip(masks).zip(params) {
            assert_eq!(mask.len(), tensor.size());
            if tensor.has_pattern() {
                let first = columns.len();
                row_ptrs.push(0);
                for row in mask.chunks(tensor.cols as usize) {
                    columns.extend((0..row.len()).filter(|c| row[*c]).map(|c| c as u16));
                    row_ptrs.push((columns.len() - first) as u32);
                }
            }
            let keep: Vec<bool> = mask.iter().map(|live| *live || tensor.path == Path::Dense).collect();
            let masked = values.iter().zip(mask).map(|(v, live)| if *live { *v } else { 0.0 });
            local.extend(masked.zip(&keep).filter(|(_, keep)| **keep).map(|(v, _)| v));
            stored.push(keep);
        }
        assert_eq!(local.len(), graph.stored);
        Self { graph, memory, row_ptrs, columns, local, stored }
    }

    /// Buffers with the batch at the front of the activations.
    fn buffers(&self, input: &[f32], batch: usize) -> (Vec<f32>, Vec<f32>) {
        let mut activations = vec![f32::NAN; self.memory.activations.len() / 4];
        let features = input.len() / batch;
        for (b, example) in input.chunks(features).enumerate() {
            for (f, value) in example.iter().enumerate() {
                activations[f * batch + b] = *value;
            }
        }
        (activations, vec![f32::NAN; self.memory.gradients.len() / 4])
    }

    fn logits(&self, input: &[f32], batch: usize) -> Vec<f32> {
        let parameters = Parameters { row_ptrs: &self.row_ptrs, columns: &self.columns, values: &self.local };
        let (mut activations, _) = self.buffers(input, batch);
        let logits = forward(&self.graph, &parameters, &mut activations, batch);
        let classes = logits.len() / batch;
        (0..logits.len()).map(|i| logits[i % classes * batch + i / classes]).collect()
    }

    /// Steps on the same batch; the losses before each.
    fn train(&mut self, rate: f32, beta: f32, steps: u32, input: &[f32], labels: &[u32]) -> Vec<f32> {
        let training = Training { optimizer: momentum(beta), ..Training::sgd(1, 1, rate) };
        let global = self.local.clone();
        let mut velocity = vec![0.0; if beta > 0.0 { global.len() } else { 0 }];
        let mut step = |step| {
            let (mut activations, mut gradients) = self.buffers(input, labels.len());
            train_step(
                &self.graph,
                (Loss::SoftmaxCrossEntropy, &training),
                (Draw { seed: 0, step }, steps),
                (&self.row_ptrs, &self.columns),
                (&mut self.local, &global, &mut velocity),
                Buffers { activations: &mut activations, gradients: &mut gradients },
                labels,
                labels.len(),
            )
        };
        (0..steps).map(&mut step).collect()
    }

    /// The params as dense tensors.
    fn dense(&self) -> Vec<Vec<f32>> {
        let mut values = self.local.iter();
        let mut of = |keep: &Vec<bool>| keep.iter().map(|k| if *k { *values.next().unwrap() } else { 0.0 }).collect();
        self.stored.iter().map(&mut of).collect()
    }
}

fn close(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    assert!(largest > 0.0, "{what} is zero");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= TOLERANCE * largest, "{what}[{i}]: {g} for {w}, largest {largest}");
    }
}

fn agrees(name: &str, spec: &ModelSpec, params: &[&str]) {
    let Some(bytes) = recorded(&format!("{name}.safetensors")) else { return };
    let recording = Recording(SafeTensors::deserialize(&bytes).unwrap());
    let (input, labels) = (recording.floats("input"), recording.labels());
    let batch = labels.len();
    let all = |prefix: &str| params.iter().map(|p| recording.floats(&format!("{prefix}/{p}"))).collect::<Vec<_>>();
    let start = all("param");
    let full: Vec<Vec<bool>> = start.iter().map(|v| vec![true; v.len()]).collect();
    let masks: Vec<Vec<bool>> = params.iter().zip(&start).map(|(p, v)| recording.mask(p, v.len())).collect();
    let loss = recording.floats("loss");

    for path in [Path::Dense, Path::Sparse] {
        let net = |masks| Net::new(spec, masks, path, &start, batch as u16);
        let label = |what: &str| format!("{name}, {path:?}: {what}");
        close(&label("logits"), &net(&full).logits(&input, batch), &recording.floats("logits"));

        let mut once = net(&full);
        close(&label("loss"), &once.train(1.0, 0.0, 1, &input, &labels), &loss);
        for ((p, (after, before)), want) in params.iter().zip(once.dense().iter().zip(&start)).zip(all("grad")) {
            let grad: Vec<f32> = before.iter().zip(after).map(|(b, a)| b - a).collect();
            close(&label(&format!("gradient of {p}")), &grad, &want);
        }

        for (masks, prefix) in [(&full, "sgd3"), (&masks, "masked_sgd3")] {
            let mut net = net(masks);
            net.train(0.1, 0.9, 3, &input, &labels);
            for ((p, got), want) in params.iter().zip(net.dense()).zip(all(prefix)) {
                close(&label(&format!("{prefix}/{p}")), &got, &want);
            }
            // The loss after the third step is the one before a fourth.
            let after = net.train(0.1, 0.0, 1, &input, &labels);
            close(&label(&format!("{prefix}/loss")), &after, &recording.floats(&format!("{prefix}/loss")));
        }
    }
    for mask in masks.iter().step_by(2) {
        let live = mask.iter().filter(|l| **l).count() as f64 / mask.len() as f64;
        assert!((0.15..0.45).contains(&live), "a coin of 0.3 for each weight: {live}");
    }
}

#[test]
fn mlp_agrees_with_pytorch() {
    let spec = chain([64, 1, 1], &[dense(32), LayerSpec::Relu, dense(10)]);
    agrees("mlp", &spec, &["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]);
}

#[test]
fn lenet_agrees_with_pytorch() {
    let pool = LayerSpec::MaxPool(Window::square(2, 2, 0));
    let (relu, flatten) = (LayerSpec::Relu, LayerSpec::Flatten);
    let layers = [conv(6, 5, 1, 2), relu, pool, conv(16, 5, 1, 0), relu, pool, flatten, dense(84), relu, dense(10)];
    let params = ["c1.weight", "c1.bias", "c2.weight", "c2.bias", "f1.weight", "f1.bias", "f2.weight", "f2.bias"];
    agrees("lenet", &chain([1, 28, 28], &layers), &params);
    // Pooling first, then the rectifier in place on the pooled values, is the same function.
    let layers = [conv(6, 5, 1, 2), pool, relu, conv(16, 5, 1, 0), pool, relu, flatten, dense(84), relu, dense(10)];
    agrees("lenet", &chain([1, 28, 28], &layers), &params);
}
