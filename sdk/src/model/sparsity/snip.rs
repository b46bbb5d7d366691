//! SNIP over clients: one mask before the first round, from what the loss of each client says of each param.
//!
//! Lee, Ajanthan and Torr 2019, "SNIP: single-shot network pruning based on connection sensitivity" (arXiv 1810.02340,
//! equation 6): `|w * g|` over the sum of all `|w * g|`. Averaged over clients by their examples it gives one mask that all
//! of them share (Ohib et al. 2024, "SSFL", arXiv 2405.09037, average the saliency in the same way). The division is per
//! client, so that a client with large gradients has no more say than its examples give it.
//!
//! The mean is a sum of integers: it does not depend on the order in which the clients come.

use super::{BitmapMut, Scores, SparsityError, top_k_mask_by};

/// A client's saliency is a multiple of 2^-40 of its sum.
const GRID: f64 = (1u64 << 40) as f64;

/// Examples of all clients: their sum times 2^40, and the rounding, stays below 2^64.
const MAX_EXAMPLES: u32 = 1 << 23;

/// The saliency of all prunable params, summed over clients.
#[derive(Debug)]
pub struct SaliencySum<'a> {
    /// Each at most `2^40 * examples`.
    sums: &'a mut [u64],
    examples: u32,
}

impl<'a> SaliencySum<'a> {
    /// A sum over no client yet. `sums` has a word per param; its contents are ignored.
    pub fn new(sums: &'a mut [u64]) -> Self {
        sums.fill(0);
        Self { sums, examples: 0 }
    }

    /// Adds a client: its params (those of all others too: they are the initial ones), the gradient of its mean loss, and
    /// how many examples that is the mean of. A client whose saliency is 0 everywhere counts with its examples.
    ///
    /// # Errors
    /// [`SparsityError`]: other lengths, a saliency whose sum is not finite, more than 2^23 examples in all. Nothing is
    /// added then.
    pub fn add(&mut self, params: &[f32], gradients: &[f32], examples: u32) -> Result<(), SparsityError> {
        let expected = self.sums.len();
        if let Some(got) = [params.len(), gradients.len()].into_iter().find(|&len| len != expected) {
            return Err(SparsityError::Length { expected, got });
        }
        let all = u64::from(self.examples) + u64::from(examples);
        if all > u64::from(MAX_EXAMPLES) {
            return Err(SparsityError::TooManyExamples { expected: MAX_EXAMPLES, got: all });
        }
        let saliency = |(w, g): (&f32, &f32)| (f64::from(*w) * f64::from(*g)).abs();
        let total: f64 = params.iter().zip(gradients).map(saliency).sum();
        if !total.is_finite() {
            return Err(SparsityError::SaliencyNotFinite);
        }
        if total > 0.0 {
            for (sum, pair) in self.sums.iter_mut().zip(params.iter().zip(gradients)) {
                // A part over its whole is at most 1, up to a rounding that the bound of the examples leaves room for.
                *sum += libm::rint(saliency(pair) / total * GRID) as u64 * u64::from(examples);
            }
        }
        self.examples += examples;
        Ok(())
    }

    /// Examples of all clients so far.
    pub fn examples(&self) -> u32 {
        self.examples
    }

    /// SNIP's mask: the highest sums of all params together, ties to the lowest index; gives the number of ones.
    ///
    /// # Errors
    /// [`SparsityError`]: a mask of another length, and what [`top_k_mask_by`] refuses.
    pub fn mask(&self, sparsity: f32, scratch: &mut [u32], mask: &mut BitmapMut<'_>) -> Result<usize, SparsityError> {
        if mask.len() != self.sums.len() {
            return Err(SparsityError::MaskLength { expected: self.sums.len(), got: mask.len() });
        }
        top_k_mask_by(|i| self.sums[i] as f32, sparsity, scratch, mask)
    }

    /// The sums, for other sparsity types.
    pub fn scores(&self) -> Scores<impl Fn(usize) -> f32> {
        Scores::new(self.sums.len(), |i| self.sums[i] as f32)
    }
}
