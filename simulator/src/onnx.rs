//! ONNX files as plans and parameters, and back.

use crate::config::{RunConfig, describe};
use crate::data::Problem;
use crate::lora;
use crate::run::model_file::{name_of, replace, shape_of, write_params};
use crate::run::{MAX_FRAME, POPULATION};
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use siskin::checkin::{Layer, LayerSpec, Loss, ModelSpec, Path as Loops, Plan, Storage, Train};
use siskin::model::Graph;
use siskin_onnx::{ImportOptions, Imported, OutputActivation};
use siskin_server::round::{GlobalModel, Offer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest ONNX file that is read, bytes: the format's own limit.
const MAX_FILE: u64 = 1 << 31;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct OnnxError {
    path: PathBuf,
    what: String,
}

impl OnnxError {
    fn new(path: &Path, what: impl std::fmt::Display) -> Self {
        // Libraries write several lines.
        let what = what.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { path: path.to_owned(), what }
    }
}

/// How an imported network is to be trained, until a run says otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    /// Passes over a device's examples.
    pub epochs: u16,
    /// Examples a step.
    pub batch: u16,
    /// Step size.
    pub learning_rate: f32,
}

impl Default for Training {
    /// One pass in small steps: the network is taken to be trained already.
    fn default() -> Self {
        Self { epochs: 1, batch: 8, learning_rate: 0.01 }
    }
}

/// What was imported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The plan that was written.
    pub plan: PathBuf,
    /// The parameters that were written.
    pub params_file: PathBuf,
    /// Name of the input.
    pub input: String,
    /// Shape of one example in the file, without the batch.
    pub input_shape: Vec<usize>,
    /// True if the input's values are integers that choose rows of a table.
    pub tokens: bool,
    /// Name of the output.
    pub output: String,
    /// Its shape, without the batch.
    pub output_shape: Vec<usize>,
    /// What the file applies to what the network computes: `none`, `softmax`, `log softmax`, `sigmoid`.
    pub output_activation: &'static str,
    /// `cross-entropy`, `binary-cross-entropy` or `mse`.
    pub loss: &'static str,
    /// Numbers in the network.
    pub params: usize,
    /// Those that train.
    pub trained: usize,
    /// The layers.
    pub layers: Vec<LayerSummary>,
    /// What one should know.
    pub notes: Vec<String>,
}

/// A layer of an imported network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerSummary {
    /// `conv2d, 8 channels, 3x3`.
    pub kind: String,
    /// The node of the file that it comes from.
    pub node: String,
    /// Numbers in it.
    pub params: usize,
}

/// Names of the losses.
pub const LOSSES: [(&str, Loss); 3] = [
    ("cross-entropy", Loss::SoftmaxCrossEntropy),
    ("binary-cross-entropy", Loss::BinaryCrossEntropy),
    ("mse", Loss::MeanSquaredError),
];

fn read(path: &Path) -> Result<Vec<u8>, OnnxError> {
    let error = |e: std::io::Error| OnnxError::new(path, format!("cannot be read: {e}"));
    let length = std::fs::metadata(path).map_err(error)?.len();
    if length > MAX_FILE {
        return Err(OnnxError::new(path, format!("{length} bytes; at most {MAX_FILE} are read")));
    }
    std::fs::read(path).map_err(error)
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn imported(path: &Path, options: &ImportOptions) -> Result<Imported, OnnxError> {
    siskin_onnx::import(&read(path)?, Some(folder(path)), options).map_err(|e| OnnxError::new(path, e))
}

/// Network and parameters, in flat order, of a file that is to learn `problem`.
///
/// # Errors
/// [`OnnxError`] if the file cannot be imported or is for other data.
pub fn network(path: &Path, problem: &Problem) -> Result<(ModelSpec, Vec<f32>), OnnxError> {
    let options = ImportOptions { loss: Some(Loss::SoftmaxCrossEntropy), ..Default::default() };
    let Imported { model, params, input, .. } = imported(path, &options)?;
    let graph = Graph::new(&model).map_err(|e| OnnxError::new(path, e))?;
    let of = |features: usize, tokens: bool, classes: usize, positions: usize| {
        let what = if tokens { "tokens" } else { "numbers" };
        let each = if positions == 1 { String::new() } else { format!(" at each of {positions} positions") };
        format!("{features} {what} and {classes} classes{each}")
    };
    let own = of(graph.input.features(), input.tokens, graph.classes() as usize, graph.output.positions());
    let data = of(problem.shape.features(), problem.tokens, problem.classes as usize, problem.targets);
    if own != data {
        return Err(OnnxError::new(path, format!("the model is for examples of {own}; the data have {data}")));
    }
    Ok((model, params.concat()))
}

/// Imports a file and writes its plan to `out` and its parameters beside it, under the same name with `.safetensors`.
///
/// # Errors
/// [`OnnxError`] names the file and, in it, the node or tensor.
pub fn import(path: &Path, options: &ImportOptions, training: Training, out: &Path) -> Result<Summary, OnnxError> {
    let network = imported(path, options)?;
    let said = |e: &dyn std::fmt::Display| OnnxError::new(path, e);
    let model = GlobalModel::from_params(&network.model, network.params.concat()).map_err(|e| said(&e))?;
    let mut config = RunConfig::default();
    config.pruning.sparsity = 0.0;
    config.training.momentum = 0.9;
    (config.training.epochs, config.training.batch) = (training.epochs, training.batch);
    config.training.learning_rate = training.learning_rate;
    // As for data sets of few users: no noise, and a bound that holds nothing back.
    (config.privacy.noise_multiplier, config.privacy.clip_norm, config.compression.step) = (0.0, 16.0, 1.0);
    let settings = config.server_settings(POPULATION, model.live());
    let offer = Offer::new(&settings, &model, 0, MAX_FRAME).map_err(|e| said(&e))?;
    let params_file = out.with_extension("safetensors");
    if params_file == out {
        return Err(OnnxError::new(out, "the plan cannot have the name of its parameters"));
    }
    write_params(&params_file, &model).map_err(|e| OnnxError::new(&params_file, e))?;
    replace(out, &offer.plan_bytes).map_err(|e| OnnxError::new(out, e))?;
    Ok(summary(&network, &offer.graph, out, &params_file))
}

fn summary(network: &Imported, graph: &Graph, plan: &Path, params_file: &Path) -> Summary {
    let layers =
        network.model.layers.iter().zip(&network.layer_names).zip(&graph.nodes).map(|((layer, name), node)| {
            let (kind, details) = describe(&layer.spec);
            LayerSummary {
                kind: if details.is_empty() { kind.to_owned() } else { format!("{kind}, {details}") },
                node: name.clone(),
                params: graph.tensors_of(node).iter().map(|t| t.size()).sum(),
            }
        });
    let (input, output) = (&network.input, &network.output);
    Summary {
        plan: plan.to_owned(),
        params_file: params_file.to_owned(),
        input: input.name.clone(),
        input_shape: input.dims.clone(),
        tokens: input.tokens,
        output: output.name.clone(),
        output_shape: output.dims.clone(),
        output_activation: match output.activation {
            OutputActivation::None => "none",
            OutputActivation::Softmax => "softmax",
            OutputActivation::LogSoftmax => "log softmax",
            OutputActivation::Sigmoid => "sigmoid",
        },
        loss: LOSSES.iter().find(|(_, l)| *l == network.model.loss).map_or("", |(name, _)| name),
        params: graph.size,
        trained: graph.trained,
        layers: layers.collect(),
        notes: network.notes.clone(),
    }
}

/// What to write a trained model into.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The ONNX file that the plan was imported from.
    pub original: PathBuf,
    /// Its output; without one, the one that gives the plan's network.
    pub output: Option<String>,
    /// Sizes of axes that it leaves open.
    pub dims: BTreeMap<String, usize>,
}

/// Writes the parameters of a plan into a copy of the ONNX file that it was imported from. Returns how many numbers differ from
/// the original's.
///
/// # Errors
/// [`OnnxError`] names the file and what does not fit.
pub fn export(plan_file: &Path, params_file: &Path, target: &Target, out: &Path) -> Result<usize, OnnxError> {
    let plan = Plan::decode(&read(plan_file)?).map_err(|e| OnnxError::new(plan_file, e))?;
    let path = &target.original;
    let bytes = read(path)?;
    let (options, network) = matching(&bytes, &plan.model, plan_file, target)?;
    let params = trained_params(&plan.model, params_file)?;
    let changed = params.iter().flatten().zip(network.params.iter().flatten()).filter(|(a, b)| a != b).count();
    let written = siskin_onnx::export(&bytes, Some(folder(path)), &options, &params);
    replace(out, &written.map_err(|e| OnnxError::new(path, e))?).map_err(|e| OnnxError::new(out, e))?;
    Ok(changed)
}

/// The import that gives the plan's network.
fn matching(
    bytes: &[u8],
    model: &ModelSpec,
    plan_file: &Path,
    target: &Target,
) -> Result<(ImportOptions, Imported), OnnxError> {
    let path = &target.original;
    let import = |output: Option<String>| {
        let options = ImportOptions { loss: Some(model.loss), output, dims: target.dims.clone() };
        siskin_onnx::import(bytes, Some(folder(path)), &options).map(|network| (options, network))
    };
    let other = || {
        let what = format!("{} is the plan of another network", plan_file.display());
        OnnxError::new(path, what)
    };
    let wanted = unpruned(&lora::base(model));
    let fits = |network: &Imported| unpruned(&network.model) == wanted;
    match import(target.output.clone()) {
        Ok(found) if fits(&found.1) => Ok(found),
        Ok(_) => Err(other()),
        Err(siskin_onnx::ImportError::ChooseOutput { names }) => {
            let mut found = names.into_iter().filter_map(|name| import(Some(name)).ok()).filter(|f| fits(&f.1));
            match (found.next(), found.next()) {
                (Some(only), None) => Ok(only),
                (Some((first, _)), Some((second, _))) => {
                    let [a, b] = [first, second].map(|o| o.output.unwrap_or_default());
                    Err(OnnxError::new(path, format!("outputs `{a}` and `{b}` both give the plan's network; name one")))
                }
                _ => Err(other()),
            }
        }
        Err(error) => Err(OnnxError::new(path, error)),
    }
}

/// The same network with nothing pruned or frozen and everything dense.
fn unpruned(model: &ModelSpec) -> ModelSpec {
    let mut model = model.clone();
    model.layers.iter_mut().for_each(|layer| layer.train = Train::All);
    let specs = model.layers.iter_mut().map(|Layer { spec, .. }| spec);
    specs.flat_map(LayerSpec::storages_mut).for_each(|s| *s = Storage { live: 0, path: Loops::Dense });
    model
}

/// The parameters of a plan's network, tensor by tensor, adapters merged into what they stand beside.
fn trained_params(spec: &ModelSpec, params_file: &Path) -> Result<Vec<Vec<f32>>, OnnxError> {
    let said = |e: &dyn std::fmt::Display| OnnxError::new(params_file, e);
    let shell = |spec: &ModelSpec| GlobalModel::new(&unpruned(spec), 0).map_err(|e| said(&e));
    let stored = read_params(params_file, &shell(spec)?)?;
    let base = lora::base(spec);
    if base.layers.len() == spec.layers.len() {
        return Ok(stored);
    }
    let adapted = GlobalModel::from_params(spec, stored.concat()).map_err(|e| said(&e))?;
    let merged = lora::merge(&adapted).map_err(|e| said(&e))?;
    let mut rest = merged.as_slice();
    let split =
        shell(&base)?.tensors().map(|t| rest.split_off(..t.values.len()).unwrap_or_default().to_vec()).collect();
    Ok(split)
}

/// The parameters of a model, tensor by tensor, from a file as a run or an import writes it.
fn read_params(path: &Path, model: &GlobalModel) -> Result<Vec<Vec<f32>>, OnnxError> {
    let bytes = read(path)?;
    let file =
        SafeTensors::deserialize(&bytes).map_err(|e| OnnxError::new(path, format!("not a safetensors file: {e}")))?;
    let mut out = Vec::new();
    for tensor in model.tensors() {
        let name = name_of(&tensor);
        let view = file.tensor(&name).map_err(|_| OnnxError::new(path, format!("tensor {name} is missing")))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape_of(&tensor) {
            let (got, wanted) = (view.shape(), shape_of(&tensor));
            let what = format!("tensor {name}: {:?} of shape {got:?}, but F32 of {wanted:?} is wanted", view.dtype());
            return Err(OnnxError::new(path, what));
        }
        out.push(view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect());
    }
    Ok(out)
}
