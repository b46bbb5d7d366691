//! An update in a file.

use super::CodecError;
use crate::prune::read_params;
use std::path::Path;

/// A client's update: what one report would carry.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// Name of the file without its ending, or what a run calls it.
    pub name: String,
    /// Rows and columns of its tensors, in order.
    pub shapes: Vec<[u32; 2]>,
    /// The coordinates.
    pub values: Vec<f32>,
}

impl Update {
    /// All tensors of a safetensors file of 32-bit floats, in the order of their names.
    ///
    /// # Errors
    /// [`CodecError`] names the file and the tensor.
    pub fn read(path: &Path) -> Result<Self, CodecError> {
        let tensors = read_params(path).map_err(|e| CodecError::new(e.at, e.what))?;
        let mut shapes = Vec::new();
        for tensor in &tensors {
            let cols = tensor.shape.last().copied().unwrap_or(1);
            let rows = tensor.values.len().checked_div(cols).unwrap_or(0);
            let [rows, cols] = [rows, cols].map(u32::try_from);
            let too_large = |_| CodecError::new(&*tensor.name, "its shape is too large");
            shapes.push([rows.map_err(too_large)?, cols.map_err(too_large)?]);
        }
        let name = path.file_stem().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        Ok(Self { name, shapes, values: tensors.iter().flat_map(|tensor| &tensor.values).copied().collect() })
    }

    /// Root mean square of the coordinates; 0 of none.
    pub fn rms(&self) -> f64 {
        let square: f64 = self.values.iter().map(|&x| f64::from(x).powi(2)).sum();
        (square / self.values.len().max(1) as f64).sqrt()
    }

    /// What stands before `_client` in its name: updates of one round share it, where files are named so.
    pub fn round(&self) -> &str {
        self.name.rsplit_once("_client").map_or(&self.name, |(round, _)| round)
    }
}
