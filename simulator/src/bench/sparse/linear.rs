//! Fully connected layers with as many outputs as inputs.

use super::contest::Layer;
use super::gemm::{Matrix, descend, product};
use super::weights::{Floats, Kind, RATE, Sgd, Sparse, random, values};
use super::{DENSE, SGEMM, SGEMM_IN_PLACE, kinds};
use siskin::model::kernel;

/// Activations and gradients, `[feature][batch]`.
struct Signals {
    size: usize,
    batch: usize,
    bias: Vec<f32>,
    x: Floats,
    y: Floats,
    dx: Floats,
    dy: Floats,
}

impl Signals {
    fn new(size: usize, batch: usize, offset: usize) -> Self {
        let mut rng = random(1);
        let mut all = |n| values(&mut rng, n, 1.0);
        let bias = all(size);
        let mut floats = |scale| Floats::new(&all(size * batch).iter().map(|v| v * scale).collect::<Vec<_>>(), offset);
        Self { size, batch, bias, x: floats(1.0), y: floats(0.0), dx: floats(0.0), dy: floats(1.0) }
    }
}

/// How `sgemm` is called.
#[derive(Clone, Copy)]
struct Way {
    /// All products as transposes of the swapped ones.
    swapped: bool,
    /// The update is part of the product, as only plain gradient descent can be.
    in_place: bool,
}

struct Gemm {
    way: Way,
    w: Vec<f32>,
    grad: Vec<f32>,
    signals: Signals,
}

impl Layer for Gemm {
    fn forward(&mut self) {
        let Signals { size, batch, ref bias, ref x, ref mut y, .. } = self.signals;
        for (row, &bias) in y.chunks_exact_mut(batch).zip(bias) {
            row.fill(bias);
        }
        product(1.0, Matrix::new(&self.w, size, size), Matrix::new(x, size, batch), 1.0, y, self.way.swapped);
    }

    fn input_grad(&mut self) {
        let Signals { size, batch, ref dy, ref mut dx, .. } = self.signals;
        product(1.0, Matrix::new(&self.w, size, size).t(), Matrix::new(dy, size, batch), 0.0, dx, self.way.swapped);
    }

    fn weight_grad(&mut self) {
        let Signals { size, batch, ref dy, ref x, .. } = self.signals;
        let (dy, x) = (Matrix::new(dy, size, batch), Matrix::new(x, size, batch).t());
        if self.way.in_place {
            product(-RATE, dy, x, 1.0, &mut self.w, self.way.swapped);
        } else {
            product(1.0, dy, x, 0.0, &mut self.grad, self.way.swapped);
            descend(&mut self.w, &self.grad, RATE);
        }
    }

    #[cfg(test)]
    fn results(&mut self) -> (&mut [f32], &[f32], &[f32]) {
        (&mut self.w, &self.signals.y, &self.signals.dx)
    }
}

struct Dense {
    w: Vec<f32>,
    signals: Signals,
}

impl Layer for Dense {
    fn forward(&mut self) {
        let Signals { size, batch, ref bias, ref x, ref mut y, .. } = self.signals;
        kernel::dense_forward(&self.w, bias, x, y, size, size, batch);
    }

    fn input_grad(&mut self) {
        let Signals { size, batch, ref dy, ref mut dx, .. } = self.signals;
        kernel::dense_input_grad(&self.w, dy, dx, size, size, batch);
    }

    fn weight_grad(&mut self) {
        let Signals { size, batch, ref dy, ref x, .. } = self.signals;
        kernel::dense_weight_grad(dy, x, size, size, batch, &mut Sgd(&mut self.w));
    }

    #[cfg(test)]
    fn results(&mut self) -> (&mut [f32], &[f32], &[f32]) {
        (&mut self.w, &self.signals.y, &self.signals.dx)
    }
}

struct Csr {
    sparse: Sparse,
    w: Vec<f32>,
    signals: Signals,
}

impl Layer for Csr {
    fn forward(&mut self) {
        let Signals { size, batch, ref bias, ref x, ref mut y, .. } = self.signals;
        kernel::csr_forward(self.sparse.pattern(), &self.w, bias, x, y, size, size, batch);
    }

    fn input_grad(&mut self) {
        let Signals { size, batch, ref dy, ref mut dx, .. } = self.signals;
        kernel::csr_input_grad(self.sparse.pattern(), &self.w, dy, dx, size, size, batch);
    }

    fn weight_grad(&mut self) {
        let Signals { size, batch, ref dy, ref x, .. } = self.signals;
        kernel::csr_weight_grad(self.sparse.pattern(), dy, x, size, size, batch, &mut Sgd(&mut self.w));
    }

    fn backward(&mut self) {
        let Signals { size, batch, ref dy, ref x, ref mut dx, .. } = self.signals;
        kernel::csr_gradients(self.sparse.pattern(), dy, x, dx, size, size, batch, &mut Sgd(&mut self.w));
    }

    #[cfg(test)]
    fn results(&mut self) -> (&mut [f32], &[f32], &[f32]) {
        (&mut self.w, &self.signals.y, &self.signals.dx)
    }
}

struct Blocks {
    sparse: Sparse,
    w: Vec<f32>,
    signals: Signals,
}

impl Layer for Blocks {
    fn forward(&mut self) {
        let Signals { size, batch, ref bias, ref x, ref mut y, .. } = self.signals;
        kernel::block_forward(self.sparse.blocks(), &self.w, bias, x, y, size, size, batch);
    }

    fn input_grad(&mut self) {
        let Signals { size, batch, ref dy, ref mut dx, .. } = self.signals;
        kernel::block_input_grad(self.sparse.blocks(), &self.w, dy, dx, size, size, batch);
    }

    fn weight_grad(&mut self) {
        let Signals { size, batch, ref dy, ref x, .. } = self.signals;
        kernel::block_weight_grad(self.sparse.blocks(), dy, x, size, size, batch, &mut Sgd(&mut self.w));
    }

    #[cfg(test)]
    fn results(&mut self) -> (&mut [f32], &[f32], &[f32]) {
        (&mut self.w, &self.signals.y, &self.signals.dx)
    }
}

/// All ways of doing a layer of `size` inputs and outputs.
pub(super) fn enter(
    size: usize,
    batch: usize,
    offset: usize,
    densities: &[f64],
    enter: &mut dyn FnMut(&'static str, f64, Box<dyn Layer>),
) {
    let signals = || Signals::new(size, batch, offset);
    let mut rng = random(2);
    let scale = 1.0 / (size as f32).sqrt();
    let w = values(&mut rng, size * size, scale);
    for (name, in_place) in [(SGEMM, false), (SGEMM_IN_PLACE, true)] {
        for swapped in [false, true] {
            let way = Way { swapped, in_place };
            let grad = vec![0.0; size * size];
            enter(name, 1.0, Box::new(Gemm { way, w: w.clone(), grad, signals: signals() }));
        }
    }
    enter(DENSE, 1.0, Box::new(Dense { w: w.clone(), signals: signals() }));
    for (name, kind) in kinds(densities) {
        let sparse = Sparse::new(kind, size, size, &mut rng);
        let signals = signals();
        let layer: Box<dyn Layer> = if let Kind::Blocks(_) = kind {
            let w = values(&mut rng, 4 * sparse.cols.len(), scale);
            Box::new(Blocks { sparse, w, signals })
        } else {
            let w = values(&mut rng, sparse.cols.len(), scale);
            Box::new(Csr { sparse, w, signals })
        };
        enter(name, kind.density(), layer);
    }
}

#[cfg(test)]
mod tests {
    use super::super::contest::agree;

    #[test]
    fn all_ways_agree_where_all_weights_live() {
        for batch in [1, 8, 32] {
            agree(
                |enter| super::enter(24, batch, 0, &[1.0], enter),
                |name, w| {
                    if name == super::super::BLOCKS {
                        let group = |w: &[f32]| -> Vec<f32> { (0..24 * 4).map(|k| w[k % 4 * 24 + k / 4]).collect() };
                        w.chunks_exact(24 * 4).flat_map(group).collect()
                    } else {
                        w.to_vec()
                    }
                },
            );
        }
    }
}
