//! Where a network's parameters stand in the file.

use crate::constant::{Origin, Slot};
use siskin::model::Role;

/// Where the values of one of the network's tensors come from, and go back to.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorSource {
    /// Its layer.
    pub layer: usize,
    /// What it is there.
    pub role: Role,
    /// Rows and columns; a vector has one row.
    pub shape: [usize; 2],
    pub(crate) place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// It never trains and is not written back.
    Fixed,
    /// Each value is `factor` times a number of the file.
    Stored { origin: Origin, factor: f32 },
}

impl TensorSource {
    /// True if its values can change.
    pub const fn trains(&self) -> bool {
        matches!(self.place, Place::Stored { .. })
    }

    /// A name of its own: `layer3.weight`.
    pub fn name(&self) -> String {
        format!("layer{}.{}", self.layer, self.role.name().replace(' ', "_"))
    }

    /// Where value `i` stands in the file: the number of a stored tensor in [`Imported::stored`], the index in it, and what
    /// the file's number is multiplied by.
    ///
    /// [`Imported::stored`]: crate::Imported::stored
    pub fn place(&self, i: usize) -> Option<(usize, usize, f32)> {
        match &self.place {
            Place::Fixed => None,
            Place::Stored { origin, factor } => {
                origin.slot(i).map(|Slot { source, index }| (source as usize, index as usize, *factor))
            }
        }
    }
}

/// A tensor of real numbers that the file stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// The name of the value.
    pub name: String,
    /// Its shape.
    pub dims: Vec<usize>,
    pub(crate) kept: Kept,
}

/// How the file stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// As an initialiser.
    Initializer,
    /// In a `Constant` node.
    ConstantNode,
    /// As a copy of another by an `Identity` node: exporters store tensors of equal values once, under the name of one of
    /// them. Trained, they differ; the export stores this one as well.
    Identity,
}
