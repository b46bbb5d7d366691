//! The trained model: parameters as safetensors, and the plan that a device would get next.

use super::RunError;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use siskin_server::round::{GlobalModel, Round, Server, TensorView as View};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Parameters, dense with zeros where pruned: `layer<N>.weight` `[rows, columns]`, `layer<N>.bias` and so on.
pub const MODEL_NAME: &str = "model.safetensors";
/// The plan for `siskin device --plan`.
pub const PLAN_NAME: &str = "model.plan";

pub(super) fn write(folder: &Path, server: &Server, round: &Round) -> Result<[PathBuf; 2], RunError> {
    let path = folder.join(MODEL_NAME);
    write_params(&path, server.model())?;
    let plan = folder.join(PLAN_NAME);
    replace(&plan, &round.offer.plan_bytes)?;
    Ok([path, plan])
}

/// Writes the parameters.
pub(crate) fn write_params(path: &Path, model: &GlobalModel) -> Result<(), RunError> {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = model
        .tensors()
        .map(|t| (name_of(&t), shape_of(&t), t.values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let error = |message: String| RunError::ModelFile { path: path.to_owned(), message };
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect();
    let views = views.map_err(|e: safetensors::SafeTensorError| error(e.to_string()))?;
    let about = HashMap::from([("format".to_owned(), "siskin".to_owned())]);
    let bytes = safetensors::serialize(views, Some(about)).map_err(|e| error(e.to_string()))?;
    replace(path, &bytes)
}

/// A tensor's name in the file.
pub(crate) fn name_of(tensor: &View<'_>) -> String {
    format!("layer{}.{}", tensor.layer, tensor.role.name().replace(' ', "_"))
}

/// A tensor's shape in the file.
pub(crate) fn shape_of(tensor: &View<'_>) -> Vec<usize> {
    if tensor.role.prunes() { tensor.shape.to_vec() } else { vec![tensor.shape[1]] }
}

/// Writes beside and renames, so that a file is there whole or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, bytes)
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|e| RunError::ModelFile { path: path.to_owned(), message: e.to_string() })
}
