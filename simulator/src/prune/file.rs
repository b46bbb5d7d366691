//! Tensors and masks in safetensors files.

use super::PruneError;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use siskin::model::sparsity::is_prunable;
use std::collections::HashMap;
use std::path::Path;

/// A tensor of 32-bit floats, all of them finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its axes.
    pub shape: Vec<usize>,
    /// Its entries, row-major.
    pub values: Vec<f32>,
}

fn place(path: &Path, name: &str) -> String {
    format!("{}: tensor {name:?}", path.display())
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, PruneError> {
    std::fs::read(path).map_err(|e| PruneError::new(path.display().to_string(), e))
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, PruneError> {
    SafeTensors::deserialize(bytes).map_err(|e| {
        let message = e.to_string().replace('\n', " ");
        PruneError::new(path.display().to_string(), format!("not a safetensors file: {message}"))
    })
}

fn floats(path: &Path, name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, PruneError> {
    if view.dtype() != Dtype::F32 {
        let what = format!("entries of type {:?}; 32-bit floats (F32) are read", view.dtype());
        return Err(PruneError::new(place(path, name), what));
    }
    let values: Vec<f32> = view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    match values.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(PruneError::new(place(path, name), format!("entry {i} is {}", values[i]))),
        None => Ok(values),
    }
}

/// All tensors of a file, in the order of their names.
///
/// # Errors
/// [`PruneError`]: no such file, no tensors in it, entries that are no finite 32-bit floats.
pub fn read_params(path: &Path) -> Result<Vec<Tensor>, PruneError> {
    let bytes = bytes_of(path)?;
    let file = parse(path, &bytes)?;
    let mut tensors = Vec::new();
    for (name, view) in file.iter() {
        let values = floats(path, name, &view)?;
        tensors.push(Tensor { name: name.to_owned(), shape: view.shape().to_vec(), values });
    }
    if tensors.is_empty() {
        return Err(PruneError::new(path.display().to_string(), "it has no tensors"));
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

/// For each of `tensors` what `of` makes of the tensor of that name and shape in another file; `empty` where a tensor that
/// is never pruned is not in it.
fn matching<T>(
    path: &Path,
    tensors: &[Tensor],
    of: impl Fn(&str, &TensorView<'_>) -> Result<Vec<T>, PruneError>,
    empty: impl Fn(usize) -> Vec<T>,
) -> Result<Vec<Vec<T>>, PruneError> {
    let bytes = bytes_of(path)?;
    let file = parse(path, &bytes)?;
    if let Some(other) = file.names().into_iter().find(|name| !tensors.iter().any(|t| t.name == *name)) {
        return Err(PruneError::new(place(path, other), "there are no params of this name"));
    }
    let of_tensor = |tensor: &Tensor| match file.tensor(&tensor.name) {
        Ok(view) if view.shape() == tensor.shape => of(&tensor.name, &view),
        Ok(view) => {
            let what = format!("its shape is {:?}, the params' is {:?}", view.shape(), tensor.shape);
            Err(PruneError::new(place(path, &tensor.name), what))
        }
        Err(_) if !is_prunable(&tensor.shape) => Ok(empty(tensor.values.len())),
        Err(_) => Err(PruneError::new(place(path, &tensor.name), "it is missing")),
    };
    tensors.iter().map(of_tensor).collect()
}

/// Floats for each of `tensors` (gradients, Fisher information): the same names and shapes. Those of tensors that are never
/// pruned may be missing.
///
/// # Errors
/// [`PruneError`]: no such file, tensors of other names or shapes, entries that are no finite 32-bit floats.
pub fn beside(path: &Path, tensors: &[Tensor]) -> Result<Vec<Vec<f32>>, PruneError> {
    matching(path, tensors, |name, view| floats(path, name, view), |len| vec![0.0; len])
}

/// Masks for each of `tensors`, as [`write_masks`] writes them.
///
/// # Errors
/// [`PruneError`]: no such file, tensors of other names or shapes, entries that are not 0 or 1.
pub fn read_masks(path: &Path, tensors: &[Tensor]) -> Result<Vec<Vec<bool>>, PruneError> {
    let bools = |name: &str, view: &TensorView<'_>| {
        if !matches!(view.dtype(), Dtype::U8 | Dtype::BOOL) {
            let what = format!("entries of type {:?}; bytes (U8, BOOL) are read", view.dtype());
            return Err(PruneError::new(place(path, name), what));
        }
        match view.data().iter().position(|b| *b > 1) {
            Some(i) => Err(PruneError::new(place(path, name), format!("entry {i} is {}, not 0 or 1", view.data()[i]))),
            None => Ok(view.data().iter().map(|b| *b == 1).collect()),
        }
    };
    matching(path, tensors, bools, |len| vec![true; len])
}

/// Writes the masks as bytes, 1 where a param lives, under the names and shapes of the tensors. The file is there whole or
/// not at all.
///
/// # Errors
/// [`PruneError`] if it cannot be written.
pub fn write_masks(path: &Path, tensors: &[Tensor], masks: &[Vec<bool>]) -> Result<(), PruneError> {
    let error = |e: &dyn std::fmt::Display| PruneError::new(path.display().to_string(), e);
    let bytes: Vec<Vec<u8>> = masks.iter().map(|m| m.iter().map(|l| u8::from(*l)).collect()).collect();
    let views: Result<Vec<_>, safetensors::SafeTensorError> = tensors
        .iter()
        .zip(&bytes)
        .map(|(t, b)| Ok((t.name.as_str(), TensorView::new(Dtype::U8, t.shape.clone(), b)?)))
        .collect();
    let about = HashMap::from([("format".to_owned(), "siskin masks".to_owned())]);
    let file = safetensors::serialize(views.map_err(|e| error(&e))?, Some(about)).map_err(|e| error(&e))?;
    let partial = path.with_extension("partial");
    std::fs::write(&partial, &file).and_then(|()| std::fs::rename(&partial, path)).map_err(|e| error(&e))
}
