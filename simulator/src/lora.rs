//! Low-rank adapters: a frozen `W x` plus a trained `B A x` (Hu et al. 2021, arXiv 2106.09685, section 4.1, with `alpha = r`).
//!
//! An adapter is three more layers of the plan, so devices need no code for it: `A` (`[rank, inputs]`, random), `B`
//! (`[outputs, rank]`, zero, so that training begins at the model that was given) and the sum. Everything else is frozen, has no
//! optimizer state and is not in a report. [`merge`] makes the model of the original layers again.
//!
//! What is frozen may be pruned, before the first round or from round to round by magnitude or at random: the adapters stay
//! dense, do not count for the sparsity, and learn what makes up for it. Merged, the sum of a sparse and a dense matrix is dense.

use siskin::checkin::{Layer, LayerSpec, MAX_LAYERS, ModelSpec, Path, PlanError, Storage, Train, Window};
use siskin::model::{Graph, Role};
use siskin_server::round::{GlobalModel, ModelError};

/// Layers that adapters are for: dense ones, over all features or over the channels of each position.
fn takes_adapter(spec: &LayerSpec) -> bool {
    match spec {
        LayerSpec::Dense { .. } => true,
        LayerSpec::Conv2d { groups, window, .. } => *groups == 1 && *window == Window::POINT,
        _ => false,
    }
}

/// The two matrices of a layer's adapter.
fn adapter(spec: &LayerSpec, rank: u16) -> Option<[LayerSpec; 2]> {
    let weights = Storage { live: 1, path: Path::Dense };
    match *spec {
        LayerSpec::Dense { outputs, .. } => {
            Some([rank, outputs].map(|outputs| LayerSpec::Dense { outputs, bias: false, weights }))
        }
        LayerSpec::Conv2d { outputs, groups, window, .. } => {
            Some([rank, outputs].map(|outputs| LayerSpec::Conv2d { outputs, groups, window, bias: false, weights }))
        }
        _ => None,
    }
}

/// A model with adapters of one rank on each layer that can have one.
///
/// # Errors
/// [`PlanError::Layer`] if that makes too many layers; [`PlanError::Empty`] if no layer can have one.
pub fn adapted(model: &ModelSpec, rank: u16) -> Result<ModelSpec, PlanError> {
    let mut layers: Vec<Layer> = Vec::new();
    // Where the output of each layer stands now, counted from 1; 0 is the example.
    let mut place = vec![0usize];
    for (index, layer) in model.layers.iter().enumerate() {
        let sources = layer.from.map(|back| place[index - usize::from(back)]);
        let from = |at: usize| sources.map(|source| (at - source) as u8);
        let base = layers.len();
        layers.push(Layer { from: from(base), train: Train::Nothing, ..*layer });
        if takes_adapter(&layer.spec)
            && let Some([a, b]) = adapter(&layer.spec, rank)
        {
            layers.push(Layer { from: from(base + 1), ..a.into() });
            layers.push(b.into());
            layers.push(Layer { from: [2, 0], ..LayerSpec::Add.into() });
        }
        place.push(layers.len());
    }
    let got = layers.len() as u32;
    if layers.len() > MAX_LAYERS {
        let (what, expected) = ("number of layers with adapters", MAX_LAYERS as u32);
        return Err(PlanError::Layer { index: model.layers.len() as u8, what, expected, got });
    }
    if layers.len() == model.layers.len() {
        return Err(PlanError::Empty);
    }
    Ok(ModelSpec { layers: layers.into_iter().collect(), ..model.clone() })
}

/// The model with adapters, of the params of the one without: `A` drawn from `seed`, `B` zero.
///
/// # Errors
/// As [`adapted`]; [`ModelError::Length`] if the params are not the model's.
pub fn adapt(model: &GlobalModel, rank: u16, seed: u64) -> Result<GlobalModel, ModelError> {
    let spec = adapted(model.architecture(), rank)?;
    let fresh = GlobalModel::new(&spec, seed)?;
    let mut given = model.tensors().filter(|t| !t.values.is_empty());
    let mut params = Vec::with_capacity(fresh.size());
    for tensor in fresh.tensors() {
        match role_in_adapter(&spec, tensor.layer) {
            Some(Part::A) => params.extend_from_slice(tensor.values),
            Some(Part::B) => params.resize(params.len() + tensor.values.len(), 0.0),
            None => params.extend_from_slice(given.next().map_or(&[], |t| t.values)),
        }
    }
    let model = GlobalModel::from_params(&spec, params)?;
    Ok(model.with_whole_layers(|layer| role_in_adapter(&spec, layer).is_some()))
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    A,
    B,
}

/// What a layer of an adapted model is to an adapter: `A` and `B` are followed by the sum that joins them to the frozen layer
/// right before.
fn role_in_adapter(spec: &ModelSpec, layer: usize) -> Option<Part> {
    let is_sum = |at: usize| {
        spec.layers.get(at).is_some_and(|l| l.spec == LayerSpec::Add && l.from == [2, 0])
            && spec.layers[at - 1].train == Train::All
            && spec.layers[at - 2].train == Train::All
            && spec.layers[at - 3].train == Train::Nothing
    };
    if layer >= 1 && is_sum(layer + 2) {
        Some(Part::A)
    } else if layer >= 2 && is_sum(layer + 1) {
        Some(Part::B)
    } else {
        None
    }
}

/// The layers without adapters, all trained, as they were before [`adapted`]; a model without adapters as it is.
pub fn base(model: &ModelSpec) -> ModelSpec {
    // Where each layer of the adapted model stands without adapters, counted from 1: an adapter's sum is its frozen layer.
    let mut place = vec![0usize];
    let mut layers: Vec<Layer> = Vec::new();
    let adapts = |layer| role_in_adapter(model, layer).is_some();
    for (index, layer) in model.layers.iter().enumerate() {
        let is_sum = index > 0 && role_in_adapter(model, index - 1) == Some(Part::B);
        if !is_sum && !adapts(index) {
            let from = layer.from.map(|back| (layers.len() - place[index - usize::from(back)]) as u8);
            layers.push(Layer { from, ..*layer });
        }
        place.push(layers.len());
    }
    if layers.len() < model.layers.len() {
        layers.iter_mut().for_each(|layer| layer.train = Train::All);
    }
    ModelSpec { layers: layers.into_iter().collect(), ..model.clone() }
}

/// The params of the original layers, in flat order: `W + B A` where there was an adapter.
///
/// # Errors
/// [`PlanError`] if the model's layers do not fit together, which they did before.
pub fn merge(model: &GlobalModel) -> Result<Vec<f32>, PlanError> {
    let spec = model.architecture();
    let graph = Graph::new(&model.spec(Some(1.0), 1)?)?;
    debug_assert_eq!(graph.tensors.len(), model.tensors().count());
    let tensors: Vec<_> = model.tensors().collect();
    let of = |layer: usize| tensors.iter().find(|t| t.layer == layer && t.role == Role::Weight);
    let mut params = Vec::new();
    for tensor in &tensors {
        if role_in_adapter(spec, tensor.layer).is_some() {
            continue;
        }
        let mut values = tensor.values.to_vec();
        let (a, b) = (of(tensor.layer + 1), of(tensor.layer + 2));
        if let (Role::Weight, Some(Part::A), Some(a), Some(b)) =
            (tensor.role, role_in_adapter(spec, tensor.layer + 1), a, b)
        {
            let [rank, inputs] = a.shape;
            for (row, b) in values.chunks_exact_mut(inputs).zip(b.values.chunks_exact(rank)) {
                for (i, value) in row.iter_mut().enumerate() {
                    let change: f64 = (0..rank).map(|r| f64::from(b[r]) * f64::from(a.values[r * inputs + i])).sum();
                    *value = (f64::from(*value) + change) as f32;
                }
            }
        }
        params.extend(values);
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use siskin::checkin::Loss;
    use siskin::model::{Parameters, forward};

    fn dense(outputs: u16) -> Layer {
        LayerSpec::Dense { outputs, bias: true, weights: Storage { live: 1, path: Path::Dense } }.into()
    }

    /// A residual block, whose sum must not be taken for an adapter's.
    fn model() -> GlobalModel {
        let layers =
            [dense(6), LayerSpec::Tanh.into(), dense(6), Layer { from: [1, 0], ..LayerSpec::Add.into() }, dense(3)];
        let spec =
            ModelSpec { input: [4, 1, 1], layers: layers.into_iter().collect(), loss: Loss::SoftmaxCrossEntropy };
        GlobalModel::new(&spec, 5).unwrap()
    }

    fn logits(model: &GlobalModel, x: &[f32]) -> Vec<f32> {
        let graph = Graph::new(&model.spec(Some(0.5), 1).unwrap()).unwrap();
        let mut values = vec![0.0; graph.stored];
        for (tensor, view) in graph.tensors.iter().zip(model.tensors()) {
            values[tensor.range()].copy_from_slice(view.values);
        }
        let mut activations = vec![0.0; graph.activation_features()];
        activations[..x.len()].copy_from_slice(x);
        let parameters = Parameters { row_ptrs: &[], columns: &[], values: &values };
        forward(&graph, &parameters, &mut activations, 1).to_vec()
    }

    #[test]
    fn training_begins_at_the_model_that_was_given() {
        let (plain, x) = (model(), [0.3, -0.7, 0.1, 0.9]);
        let adapted = adapt(&plain, 2, 7).unwrap();
        assert_eq!(logits(&adapted, &x), logits(&plain, &x));
        assert_eq!(merge(&adapted).unwrap(), plain.params());
        assert_eq!(base(adapted.architecture()), *plain.architecture());
        assert_eq!(base(plain.architecture()), *plain.architecture());
        // Trained: rank * (inputs + outputs) of each of the three layers, nothing else.
        assert_eq!(adapted.carried(), 2 * (4 + 6) + 2 * (6 + 6) + 2 * (6 + 3));
        let graph = Graph::new(&adapted.spec(Some(0.5), 1).unwrap()).unwrap();
        assert_eq!(graph.trained, adapted.carried());
    }

    #[test]
    fn pruning_leaves_adapters_alone() {
        let mut plain = model();
        let mut adapted = adapt(&plain, 2, 7).unwrap();
        let live = plain.prune(0.5).unwrap();
        adapted.prune(0.5).unwrap();
        let spec = adapted.architecture().clone();
        let in_adapter = |t: &siskin_server::round::TensorView<'_>| role_in_adapter(&spec, t.layer).is_some();
        let base: Vec<f32> = adapted.tensors().filter(|t| !in_adapter(t)).flat_map(|t| t.values.to_vec()).collect();
        assert_eq!(base, plain.params(), "the frozen layers are pruned as without adapters");
        assert!(adapted.tensors().filter(in_adapter).all(|t| t.live.iter().all(|live| *live)));
        assert_eq!(adapted.live(), live + adapted.carried());
        // On devices: sparse loops for what is frozen, dense ones for what trains.
        let graph = Graph::new(&adapted.spec(None, 8).unwrap()).unwrap();
        let weights = || graph.tensors.iter().filter(|t| t.role == Role::Weight);
        assert_eq!(weights().filter(|t| t.has_pattern()).count(), 3);
        assert!(weights().all(|t| t.has_pattern() != t.trained));
    }

    #[test]
    fn merging_keeps_the_function() {
        let (plain, x) = (model(), [0.3, -0.7, 0.1, 0.9]);
        let fresh = adapt(&plain, 2, 7).unwrap();
        let spec = fresh.architecture().clone();
        let mut params = Vec::new();
        for tensor in fresh.tensors() {
            let b = role_in_adapter(&spec, tensor.layer) == Some(Part::B);
            params.extend(tensor.values.iter().enumerate().map(|(i, v)| if b { (i as f32 * 0.37).sin() } else { *v }));
        }
        let trained = GlobalModel::from_params(&spec, params).unwrap();
        let merged = GlobalModel::from_params(plain.architecture(), merge(&trained).unwrap()).unwrap();
        let (got, want) = (logits(&merged, &x), logits(&trained, &x));
        assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-5), "{got:?} for {want:?}");
        assert_ne!(merged.params(), plain.params());
    }

    #[test]
    fn what_has_no_layer_for_it_is_refused() {
        let relu = ModelSpec {
            input: [4, 1, 1],
            layers: [LayerSpec::Relu.into()].into_iter().collect(),
            loss: Loss::SoftmaxCrossEntropy,
        };
        assert_eq!(adapted(&relu, 2), Err(PlanError::Empty));
        let deep = ModelSpec { layers: vec![dense(4); MAX_LAYERS / 2].into_iter().collect(), ..relu };
        assert!(matches!(adapted(&deep, 2), Err(PlanError::Layer { got, .. }) if got == 2 * MAX_LAYERS as u32));
    }
}
