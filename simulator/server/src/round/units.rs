//! What a mask that moves moves as one: params, or blocks of them.

use super::model::{Matrix, bitmap};
use siskin::model::sparsity::{Bitmap, BitmapMut, Pooling, Scores, SparsityError, SparsityType, drop_and_grow};

/// A matrix cut into blocks; those at the edges are what is left for them. Unstructured, each param is one.
pub(super) struct Units {
    /// `[rows, columns]` of the matrix.
    shape: [usize; 2],
    /// Of a block.
    height: usize,
    width: usize,
    pooling: Pooling,
}

impl Units {
    pub(super) fn new(kind: SparsityType, matrix: &Matrix) -> Self {
        let (height, width, pooling) = match kind {
            SparsityType::Block { rows, cols, pooling } => (usize::from(rows), usize::from(cols), pooling),
            _ => (1, 1, Pooling::Mean),
        };
        Self { shape: [matrix.rows, matrix.cols], height, width, pooling }
    }

    pub(super) fn count(&self) -> usize {
        let [rows, cols] = self.shape;
        rows.div_ceil(self.height) * cols.div_ceil(self.width)
    }

    /// The unit of an entry of the matrix.
    fn of(&self, entry: usize) -> usize {
        let [_, cols] = self.shape;
        entry / cols / self.height * cols.div_ceil(self.width) + entry % cols / self.width
    }

    /// Absolute values of params, as the sparsity type pools them: the mean of a unit, or the largest.
    pub(super) fn magnitudes(&self, params: &[f32]) -> Vec<f32> {
        let (mut pooled, mut sizes) = (vec![0.0f32; self.count()], vec![0u32; self.count()]);
        for (entry, param) in params.iter().enumerate() {
            let unit = self.of(entry);
            pooled[unit] = match self.pooling {
                Pooling::Mean => pooled[unit] + param.abs(),
                Pooling::Max => pooled[unit].max(param.abs()),
            };
            sizes[unit] += 1;
        }
        if self.pooling == Pooling::Mean {
            pooled.iter_mut().zip(&sizes).for_each(|(sum, size)| *sum /= *size as f32);
        }
        pooled
    }

    /// Sums over the entries of each unit.
    pub(super) fn sums(&self, levels: &[u64]) -> Vec<u64> {
        let mut sums = vec![0; self.count()];
        levels.iter().enumerate().for_each(|(entry, level)| sums[self.of(entry)] += level);
        sums
    }

    /// Which units live: those of which any entry does.
    pub(super) fn live(&self, mask: Bitmap<'_>) -> Vec<bool> {
        let mut live = vec![false; self.count()];
        mask.ones().for_each(|entry| live[self.of(entry)] = true);
        live
    }

    /// [`drop_and_grow`] of units.
    pub(super) fn drop_and_grow<G: Fn(usize) -> f32>(
        &self,
        keep: &[f32],
        grow: &Scores<G>,
        fraction: f32,
        old: Bitmap<'_>,
        scratch: &mut [u32],
        new: &mut BitmapMut<'_>,
    ) -> Result<(), SparsityError> {
        let count = self.count();
        let old = bitmap(&self.live(old));
        let mut bits = vec![0; old.len()];
        let (Ok(old), Ok(mut moved)) = (Bitmap::new(&old, count), BitmapMut::new(&mut bits, count)) else {
            unreachable!("made for as many bits")
        };
        let keep = Scores::new(count, |i| keep[i]);
        drop_and_grow(&keep, grow, fraction, old, scratch, &mut moved)?;
        let moved = moved.as_bitmap();
        for entry in 0..new.len() {
            new.set(entry, moved.get(self.of(entry)) == Some(true));
        }
        Ok(())
    }
}
