//! Recurrent layers: the products with the input run over all positions at once, like a convolution of one position; the
//! kernel walks through time.

use super::{Weights, conv2d, normalize};
use crate::checkin::{LayerSpec, Path};
use crate::model::kernel::{
    self, ConvGeometry, GradSink, GruGeometry, LstmGeometry, Pattern, Raised, RecurrentRows, RecurrentWeight,
};
use crate::model::{Role, Shape, Tensor};

/// Which of the two, and its geometry.
#[derive(Clone, Copy)]
enum Cell {
    Gru(GruGeometry),
    Lstm(LstmGeometry),
}

impl Cell {
    fn new(spec: &LayerSpec, input: Shape) -> Option<Self> {
        let positions = input.positions();
        match *spec {
            LayerSpec::Gru { hidden, reset_after, .. } => {
                Some(Self::Gru(GruGeometry { hidden: usize::from(hidden), positions, reset_after }))
            }
            LayerSpec::Lstm { hidden, .. } => Some(Self::Lstm(LstmGeometry { hidden: usize::from(hidden), positions })),
            _ => None,
        }
    }

    /// Rows of the weights.
    fn rows(&self) -> usize {
        match self {
            Self::Gru(g) => 3 * g.hidden,
            Self::Lstm(g) => 4 * g.hidden,
        }
    }

    fn hidden(&self) -> usize {
        match self {
            Self::Gru(g) => g.hidden,
            Self::Lstm(g) => g.hidden,
        }
    }
}

/// Features of one example that a layer keeps from forward to backward.
pub(crate) fn saved(spec: &LayerSpec, input: Shape) -> usize {
    match Cell::new(spec, input) {
        Some(Cell::Gru(g)) => g.saved_len(),
        Some(Cell::Lstm(g)) => g.saved_len(),
        None => normalize::saved(spec, input),
    }
}

/// Scratch of the forward pass, features of one example.
pub(crate) fn forward_work(spec: &LayerSpec, input: Shape) -> usize {
    match Cell::new(spec, input) {
        Some(Cell::Gru(g)) => g.forward_scratch_len(),
        Some(Cell::Lstm(g)) => g.forward_scratch_len(),
        None => 0,
    }
}

/// Scratch of the backward pass, features of one example.
pub(crate) fn backward_work(spec: &LayerSpec, input: Shape) -> usize {
    match Cell::new(spec, input) {
        Some(Cell::Gru(g)) => g.backward_scratch_len(),
        Some(Cell::Lstm(g)) => g.backward_scratch_len(),
        None => 0,
    }
}

/// A product at every position.
fn product(inputs: usize, outputs: usize, positions: usize) -> ConvGeometry {
    ConvGeometry {
        in_channels: inputs,
        in_h: positions,
        in_w: 1,
        out_channels: outputs,
        kernel: [1; 2],
        stride: [1; 2],
        padding: [0; 4],
        dilation: [1; 2],
        groups: 1,
    }
}

fn recurrent<'a>(weights: &Weights<'a>) -> RecurrentWeight<'a> {
    let pattern = match weights.tensor.path {
        Path::Dense => None,
        Path::Sparse => Some(weights.pattern),
        Path::Block => unreachable!("the graph has blocks in fully connected layers alone"),
    };
    RecurrentWeight { values: weights.values, pattern }
}

pub(crate) fn forward(
    spec: &LayerSpec,
    input: Shape,
    [w, r]: &[Weights<'_>; 2],
    (x, y): (&[f32], &mut [f32]),
    (saved, work): (&mut [f32], &mut [f32]),
    batch: usize,
) {
    let Some(cell) = Cell::new(spec, input) else { return };
    let (rows, positions) = (cell.rows(), input.positions());
    let g = product(input.channels as usize, rows, positions);
    conv2d::forward_of(&g, w, x, &mut saved[..rows * positions * batch], batch);
    match cell {
        Cell::Gru(g) => kernel::gru_forward(&g, &recurrent(r), r.bias, saved, y, work, batch),
        Cell::Lstm(g) => kernel::lstm_forward(&g, &recurrent(r), r.bias, saved, y, work, batch),
    }
}

/// Through time; what was saved and the scratch then hold the gradients of the products, for [`gradient`].
pub(crate) fn backward(
    spec: &LayerSpec,
    input: Shape,
    [w, r]: &[Weights<'_>; 2],
    (y, dy): (&[f32], &[f32]),
    (saved, work): (&mut [f32], &mut [f32]),
    dx: Option<&mut [f32]>,
    batch: usize,
) {
    let Some(cell) = Cell::new(spec, input) else { return };
    match cell {
        Cell::Gru(g) => kernel::gru_backward(&g, &recurrent(r), y, dy, saved, work, batch),
        Cell::Lstm(g) => kernel::lstm_backward(&g, &recurrent(r), y, dy, saved, work, batch),
    }
    if let Some(dx) = dx {
        let (rows, positions) = (cell.rows(), input.positions());
        let g = product(input.channels as usize, rows, positions);
        conv2d::input_gradient_of(&g, w, &saved[..rows * positions * batch], dx, batch);
    }
}

/// The gradient of one tensor, after [`backward`].
pub(crate) fn gradient(
    spec: &LayerSpec,
    input: Shape,
    (tensor, pattern): (&Tensor, Pattern<'_>),
    x: &[f32],
    (saved, work): (&[f32], &[f32]),
    batch: usize,
    sink: &mut impl GradSink,
) {
    let Some(cell) = Cell::new(spec, input) else { return };
    let (hidden, positions) = (cell.hidden(), input.positions());
    let (of_input, of_recurrent) = match cell {
        Cell::Gru(g) => {
            let found = kernel::gru_gradients(&g, saved, work, batch);
            (found.input, found.recurrent.map(Some))
        }
        Cell::Lstm(g) => {
            let found = kernel::lstm_gradients(&g, saved, work, batch);
            (found.input, [Some(found.recurrent), None])
        }
    };
    match tensor.role {
        Role::Weight => {
            let g = product(input.channels as usize, cell.rows(), positions);
            conv2d::weight_gradient_of(&g, tensor, pattern, of_input, x, batch, sink);
        }
        Role::Bias => kernel::bias_grad(of_input, cell.rows(), positions * batch, sink),
        role => {
            for RecurrentRows { rows, dy, x } in of_recurrent.into_iter().flatten() {
                let by = if role == Role::Recurrent { hidden } else { 1 } * rows.start;
                if role == Role::RecurrentBias {
                    kernel::bias_grad(dy, rows.len(), positions * batch, &mut Raised { sink, by });
                } else if tensor.path == Path::Sparse {
                    // The entries of some rows keep their numbers.
                    let g = product(hidden, rows.len(), positions);
                    conv2d::weight_gradient_of(&g, tensor, pattern.rows(rows), dy, x, batch, sink);
                } else {
                    let g = product(hidden, rows.len(), positions);
                    conv2d::weight_gradient_of(&g, tensor, pattern, dy, x, batch, &mut Raised { sink, by });
                }
            }
        }
    }
}
