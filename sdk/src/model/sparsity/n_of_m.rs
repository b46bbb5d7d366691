//! N:M sparsity: `n` of every `m` neighbours live (Mishra et al. 2021, arXiv 2104.08378: 2:4 on GPUs; conventions of
//! JaxPruner's `topk_n_by_m_mask_calculator`).

use super::sparsity_type::Along;
use super::top_k::{first, rank};
use super::{BitmapMut, Scores, SparsityError};

/// The groups of a tensor.
pub(super) struct Groups {
    along: Along,
    n: usize,
    /// Divides `along.length`.
    m: usize,
}

impl Groups {
    pub(super) fn new(n: u16, m: u16, axis: i32, shape: &[usize]) -> Result<Self, SparsityError> {
        if n == 0 || n > m {
            return Err(SparsityError::NOfM { n, m });
        }
        let along = Along::new(axis, shape)?;
        let (n, m) = (usize::from(n), usize::from(m));
        if along.length.is_multiple_of(m) {
            Ok(Self { along, n, m })
        } else {
            Err(SparsityError::NotDivisible { expected: m, got: along.length })
        }
    }

    /// The indices of one group.
    pub(super) fn scratch_len(&self) -> usize {
        self.m
    }

    pub(super) fn mask<F: Fn(usize) -> f32>(
        &self,
        scores: &Scores<F>,
        scratch: &mut [u32],
        mask: &mut BitmapMut<'_>,
    ) -> Result<usize, SparsityError> {
        let Along { outer, length, inner } = self.along;
        let mut ones = 0;
        mask.fill(false);
        for front in (0..outer).map(|o| o * length * inner) {
            for start in (0..length).step_by(self.m).map(|j| front + j * inner) {
                for from in start..start + inner {
                    for (slot, j) in scratch.iter_mut().zip(0..) {
                        *slot = (from + j * inner) as u32;
                    }
                    // The highest index of equals: upstream takes the last n of a rising stable sort.
                    first(scratch, self.n, |a, b| rank(scores.of(a as usize), scores.of(b as usize)).then(b.cmp(&a)));
                    for &i in scratch.iter().take(self.n) {
                        let live = !scores.of(i as usize).is_nan();
                        mask.set(i as usize, live);
                        ones += usize::from(live);
                    }
                }
            }
        }
        Ok(ones)
    }
}
