//! The network while it grows: layers and the few operators that are only part of one, each fed by those before.

mod finish;
mod fuse;

pub(crate) use finish::{Finished, finish};

use crate::constant::{Constant, Origin};
use crate::error::ImportError;
use crate::file::Outcome;
use siskin::checkin::{LayerSpec, MAX_LAYERS, Path, Storage};
use siskin::model::Role;

/// What feeds a node: another one, or the example.
pub(crate) type Feed = Option<usize>;

/// What a node computes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    /// A layer.
    Layer(LayerSpec),
    /// The error function: part of a GELU.
    Erf,
    /// Zeros around height and width (top, left, bottom, right): part of the convolution behind it.
    Pad([usize; 4]),
}

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<Feed>,
    /// `[channels, height, width]` of its output.
    pub(crate) shape: [usize; 3],
    /// Its tensors, in a plan's order.
    pub(crate) params: Vec<Param>,
    /// The ONNX node that it comes from, and its operator.
    pub(crate) name: crate::error::NodeName,
}

/// A tensor of a layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Param {
    pub(crate) role: Role,
    /// Rows and columns; a vector has one row.
    pub(crate) shape: [usize; 2],
    pub(crate) values: Vec<f32>,
    /// Where the values stand in the file, before `factor`.
    pub(crate) origin: Origin,
    /// The values are this times the file's.
    pub(crate) factor: f32,
}

impl Param {
    /// A tensor of these rows and columns, its values in the constant's order.
    pub(crate) fn new(role: Role, shape: [usize; 2], constant: &Constant) -> Outcome<Self> {
        let values = constant.as_floats()?.to_vec();
        if values.len() != shape[0] * shape[1] {
            return Err(format!("{} values where {} x {} are wanted", values.len(), shape[0], shape[1]).into());
        }
        Ok(Self { role, shape, values, origin: constant.origin.clone(), factor: 1.0 })
    }

    /// A vector of a constant value that stands nowhere in the file.
    pub(crate) fn filled(role: Role, len: usize, value: f32) -> Self {
        Self { role, shape: [1, len], values: vec![value; len], origin: Origin::Computed, factor: 1.0 }
    }

    /// All values and those to come times `factor`.
    pub(crate) fn scaled(mut self, factor: f32) -> Self {
        if factor != 1.0 {
            self.values.iter_mut().for_each(|v| *v *= factor);
            self.factor *= factor;
        }
        self
    }

    /// Some of its rows.
    pub(crate) fn rows(&self, rows: &[usize]) -> Self {
        let cols = self.shape[1];
        let index: Vec<usize> = rows.iter().flat_map(|r| r * cols..(r + 1) * cols).collect();
        self.pick([rows.len(), cols], &index)
    }

    /// Some of the columns of a vector.
    pub(crate) fn entries(&self, entries: &[usize]) -> Self {
        self.pick([1, entries.len()], entries)
    }

    fn pick(&self, shape: [usize; 2], index: &[usize]) -> Self {
        let origin = match &self.origin {
            Origin::Computed => Origin::Computed,
            origin => Origin::Slots(index.iter().filter_map(|i| origin.slot(*i)).collect()),
        };
        let values = index.iter().map(|i| self.values[*i]).collect();
        Self { shape, values, origin, ..self.clone() }
    }

    /// True for a scale of ones or a shift of zeros that the file does not store.
    pub(crate) fn is_default(&self) -> bool {
        let value = if self.role == Role::Scale { 1.0 } else { 0.0 };
        self.origin == Origin::Computed && self.values.iter().all(|v| *v == value)
    }
}

/// All weights live and the dense loops run: a plan may say otherwise later.
pub(crate) fn dense(entries: usize) -> Outcome<Storage> {
    let live = u32::try_from(entries).map_err(|_| format!("a weight of {entries} entries is too large"))?;
    Ok(Storage { live, path: Path::Dense })
}

/// A number that a layer stores in a smaller type.
pub(crate) fn small<T: TryFrom<usize>>(value: usize, what: &str) -> Outcome<T> {
    T::try_from(value).map_err(|_| format!("{what} of {value} is more than a layer can have").into())
}

/// The nodes, in an order in which they can run.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) nodes: Vec<Node>,
    /// Shape of the example.
    pub(crate) input: [usize; 3],
    /// Values that the tensors of further nodes may have.
    room: usize,
}

/// Most values of an activation of one example: the sdk's limit.
pub(crate) const MAX_FEATURES: usize = 1 << 22;

/// Most nodes on the way to a network of [`MAX_LAYERS`]: those that become part of another, and those that are not needed.
const MAX_NODES: usize = 1 << 13;

/// Values of the tensors of all nodes that there is room for, besides those that the file stores.
const ROOM: usize = 1 << 20;
/// How often a stored tensor may be taken into a node: its node may be replaced, with a bias, by another one or by its parts.
const USES: usize = 4;

impl Network {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![], input: [1; 3], room: ROOM }
    }

    /// Makes room for the values of a tensor that the file stores.
    pub(crate) fn make_room(&mut self, values: usize) {
        self.room = self.room.saturating_add(USES * values);
    }

    /// Adds a node.
    pub(crate) fn push(&mut self, node: Node) -> Outcome<usize> {
        if self.nodes.len() >= MAX_NODES {
            return Err(ImportError::Layers { got: MAX_NODES + 1, limit: MAX_LAYERS }.into());
        }
        let values = node.params.iter().map(|p| p.values.len()).sum();
        self.room = self.room.checked_sub(values).ok_or("the file uses its tensors more often than a network can")?;
        for d in node.shape {
            small::<u16>(d, "an axis")?;
        }
        if node.shape.iter().product::<usize>() > MAX_FEATURES {
            return Err(format!("an output of {:?} is larger than a layer can have", node.shape).into());
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    /// The node at `feed`.
    pub(crate) fn node(&self, feed: Feed) -> Option<&Node> {
        self.nodes.get(feed?)
    }

    /// The layer at `feed`.
    pub(crate) fn layer(&self, feed: Feed) -> Option<&LayerSpec> {
        match &self.node(feed)?.op {
            Op::Layer(spec) => Some(spec),
            _ => None,
        }
    }

    /// Shape at `feed`.
    pub(crate) fn shape(&self, feed: Feed) -> [usize; 3] {
        self.node(feed).map_or(self.input, |n| n.shape)
    }
}
