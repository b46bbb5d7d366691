//! The network's shapes and where its numbers lie, computed from a plan before any memory is touched.

use super::kernel::ConvGeometry;
use crate::checkin::{LayerSpec, MAX_LAYERS, ModelSpec, Path, PlanError, Storage};
use heapless::Vec;

/// Tensors of a network: a weight and a bias for each layer that has parameters.
pub const MAX_TENSORS: usize = 2 * MAX_LAYERS;

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
        self.channels as usize * self.height as usize * self.width as usize
    }
}

/// One parameter tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tensor {
    /// Rows: outputs of a weight, 1 for a bias.
    pub rows: u32,
    /// Columns: inputs (times kernel) of a weight, outputs for a bias.
    pub cols: u32,
    /// Entries that are not pruned.
    pub live: u32,
    /// Which loops run over it.
    pub path: Path,
    /// First entry in the arrays of stored values.
    pub(crate) at: usize,
    /// First row pointer in the pattern, if there is one.
    pub(crate) row_ptr_at: usize,
    /// First column in the pattern, if there is one.
    pub(crate) cols_at: usize,
}

impl Tensor {
    /// `rows * cols`.
    pub const fn size(&self) -> usize {
        self.rows as usize * self.cols as usize
    }

    /// Values held in memory: the live ones, or all of them where the dense loops run.
    pub const fn stored(&self) -> usize {
        match self.path {
            Path::Dense => self.size(),
            Path::Sparse => self.live as usize,
        }
    }

    /// True if the live entries are listed in a pattern (compressed rows).
    pub const fn has_pattern(&self) -> bool {
        matches!(self.path, Path::Sparse) || (self.live as usize) < self.size()
    }

    /// True if pruned entries are held at zero in a dense array.
    pub const fn is_masked(&self) -> bool {
        matches!(self.path, Path::Dense) && (self.live as usize) < self.size()
    }
}

/// What a layer does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    /// Fully connected.
    Dense,
    /// Convolution.
    Conv(ConvGeometry),
    /// Pooling.
    MaxPool {
        /// Height and width of the window.
        window: u32,
        /// Step between windows.
        stride: u32,
    },
    /// `max(x, 0)`, in place.
    Relu,
    /// A change of shape alone.
    Flatten,
}

/// A layer in place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// Shape of its input.
    pub input: Shape,
    /// Shape of its output.
    pub output: Shape,
    /// Its weight's index in [`Graph::tensors`]; the bias is the next one.
    pub weight: Option<u8>,
    /// Where its input begins, in features of one example.
    pub(crate) x: usize,
    /// Where its output begins; equal to `x` if it works in place.
    pub(crate) y: usize,
}

/// The network's shapes.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// The layers.
    pub nodes: Vec<Node, MAX_LAYERS>,
    /// The parameter tensors in the order in which they travel: weight, bias, weight, bias, ...
    pub tensors: Vec<Tensor, MAX_TENSORS>,
    /// Shape of an example.
    pub input: Shape,
    /// Number of logits.
    pub classes: u32,
    /// Values held in memory, all tensors.
    pub stored: usize,
    /// Entries that are not pruned, all tensors: what a report carries.
    pub live: usize,
    /// Entries in all, pruned ones too.
    pub size: usize,
    /// Row pointers of all patterns.
    pub(crate) row_ptrs: usize,
    /// Columns of all patterns.
    pub(crate) columns: usize,
    /// Activations of one example, all layers.
    pub(crate) activations: usize,
    /// Longest gradient of an activation that is needed, features of one example.
    pub(crate) gradient: usize,
}

impl Graph {
    /// Lays out a network.
    ///
    /// # Errors
    /// [`PlanError::Layer`] names the layer that does not fit and both numbers; [`PlanError::Empty`] if there is nothing
    /// to train.
    pub fn new(model: &ModelSpec) -> Result<Self, PlanError> {
        let mut graph = Self::empty();
        graph.lay_out(model)?;
        Ok(graph)
    }

    /// Nothing yet.
    pub(crate) const fn empty() -> Self {
        Self {
            nodes: Vec::new(),
            tensors: Vec::new(),
            input: Shape { channels: 0, height: 0, width: 0 },
            classes: 0,
            stored: 0,
            live: 0,
            size: 0,
            row_ptrs: 0,
            columns: 0,
            activations: 0,
            gradient: 0,
        }
    }

    /// [`new`](Self::new), in place: a graph has about 3 KiB, which a small stack has no room to move around.
    #[inline(never)]
    pub(crate) fn lay_out(&mut self, model: &ModelSpec) -> Result<(), PlanError> {
        let [channels, height, width] = model.input.map(u32::from);
        let input = Shape { channels, height, width };
        let features = u64::from(channels) * u64::from(height) * u64::from(width);
        if features == 0 || features > MAX_FEATURES {
            return Err(PlanError::OutOfRange { field: "model.input", got: features as f32 });
        }
        let graph = self;
        *graph = Self::empty();
        (graph.input, graph.activations) = (input, input.features());
        let mut shape = input;
        let mut x = 0;
        for (index, layer) in model.layers.iter().enumerate() {
            let index = index as u8;
            let limit = |what, expected: u64, got: u64| PlanError::Layer {
                index,
                what,
                expected: expected.min(u64::from(u32::MAX)) as u32,
                got: got.min(u64::from(u32::MAX)) as u32,
            };
            let (op, output, weights) = shaped(layer, shape, &limit)?;
            let features = u64::from(output.channels) * u64::from(output.height) * u64::from(output.width);
            if features == 0 || features > MAX_FEATURES {
                return Err(limit("features of its output", MAX_FEATURES, features));
            }
            let weight = match weights {
                None => None,
                Some((cols, storage)) => Some(graph.add_parameters(output.channels, cols, storage, &limit)?),
            };
            let in_place = matches!(op, Op::Relu | Op::Flatten);
            let y = if in_place { x } else { graph.activations };
            if !in_place {
                graph.activations += features as usize;
            }
            if graph.activations as u64 > 4 * MAX_FEATURES {
                return Err(limit("activations up to here", 4 * MAX_FEATURES, graph.activations as u64));
            }
            let node = Node { op, input: shape, output, weight, x, y };
            graph.nodes.push(node).map_err(|_| limit("number of layers", MAX_LAYERS as u64, u64::from(index)))?;
            if !graph.tensors.is_empty() {
                graph.gradient = graph.gradient.max(features as usize);
            }
            (shape, x) = (output, y);
        }
        if graph.tensors.is_empty() {
            return Err(PlanError::Empty);
        }
        if shape.height != 1 || shape.width != 1 {
            let index = graph.nodes.len() as u8 - 1;
            let got = shape.height * shape.width;
            return Err(PlanError::Layer { index, what: "height * width of the last output", expected: 1, got });
        }
        graph.classes = shape.channels;
        Ok(())
    }

    fn add_parameters(
        &mut self,
        rows: u32,
        cols: u64,
        storage: Storage,
        limit: &impl Fn(&'static str, u64, u64) -> PlanError,
    ) -> Result<u8, PlanError> {
        let size = u64::from(rows) * cols;
        let live = u64::from(storage.live);
        if live > size || live == 0 {
            return Err(limit("live weights", size, live));
        }
        if self.size as u64 + size + u64::from(rows) > MAX_VALUES {
            return Err(limit("parameters up to here", MAX_VALUES, self.size as u64 + size));
        }
        let weight = Tensor {
            rows,
            cols: cols as u32,
            live: storage.live,
            path: storage.path,
            at: self.stored,
            row_ptr_at: self.row_ptrs,
            cols_at: self.columns,
        };
        if weight.has_pattern() {
            if cols > MAX_SPARSE_COLUMNS {
                return Err(limit("columns of a sparse weight", MAX_SPARSE_COLUMNS, cols));
            }
            self.row_ptrs += rows as usize + 1;
            self.columns += storage.live as usize;
        }
        self.stored += weight.stored();
        let bias = Tensor {
            rows: 1,
            cols: rows,
            live: rows,
            path: Path::Dense,
            at: self.stored,
            row_ptr_at: self.row_ptrs,
            cols_at: self.columns,
        };
        self.stored += bias.stored();
        for tensor in [&weight, &bias] {
            self.live += tensor.live as usize;
            self.size += tensor.size();
        }
        let index = self.tensors.len() as u8;
        let _ = self.tensors.push(weight);
        let _ = self.tensors.push(bias);
        Ok(index)
    }

    /// Activations of one example, all layers: the length of `activations` for a batch of 1.
    pub fn activation_features(&self) -> usize {
        self.activations
    }

    /// Multiply-adds of one example: forward, and the whole training step.
    pub fn multiply_adds(&self) -> (u64, u64) {
        let (mut forward, mut step, mut first) = (0, 0, true);
        for node in &self.nodes {
            let Some(weight) = node.weight else { continue };
            let weight = &self.tensors[weight as usize];
            let positions = u64::from(node.output.height) * u64::from(node.output.width);
            let once = weight.stored() as u64 * positions;
            forward += once;
            // Forward and the weight's gradient; the gradient of the input is not needed for the first of them.
            step += if first { 2 * once } else { 3 * once };
            first = false;
        }
        (forward, step)
    }

    /// True if the patterns are what the kernels rely on: rows that add up, columns that ascend and lie inside.
    pub(crate) fn patterns_are_valid(&self, row_ptrs: &[u32], columns: &[u16]) -> bool {
        self.tensors.iter().filter(|t| t.has_pattern()).all(|tensor| {
            let pattern = tensor.pattern(row_ptrs, columns);
            let rows = pattern.row_ptr;
            let ends = rows.first() == Some(&0) && rows.last() == Some(&tensor.live);
            ends && rows.is_sorted()
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

type Shaped = (Op, Shape, Option<(u64, Storage)>);

fn shaped(
    layer: &LayerSpec,
    input: Shape,
    limit: &impl Fn(&'static str, u64, u64) -> PlanError,
) -> Result<Shaped, PlanError> {
    let window = |kernel: u8, stride: u8, padding: u8| -> Result<(u32, u32), PlanError> {
        let (kernel, stride, padding) = (u32::from(kernel), u32::from(stride), u32::from(padding));
        if stride == 0 {
            return Err(limit("stride (at least 1)", 1, 0));
        }
        let (h, w) = (input.height + 2 * padding, input.width + 2 * padding);
        if kernel == 0 || kernel > h.min(w) {
            return Err(limit("window", u64::from(h.min(w)), u64::from(kernel)));
        }
        if padding >= kernel {
            return Err(limit("padding", u64::from(kernel - 1), u64::from(padding)));
        }
        Ok(((h - kernel) / stride + 1, (w - kernel) / stride + 1))
    };
    Ok(match *layer {
        LayerSpec::Dense { outputs, weights } => {
            let output = Shape { channels: u32::from(outputs), height: 1, width: 1 };
            (Op::Dense, output, Some((input.features() as u64, weights)))
        }
        LayerSpec::Conv2d { outputs, kernel, stride, padding, weights } => {
            let (height, width) = window(kernel, stride, padding)?;
            let geometry = ConvGeometry {
                in_channels: input.channels as usize,
                in_h: input.height as usize,
                in_w: input.width as usize,
                out_channels: usize::from(outputs),
                kernel_h: usize::from(kernel),
                kernel_w: usize::from(kernel),
                stride: usize::from(stride),
                padding: usize::from(padding),
            };
            let cols = u64::from(input.channels) * u64::from(kernel) * u64::from(kernel);
            (Op::Conv(geometry), Shape { channels: u32::from(outputs), height, width }, Some((cols, weights)))
        }
        LayerSpec::MaxPool { window: size, stride } => {
            let (height, width) = window(size, stride, 0)?;
            let op = Op::MaxPool { window: u32::from(size), stride: u32::from(stride) };
            (op, Shape { channels: input.channels, height, width }, None)
        }
        LayerSpec::Relu => (Op::Relu, input, None),
        LayerSpec::Flatten => (Op::Flatten, Shape { channels: input.features() as u32, height: 1, width: 1 }, None),
    })
}
