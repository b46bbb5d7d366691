//! Global pruning: one ranking over all tensors, so that each gets the sparsity that its scores earn it.
//!
//! JaxPruner's `GlobalMagnitudePruning` and `GlobalSaliencyPruning` (Lee et al. 2023, arXiv 2304.14082): the scores of a
//! tensor are divided by their L2 norm plus 1e-8, unless the caller says not to, and ranked together in the order in which
//! the tensors are given (upstream's is that of their sorted names). Which tensors take part is the caller's decision:
//! upstream leaves out those with a single axis ([`is_prunable`](super::is_prunable)). Only unstructured.

use super::top_k::{first, rank, rising};
use super::{BitmapMut, Scores, SparsityError, num_ones};

/// Added to the norm, so that a tensor of zeros has scores of zero.
const EPSILON: f32 = 1e-8;

/// A tensor that takes part, and where its mask goes.
#[derive(Debug)]
pub struct GlobalTensor<'m, F> {
    scores: Scores<F>,
    mask: BitmapMut<'m>,
    /// Index of its first score among those of all tensors.
    start: usize,
    /// What its scores are divided by.
    scale: f32,
}

impl<'m, F: Fn(usize) -> f32> GlobalTensor<'m, F> {
    /// Puts scores and mask together.
    ///
    /// # Errors
    /// [`SparsityError::MaskLength`] unless there is a bit per score.
    pub fn new(scores: Scores<F>, mask: BitmapMut<'m>) -> Result<Self, SparsityError> {
        if mask.len() != scores.len() {
            return Err(SparsityError::MaskLength { expected: scores.len(), got: mask.len() });
        }
        Ok(Self { scores, mask, start: 0, scale: 1.0 })
    }

    /// The mask, to read.
    pub fn mask(&self) -> &BitmapMut<'m> {
        &self.mask
    }

    /// L2 norm of the scores that are numbers, in f64 and rising index, rounded to f32.
    fn norm(&self) -> f32 {
        let numbers = (0..self.scores.len()).map(|i| f64::from(self.scores.of(i))).filter(|s| !s.is_nan());
        libm::sqrt(numbers.map(|s| s * s).sum()) as f32
    }

    /// Score `i` of all tensors, which is one of this one's.
    fn score(&self, i: u32) -> f32 {
        let score = self.scores.of(i as usize - self.start);
        // Infinity over infinity is NaN, and would lose to 0.
        if self.scale.is_infinite() && !score.is_nan() { 0.0 } else { score / self.scale }
    }
}

/// Sets in the masks the [`num_ones`] highest of the scores of all tensors together and clears the rest; gives the number
/// of ones. Of equal scores the one of the earlier tensor wins, and within a tensor the lowest index. A tensor may lose all
/// its params. The scores of a tensor whose norm is infinite count as 0.
///
/// `scratch` lends a `u32` per param of all tensors. Expected time is linear in them, times the logarithm of the number of
/// tensors.
///
/// # Errors
/// [`SparsityError`]: sparsity outside `[0, 1]`, scratch too small, more than `u32::MAX` params.
pub fn global_mask<F: Fn(usize) -> f32>(
    tensors: &mut [GlobalTensor<'_, F>],
    normalize: bool,
    sparsity: f32,
    scratch: &mut [u32],
) -> Result<usize, SparsityError> {
    let mut size = 0usize;
    for tensor in tensors.iter_mut() {
        tensor.start = size;
        size = size.saturating_add(tensor.scores.len());
    }
    let k = num_ones(size, sparsity)?;
    if sparsity == 0.0 {
        tensors.iter_mut().for_each(|t| t.mask.fill(true));
        return Ok(size);
    }
    let indices = rising(scratch, size)?;
    for tensor in tensors.iter_mut() {
        tensor.scale = if normalize { tensor.norm() + EPSILON } else { 1.0 };
        tensor.mask.fill(false);
    }
    let ranked = &*tensors;
    let score = |i: u32| ranked[owner(ranked, i)].score(i);
    first(indices, k, |a, b| rank(score(a), score(b)).then(a.cmp(&b)));
    let mut ones = 0;
    for &i in indices.iter().take(k) {
        let at = owner(tensors, i);
        let tensor = &mut tensors[at];
        let live = !tensor.score(i).is_nan();
        tensor.mask.set(i as usize - tensor.start, live);
        ones += usize::from(live);
    }
    Ok(ones)
}

/// The tensor that has score `i`: the last that starts at or before it.
fn owner<F>(tensors: &[GlobalTensor<'_, F>], i: u32) -> usize {
    tensors.partition_point(|t| t.start <= i as usize).saturating_sub(1)
}
