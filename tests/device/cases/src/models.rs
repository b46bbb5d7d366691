//! Plans, masks and values that several cases use, and pieces of the bench's memory.

use bytemuck::Pod;
use siskin::checkin::{
    ClientOptimizer, LayerSpec, Loss, ModelSpec, Path, Plan, Population, Privacy, Profile, Quantization, Rounding,
    Storage, Training, Upload, Values, Weighting, Window,
};
use siskin::model::{Graph, Tensor};

use crate::Outcome;
use crate::numbers::Numbers;

/// Hands out memory piece by piece, each aligned to 16 bytes if the first one is.
pub(crate) struct Pieces<'a>(pub(crate) &'a mut [u8]);

impl<'a> Pieces<'a> {
    pub(crate) fn take<T: Pod>(&mut self, length: usize) -> Result<&'a mut [T], &'static str> {
        let bytes = length * size_of::<T>();
        let all = core::mem::take(&mut self.0);
        let (piece, rest) = all.split_at_mut_checked(bytes.next_multiple_of(16)).ok_or("the arena is too small")?;
        self.0 = rest;
        Ok(bytemuck::cast_slice_mut(&mut piece[..bytes]))
    }
}

/// A plan with nothing but a network: training, privacy, grid and upload are those of most cases.
pub(crate) fn plan(input: [u16; 3], layers: &[LayerSpec]) -> Result<Plan, &'static str> {
    let mut model = ModelSpec { input, layers: Default::default(), loss: Loss::SoftmaxCrossEntropy };
    for layer in layers {
        model.layers.push((*layer).into()).map_err(|_| "too many layers")?;
    }
    Ok(Plan {
        population: Population::try_from("device/cases").map_err(|_| "the population's name")?,
        round: 7,
        model,
        training: Training { max_examples: 1000, ..Training::sgd(1, 8, 0.125) },
        privacy: Privacy::new(0.5, Profile::Central),
        quantization: Quantization { step: 1.0 / 128.0, rounding: Rounding::Stochastic, keep: 1.0 },
        upload: Upload { weighting: Weighting::Uniform, max_bytes: 4096, probe: 0, start: 0 },
        values: Values::Floats,
    })
}

pub(crate) fn dense(outputs: u16, live: u32, path: Path) -> LayerSpec {
    LayerSpec::Dense { outputs, bias: true, weights: Storage { live, path } }
}

pub(crate) fn conv(outputs: u16, [kernel, stride, padding]: [u8; 3], weights: Storage) -> LayerSpec {
    LayerSpec::Conv2d { outputs, groups: 1, window: Window::square(kernel, stride, padding), bias: true, weights }
}

pub(crate) fn pool(window: u8, stride: u8) -> LayerSpec {
    LayerSpec::MaxPool(Window::square(window, stride, 0))
}

pub(crate) const fn momentum(momentum: f32) -> ClientOptimizer {
    ClientOptimizer::Sgd { momentum, nesterov: false }
}

/// A mask of each tensor that has one, one bit an entry, tensor after tensor in `masks`, whole bytes each.
///
/// Exactly `live` entries, or blocks of as many, are picked (selection sampling, Knuth, TAOCP 2, 3.4.2, algorithm S).
pub(crate) fn draw_masks(graph: &Graph, numbers: &mut Numbers, masks: &mut [u8]) -> Outcome {
    let mut masks = masks;
    for tensor in graph.tensors.iter().filter(|t| t.has_pattern()) {
        let (mask, rest) = masks.split_at_mut_checked(tensor.size().div_ceil(8)).ok_or("the masks are too long")?;
        masks = rest;
        mask.fill(0);
        let (cols, height) = (tensor.cols as usize, tensor.pattern_height());
        let (size, mut wanted) = (tensor.size() / height, u64::from(tensor.live) / height as u64);
        for i in 0..size {
            if ((numbers.next() >> 32) * (size - i) as u64) >> 32 < wanted {
                wanted -= 1;
                for row in (0..height).map(|row| i / cols * height + row) {
                    let entry = row * cols + i % cols;
                    mask[entry / 8] |= 1 << (entry % 8);
                }
            }
        }
    }
    Ok(())
}

/// Bytes of all masks.
pub(crate) fn mask_bytes(graph: &Graph) -> usize {
    graph.tensors.iter().filter(|t| t.has_pattern()).map(|t| t.size().div_ceil(8)).sum()
}

/// Each tensor with its mask, which is empty for a tensor that has none.
pub(crate) fn with_masks<'m>(graph: &'m Graph, masks: &'m [u8]) -> impl Iterator<Item = (&'m Tensor, &'m [u8])> {
    graph.tensors.iter().scan(0, |at, tensor| {
        let length = if tensor.has_pattern() { tensor.size().div_ceil(8) } else { 0 };
        let mask = masks.get(*at..*at + length)?;
        *at += length;
        Some((tensor, mask))
    })
}

pub(crate) fn is_live(mask: &[u8], entry: usize) -> bool {
    mask.is_empty() || mask[entry / 8] >> (entry % 8) & 1 == 1
}

/// Row pointers and columns of all masks, as the kernels take them: `(row pointers, columns)` used.
pub(crate) fn patterns(graph: &Graph, masks: &[u8], row_ptrs: &mut [u32], columns: &mut [u16]) -> (usize, usize) {
    let (mut rows_used, mut columns_used) = (0, 0);
    for (tensor, mask) in with_masks(graph, masks).filter(|(t, _)| t.has_pattern()) {
        let first = columns_used;
        for row in (0..tensor.rows as usize).step_by(tensor.pattern_height()) {
            row_ptrs[rows_used] = (columns_used - first) as u32;
            rows_used += 1;
            for col in (0..tensor.cols as usize).filter(|col| is_live(mask, row * tensor.cols as usize + col)) {
                columns[columns_used] = col as u16;
                columns_used += 1;
            }
        }
        row_ptrs[rows_used] = (columns_used - first) as u32;
        rows_used += 1;
    }
    (rows_used, columns_used)
}

/// Small values that differ; every entry, pruned or not.
pub(crate) fn fill(numbers: &mut Numbers, scale: f32, values: &mut [f32]) {
    for value in values {
        *value = numbers.next_f32() * scale;
    }
}

/// Examples in `[example][feature]` whose label shows in the features, so that there is something to learn.
pub(crate) fn examples(numbers: &mut Numbers, classes: u32, features: &mut [f32], labels: &mut [u32]) {
    let width = features.len() / labels.len();
    for (example, label) in features.chunks_exact_mut(width).zip(labels) {
        *label = (numbers.next() >> 33) as u32 % classes;
        fill(numbers, 0.5, example);
        for value in example.iter_mut().skip(*label as usize).step_by(classes as usize) {
            *value += 0.75;
        }
    }
}

/// Masks of two entries in each four neighbours of a row, drawn from six; for tensors whose rows are whole fours.
pub(crate) fn two_of_four(graph: &Graph, numbers: &mut Numbers, masks: &mut [u8]) -> Outcome {
    const PAIRS: [[usize; 2]; 6] = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]];
    let mut masks = masks;
    for tensor in graph.tensors.iter().filter(|t| t.has_pattern()) {
        let (mask, rest) = masks.split_at_mut_checked(tensor.size().div_ceil(8)).ok_or("the masks are too long")?;
        masks = rest;
        mask.fill(0);
        if !tensor.cols.is_multiple_of(4) || tensor.live as usize * 2 != tensor.size() {
            return Err("not two of four");
        }
        for group in 0..tensor.size() / 4 {
            let pair = PAIRS[((numbers.next() >> 33) % 6) as usize];
            for entry in pair.map(|i| 4 * group + i) {
                mask[entry / 8] |= 1 << (entry % 8);
            }
        }
    }
    Ok(())
}

/// Sequences of tokens, each in its place as a number, and as targets the tokens that follow; each mostly the one after its like.
pub(crate) fn sequences(numbers: &mut Numbers, classes: u32, features: &mut [f32], targets: &mut [u32]) {
    let mut token = 0;
    for (feature, target) in features.iter_mut().zip(targets) {
        *feature = token as f32;
        let chance = (numbers.next() >> 33) as u32;
        token = if chance.is_multiple_of(4) { chance / 4 % classes } else { (token + 1) % classes };
        *target = token;
    }
}
