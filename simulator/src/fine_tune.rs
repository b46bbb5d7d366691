//! Fine-tuning on the device, for its user alone: what a model gains on each user's own examples.
//!
//! Cross-validated: a seeded permutation parts each user's examples into folds. For each fold a copy of the model trains on
//! the user's other folds by the steps that devices run ([`siskin::model::train_step`], in the order of [`Shuffle`]) and answers
//! the fold before and after; so each example is answered once by a model that never saw it. No change leaves the copy, and
//! nothing is averaged but the accuracies.

use crate::data::Federated;
use crate::fleet::{Purpose, stream};
use rand_core::Rng;
use rayon::prelude::*;
use serde::Serialize;
use siskin::checkin::{Layer, Loss, ModelSpec, PlanError, Train, Training};
use siskin::data::Shuffle;
use siskin::model::{Buffers, Draw, Graph, Parameters, Tensor, forward, train_step};

/// Which parameters train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Those of the last layer with a weight, and of what stands behind it (a normalisation).
    #[default]
    LastLayer,
    /// Biases and shifts of all layers.
    Bias,
    /// All of them.
    All,
}

impl Part {
    /// Its name on a command line.
    pub const NAMES: [(&str, Self); 3] = [("last-layer", Self::LastLayer), ("bias", Self::Bias), ("all", Self::All)];
}

/// How to fine-tune.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// What trains.
    pub part: Part,
    /// Passes over the folds that are trained on, at least 1.
    pub epochs: u16,
    /// Examples a step, at least 1.
    pub batch: u16,
    /// Step size of plain SGD, above 0.
    pub learning_rate: f32,
    /// Parts of a user's examples, at least 2; a user with fewer examples has a fold for each.
    pub folds: u32,
    /// Of the splits and of the order of the examples.
    pub seed: u64,
}

impl Default for Options {
    /// Three passes over four fifths of the examples, in steps of 4.
    fn default() -> Self {
        Self { part: Part::default(), epochs: 3, batch: 4, learning_rate: 0.01, folds: 5, seed: 1 }
    }
}

/// One user's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outcome {
    examples: u32,
    right_before: u32,
    right_after: u32,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Whose examples they are.
    pub users_are: &'static str,
    /// Users that were tuned for.
    pub users: usize,
    /// Users with less than two examples, left out.
    pub left_out: usize,
    /// Their examples.
    pub examples: u64,
    /// Parts of each user's, at most.
    pub folds: u32,
    /// Mean over the users of the fraction right, before.
    pub accuracy_before: f64,
    /// The same after.
    pub accuracy_after: f64,
    /// Users for whom it is higher after.
    pub better: usize,
    /// Users for whom it is lower after.
    pub worse: usize,
    /// Parameters of the model.
    pub params: usize,
    /// Those that train.
    pub params_trained: usize,
}

/// Why nothing was tuned.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FineTuneError {
    /// The network as it would train is no valid one.
    #[error("the model cannot train so: {0}")]
    Plan(#[from] PlanError),
    /// Only answers of one class are counted.
    #[error("the model's loss is not a cross-entropy of one class an example")]
    Loss,
    /// Other data than the model's.
    #[error("the model takes {expected} numbers an example, but the data have {got}")]
    Features {
        /// The model's.
        expected: usize,
        /// The data's.
        got: usize,
    },
    /// No user has examples to train and to test on.
    #[error("no user has two examples")]
    NoUsers,
    /// Only a network with nothing pruned.
    #[error("the model is pruned")]
    Pruned,
}

/// The users whose examples are used: those held out, whom nobody has trained on, or all where none are told apart.
enum Users<'a> {
    HeldOut(&'a Federated),
    All(&'a Federated),
}

impl<'a> Users<'a> {
    fn of(data: &'a Federated) -> Self {
        if data.test.users().is_empty() { Self::All(data) } else { Self::HeldOut(data) }
    }

    fn len(&self) -> usize {
        match self {
            Self::HeldOut(data) => data.test.users().len(),
            Self::All(data) => data.devices(),
        }
    }

    fn examples(&self, user: usize) -> u32 {
        match self {
            Self::HeldOut(data) => data.test.users()[user].train,
            Self::All(data) => data.examples(user) as u32,
        }
    }

    fn fill(&self, user: usize, example: u32, features: &mut [f32]) -> u32 {
        match self {
            Self::HeldOut(data) => data.test.fill((data.test.users()[user].first + example) as usize, features),
            Self::All(data) => data.fill(user, example as usize, features),
        }
    }
}

/// Marks what trains; what does not train anyway stays so.
fn marked(model: &ModelSpec, part: Part) -> Result<ModelSpec, PlanError> {
    let graph = Graph::new(model)?;
    let is_weight = |t: &Tensor| t.role.prunes() && t.range().start < graph.trained;
    let has_weight = |i: &usize| graph.tensors_of(&graph.nodes[*i]).iter().any(is_weight);
    let last = (0..model.layers.len()).rev().find(has_weight).unwrap_or(0);
    let mut model = model.clone();
    for (i, Layer { train, .. }) in model.layers.iter_mut().enumerate() {
        *train = match (part, *train) {
            (Part::LastLayer, _) if i < last => Train::Nothing,
            (Part::Bias, Train::All) => Train::Bias,
            (_, train) => train,
        };
    }
    Ok(model)
}

/// A model and what it is tuned with, the same for all users.
struct Tuner<'a> {
    graph: Graph,
    training: Training,
    start: Vec<f32>,
    users: Users<'a>,
    options: &'a Options,
}

/// Memory of one thread.
struct Worker {
    values: Vec<f32>,
    activations: Vec<f32>,
    gradients: Vec<f32>,
    row: Vec<f32>,
    labels: Vec<u32>,
}

/// Nothing of an unpruned network is sparse.
const NO_PATTERNS: (&[u32], &[u16]) = (&[], &[]);

impl Tuner<'_> {
    fn worker(&self) -> Worker {
        let batch = usize::from(self.options.batch);
        Worker {
            values: self.start.clone(),
            activations: vec![0.0; self.graph.activation_features() * batch],
            gradients: vec![0.0; self.graph.gradient_features() * batch],
            row: vec![0.0; self.graph.input.features()],
            labels: vec![0; batch],
        }
    }

    /// Puts examples to the front of the activations, the batch innermost.
    fn load(&self, worker: &mut Worker, user: usize, examples: &[u32]) {
        let Worker { activations, row, labels, .. } = worker;
        for (b, example) in examples.iter().enumerate() {
            labels[b] = self.users.fill(user, *example, row);
            for (f, value) in row.iter().enumerate() {
                activations[f * examples.len() + b] = *value;
            }
        }
    }

    fn right(&self, worker: &mut Worker, user: usize, examples: &[u32]) -> u32 {
        let mut right = 0;
        for batch in examples.chunks(usize::from(self.options.batch)) {
            self.load(worker, user, batch);
            let (row_ptrs, columns) = NO_PATTERNS;
            let parameters = Parameters { row_ptrs, columns, values: &worker.values };
            let scores = forward(&self.graph, &parameters, &mut worker.activations, batch.len());
            for (b, label) in worker.labels[..batch.len()].iter().enumerate() {
                let column = || scores[b..].iter().step_by(batch.len());
                let max = column().fold(f32::NEG_INFINITY, |m, v| m.max(*v));
                right += u32::from(column().position(|v| *v == max) == Some(*label as usize));
            }
        }
        right
    }

    fn tune(&self, worker: &mut Worker, user: usize) -> Option<Outcome> {
        let examples = self.users.examples(user);
        if examples < 2 {
            return None;
        }
        let mut coins = stream(self.options.seed, Purpose::Session, 0, user as u64);
        let split = Shuffle::new(examples, coins.next_u64());
        let folds = self.options.folds.min(examples);
        let mut outcome = Outcome { examples, right_before: 0, right_after: 0 };
        for fold in 0..folds {
            let part = |own: bool| (0..examples).filter(move |i| (i % folds == fold) == own).map(|i| split.at(i));
            let (train, test): (Vec<u32>, Vec<u32>) = (part(false).collect(), part(true).collect());
            worker.values.copy_from_slice(&self.start);
            outcome.right_before += self.right(worker, user, &test);
            self.train(worker, user, &train, &mut coins);
            outcome.right_after += self.right(worker, user, &test);
        }
        Some(outcome)
    }

    fn train(&self, worker: &mut Worker, user: usize, examples: &[u32], coins: &mut impl Rng) {
        let seed = coins.next_u64();
        let (count, batch) = (examples.len() as u32, u32::from(self.options.batch));
        let steps = count.div_ceil(batch) * u32::from(self.options.epochs);
        let mut step = 0;
        for _ in 0..self.options.epochs {
            let order = Shuffle::new(count, coins.next_u64());
            let shuffled: Vec<u32> = (0..count).map(|i| examples[order.at(i) as usize]).collect();
            for batch in shuffled.chunks(usize::from(self.options.batch)) {
                self.load(worker, user, batch);
                let draw = Draw { seed, step };
                let buffers = Buffers { activations: &mut worker.activations, gradients: &mut worker.gradients };
                train_step(
                    &self.graph,
                    (Loss::SoftmaxCrossEntropy, &self.training),
                    (draw, steps),
                    NO_PATTERNS,
                    (&mut worker.values, &self.start[..self.graph.trained], &mut []),
                    buffers,
                    &worker.labels[..batch.len()],
                    batch.len(),
                );
                step += 1;
            }
        }
    }
}

/// Tunes a copy of the model for each user. `params` are those of `model`, in flat order; `done` is called once a user, from
/// any thread. The result is the same for any number of threads.
///
/// # Errors
/// [`FineTuneError`].
pub fn fine_tune(
    model: &ModelSpec,
    params: &[f32],
    data: &Federated,
    options: &Options,
    done: impl Fn() + Sync,
) -> Result<Summary, FineTuneError> {
    let graph = Graph::new(&marked(model, options.part)?)?;
    if model.loss != Loss::SoftmaxCrossEntropy || graph.output.positions() != 1 {
        return Err(FineTuneError::Loss);
    }
    let (expected, got) = (graph.input.features(), data.features_per_example());
    if expected != got {
        return Err(FineTuneError::Features { expected, got });
    }
    if graph.tensors.iter().any(Tensor::has_pattern) || graph.size != params.len() {
        return Err(FineTuneError::Pruned);
    }
    // Stored values are ordered by what trains; a plan's parameters by layer.
    let mut start = vec![0.0; graph.stored];
    let mut rest = params;
    for tensor in &graph.tensors {
        let (own, behind) = rest.split_at(tensor.size());
        start[tensor.range()].copy_from_slice(own);
        rest = behind;
    }
    let training = Training::sgd(options.epochs, options.batch, options.learning_rate);
    let (params, params_trained) = (graph.size, graph.trained);
    let tuner = Tuner { graph, training, start, users: Users::of(data), options };
    let outcomes: Vec<Option<Outcome>> = (0..tuner.users.len())
        .into_par_iter()
        .map_init(
            || tuner.worker(),
            |worker, user| {
                let outcome = tuner.tune(worker, user);
                done();
                outcome
            },
        )
        .collect();
    let tuned: Vec<Outcome> = outcomes.iter().copied().flatten().collect();
    if tuned.is_empty() {
        return Err(FineTuneError::NoUsers);
    }
    let mean = |right: fn(&Outcome) -> u32| {
        tuned.iter().map(|o| f64::from(right(o)) / f64::from(o.examples)).sum::<f64>() / tuned.len() as f64
    };
    Ok(Summary {
        users_are: if matches!(tuner.users, Users::HeldOut(_)) { "held out" } else { "all" },
        users: tuned.len(),
        left_out: outcomes.len() - tuned.len(),
        examples: tuned.iter().map(|o| u64::from(o.examples)).sum(),
        folds: options.folds,
        accuracy_before: mean(|o| o.right_before),
        accuracy_after: mean(|o| o.right_after),
        better: tuned.iter().filter(|o| o.right_after > o.right_before).count(),
        worse: tuned.iter().filter(|o| o.right_after < o.right_before).count(),
        params,
        params_trained,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use siskin::checkin::LayerSpec;

    /// Two dense layers with a normalisation behind each.
    fn network() -> ModelSpec {
        let dense = |outputs: u16, live| {
            let weights = siskin::checkin::Storage { live, path: siskin::checkin::Path::Dense };
            Layer::from(LayerSpec::Dense { outputs, bias: true, weights })
        };
        let norm = || Layer::from(LayerSpec::BatchNorm);
        let layers = [dense(6, 24), norm(), LayerSpec::Relu.into(), dense(3, 18), norm()];
        ModelSpec { input: [4, 1, 1], layers: layers.into_iter().collect(), loss: Loss::SoftmaxCrossEntropy }
    }

    #[test]
    fn parts_are_what_they_say() {
        let trained = |part| {
            let model = marked(&network(), part).unwrap();
            (Graph::new(&model).unwrap().trained, model.layers.iter().map(|l| l.train).collect::<Vec<_>>())
        };
        let [all, bias, none] = [Train::All, Train::Bias, Train::Nothing];
        assert_eq!(trained(Part::LastLayer), (18 + 3 + 6, vec![none, none, none, all, all]));
        assert_eq!(trained(Part::Bias), (6 + 6 + 3 + 3, vec![bias; 5]));
        assert_eq!(trained(Part::All), (24 + 6 + 12 + 18 + 3 + 6, vec![all; 5]));
    }

    #[test]
    fn digits_of_a_writer_are_learned_from_that_writer() {
        let digits =
            crate::data::digits::load(&crate::data::digits::Options { devices: 40, ..Default::default() }).unwrap();
        let layers = crate::config::architecture("dense:16, relu, dense:10", &digits.problem()).unwrap();
        let model = siskin_server::round::GlobalModel::new(&layers, 5).unwrap();
        let options = Options { part: Part::All, epochs: 20, learning_rate: 0.05, ..Options::default() };
        let layers = model.spec(Some(0.5), 8).unwrap();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let count = std::sync::atomic::AtomicUsize::new(0);
            let done = || _ = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let tuned = pool.install(|| fine_tune(&layers, model.params(), &digits, &options, done)).unwrap();
            assert_eq!(count.into_inner(), tuned.users + tuned.left_out);
            tuned
        };
        let tuned = run(1);
        assert_eq!(tuned, run(3), "the same for any number of threads");
        assert!(tuned.accuracy_before < 0.3 && tuned.accuracy_after > tuned.accuracy_before + 0.2, "{tuned:?}");
        assert_eq!(tuned.users_are, "all");
    }

    #[test]
    fn other_data_and_losses_are_refused() {
        let digits =
            crate::data::digits::load(&crate::data::digits::Options { devices: 40, ..Default::default() }).unwrap();
        let options = Options::default();
        let size = Graph::new(&network()).unwrap().size;
        let refused = |model: &ModelSpec| fine_tune(model, &vec![0.5; size], &digits, &options, || ()).unwrap_err();
        assert_eq!(refused(&network()), FineTuneError::Features { expected: 4, got: 64 });
        assert_eq!(refused(&ModelSpec { loss: Loss::MeanSquaredError, ..network() }), FineTuneError::Loss);
    }
}
