//! The global model: dense params with a mask.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use siskin::checkin::{CheckpointError, LayerSpec, ModelSpec, Path, PlanError, Storage};
use siskin::model::kernel::BLOCK;
use siskin::model::sparsity::{Bitmap, DistributionError, SparsityError};
use siskin::model::{Graph, Role};

/// Why a model cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// The layers do not fit together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A sparsity outside its range.
    #[error(transparent)]
    Sparsity(#[from] SparsityError),
    /// A sparsity that cannot be shared out over the layers.
    #[error(transparent)]
    Distribution(#[from] DistributionError),
    /// Params or masks of another size.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Given params of another number.
    #[error("the model has {expected} params, {got} were given")]
    Length {
        /// The model's.
        expected: usize,
        /// Those given.
        got: usize,
    },
}

/// A tensor of the model, to look at.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Index of its layer.
    pub layer: usize,
    /// What it is to its layer.
    pub role: Role,
    /// True if devices train it.
    pub trained: bool,
    /// `[rows, columns]`.
    pub shape: [usize; 2],
    /// Its values, row-major.
    pub values: &'a [f32],
    /// Which of them live.
    pub live: &'a [bool],
}

/// A tensor's place in the model.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    layer: usize,
    role: Role,
    trained: bool,
    /// Never pruned, whatever its role.
    whole: bool,
    rows: usize,
    cols: usize,
}

/// A tensor that can be pruned.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matrix {
    /// Its first param in flat order.
    pub(super) start: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Its axes as [`TensorShape`](siskin::model::sparsity::TensorShape) wants them: a kernel's first.
    pub(super) axes: Vec<usize>,
}

impl Matrix {
    pub(super) fn size(&self) -> usize {
        self.rows * self.cols
    }
}

/// Dense params in flat order (layer after layer, within one as [`Role`] lists them), and which of them live.
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalModel {
    architecture: ModelSpec,
    params: Vec<f32>,
    live: Vec<bool>,
    tensors: Vec<Place>,
}

impl Place {
    fn size(&self) -> usize {
        self.rows * self.cols
    }
}

impl GlobalModel {
    /// Weights from the uniform distribution of He et al. 2015 (`+-sqrt(6 / fan_in)`), those of recurrent layers within
    /// `1 / sqrt(hidden)` and rows of embeddings within `sqrt(3)` (variance 1), scales and inverse deviations one, all others
    /// zero, nothing pruned. What `architecture` says of storage is ignored.
    ///
    /// # Errors
    /// [`ModelError::Plan`] if the layers do not fit together.
    pub fn new(architecture: &ModelSpec, seed: u64) -> Result<Self, ModelError> {
        let mut model = Self::with_params(architecture, None)?;
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut at = 0;
        for place in &model.tensors {
            let bound = match (place.role, model.architecture.layers[place.layer].spec) {
                (Role::Scale | Role::InverseDeviation, _) => {
                    model.params[at..at + place.size()].fill(1.0);
                    None
                }
                (role, _) if !role.prunes() => None,
                (_, LayerSpec::Gru { hidden, .. } | LayerSpec::Lstm { hidden, .. }) => {
                    Some(1.0 / libm::sqrt(f64::from(hidden)))
                }
                (_, LayerSpec::Embedding { .. }) => Some(libm::sqrt(3.0)),
                _ => Some(libm::sqrt(6.0 / place.cols as f64)),
            };
            for value in &mut model.params[at..at + place.size()] {
                // Drawn for every param, so that a tensor's numbers do not depend on what the ones before it are.
                let uniform = (rng.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0;
                if let Some(bound) = bound {
                    *value = (bound * (2.0 * uniform - 1.0)) as f32;
                }
            }
            at += place.size();
        }
        Ok(model)
    }

    /// The same architecture with given params in flat order.
    ///
    /// # Errors
    /// [`ModelError`] if their number is not the model's.
    pub fn from_params(architecture: &ModelSpec, params: Vec<f32>) -> Result<Self, ModelError> {
        Self::with_params(architecture, Some(params))
    }

    fn with_params(architecture: &ModelSpec, params: Option<Vec<f32>>) -> Result<Self, ModelError> {
        let architecture = with_storage(architecture, |_, size| Storage { live: size as u32, path: Path::Dense })?;
        let graph = Graph::new(&architecture)?;
        let place = |t: &siskin::model::Tensor| Place {
            layer: usize::from(t.node),
            role: t.role,
            trained: t.trained,
            whole: false,
            rows: t.rows as usize,
            cols: t.cols as usize,
        };
        let tensors = graph.tensors.iter().map(place).collect();
        let params = params.unwrap_or_else(|| vec![0.0; graph.size]);
        if params.len() != graph.size {
            return Err(ModelError::Length { expected: graph.size, got: params.len() });
        }
        Ok(Self { architecture, live: vec![true; graph.size], params, tensors })
    }

    /// The same model, in which pruning leaves the layers alone of whose index `whole` says so, and does not count them.
    #[must_use]
    pub fn with_whole_layers(mut self, whole: impl Fn(usize) -> bool) -> Self {
        self.tensors.iter_mut().for_each(|place| place.whole = whole(place.layer));
        self
    }

    /// Params of the layers that pruning is for: those that a sparsity counts.
    pub(super) fn counted(&self) -> usize {
        self.tensors.iter().filter(|place| !place.whole).map(Place::size).sum()
    }

    /// The layers; what they say of storage means nothing.
    pub fn architecture(&self) -> &ModelSpec {
        &self.architecture
    }

    /// Params in all.
    pub fn size(&self) -> usize {
        self.params.len()
    }

    /// Params that live.
    pub fn live(&self) -> usize {
        self.live.iter().filter(|l| **l).count()
    }

    /// Fraction of all params that is pruned.
    pub fn sparsity(&self) -> f64 {
        1.0 - self.live() as f64 / self.size() as f64
    }

    /// The params in flat order; pruned ones are zero.
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    pub(crate) fn params_mut(&mut self) -> &mut [f32] {
        &mut self.params
    }

    /// Which params a report carries, in flat order: those that live and train; one bit each, least significant first.
    pub fn mask(&self) -> Vec<u8> {
        let carried: Vec<bool> =
            self.tensors().flat_map(|t| t.live.iter().map(move |live| *live && t.trained)).collect();
        bitmap(&carried)
    }

    /// Params that a report carries.
    pub fn carried(&self) -> usize {
        self.tensors().filter(|t| t.trained).map(|t| t.live.iter().filter(|l| **l).count()).sum()
    }

    /// The tensors in flat order.
    pub fn tensors(&self) -> impl Iterator<Item = TensorView<'_>> {
        let mut at = 0;
        self.tensors.iter().map(move |place| {
            let range = at..at + place.size();
            at = range.end;
            TensorView {
                layer: place.layer,
                role: place.role,
                trained: place.trained,
                shape: [place.rows, place.cols],
                values: &self.params[range.clone()],
                live: &self.live[range],
            }
        })
    }

    /// The tensors that pruning is for, those of frozen layers too.
    pub(super) fn matrices(&self) -> Vec<Matrix> {
        let mut start = 0;
        let mut matrices = Vec::new();
        for place in &self.tensors {
            if place.role.prunes() && !place.whole {
                let axes = match self.architecture.layers[place.layer].spec {
                    LayerSpec::Conv2d { window, .. } => {
                        let [height, width] = window.kernel.map(usize::from);
                        vec![height, width, place.cols / (height * width), place.rows]
                    }
                    _ => vec![place.cols, place.rows],
                };
                matrices.push(Matrix { start, rows: place.rows, cols: place.cols, axes });
            }
            start += place.size();
        }
        matrices
    }

    /// Which params live, in flat order.
    pub(super) fn live_bits(&self) -> &[bool] {
        &self.live
    }

    /// Sets the mask of one matrix; what dies is assigned `0.0`.
    pub(super) fn set_live(&mut self, matrix: &Matrix, mask: Bitmap<'_>) {
        let range = matrix.start..matrix.start + matrix.size();
        for ((live, param), bit) in self.live[range.clone()].iter_mut().zip(&mut self.params[range]).zip(mask.iter()) {
            *live = bit;
            if !bit {
                *param = 0.0;
            }
        }
    }

    /// The plan's view of the model: how many weights of each layer live, and which loops run for that density: the dense
    /// ones above `crossover`, or above the measured one of the layer, its mask and `batch`. Below it, a pruned fully connected
    /// layer whose mask has whole 4x1 blocks runs over these, any other over compressed rows.
    ///
    /// # Errors
    /// Never in fact: the layers fitted together before.
    pub fn spec(&self, crossover: Option<f32>, batch: u16) -> Result<ModelSpec, PlanError> {
        let matrices: Vec<_> = self.tensors().filter(|t| t.role.prunes()).collect();
        with_storage(&self.architecture, |index, size| {
            let matrix = &matrices[index];
            let live = matrix.live.iter().filter(|l| **l).count();
            let spec = &self.architecture.layers[matrix.layer].spec;
            let blocks = live < size && matches!(spec, LayerSpec::Dense { .. }) && has_blocks(matrix);
            let measured = match blocks {
                true => Path::block_crossover(batch),
                false => Path::crossover(batch, matches!(spec, LayerSpec::Conv2d { .. })),
            };
            let dense = live as f64 > f64::from(crossover.unwrap_or(measured)) * size as f64;
            let path = match (dense, blocks) {
                (true, _) => Path::Dense,
                (_, true) => Path::Block,
                _ => Path::Sparse,
            };
            Storage { live: live as u32, path }
        })
    }

    /// Per tensor, values and mask bits, as a checkpoint carries them.
    pub(crate) fn parts(&self) -> Vec<(&[f32], Vec<u8>)> {
        self.tensors().map(|t| (t.values, bitmap(t.live))).collect()
    }
}

/// True if whole blocks of four outputs by one input live.
fn has_blocks(matrix: &TensorView<'_>) -> bool {
    let [rows, cols] = matrix.shape;
    let mut groups = matrix.live.chunks(BLOCK * cols.max(1));
    rows.is_multiple_of(BLOCK) && groups.all(|group| group.chunks(cols).all(|row| row == &group[..cols]))
}

/// One bit a param, least significant first.
pub(super) fn bitmap(live: &[bool]) -> Vec<u8> {
    live.chunks(8).map(|c| c.iter().enumerate().fold(0, |byte, (i, &l)| byte | u8::from(l) << i)).collect()
}

/// The same layers with another storage: `of(index of the matrix, entries)`.
fn with_storage(model: &ModelSpec, of: impl Fn(usize, usize) -> Storage) -> Result<ModelSpec, PlanError> {
    let mut model = model.clone();
    let storages = |model: &mut ModelSpec, of: &dyn Fn(usize) -> Storage| {
        let all = model.layers.iter_mut().flat_map(|layer| layer.spec.storages_mut());
        for (index, storage) in all.enumerate() {
            *storage = of(index);
        }
    };
    storages(&mut model, &|_| Storage { live: 1, path: Path::Dense });
    let graph = Graph::new(&model)?;
    let sizes: Vec<usize> = graph.tensors.iter().filter(|t| t.role.prunes()).map(|t| t.size()).collect();
    storages(&mut model, &|index| of(index, sizes[index]));
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::Pruning;
    use siskin::checkin::{Layer, Loss, Window};
    use siskin::model::sparsity::{Pooling, SparsityType};

    #[test]
    fn each_layer_takes_the_faster_loops_for_its_density_and_batch() {
        let weights = Storage { live: 1, path: Path::Dense };
        let (window, groups) = (Window::square(3, 1, 1), 1);
        let conv = LayerSpec::Conv2d { outputs: 8, groups, window, bias: false, weights };
        let dense = LayerSpec::Dense { outputs: 16, bias: false, weights };
        let layers = [conv, LayerSpec::Flatten, dense].map(Layer::from).into_iter().collect();
        let architecture = ModelSpec { input: [8, 8, 8], layers, loss: Loss::SoftmaxCrossEntropy };
        let mut model = GlobalModel::new(&architecture, 1).unwrap();
        let paths = |model: &GlobalModel, crossover, batch| {
            let spec = model.spec(crossover, batch).unwrap();
            let storages = spec.layers.iter().flat_map(|l| l.spec.storages().map(|s| s.path));
            storages.collect::<Vec<_>>()
        };
        assert_eq!(paths(&model, None, 8), [Path::Dense, Path::Dense]);
        model.prune(0.57).unwrap();
        // At 43 % live: between the crossovers of one example, of eight and of a convolution.
        assert_eq!(paths(&model, None, 1), [Path::Sparse, Path::Sparse]);
        assert_eq!(paths(&model, None, 8), [Path::Sparse, Path::Dense]);
        assert_eq!(paths(&model, None, 9), [Path::Sparse, Path::Dense]);
        assert_eq!(paths(&model, Some(0.0), 8), [Path::Dense, Path::Dense]);
        assert_eq!(paths(&model, Some(1.0), 1), [Path::Sparse, Path::Sparse]);
        let block = |sparsity| {
            let kind = SparsityType::Block { rows: 4, cols: 1, pooling: Pooling::Mean };
            let mut model = GlobalModel::new(&architecture, 1).unwrap();
            Pruning { kind, ..Pruning::at_once(sparsity) }.begin(&mut model).unwrap();
            model
        };
        // The same density in blocks; a convolution has no loops for them.
        assert_eq!(paths(&block(0.57), None, 1), [Path::Sparse, Path::Block]);
        assert_eq!(paths(&block(0.57), None, 8), [Path::Sparse, Path::Block]);
        assert_eq!(paths(&block(0.57), None, 3), [Path::Sparse, Path::Dense]);
        assert_eq!(paths(&block(0.2), None, 1), [Path::Dense, Path::Block]);
        assert_eq!(paths(&block(0.2), None, 8), [Path::Dense, Path::Dense]);
        assert_eq!(paths(&block(0.2), Some(1.0), 8), [Path::Sparse, Path::Block]);
        // Nothing is pruned: no blocks, whatever is asked for.
        assert_eq!(paths(&block(0.0), Some(1.0), 8), [Path::Sparse, Path::Sparse]);
    }
}
