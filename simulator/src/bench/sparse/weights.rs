//! Random weights, dense and sparse, and the optimizer.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use siskin::model::kernel::{BlockPattern, GradSink, Pattern, ValueSink};
use std::ops::{Deref, DerefMut};

/// So small that thousands of steps change nothing that matters.
pub(super) const RATE: f32 = 1e-7;

/// Values from a multiple of 64 bytes on, or `offset` values after one.
pub(super) struct Floats {
    all: Vec<f32>,
    first: usize,
    len: usize,
}

impl Floats {
    pub(super) fn new(values: &[f32], offset: usize) -> Self {
        let mut all = vec![0.0; values.len() + offset + 15];
        let first = all.as_ptr().align_offset(64) + offset;
        all[first..first + values.len()].copy_from_slice(values);
        Self { all, first, len: values.len() }
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.all[self.first..self.first + self.len]
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.all[self.first..self.first + self.len]
    }
}

/// Plain gradient descent, in place.
pub(super) struct Sgd<'a>(pub(super) &'a mut [f32]);

impl GradSink for Sgd<'_> {
    #[inline(always)]
    fn take(&mut self, offset: usize, grad: &[f32]) {
        for (w, g) in self.0[offset..offset + grad.len()].iter_mut().zip(grad) {
            *w -= RATE * g;
        }
    }
}

impl ValueSink for Sgd<'_> {
    #[inline(always)]
    fn values(&self) -> &[f32] {
        self.0
    }
}

/// Which weights live.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Each one for itself, with this probability.
    Unstructured(f64),
    /// Blocks of four outputs by one input, with this probability.
    Blocks(f64),
    /// `n` in each group of `m` neighbours of a row.
    NOfM(usize, usize),
}

impl Kind {
    pub(super) fn density(self) -> f64 {
        match self {
            Self::Unstructured(density) | Self::Blocks(density) => density,
            Self::NOfM(n, m) => n as f64 / m as f64,
        }
    }
}

pub(super) fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// In `[0, 1)`.
fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32()) / 4_294_967_296.0
}

/// Uniform in `[-scale, scale)`.
pub(super) fn values(rng: &mut ChaCha8Rng, n: usize, scale: f32) -> Vec<f32> {
    (0..n).map(|_| (uniform(rng) as f32 * 2.0 - 1.0) * scale).collect()
}

/// Live columns, row after row.
pub(super) struct Sparse {
    pub(super) row_ptr: Vec<u32>,
    pub(super) cols: Vec<u16>,
}

impl Sparse {
    /// For blocks, a row is a group of four.
    pub(super) fn new(kind: Kind, rows: usize, columns: usize, rng: &mut ChaCha8Rng) -> Self {
        let rows = if let Kind::Blocks(_) = kind { rows / 4 } else { rows };
        let mut sparse = Self { row_ptr: vec![0], cols: Vec::new() };
        for _ in 0..rows {
            match kind {
                Kind::Unstructured(density) | Kind::Blocks(density) => {
                    sparse.cols.extend((0..columns as u16).filter(|_| uniform(rng) < density));
                }
                Kind::NOfM(n, m) => {
                    for group in (0..columns).step_by(m) {
                        let mut left = n;
                        for place in 0..m {
                            // Each choice of `n` is as likely as any other.
                            if uniform(rng) * ((m - place) as f64) < left as f64 {
                                sparse.cols.push((group + place) as u16);
                                left -= 1;
                            }
                        }
                    }
                }
            }
            sparse.row_ptr.push(sparse.cols.len() as u32);
        }
        sparse
    }

    /// Blocks of four rows as four rows.
    pub(super) fn split(self) -> Self {
        let mut all = Self { row_ptr: vec![0], cols: Vec::new() };
        for group in self.row_ptr.windows(2) {
            for _ in 0..4 {
                all.cols.extend(&self.cols[group[0] as usize..group[1] as usize]);
                all.row_ptr.push(all.cols.len() as u32);
            }
        }
        all
    }

    pub(super) fn pattern(&self) -> Pattern<'_> {
        Pattern { row_ptr: &self.row_ptr, cols: &self.cols }
    }

    pub(super) fn blocks(&self) -> BlockPattern<'_> {
        BlockPattern { row_ptr: &self.row_ptr, cols: &self.cols }
    }
}
