//! Block sparsity: rectangles of the first two axes live or die together (JaxPruner `Block`,
//! `topk_block_mask_calculator`).
//!
//! Upstream pads a ragged edge by `length % block` entries where `block - length % block` are missing, so that a 5 x 4
//! tensor in 4 x 4 blocks gets a 4 x 4 mask. Here the blocks at the edge are what is left of the tensor, scored by the
//! mean (or maximum) of their real entries; wherever upstream's padding is right, the masks agree.

use super::sparsity_type::size_of;
use super::top_k::{highest, rising};
use super::{BitmapMut, Pooling, Scores, SparsityError, num_ones};

/// The blocks of a tensor that is `height` x `width` x `depth`.
pub(super) struct Blocks {
    height: usize,
    width: usize,
    depth: usize,
    rows: usize,
    cols: usize,
}

impl Blocks {
    pub(super) fn new(rows: u16, cols: u16, shape: &[usize]) -> Result<Self, SparsityError> {
        if rows == 0 || cols == 0 {
            return Err(SparsityError::EmptyBlock { rows, cols });
        }
        let (height, width, depth) = match *shape {
            [] => (1, 1, 1),
            [width] => (1, width, 1),
            [height, width, ref rest @ ..] => (height, width, size_of(rest)?),
        };
        Ok(Self { height, width, depth, rows: rows.into(), cols: cols.into() })
    }

    /// Blocks side by side.
    fn across(&self) -> usize {
        self.width.div_ceil(self.cols)
    }

    fn count(&self) -> usize {
        self.height.div_ceil(self.rows).saturating_mul(self.across())
    }

    /// An index and a pooled score per block.
    pub(super) fn scratch_len(&self) -> usize {
        2usize.saturating_mul(self.count())
    }

    /// First row and column beyond, first column and column beyond.
    fn bounds(&self, block: usize) -> [usize; 4] {
        let (top, left) = (block / self.across() * self.rows, block % self.across() * self.cols);
        [top, (top + self.rows).min(self.height), left, (left + self.cols).min(self.width)]
    }

    /// Calls `each` with the flat indices of a block, rising.
    fn each_entry(&self, block: usize, mut each: impl FnMut(usize)) {
        let [top, bottom, left, right] = self.bounds(block);
        for row in top..bottom {
            let from = (row * self.width + left) * self.depth;
            (from..from + (right - left) * self.depth).for_each(&mut each);
        }
    }

    fn pooled<F: Fn(usize) -> f32>(&self, block: usize, scores: &Scores<F>, pooling: Pooling) -> f32 {
        if pooling == Pooling::Max {
            let mut top = f32::NEG_INFINITY;
            self.each_entry(block, |i| {
                let score = scores.of(i);
                // A NaN stays: such a block is not better than one of numbers.
                if score > top || score.is_nan() {
                    top = score;
                }
            });
            return top;
        }
        let mut sum = 0.0f32;
        self.each_entry(block, |i| sum += scores.of(i));
        // Upstream divides only where a block is not whole; rounding the quotients of whole ones could make ties.
        if self.height.is_multiple_of(self.rows) && self.width.is_multiple_of(self.cols) {
            return sum;
        }
        let [top, bottom, left, right] = self.bounds(block);
        sum / ((bottom - top) * (right - left) * self.depth) as f32
    }

    pub(super) fn mask<F: Fn(usize) -> f32>(
        &self,
        scores: &Scores<F>,
        pooling: Pooling,
        sparsity: f32,
        scratch: &mut [u32],
        mask: &mut BitmapMut<'_>,
    ) -> Result<usize, SparsityError> {
        let (indices, pooled) = scratch.split_at_mut(self.count());
        for (block, slot) in pooled.iter_mut().enumerate() {
            *slot = self.pooled(block, scores, pooling).to_bits();
        }
        let k = num_ones(self.count(), sparsity)?;
        let indices = rising(indices, self.count())?;
        mask.fill(false);
        let mut ones = 0;
        for block in highest(indices, k, |block| f32::from_bits(pooled[block])) {
            self.each_entry(block, |i| {
                mask.set(i, true);
                ones += 1;
            });
        }
        Ok(ones)
    }
}
