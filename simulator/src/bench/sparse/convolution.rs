//! Convolutions of 3x3 with padding, as many output channels as input channels. The dense reference is the usual one: the
//! inputs of every output pixel side by side (im2col), then `sgemm`.

use super::contest::Layer;
use super::gemm::{Matrix, descend, product};
use super::weights::{Floats, Kind, RATE, Sgd, Sparse, random, values};
use super::{DENSE, SGEMM, SGEMM_IN_PLACE, kinds};
use siskin::model::kernel::{self, ConvGeometry};

/// Height and width of the images.
pub(super) const SIDE: usize = 14;
const PIXELS: usize = SIDE * SIDE;
const TAPS: usize = 9;

/// Activations and gradients, `[channel][row][column][batch]`.
struct Signals {
    geometry: ConvGeometry,
    batch: usize,
    bias: Vec<f32>,
    x: Floats,
    y: Floats,
    dx: Floats,
    dy: Floats,
}

impl Signals {
    fn new(channels: usize, batch: usize, offset: usize) -> Self {
        let geometry = ConvGeometry {
            in_channels: channels,
            in_h: SIDE,
            in_w: SIDE,
            out_channels: channels,
            kernel: [3, 3],
            stride: [1, 1],
            padding: [1; 4],
            dilation: [1, 1],
            groups: 1,
        };
        let n = channels * PIXELS * batch;
        let mut rng = random(1);
        let mut all = |n| values(&mut rng, n, 1.0);
        let bias = all(channels);
        let mut floats = |scale| Floats::new(&all(n).iter().map(|v| v * scale).collect::<Vec<_>>(), offset);
        Self { geometry, batch, bias, x: floats(1.0), y: floats(0.0), dx: floats(0.0), dy: floats(1.0) }
    }
}

/// For each row of an image, position in the kernel and output row: where the run of neighbouring pixels that exists starts
/// in the input and in the output, and its length, in pixels.
fn runs() -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..TAPS).flat_map(|tap| {
        let (ky, kx) = (tap / 3, tap % 3);
        let first = usize::from(kx == 0);
        let len = SIDE - usize::from(kx != 1);
        (0..SIDE).filter_map(move |oy| {
            let iy = (oy + ky).checked_sub(1).filter(|iy| *iy < SIDE)?;
            Some((tap, iy * SIDE + first + kx - 1, oy * SIDE + first, len))
        })
    })
}

struct Gemm {
    swapped: bool,
    in_place: bool,
    w: Vec<f32>,
    grad: Vec<f32>,
    /// `[channel][position in the kernel][output pixel][batch]`; zeros in the padding, which are written once.
    columns: Vec<f32>,
    column_grads: Vec<f32>,
    signals: Signals,
}

impl Layer for Gemm {
    fn forward(&mut self) {
        let Signals { geometry, batch, ref bias, ref x, ref mut y, .. } = self.signals;
        let (channels, plane) = (geometry.in_channels, PIXELS * batch);
        for (columns, x) in self.columns.chunks_exact_mut(TAPS * plane).zip(x.chunks_exact(plane)) {
            for (tap, from, to, len) in runs() {
                let to = tap * plane + to * batch;
                columns[to..to + len * batch].copy_from_slice(&x[from * batch..(from + len) * batch]);
            }
        }
        for (plane, &bias) in y.chunks_exact_mut(plane).zip(bias) {
            plane.fill(bias);
        }
        let w = Matrix::new(&self.w, channels, channels * TAPS);
        product(1.0, w, Matrix::new(&self.columns, channels * TAPS, plane), 1.0, y, self.swapped);
    }

    fn input_grad(&mut self) {
        let Signals { geometry, batch, ref dy, ref mut dx, .. } = self.signals;
        let (channels, plane) = (geometry.in_channels, PIXELS * batch);
        let w = Matrix::new(&self.w, channels, channels * TAPS).t();
        product(1.0, w, Matrix::new(dy, channels, plane), 0.0, &mut self.column_grads, self.swapped);
        dx.fill(0.0);
        for (columns, dx) in self.column_grads.chunks_exact(TAPS * plane).zip(dx.chunks_exact_mut(plane)) {
            for (tap, to, from, len) in runs() {
                let from = tap * plane + from * batch;
                let run = dx[to * batch..(to + len) * batch].iter_mut();
                run.zip(&columns[from..from + len * batch]).for_each(|(dx, grad)| *dx += grad);
            }
        }
    }

    /// With the columns of the forward pass.
    fn weight_grad(&mut self) {
        let Signals { geometry, batch, ref dy, .. } = self.signals;
        let (channels, plane) = (geometry.in_channels, PIXELS * batch);
        let (dy, x) = (Matrix::new(dy, channels, plane), Matrix::new(&self.columns, channels * TAPS, plane).t());
        if self.in_place {
            product(-RATE, dy, x, 1.0, &mut self.w, self.swapped);
        } else {
            product(1.0, dy, x, 0.0, &mut self.grad, self.swapped);
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
        let Signals { ref geometry, batch, ref bias, ref x, ref mut y, .. } = self.signals;
        kernel::conv_forward(geometry, &self.w, bias, x, y, batch);
    }

    fn input_grad(&mut self) {
        let Signals { ref geometry, batch, ref dy, ref mut dx, .. } = self.signals;
        kernel::conv_input_grad(geometry, &self.w, dy, dx, batch);
    }

    fn weight_grad(&mut self) {
        let Signals { ref geometry, batch, ref dy, ref x, .. } = self.signals;
        kernel::conv_weight_grad(geometry, dy, x, batch, &mut Sgd(&mut self.w));
    }

    #[cfg(test)]
    fn results(&mut self) -> (&mut [f32], &[f32], &[f32]) {
        (&mut self.w, &self.signals.y, &self.signals.dx)
    }
}

/// All patterns: there are no kernels for blocks.
struct Csr {
    sparse: Sparse,
    w: Vec<f32>,
    signals: Signals,
}

impl Layer for Csr {
    fn forward(&mut self) {
        let Signals { ref geometry, batch, ref bias, ref x, ref mut y, .. } = self.signals;
        kernel::csr_conv_forward(self.sparse.pattern(), geometry, &self.w, bias, x, y, batch);
    }

    fn input_grad(&mut self) {
        let Signals { ref geometry, batch, ref dy, ref mut dx, .. } = self.signals;
        kernel::csr_conv_input_grad(self.sparse.pattern(), geometry, &self.w, dy, dx, batch);
    }

    fn weight_grad(&mut self) {
        let Signals { ref geometry, batch, ref dy, ref x, .. } = self.signals;
        kernel::csr_conv_weight_grad(self.sparse.pattern(), geometry, dy, x, batch, &mut Sgd(&mut self.w));
    }

    #[cfg(test)]
    fn results(&mut self) -> (&mut [f32], &[f32], &[f32]) {
        (&mut self.w, &self.signals.y, &self.signals.dx)
    }
}

/// All ways of doing a layer of `channels` inputs and outputs.
pub(super) fn enter(
    channels: usize,
    batch: usize,
    offset: usize,
    densities: &[f64],
    enter: &mut dyn FnMut(&'static str, f64, Box<dyn Layer>),
) {
    let mut rng = random(2);
    let signals = || Signals::new(channels, batch, offset);
    let inputs = channels * TAPS;
    let scale = 1.0 / (inputs as f32).sqrt();
    let w = values(&mut rng, channels * inputs, scale);
    for (name, in_place) in [(SGEMM, false), (SGEMM_IN_PLACE, true)] {
        for swapped in [false, true] {
            enter(name, 1.0, Box::new(Gemm::new(w.clone(), swapped, in_place, signals())));
        }
    }
    enter(DENSE, 1.0, Box::new(Dense { w, signals: signals() }));
    for (name, kind) in kinds(densities) {
        let mut sparse = Sparse::new(kind, channels, inputs, &mut rng);
        if let Kind::Blocks(_) = kind {
            sparse = sparse.split();
        }
        let w = values(&mut rng, sparse.cols.len(), scale);
        enter(name, kind.density(), Box::new(Csr { sparse, w, signals: signals() }));
    }
}

impl Gemm {
    fn new(w: Vec<f32>, swapped: bool, in_place: bool, signals: Signals) -> Self {
        let n = signals.x.len() * TAPS;
        let (grad, columns, column_grads) = (vec![0.0; w.len()], vec![0.0; n], vec![0.0; n]);
        Self { swapped, in_place, w, grad, columns, column_grads, signals }
    }
}

#[cfg(test)]
mod tests {
    use super::super::contest::agree;

    #[test]
    fn all_ways_agree_where_all_weights_live() {
        for batch in [1, 8] {
            agree(|enter| super::enter(8, batch, 0, &[1.0], enter), |_, w| w.to_vec());
        }
    }
}
