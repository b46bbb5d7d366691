//! Numbers, tensors and shapes drawn at random.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use crate::model::kernel::{BlockPattern, ConvGeometry, Pattern, PoolGeometry};

/// SplitMix64.
pub(super) fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Mostly of the order of 1, with zeros of both signs, so that a zero added or left out shows in a sign, and rare
/// infinities, so that a lane that reads its neighbour shows.
pub(super) fn values(seed: &mut u64, n: usize) -> Vec<f32> {
    (0..n)
        .map(|_| match random(seed) {
            z if z >> 60 == 0 => 0.0,
            z if z >> 60 == 1 => -0.0,
            z if z >> 54 == 1023 => f32::INFINITY,
            z => ((z & 0xFF_FFFF) as f32 / 8_388_608.0 - 1.0) * 1.7,
        })
        .collect()
}

/// Finite, of the order of 1.
pub(super) fn smooth(seed: &mut u64, n: usize) -> Vec<f32> {
    (0..n).map(|_| ((random(seed) & 0xFF_FFFF) as f32 / 8_388_608.0 - 1.0) * 1.7).collect()
}

/// A sparse tensor.
pub(super) struct Sparse {
    pub(super) row_ptr: Vec<u32>,
    pub(super) cols: Vec<u16>,
    pub(super) w: Vec<f32>,
}

impl Sparse {
    /// Keeps about `eighths / 8` of the weights; some rows stay empty and some full.
    pub(super) fn new(seed: &mut u64, rows: usize, cols: usize, eighths: u64) -> Self {
        let mut sparse = Self { row_ptr: vec![0], cols: vec![], w: vec![] };
        for _ in 0..rows {
            let keep = match random(seed) >> 61 {
                0 => 0,
                1 => 8,
                _ => eighths,
            };
            for col in 0..cols {
                if random(seed) >> 61 < keep {
                    sparse.cols.push(u16::try_from(col).unwrap());
                }
            }
            sparse.row_ptr.push(u32::try_from(sparse.cols.len()).unwrap());
        }
        sparse.w = values(seed, sparse.cols.len());
        sparse
    }

    /// Every weight lives.
    pub(super) fn full(seed: &mut u64, rows: usize, cols: usize) -> Self {
        let row_ptr = (0..=rows).map(|r| u32::try_from(r * cols).unwrap()).collect();
        let all = (0..rows).flat_map(|_| 0..u16::try_from(cols).unwrap()).collect();
        Self { row_ptr, cols: all, w: values(seed, rows * cols) }
    }

    pub(super) fn pattern(&self) -> Pattern<'_> {
        Pattern { row_ptr: &self.row_ptr, cols: &self.cols }
    }

    /// `(k, column)` of the live weights of a row.
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = (usize, usize)> {
        (self.row_ptr[row] as usize..self.row_ptr[row + 1] as usize).map(|k| (k, usize::from(self.cols[k])))
    }
}

/// A tensor of blocks of four rows, and the same tensor without blocks.
pub(super) struct Blocks {
    pub(super) row_ptr: Vec<u32>,
    pub(super) cols: Vec<u16>,
    pub(super) w: Vec<f32>,
    pub(super) sparse: Sparse,
    /// Where each weight of `sparse` is in `w`.
    pub(super) place: Vec<usize>,
}

impl Blocks {
    pub(super) fn new(seed: &mut u64, groups: usize, cols: usize, eighths: u64) -> Self {
        let Sparse { row_ptr, cols, .. } = Sparse::new(seed, groups, cols, eighths);
        let w = values(seed, 4 * cols.len());
        let (mut rows, mut all, mut place) = (vec![0], vec![], vec![]);
        for g in 0..groups {
            for r in 0..4 {
                let blocks = row_ptr[g] as usize..row_ptr[g + 1] as usize;
                for (block, &col) in blocks.clone().zip(&cols[blocks]) {
                    all.push(col);
                    place.push(4 * block + r);
                }
                rows.push(u32::try_from(all.len()).unwrap());
            }
        }
        let sparse = Sparse { row_ptr: rows, cols: all, w: place.iter().map(|&k| w[k]).collect() };
        Self { row_ptr, cols, w, sparse, place }
    }

    pub(super) fn pattern(&self) -> BlockPattern<'_> {
        BlockPattern { row_ptr: &self.row_ptr, cols: &self.cols }
    }
}

/// Inputs, outputs, batch, density in eighths, seed.
pub(super) fn layer() -> impl Strategy<Value = (usize, usize, usize, u64, u64)> {
    let size = || prop_oneof![Just(1usize), 2usize..12, 12usize..90];
    let batch = prop_oneof![1usize..20, Just(8), Just(10), Just(16), Just(32), Just(64), 20usize..70];
    (size(), size(), batch, 0u64..9, any::<u64>())
}

/// A number for each axis.
pub(super) fn pair(each: impl Strategy<Value = usize> + Clone) -> impl Strategy<Value = [usize; 2]> {
    (each.clone(), each).prop_map(|(h, w)| [h, w])
}

/// Kernel, stride, padding, dilation; about half of them plain, with stride 1 and no holes.
pub(super) fn window() -> impl Strategy<Value = ([usize; 2], [usize; 2], [usize; 4], [usize; 2])> {
    let padding = prop_oneof![
        Just([0; 4]),
        (0usize..3).prop_map(|p| [p; 4]),
        (pair(0usize..5), pair(0usize..5)).prop_map(|([top, left], [bottom, right])| [top, left, bottom, right]),
    ];
    let kernel = prop_oneof![Just([1, 1]), Just([3, 3]), pair(1usize..5), pair(1usize..5)];
    let step = || prop_oneof![Just([1, 1]), Just([1, 1]), pair(1usize..4)];
    (kernel, step(), padding, step())
}

/// Height and width of an input; every fourth is one-dimensional.
pub(super) fn image() -> impl Strategy<Value = [usize; 2]> {
    let line = (1usize..40).prop_flat_map(|len| prop_oneof![Just([1, len]), Just([len, 1])]);
    prop_oneof![3 => pair(1usize..13), 1 => line]
}

/// A convolution whose kernel fits, batch, density in eighths, seed. Every third one is depthwise.
pub(super) fn convolution() -> impl Strategy<Value = (ConvGeometry, usize, u64, u64)> {
    let channels = prop_oneof![
        (1usize..5, 1usize..6).prop_map(|(inputs, outputs)| (inputs, outputs, 1)),
        (1usize..12, 1usize..3).prop_map(|(inputs, multiple)| (inputs, inputs * multiple, inputs)),
        (1usize..4, 1usize..4, 1usize..4).prop_map(|(inputs, outputs, g)| (inputs * g, outputs * g, g)),
        (6usize..20, 3usize..20).prop_map(|(inputs, outputs)| (inputs, outputs, 1)),
    ];
    let batch = prop_oneof![1usize..12, Just(16), Just(33)];
    (channels, image(), window(), batch, 0u64..9, any::<u64>()).prop_filter_map(
        "the kernel must fit",
        |((in_channels, out_channels, groups), [in_h, in_w], window, batch, density, seed)| {
            let (kernel, stride, padding, dilation) = window;
            let g = ConvGeometry { in_channels, in_h, in_w, out_channels, kernel, stride, padding, dilation, groups };
            g.out_h().and(g.out_w()).map(|_| (g, batch, density, seed))
        },
    )
}

/// A pooling layer whose window fits.
pub(super) fn pooling() -> impl Strategy<Value = PoolGeometry> {
    (1usize..4, image(), window()).prop_filter_map(
        "the window must fit",
        |(channels, [in_h, in_w], (kernel, stride, padding, dilation))| {
            let g = PoolGeometry { channels, in_h, in_w, kernel, stride, padding, dilation };
            g.out_h().and(g.out_w()).map(|_| g)
        },
    )
}
