//! Which algorithm, of which tensors, with what besides their params.

use super::{PruneError, Tensor};
use siskin::model::sparsity::{
    Bitmap, BitmapMut, Distribution, Draw, GlobalTensor, Pooling, SaliencySum, Scores, SparsityError, SparsityType,
    TensorShape, bitmap_bytes, distribute, fisher_scores, global_mask, is_prunable, magnitude_scores, random_scores,
    rigl_update, saliency_scores, set_update,
};

/// How a mask is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the sdk's modules")]
pub enum Algorithm {
    Magnitude,
    Saliency,
    Random,
    Fisher,
    GlobalMagnitude,
    GlobalSaliency,
    Snip,
    Set,
    RigL,
}

impl Algorithm {
    /// The name of each, as an option's value. Three more are other ways to train with the mask of one of these.
    pub const NAMES: [(&'static str, Self); 12] = [
        ("magnitude", Self::Magnitude),
        ("saliency", Self::Saliency),
        ("random", Self::Random),
        ("fisher", Self::Fisher),
        ("global-magnitude", Self::GlobalMagnitude),
        ("global-saliency", Self::GlobalSaliency),
        ("snip", Self::Snip),
        ("set", Self::Set),
        ("rigl", Self::RigL),
        ("magnitude-ste", Self::Magnitude),
        ("acdc", Self::Magnitude),
        ("static", Self::Random),
    ];

    /// Whether one ranking goes over all tensors.
    pub fn is_global(self) -> bool {
        matches!(self, Self::GlobalMagnitude | Self::GlobalSaliency | Self::Snip)
    }

    /// Whether a mask that is there is changed.
    pub fn is_update(self) -> bool {
        matches!(self, Self::Set | Self::RigL)
    }

    /// Whether it asks for gradients.
    pub fn uses_gradients(self) -> bool {
        matches!(self, Self::Saliency | Self::GlobalSaliency | Self::Snip | Self::RigL)
    }
}

/// `unstructured`, `N:M`, `block:RxC`, `block:RxC:max` or `channel`; groups and channels lie along `axis`, the last one
/// unless given.
///
/// # Errors
/// A message for any other text.
pub fn sparsity_type(text: &str, axis: Option<i32>) -> Result<SparsityType, String> {
    let axis = axis.unwrap_or(-1);
    let pair = |text: &str, between: char| -> Option<[u16; 2]> {
        let (a, b) = text.split_once(between)?;
        Some([a.parse().ok()?, b.parse().ok()?])
    };
    let parsed = match text {
        "unstructured" => Some(SparsityType::Unstructured),
        "channel" => Some(SparsityType::Channel { axis }),
        _ => match text.strip_prefix("block:") {
            Some(block) => {
                let (size, pooling) = match block.strip_suffix(":max") {
                    Some(size) => (size, Pooling::Max),
                    None => (block, Pooling::Mean),
                };
                pair(size, 'x').map(|[rows, cols]| SparsityType::Block { rows, cols, pooling })
            }
            None => pair(text, ':').map(|[n, m]| SparsityType::NOfM { n, m, axis }),
        },
    };
    let shown: String = text.chars().take(40).collect();
    parsed.ok_or(format!("{shown:?}: unstructured, 2:4, block:4x1, block:4x1:max and channel are of the known kinds"))
}

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// What lives or dies together.
    pub kind: SparsityType,
    /// Of all prunable params, in `[0, 1]`.
    pub sparsity: f64,
    /// Over the tensors; global algorithms have none.
    pub distribution: Distribution,
    /// Fraction of the live params that an update replaces.
    pub drop_fraction: f32,
    /// Of random numbers.
    pub seed: u64,
}

/// What the algorithms ask for besides params, each tensor by tensor as the params.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Gradients; several clients' for SNIP, one set otherwise.
    pub gradients: Vec<Vec<Vec<f32>>>,
    /// The diagonal of the Fisher information.
    pub fisher: Option<Vec<Vec<f32>>>,
    /// The masks to update.
    pub masks: Option<Vec<Vec<bool>>>,
}

/// The mask of each tensor; those with a single axis live whole.
///
/// # Errors
/// [`PruneError`]: an input that is missing, or a goal that cannot be.
pub fn masks(tensors: &[Tensor], inputs: &Inputs, goal: &Goal) -> Result<Vec<Vec<bool>>, PruneError> {
    let algorithm = goal.algorithm;
    let missing = |option: &str, what: &str| PruneError::new(option, format!("this algorithm asks for {what}"));
    if algorithm.uses_gradients() && inputs.gradients.is_empty() {
        return Err(missing("--gradients", "gradients"));
    }
    if algorithm == Algorithm::Fisher && inputs.fisher.is_none() {
        return Err(missing("--fisher", "the diagonal of the Fisher information"));
    }
    if algorithm.is_update() && inputs.masks.is_none() {
        return Err(missing("--masks", "masks to update"));
    }
    if algorithm.is_global() { together(tensors, inputs, goal) } else { one_by_one(tensors, inputs, goal) }
}

fn one_by_one(tensors: &[Tensor], inputs: &Inputs, goal: &Goal) -> Result<Vec<Vec<bool>>, PruneError> {
    let shapes: Vec<_> = tensors.iter().map(|t| TensorShape { shape: &t.shape, custom: None }).collect();
    let mut shares = vec![None; tensors.len()];
    distribute(goal.distribution, &shapes, goal.sparsity, &mut shares).map_err(|e| PruneError::new("--sparsity", e))?;
    let mask = |(index, (tensor, share)): (usize, (&Tensor, Option<f64>))| {
        let Some(share) = share else { return Ok(vec![true; tensor.values.len()]) };
        of_tensor(index, tensor, inputs, goal, share as f32)
            .map_err(|e| PruneError::new(format!("tensor {:?} {:?}", tensor.name, tensor.shape), e))
    };
    tensors.iter().zip(shares).enumerate().map(mask).collect()
}

fn of_tensor(
    index: usize,
    tensor: &Tensor,
    inputs: &Inputs,
    goal: &Goal,
    sparsity: f32,
) -> Result<Vec<bool>, SparsityError> {
    let (params, shape) = (&tensor.values[..], &tensor.shape[..]);
    let gradients = || inputs.gradients.first().map_or(&[][..], |g| &g[index]);
    let draw = Draw { seed: goal.seed, tensor: index as u32, step: 0 };
    let old = || inputs.masks.as_ref().map_or(&[][..], |m| &m[index]);
    let fraction = goal.drop_fraction;
    match goal.algorithm {
        Algorithm::Saliency => bits_of(goal.kind, &saliency_scores(params, gradients())?, shape, sparsity),
        Algorithm::Random => bits_of(goal.kind, &random_scores(params.len(), draw, None)?, shape, sparsity),
        Algorithm::Fisher => {
            let fisher = inputs.fisher.as_ref().map_or(&[][..], |f| &f[index]);
            bits_of(goal.kind, &fisher_scores(params, fisher)?, shape, sparsity)
        }
        Algorithm::Set => updated(old(), |old, s, m| set_update(params, draw, fraction, old, s, m)),
        Algorithm::RigL => updated(old(), |old, s, m| rigl_update(params, gradients(), fraction, old, s, m)),
        _ => bits_of(goal.kind, &magnitude_scores(params), shape, sparsity),
    }
}

/// One ranking over all tensors with more than one axis, in the order of their names.
fn together(tensors: &[Tensor], inputs: &Inputs, goal: &Goal) -> Result<Vec<Vec<bool>>, PruneError> {
    let error = |e| PruneError::new("all tensors", e);
    let prunable: Vec<usize> = (0..tensors.len()).filter(|&i| is_prunable(&tensors[i].shape)).collect();
    let pruned = match goal.algorithm {
        Algorithm::GlobalSaliency => {
            let gradients = &inputs.gradients[0];
            let scores = prunable.iter().map(|&i| saliency_scores(&tensors[i].values, &gradients[i]));
            ranked(scores.collect::<Result<_, _>>().map_err(error)?, goal.sparsity as f32)
        }
        Algorithm::Snip => snip(&prunable, tensors, inputs, goal.sparsity as f32),
        _ => ranked(prunable.iter().map(|&i| magnitude_scores(&tensors[i].values)).collect(), goal.sparsity as f32),
    };
    let mut masks: Vec<Vec<bool>> = tensors.iter().map(|t| vec![true; t.values.len()]).collect();
    for (index, mask) in prunable.into_iter().zip(pruned.map_err(error)?) {
        masks[index] = mask;
    }
    Ok(masks)
}

fn ranked<F: Fn(usize) -> f32>(scores: Vec<Scores<F>>, sparsity: f32) -> Result<Vec<Vec<bool>>, SparsityError> {
    let lengths: Vec<usize> = scores.iter().map(Scores::len).collect();
    let mut bytes: Vec<Vec<u8>> = lengths.iter().map(|n| vec![0; bitmap_bytes(*n)]).collect();
    let mut parts = Vec::new();
    for (scores, bytes) in scores.into_iter().zip(&mut bytes) {
        let len = scores.len();
        parts.push(GlobalTensor::new(scores, over(bytes, len)?)?);
    }
    global_mask(&mut parts, true, sparsity, &mut vec![0; lengths.iter().sum()])?;
    Ok(parts.iter().map(|p| p.mask().as_bitmap().iter().collect()).collect())
}

/// Every client counts as one example: files of gradients do not say of how many they are the mean.
fn snip(
    prunable: &[usize],
    tensors: &[Tensor],
    inputs: &Inputs,
    sparsity: f32,
) -> Result<Vec<Vec<bool>>, SparsityError> {
    let params: Vec<f32> = prunable.iter().flat_map(|&i| tensors[i].values.iter().copied()).collect();
    let mut sums = vec![0; params.len()];
    let mut saliency = SaliencySum::new(&mut sums);
    for client in &inputs.gradients {
        let gradients: Vec<f32> = prunable.iter().flat_map(|&i| client[i].iter().copied()).collect();
        saliency.add(&params, &gradients, 1)?;
    }
    let mut bytes = vec![0; bitmap_bytes(params.len())];
    let mut mask = over(&mut bytes, params.len())?;
    saliency.mask(sparsity, &mut vec![0; params.len()], &mut mask)?;
    let mut bits = mask.as_bitmap().iter();
    Ok(prunable.iter().map(|&i| bits.by_ref().take(tensors[i].values.len()).collect()).collect())
}

/// The mask of a type as bools.
pub(super) fn bits_of<F: Fn(usize) -> f32>(
    kind: SparsityType,
    scores: &Scores<F>,
    shape: &[usize],
    sparsity: f32,
) -> Result<Vec<bool>, SparsityError> {
    let mut scratch = vec![0; kind.scratch_len(shape)?];
    let mut bytes = vec![0; bitmap_bytes(scores.len())];
    let mut mask = over(&mut bytes, scores.len())?;
    kind.mask(scores, shape, sparsity, &mut scratch, &mut mask)?;
    Ok(mask.as_bitmap().iter().collect())
}

fn updated(
    old: &[bool],
    update: impl FnOnce(Bitmap<'_>, &mut [u32], &mut BitmapMut<'_>) -> Result<usize, SparsityError>,
) -> Result<Vec<bool>, SparsityError> {
    let mut bytes = vec![0; bitmap_bytes(old.len())];
    let mut mask = over(&mut bytes, old.len())?;
    old.iter().enumerate().filter(|(_, live)| **live).for_each(|(i, _)| _ = mask.set(i, true));
    let mut new_bytes = vec![0; bitmap_bytes(old.len())];
    let mut new = over(&mut new_bytes, old.len())?;
    update(mask.as_bitmap(), &mut vec![0; old.len()], &mut new)?;
    Ok(new.as_bitmap().iter().collect())
}

/// A mask over bytes of the right number.
fn over(bytes: &mut [u8], len: usize) -> Result<BitmapMut<'_>, SparsityError> {
    BitmapMut::new(bytes, len).map_err(|_| SparsityError::MaskLength { expected: len, got: len })
}
