//! The sparsity types: what lives or dies together (JaxPruner `sparsity_types.py`; Lee et al. 2023, arXiv 2304.14082).

use super::{BitmapMut, Scores, SparsityError, block, channel, n_of_m, num_ones, top_k_mask_by};

/// How the scores of a block become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean over the entries that the block really has. Upstream's default.
    Mean,
    /// The highest.
    Max,
}

/// What lives or dies together. Axes count from 0; negative ones from the last, which is -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SparsityType {
    /// Each param for itself.
    Unstructured,
    /// Exactly `n` of every `m` entries in a row along `axis` live, whatever the sparsity, unless that is 0. Of equal
    /// scores the **highest** index wins, unlike everywhere else.
    NOfM {
        /// Those that live, `1..=m`.
        n: u16,
        /// The length of a group; divides the length of the axis.
        m: u16,
        /// Along which the groups lie.
        axis: i32,
    },
    /// Blocks of the first two axes, with all entries of the others. A tensor with one axis is one row. Blocks at the
    /// edge are as large as what is left for them.
    Block {
        /// Rows of a block, at least 1.
        rows: u16,
        /// Columns of a block, at least 1.
        cols: u16,
        /// How its scores become one.
        pooling: Pooling,
    },
    /// All entries with the same index on `axis`, scored by their sum.
    Channel {
        /// The axis of the channels.
        axis: i32,
    },
}

impl SparsityType {
    /// Words of scratch that [`mask`](Self::mask) needs for a tensor of this shape.
    ///
    /// # Errors
    /// [`SparsityError`] where the type does not fit the shape.
    pub fn scratch_len(self, shape: &[usize]) -> Result<usize, SparsityError> {
        let size = size_of(shape)?;
        Ok(match self {
            Self::Unstructured => size,
            Self::NOfM { n, m, axis } => n_of_m::Groups::new(n, m, axis, shape)?.scratch_len(),
            Self::Block { rows, cols, .. } => block::Blocks::new(rows, cols, shape)?.scratch_len(),
            Self::Channel { axis } => channel::Channels::new(axis, shape)?.scratch_len(),
        })
    }

    /// Sets in `mask` what lives of a tensor at `sparsity` and clears the rest; gives the number of ones.
    ///
    /// Of the units of the type (params, blocks, channels) [`num_ones`] live, those with the highest scores, ties to the
    /// lowest index. At sparsity 0 all live. A unit whose score is NaN never lives otherwise. Sums over a block or a
    /// channel are f32, added in rising flat index; a mean is such a sum divided by the number of entries, and the sum
    /// itself where all blocks of the tensor are whole. Expected time is linear in the entries.
    ///
    /// # Errors
    /// [`SparsityError`]: sparsity outside `[0, 1]`, a shape that has not one entry per score, a mask of another length,
    /// a type that does not fit the shape, scratch shorter than [`scratch_len`](Self::scratch_len).
    ///
    /// ```
    /// use siskin::model::sparsity::{BitmapMut, SparsityType, magnitude_scores};
    /// let params = [0.3f32, -0.1, 0.2, -0.4, 0.1, 0.1, 0.1, 0.1];
    /// let (mut scratch, mut bits) = ([0u32; 4], [0u8; 1]);
    /// let mut mask = BitmapMut::new(&mut bits, 8).unwrap();
    /// let two_of_four = SparsityType::NOfM { n: 2, m: 4, axis: -1 };
    /// assert_eq!(two_of_four.mask(&magnitude_scores(&params), &[2, 4], 0.5, &mut scratch, &mut mask), Ok(4));
    /// assert_eq!(bits, [0b1100_1001]);
    /// ```
    pub fn mask<F: Fn(usize) -> f32>(
        self,
        scores: &Scores<F>,
        shape: &[usize],
        sparsity: f32,
        scratch: &mut [u32],
        mask: &mut BitmapMut<'_>,
    ) -> Result<usize, SparsityError> {
        let size = size_of(shape)?;
        if size != scores.len() {
            return Err(SparsityError::ShapeSize { expected: scores.len(), got: size });
        }
        if mask.len() != size {
            return Err(SparsityError::MaskLength { expected: size, got: mask.len() });
        }
        // Refuses a sparsity that is out of range, and a type that does not fit even where all live.
        num_ones(size, sparsity)?;
        let expected = self.scratch_len(shape)?;
        if sparsity == 0.0 {
            mask.fill(true);
            return Ok(size);
        }
        let got = scratch.len();
        let scratch = scratch.get_mut(..expected).ok_or(SparsityError::ScratchTooSmall { expected, got })?;
        match self {
            Self::Unstructured => top_k_mask_by(|i| scores.of(i), sparsity, scratch, mask),
            Self::NOfM { n, m, axis } => n_of_m::Groups::new(n, m, axis, shape)?.mask(scores, scratch, mask),
            Self::Block { rows, cols, pooling } => {
                block::Blocks::new(rows, cols, shape)?.mask(scores, pooling, sparsity, scratch, mask)
            }
            Self::Channel { axis } => channel::Channels::new(axis, shape)?.mask(scores, sparsity, scratch, mask),
        }
    }
}

/// Entries of a tensor.
pub(super) fn size_of(shape: &[usize]) -> Result<usize, SparsityError> {
    let size = if shape.contains(&0) { Some(0) } else { shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) };
    match size {
        Some(size) if u32::try_from(size).is_ok() => Ok(size),
        _ => Err(SparsityError::TooManyScores { got: size.unwrap_or(usize::MAX) }),
    }
}

/// A tensor seen along one of its axes: entry `i` has the index `i / inner % length` on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Along {
    /// Entries of all axes before.
    pub(super) outer: usize,
    pub(super) length: usize,
    /// Entries of all axes after.
    pub(super) inner: usize,
}

impl Along {
    pub(super) fn new(axis: i32, shape: &[usize]) -> Result<Self, SparsityError> {
        let rank = shape.len();
        let from_front = if axis < 0 { i64::from(axis) + rank as i64 } else { i64::from(axis) };
        let split = usize::try_from(from_front).ok().and_then(|at| shape.split_at_checked(at));
        let Some((before, [length, after @ ..])) = split else {
            return Err(SparsityError::NoSuchAxis { rank, got: axis });
        };
        Ok(Self { outer: size_of(before)?, length: *length, inner: size_of(after)? })
    }
}
