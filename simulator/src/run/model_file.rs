//! The trained model: parameters as safetensors, and the plan that a device would get next.

use super::RunError;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use siskin_server::round::{Round, Server};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Parameters, dense with zeros where pruned: `layer<N>.weight` `[rows, columns]`, `layer<N>.bias` and so on.
pub const MODEL_NAME: &str = "model.safetensors";
/// The plan for `siskin device --plan`.
pub const PLAN_NAME: &str = "model.plan";

pub(super) fn write(folder: &Path, server: &Server, round: &Round) -> Result<[PathBuf; 2], RunError> {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = server
        .model()
        .tensors()
        .map(|t| {
            let name = format!("layer{}.{}", t.layer, t.role.name().replace(' ', "_"));
            let shape = if t.role.prunes() { t.shape.to_vec() } else { vec![t.shape[1]] };
            (name, shape, t.values.iter().flat_map(|v| v.to_le_bytes()).collect())
        })
        .collect();
    let path = folder.join(MODEL_NAME);
    let error = |path: &Path, message: String| RunError::ModelFile { path: path.to_owned(), message };
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect();
    let views = views.map_err(|e: safetensors::SafeTensorError| error(&path, e.to_string()))?;
    let about = HashMap::from([("format".to_owned(), "siskin".to_owned())]);
    let bytes = safetensors::serialize(views, Some(about)).map_err(|e| error(&path, e.to_string()))?;
    replace(&path, &bytes)?;
    let plan = folder.join(PLAN_NAME);
    replace(&plan, &round.offer.plan_bytes)?;
    Ok([path, plan])
}

/// Writes beside and renames, so that a file is there whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, bytes)
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|e| RunError::ModelFile { path: path.to_owned(), message: e.to_string() })
}
