//! Long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000) as ONNX defines it: gates i, o, f, c in this
//! order, no peepholes.

use super::exp::tanh;
use super::recurrent::{RecurrentRows, RecurrentWeight, Steps, add_step, load_step, only_bias, previous, store_step};
use super::wide::widened;
use super::{sigmoid_forward, tanh_forward};

/// Shape of an LSTM over `[inputs][positions][batch]`. The lengths are those of one example, to be multiplied by the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LstmGeometry {
    /// Length of the state, and of the cell.
    pub hidden: usize,
    /// Positions, at least 1.
    pub positions: usize,
}

impl LstmGeometry {
    /// What forward leaves for backward: `[4 hidden][positions]` gates and `[hidden][positions]` cells.
    pub const fn saved_len(&self) -> usize {
        5 * self.hidden * self.positions
    }

    /// Scratch of [`lstm_forward`].
    pub const fn forward_scratch_len(&self) -> usize {
        6 * self.hidden
    }

    /// Scratch of [`lstm_backward`], in which a part of its result lies.
    pub const fn backward_scratch_len(&self) -> usize {
        self.hidden * self.positions + 8 * self.hidden
    }

    fn assert(&self, saved: &[f32], y: &[f32], batch: usize) {
        debug_assert!(batch > 0 && self.positions > 0);
        debug_assert!(saved.len() == self.saved_len() * batch);
        debug_assert!(y.len() == self.hidden * self.positions * batch);
    }
}

/// The states `y[hidden][positions][batch]`.
///
/// `saved` comes with the products of the input, `a = W x + Wb`, in its first `[4 hidden][positions][batch]` values, and
/// leaves with what [`lstm_backward`] needs; `bias` is Rb, `[4 hidden]`, or `&[]`. Let `h` and `c` be state and cell before,
/// zeros at first, and `p = R h + Rb` as [`dense_forward`](super::dense_forward) or [`csr_forward`](super::csr_forward) makes it
/// (at the first position just Rb, or `+0.0`). With this module's own exponential `i`, `o`, `f` are `logistic(p + a)`,
/// `m = tanh(p + a)`, the next cell `f * c + i * m` and the next state `o * tanh(cell)`.
///
/// # Panics
/// If a slice is shorter than its shape or geometry says, or the batch is 0.
pub fn lstm_forward(
    g: &LstmGeometry,
    weight: &RecurrentWeight,
    bias: &[f32],
    saved: &mut [f32],
    y: &mut [f32],
    scratch: &mut [f32],
    batch: usize,
) {
    g.assert(saved, y, batch);
    let (n, h, s) = (g.hidden * batch, g.hidden, Steps { positions: g.positions, batch });
    let (state, rest) = scratch[..6 * n].split_at_mut(n);
    let (cell, gates) = rest.split_at_mut(n);
    let (saved_gates, saved_cells) = saved[..g.saved_len() * batch].split_at_mut(4 * h * g.positions * batch);
    cell.fill(0.0);
    for t in 0..g.positions {
        if t == 0 {
            only_bias(bias, gates, batch);
        } else {
            weight.forward(0..4 * h, bias, state, gates, h, batch);
        }
        add_step(saved_gates, gates, s, t);
        sigmoid_forward(&mut gates[..3 * n]);
        tanh_forward(&mut gates[3 * n..]);
        store_step(gates, saved_gates, s, t);
        next_state(gates, cell, state);
        store_step(cell, saved_cells, s, t);
        store_step(state, y, s, t);
    }
}

/// The four gates of a step.
#[inline(always)]
fn split(gates: &mut [f32]) -> [&mut [f32]; 4] {
    let (io, fm) = gates.split_at_mut(gates.len() / 2);
    let ((i, o), (f, m)) = (io.split_at_mut(io.len() / 2), fm.split_at_mut(fm.len() / 2));
    [i, o, f, m]
}

widened! {
    fn next_state(gates: &mut [f32], cell: &mut [f32], state: &mut [f32]) {
        let [i, o, f, m] = split(gates);
        for ((((c, i), f), m), (o, h)) in cell.iter_mut().zip(i).zip(f).zip(m).zip(o.iter().zip(state)) {
            *c = *f * *c + *i * *m;
            *h = *o * tanh(*c);
        }
    }

    /// The gates become the gradients of their arguments, `dc` that of the cell before.
    fn gates_grad(cell: &[f32], before: &[f32], dh: &[f32], dc: &mut [f32], gates: &mut [f32]) {
        let [i, o, f, m] = split(gates);
        let gates = i.iter_mut().zip(o).zip(f).zip(m);
        let cells = cell.iter().zip(before).zip(dh).zip(dc);
        for ((((i, o), f), m), (((&c, &before), &dh), dc)) in gates.zip(cells) {
            let t = tanh(c);
            let d = *dc + (dh * *o) * (1.0 - t * t);
            *dc = d * *f;
            *o = (dh * t) * (*o * (1.0 - *o));
            *f = (d * before) * (*f * (1.0 - *f));
            let di = d * *m;
            *m = (d * *i) * (1.0 - *m * *m);
            *i = di * (*i * (1.0 - *i));
        }
    }
}

/// Gradients that [`lstm_backward`] leaves in its buffers.
#[derive(Clone, Debug)]
pub struct LstmGradients<'a> {
    /// Of the input's products `W x + Wb`, `[4 hidden][positions][batch]`: those of W, Wb and x follow.
    pub input: &'a [f32],
    /// Of R and Rb; its `dy` is `input`.
    pub recurrent: RecurrentRows<'a>,
}

/// Backward through time from the gradient `dy` of the states `y`, with what [`lstm_forward`] has saved, which is
/// overwritten. The result stays in `saved` and `scratch`: [`lstm_gradients`] finds it.
///
/// From the last position to the first, with `d = dy + R' da` of the next position (`+0.0` at first), `e` the gradient of the
/// cell that the next position has left (`+0.0` at first), the names of [`lstm_forward`] and `t = tanh(cell)`:
/// - `k = e + (d * o) * (1 - t * t)`, which leaves `e = k * f`,
/// - `da_i = (k * m) * (i * (1 - i))`, `da_o = (d * t) * (o * (1 - o))`, `da_f = (k * c) * (f * (1 - f))`,
///   `da_c = (k * i) * (1 - m * m)`.
///
/// `R'` is a product as [`dense_input_grad`](super::dense_input_grad) or [`csr_input_grad`](super::csr_input_grad) makes it.
///
/// # Panics
/// As [`lstm_forward`].
pub fn lstm_backward(
    g: &LstmGeometry,
    weight: &RecurrentWeight,
    y: &[f32],
    dy: &[f32],
    saved: &mut [f32],
    scratch: &mut [f32],
    batch: usize,
) {
    g.assert(saved, y, batch);
    let (n, h, s) = (g.hidden * batch, g.hidden, Steps { positions: g.positions, batch });
    let (states, step) = scratch[..g.backward_scratch_len() * batch].split_at_mut(h * g.positions * batch);
    let (saved_gates, saved_cells) = saved[..g.saved_len() * batch].split_at_mut(4 * h * g.positions * batch);
    previous(y, states, s);
    let (dh, step) = step.split_at_mut(n);
    let (dc, step) = step.split_at_mut(n);
    let (cell, step) = step.split_at_mut(n);
    let (before, gates) = step.split_at_mut(n);
    dh.fill(0.0);
    dc.fill(0.0);
    load_step(saved_cells, before, s, g.positions - 1);
    for t in (0..g.positions).rev() {
        add_step(&dy[s.sequence(0..h)], dh, s, t);
        cell.copy_from_slice(before);
        if t == 0 {
            before.fill(0.0);
        } else {
            load_step(saved_cells, before, s, t - 1);
        }
        load_step(saved_gates, gates, s, t);
        gates_grad(cell, before, dh, dc, gates);
        store_step(gates, saved_gates, s, t);
        if t > 0 {
            weight.input_grad(0..4 * h, gates, dh, h, batch);
        }
    }
}

/// Finds the result of [`lstm_backward`] in the buffers that it was given.
pub fn lstm_gradients<'a>(g: &LstmGeometry, saved: &'a [f32], scratch: &'a [f32], batch: usize) -> LstmGradients<'a> {
    let (h, s) = (g.hidden, Steps { positions: g.positions, batch });
    let input = &saved[s.sequence(0..4 * h)];
    LstmGradients { input, recurrent: RecurrentRows { rows: 0..4 * h, dy: input, x: &scratch[s.sequence(0..h)] } }
}
