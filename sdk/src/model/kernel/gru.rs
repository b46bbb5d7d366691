//! Gated recurrent unit (Cho et al. 2014) as ONNX defines it: gates z, r, h in this order, both ways of applying r.

use super::recurrent::{
    RecurrentRows, RecurrentWeight, Steps, add, add_step, load_step, only_bias, previous, scale, store_step,
};
use super::wide::widened;
use super::{sigmoid_forward, tanh_forward};

/// Shape of a GRU over `[inputs][positions][batch]`. The lengths are those of one example, to be multiplied by the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GruGeometry {
    /// Length of the state.
    pub hidden: usize,
    /// Positions, at least 1.
    pub positions: usize,
    /// `r` is applied to the recurrent product of gate h (ONNX `linear_before_reset = 1`, PyTorch), not to the state before
    /// it.
    pub reset_after: bool,
}

impl GruGeometry {
    /// What forward leaves for backward: `[3 hidden][positions]` gates, and if `reset_after` the recurrent product of gate h.
    pub const fn saved_len(&self) -> usize {
        (3 + self.reset_after as usize) * self.hidden * self.positions
    }

    /// Scratch of [`gru_forward`].
    pub const fn forward_scratch_len(&self) -> usize {
        4 * self.hidden
    }

    /// Scratch of [`gru_backward`], in which a part of its result lies.
    pub const fn backward_scratch_len(&self) -> usize {
        self.previous_len() + 6 * self.hidden
    }

    /// The states before each position, and unless `reset_after` their products with `r`.
    const fn previous_len(&self) -> usize {
        (2 - self.reset_after as usize) * self.hidden * self.positions
    }

    fn assert(&self, saved: &[f32], y: &[f32], batch: usize) {
        debug_assert!(batch > 0 && self.positions > 0);
        debug_assert!(saved.len() == self.saved_len() * batch);
        debug_assert!(y.len() == self.hidden * self.positions * batch);
    }
}

/// The states `y[hidden][positions][batch]`.
///
/// `saved` comes with the products of the input, `a = W x + Wb`, in its first `[3 hidden][positions][batch]` values, and
/// leaves with what [`gru_backward`] needs; `bias` is Rb, `[3 hidden]`, or `&[]`. Let `h` be the state before, zeros at first,
/// and `R x + Rb` a product as [`dense_forward`](super::dense_forward) or [`csr_forward`](super::csr_forward) makes it (at the
/// first position just Rb, or `+0.0`). With this module's own exponential
/// - `z = logistic(p + a)` with `p = Rz h + Rbz`, likewise `r`,
/// - `n = tanh(r * p + a)` with `p = Rh h + Rbh` if `reset_after`, else `n = tanh(p + a)` with `p = Rh (r * h) + Rbh`,
/// - the next state is `(1 - z) * n + z * h`.
///
/// # Panics
/// If a slice is shorter than its shape or geometry says, or the batch is 0.
pub fn gru_forward(
    g: &GruGeometry,
    weight: &RecurrentWeight,
    bias: &[f32],
    saved: &mut [f32],
    y: &mut [f32],
    scratch: &mut [f32],
    batch: usize,
) {
    g.assert(saved, y, batch);
    let (n, h, s) = (g.hidden * batch, g.hidden, Steps { positions: g.positions, batch });
    let (state, rest) = scratch[..4 * n].split_at_mut(n);
    let (gates, candidate) = rest.split_at_mut(2 * n);
    state.fill(0.0);
    for t in 0..g.positions {
        if t == 0 {
            only_bias(bias, gates, batch);
        } else {
            weight.forward(0..2 * h, bias, state, gates, h, batch);
        }
        add_step(&saved[s.sequence(0..2 * h)], gates, s, t);
        sigmoid_forward(gates);
        store_step(gates, &mut saved[s.sequence(0..2 * h)], s, t);
        let (z, r) = gates.split_at_mut(n);
        if g.reset_after {
            product(weight, bias, t, state, candidate, h, batch);
            store_step(candidate, &mut saved[s.sequence(3 * h..4 * h)], s, t);
            scale(r, candidate);
        } else {
            scale(state, r);
            product(weight, bias, t, r, candidate, h, batch);
        }
        add_step(&saved[s.sequence(2 * h..3 * h)], candidate, s, t);
        tanh_forward(candidate);
        store_step(candidate, &mut saved[s.sequence(2 * h..3 * h)], s, t);
        next_state(z, candidate, state);
        store_step(state, y, s, t);
    }
}

/// The recurrent product of gate h.
fn product(weight: &RecurrentWeight, bias: &[f32], t: usize, x: &[f32], candidate: &mut [f32], h: usize, batch: usize) {
    if t == 0 {
        only_bias(bias.get(2 * h..).unwrap_or(&[]), candidate, batch);
    } else {
        weight.forward(2 * h..3 * h, bias, x, candidate, h, batch);
    }
}

widened! {
    fn next_state(z: &[f32], candidate: &[f32], state: &mut [f32]) {
        for ((h, &z), &n) in state.iter_mut().zip(z).zip(candidate) {
            *h = (1.0 - z) * n + z * *h;
        }
    }

    /// `z`, `n` and `dh` become the gradients of the arguments of z's logistic function and of n's tangent, and what goes to
    /// the state past both.
    fn update_grad(h: &[f32], z: &mut [f32], n: &mut [f32], dh: &mut [f32]) {
        for (((dh, &h), z), n) in dh.iter_mut().zip(h).zip(z).zip(n) {
            let dz = *dh * (h - *n);
            let dn = *dh * (1.0 - *z);
            *dh *= *z;
            *z = dz * (*z * (1.0 - *z));
            *n = dn * (1.0 - *n * *n);
        }
    }

    /// With `dn` of [`update_grad`]: `r` and the product become the gradients of r's argument and of the product.
    fn reset_after_grad(dn: &[f32], r: &mut [f32], product: &mut [f32]) {
        for ((&dn, r), p) in dn.iter().zip(r).zip(product) {
            let dr = dn * *p;
            *p = dn * *r;
            *r = dr * (*r * (1.0 - *r));
        }
    }

    /// With the gradient `d` of `r * h`: adds what goes to `h`, which itself becomes `r * h`, and `r` the gradient of its
    /// argument.
    fn reset_before_grad(d: &[f32], h: &mut [f32], r: &mut [f32], dh: &mut [f32]) {
        for (((&d, h), r), dh) in d.iter().zip(h).zip(r).zip(dh) {
            let dr = d * *h;
            *dh += d * *r;
            *h *= *r;
            *r = dr * (*r * (1.0 - *r));
        }
    }
}

/// Gradients that [`gru_backward`] leaves in its buffers.
#[derive(Clone, Debug)]
pub struct GruGradients<'a> {
    /// Of the input's products `W x + Wb`, `[3 hidden][positions][batch]`: those of W, Wb and x follow.
    pub input: &'a [f32],
    /// Of R and Rb: the rows of the gates z and r, then those of gate h.
    pub recurrent: [RecurrentRows<'a>; 2],
}

/// Backward through time from the gradient `dy` of the states `y`, with what [`gru_forward`] has saved, which is overwritten.
/// The result stays in `saved` and `scratch`: [`gru_gradients`] finds it.
///
/// From the last position to the first, with `d = dy + c`, `c` the gradient that the next position has left (`+0.0` at first),
/// and the names of [`gru_forward`]:
/// - `da_n = (d * (1 - z)) * (1 - n * n)`, `da_z = (d * (h - n)) * (z * (1 - z))`,
/// - `reset_after`: `dp = da_n * r`, `da_r = (da_n * p) * (r * (1 - r))`; `c = d * z + R' (da_z, da_r, dp)`,
/// - else: `q = Rh' da_n` (`+0.0` at the first position), `da_r = (q * h) * (r * (1 - r))`;
///   `c = (d * z + q * r) + R' (da_z, da_r)`.
///
/// `R'` is a product as [`dense_input_grad`](super::dense_input_grad) or [`csr_input_grad`](super::csr_input_grad) makes it,
/// one running sum over the rows named.
///
/// # Panics
/// As [`gru_forward`].
pub fn gru_backward(
    g: &GruGeometry,
    weight: &RecurrentWeight,
    y: &[f32],
    dy: &[f32],
    saved: &mut [f32],
    scratch: &mut [f32],
    batch: usize,
) {
    g.assert(saved, y, batch);
    let (n, h, s) = (g.hidden * batch, g.hidden, Steps { positions: g.positions, batch });
    let (sequences, step) = scratch[..g.backward_scratch_len() * batch].split_at_mut(g.previous_len() * batch);
    let (states, reset_states) = sequences.split_at_mut(h * g.positions * batch);
    previous(y, states, s);
    let (carry, step) = step.split_at_mut(n);
    let (before, step) = step.split_at_mut(n);
    // In the order n, z, r, p, so that all that R saw lies together.
    let (candidate, gates) = step.split_at_mut(n);
    carry.fill(0.0);
    for t in (0..g.positions).rev() {
        add_step(&dy[s.sequence(0..h)], carry, s, t);
        load_step(states, before, s, t);
        load_step(&saved[s.sequence(0..2 * h)], &mut gates[..2 * n], s, t);
        load_step(&saved[s.sequence(2 * h..3 * h)], candidate, s, t);
        update_grad(before, &mut gates[..n], candidate, carry);
        let (zr, product) = gates.split_at_mut(2 * n);
        if g.reset_after {
            load_step(&saved[s.sequence(3 * h..4 * h)], product, s, t);
            reset_after_grad(candidate, &mut zr[n..], product);
            store_step(product, &mut saved[s.sequence(3 * h..4 * h)], s, t);
        } else {
            if t == 0 {
                product.fill(0.0);
            } else {
                weight.input_grad(2 * h..3 * h, candidate, product, h, batch);
            }
            reset_before_grad(product, before, &mut zr[n..], carry);
            store_step(before, reset_states, s, t);
        }
        store_step(zr, &mut saved[s.sequence(0..2 * h)], s, t);
        store_step(candidate, &mut saved[s.sequence(2 * h..3 * h)], s, t);
        if t > 0 {
            let rows = if g.reset_after { 3 * h } else { 2 * h };
            weight.input_grad(0..rows, &gates[..rows * batch], before, h, batch);
            add(before, carry);
        }
    }
}

/// Finds the result of [`gru_backward`] in the buffers that it was given.
pub fn gru_gradients<'a>(g: &GruGeometry, saved: &'a [f32], scratch: &'a [f32], batch: usize) -> GruGradients<'a> {
    let (h, s) = (g.hidden, Steps { positions: g.positions, batch });
    let (candidate, reset_state) = if g.reset_after { (3 * h..4 * h, 0..h) } else { (2 * h..3 * h, h..2 * h) };
    GruGradients {
        input: &saved[s.sequence(0..3 * h)],
        recurrent: [
            RecurrentRows { rows: 0..2 * h, dy: &saved[s.sequence(0..2 * h)], x: &scratch[s.sequence(0..h)] },
            RecurrentRows {
                rows: 2 * h..3 * h,
                dy: &saved[s.sequence(candidate)],
                x: &scratch[s.sequence(reset_state)],
            },
        ],
    }
}
