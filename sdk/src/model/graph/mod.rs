//! The network's shapes and where its numbers lie, computed from a plan before any memory is touched.

mod cost;
mod lifetime;
mod shape;
mod tensor;

pub(crate) use lifetime::{gradient_is_elementwise, is_elementwise, is_view};
pub use tensor::{MAX_TENSORS, Role, Tensor};

use crate::checkin::{Layer, LayerSpec, Loss, MAX_LAYERS, ModelSpec, PlanError, Storage, Train};
use crate::model::kernel::BLOCK;
use heapless::Vec;
use shape::{Part, Shaped, shaped};

/// Limits that keep every product below 2^31.
const MAX_VALUES: u64 = 1 << 26;
const MAX_FEATURES: u64 = 1 << 22;
/// Columns are stored in 16 bits.
const MAX_SPARSE_COLUMNS: u64 = 1 << 16;

/// Shape of the features of one example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Shape {
    /// Channels; the number of features after a dense layer.
    pub channels: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

impl Shape {
    /// `channels * height * width`.
    pub const fn features(self) -> usize {
        self.channels as usize * self.positions()
    }

    /// `height * width`.
    pub const fn positions(self) -> usize {
        self.height as usize * self.width as usize
    }
}

/// A layer in place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Node {
    /// What it computes.
    pub spec: LayerSpec,
    /// Where its inputs come from: 0 is the example, `i + 1` is node `i`. The second one repeats the first for layers of one
    /// input.
    pub sources: [u8; 2],
    /// Shape of its output.
    pub output: Shape,
    /// Its first tensor in [`Graph::tensors`].
    pub first_tensor: u16,
    /// Its number of tensors.
    pub tensors: u8,
    /// True if something trains in it or before it, so that the backward pass comes here.
    pub(crate) active: bool,
    /// True if its output takes the place of its first input.
    pub(crate) in_place: bool,
    /// True if the gradient of its first input takes the place of its output's.
    pub(crate) gradient_in_place: bool,
    /// Layers that take its output.
    consumers: u8,
    /// The last one of them, whose gradient comes first.
    last_consumer: u8,
    /// Where its output begins, in features of one example.
    pub(crate) y: u32,
    /// Where what it keeps from forward to backward begins.
    pub(crate) saved: u32,
    /// Where its scratch begins.
    pub(crate) work: u32,
    /// Where the gradient of its output begins, among the gradients.
    pub(crate) dy: u32,
    /// Where a gradient that must be added to another one is made, among the gradients.
    pub(crate) sum: u32,
    /// Where the scratch of its backward pass begins, among the gradients.
    pub(crate) backward_work: u32,
}

/// The network's shapes.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// The layers.
    pub nodes: Vec<Node, MAX_LAYERS>,
    /// The parameter tensors in the order in which they travel: layer after layer, within one as [`Role`] lists them.
    pub tensors: Vec<Tensor, MAX_TENSORS>,
    /// Shape of an example.
    pub input: Shape,
    /// Shape of the logits or predictions, `[classes, height, width]`.
    pub output: Shape,
    /// Values held in memory, all tensors.
    pub stored: usize,
    /// Those of them that train; they come first.
    pub trained: usize,
    /// Entries of trained tensors that are not pruned: what a report carries.
    pub live: usize,
    /// Entries of all tensors that are not pruned: what a checkpoint carries.
    pub values: usize,
    /// Entries in all, pruned ones too.
    pub size: usize,
    /// Row pointers of all patterns.
    pub(crate) row_ptrs: usize,
    /// Columns of all patterns.
    pub(crate) columns: usize,
    /// Activations and what else is needed of the forward pass, one example.
    pub(crate) activations: usize,
    /// Gradients of activations, one example.
    pub(crate) gradients: usize,
    /// Sizes of vocabularies: 0 if the example is not tokens.
    pub(crate) vocabulary: u32,
}

impl Graph {
    /// Lays out a network.
    ///
    /// # Errors
    /// [`PlanError::Layer`] names the layer that does not fit and both numbers; [`PlanError::Empty`] if there is nothing
    /// to train; [`PlanError::Feature`] if this build has not what a layer runs with.
    pub fn new(model: &ModelSpec) -> Result<Self, PlanError> {
        let mut graph = Self::empty();
        graph.lay_out(model)?;
        Ok(graph)
    }

    /// Nothing yet.
    pub(crate) const fn empty() -> Self {
        const NONE: Shape = Shape { channels: 0, height: 0, width: 0 };
        Self {
            nodes: Vec::new(),
            tensors: Vec::new(),
            input: NONE,
            output: NONE,
            stored: 0,
            trained: 0,
            live: 0,
            values: 0,
            size: 0,
            row_ptrs: 0,
            columns: 0,
            activations: 0,
            gradients: 0,
            vocabulary: 0,
        }
    }

    /// [`new`](Self::new), in place: a graph has some KiB, which a small stack has no room to move around.
    #[inline(never)]
    pub(crate) fn lay_out(&mut self, model: &ModelSpec) -> Result<(), PlanError> {
        let [channels, height, width] = model.input.map(u32::from);
        let features = u64::from(channels) * u64::from(height) * u64::from(width);
        if features == 0 || features > MAX_FEATURES {
            return Err(PlanError::OutOfRange { field: "model.input", got: features as f32 });
        }
        *self = Self::empty();
        self.input = Shape { channels, height, width };
        for (index, layer) in model.layers.iter().enumerate() {
            self.add_layer(index as u8, layer)?;
        }
        let Some(last) = self.nodes.last() else { return Err(PlanError::Empty) };
        self.output = last.output;
        if self.tensors.iter().all(|t| !t.trained) {
            return Err(PlanError::Empty);
        }
        let end = self.nodes.len() - 1;
        if let Some(idle) = self.nodes[..end].iter().position(|n| n.consumers == 0) {
            return Err(PlanError::Layer {
                index: idle as u8,
                what: "layers that take its output",
                expected: 1,
                got: 0,
            });
        }
        self.place_values();
        self.place_activations()
    }

    /// Apart, as what places buffers is: none of their locals lies on the stack beside the others'.
    #[inline(never)]
    fn add_layer(&mut self, index: u8, layer: &Layer) -> Result<(), PlanError> {
        layer.spec.check_parts()?;
        let limit = |what, expected: u64, got: u64| PlanError::Layer {
            index,
            what,
            expected: expected.min(u64::from(u32::MAX)) as u32,
            got: got.min(u64::from(u32::MAX)) as u32,
        };
        let mut sources = [0; 2];
        for (source, back) in sources.iter_mut().zip(layer.from) {
            *source =
                index.checked_sub(back).ok_or(limit("layers to reach back", u64::from(index), u64::from(back)))?;
        }
        if layer.spec.inputs() == 1 {
            sources[1] = sources[0];
        }
        let inputs = sources.map(|s| self.shape_of(s));
        let Shaped { output, parts } = shaped(&layer.spec, inputs, sources, &limit)?;
        let features = u64::from(output.channels) * u64::from(output.height) * u64::from(output.width);
        if features == 0 || features > MAX_FEATURES {
            return Err(limit("features of its output", MAX_FEATURES, features));
        }
        if let LayerSpec::Embedding { rows, .. } = layer.spec {
            self.vocabulary = if self.vocabulary == 0 { rows } else { self.vocabulary.min(rows) };
        }
        let first_tensor = self.tensors.len() as u16;
        for part in &parts {
            self.add_tensor(index, layer, part, &limit)?;
        }
        let own = self.tensors[usize::from(first_tensor)..].iter().any(|t| t.trained);
        let active = own || sources.iter().any(|&s| self.is_active(s));
        for &source in &sources[..layer.spec.inputs()] {
            if let Some(node) = usize::from(source).checked_sub(1).and_then(|s| self.nodes.get_mut(s)) {
                node.consumers = node.consumers.saturating_add(1);
                node.last_consumer = index;
            }
        }
        let node = Node {
            spec: layer.spec,
            sources,
            output,
            first_tensor,
            tensors: parts.len() as u8,
            active,
            in_place: false,
            gradient_in_place: false,
            consumers: 0,
            last_consumer: 0,
            y: 0,
            saved: 0,
            work: 0,
            dy: 0,
            sum: 0,
            backward_work: 0,
        };
        self.nodes.push(node).map_err(|_| limit("number of layers", MAX_LAYERS as u64, u64::from(index) + 1))
    }

    fn add_tensor(
        &mut self,
        node: u8,
        &Layer { spec, train, .. }: &Layer,
        part: &Part,
        limit: &impl Fn(&'static str, u64, u64) -> PlanError,
    ) -> Result<(), PlanError> {
        let &Part { role, rows, cols, storage } = part;
        let size = u64::from(rows) * cols;
        if self.size as u64 + size > MAX_VALUES {
            return Err(limit("parameters up to here", MAX_VALUES, self.size as u64 + size));
        }
        let storage = storage.unwrap_or(Storage { live: size as u32, path: crate::checkin::Path::Dense });
        let live = u64::from(storage.live);
        if live > size || live == 0 {
            return Err(limit("live weights", size, live));
        }
        if storage.path == crate::checkin::Path::Block {
            let whole = |count: u64| count / BLOCK as u64 * BLOCK as u64;
            if !matches!(spec, LayerSpec::Dense { .. }) {
                return Err(limit("weights in blocks, of a layer that is not fully connected", 0, live));
            }
            if whole(rows.into()) != u64::from(rows) {
                return Err(limit("outputs of a weight in blocks of four", whole(rows.into()), rows.into()));
            }
            if whole(live) != live {
                return Err(limit("live weights in blocks of four", whole(live), live));
            }
        }
        let trained = role.trains() && (train == Train::All || (train == Train::Bias && role.is_bias()));
        let tensor = Tensor {
            rows,
            cols: cols as u32,
            live: storage.live,
            path: storage.path,
            role,
            node,
            trained,
            at: 0,
            row_ptr_at: self.row_ptrs as u32,
            cols_at: self.columns as u32,
        };
        if tensor.has_pattern() {
            if cols > MAX_SPARSE_COLUMNS {
                return Err(limit("columns of a sparse weight", MAX_SPARSE_COLUMNS, cols));
            }
            self.row_ptrs += tensor.pattern_rows() + 1;
            self.columns += tensor.pattern_columns();
        }
        self.values += tensor.live as usize;
        self.size += tensor.size();
        if trained {
            self.live += tensor.live as usize;
        }
        self.tensors.push(tensor).map_err(|_| limit("number of tensors", MAX_TENSORS as u64, MAX_TENSORS as u64 + 1))
    }

    /// Trained values first, so that what belongs to them alone (the values as they came, moments) is one contiguous array.
    fn place_values(&mut self) {
        for trained in [true, false] {
            for tensor in self.tensors.iter_mut().filter(|t| t.trained == trained) {
                tensor.at = self.stored as u32;
                self.stored += tensor.stored();
            }
            if trained {
                self.trained = self.stored;
            }
        }
    }

    /// Shape of what a source brings: 0 is the example, `i + 1` node `i`.
    pub fn shape_of(&self, source: u8) -> Shape {
        match usize::from(source).checked_sub(1).and_then(|s| self.nodes.get(s)) {
            Some(node) => node.output,
            None => self.input,
        }
    }

    /// Shape of a node's first input.
    pub fn input_of(&self, node: &Node) -> Shape {
        self.shape_of(node.sources[0])
    }

    /// A node's tensors.
    pub fn tensors_of(&self, node: &Node) -> &[Tensor] {
        &self.tensors[usize::from(node.first_tensor)..][..usize::from(node.tensors)]
    }

    /// True if a gradient must reach the source.
    pub(crate) fn is_active(&self, source: u8) -> bool {
        usize::from(source).checked_sub(1).and_then(|s| self.nodes.get(s)).is_some_and(|n| n.active)
    }

    /// Where a source's numbers begin, in features of one example.
    pub(crate) fn place_of(&self, source: u8) -> usize {
        usize::from(source).checked_sub(1).and_then(|s| self.nodes.get(s)).map_or(0, |n| n.y as usize)
    }

    /// Number of classes, or of outputs of each position.
    pub fn classes(&self) -> u32 {
        self.output.channels
    }

    /// Targets of one example: a class for each position, or a number for each output.
    pub fn targets(&self, loss: Loss) -> usize {
        match loss {
            Loss::SoftmaxCrossEntropy => self.output.positions(),
            Loss::BinaryCrossEntropy | Loss::MeanSquaredError => self.output.features(),
        }
    }

    /// Activations of one example: the length of `activations` for a batch of 1.
    pub fn activation_features(&self) -> usize {
        self.activations
    }

    /// Gradients of activations of one example: the length of `gradients` for a batch of 1.
    pub fn gradient_features(&self) -> usize {
        self.gradients
    }

    /// True if the patterns are what the kernels rely on: rows that add up, columns that ascend and lie inside.
    pub(crate) fn patterns_are_valid(&self, row_ptrs: &[u32], columns: &[u16]) -> bool {
        self.tensors.iter().filter(|t| t.has_pattern()).all(|tensor| {
            let pattern = tensor.pattern(row_ptrs, columns);
            let rows = pattern.row_ptr;
            let ends = rows.first() == Some(&0) && rows.last() == Some(&(pattern.cols.len() as u32));
            ends && rows.len() == tensor.pattern_rows() + 1
                && rows.is_sorted()
                && rows.windows(2).all(|w| {
                    let row = &pattern.cols[w[0] as usize..w[1] as usize];
                    row.is_sorted_by(|a, b| a < b) && row.last().is_none_or(|&c| u32::from(c) < tensor.cols)
                })
        })
    }

    /// Widest weight matrix, columns.
    pub(crate) fn widest(&self) -> usize {
        self.tensors.iter().map(|t| t.cols as usize).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
