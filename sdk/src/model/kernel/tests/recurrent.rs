//! Recurrent layers against their equations in double precision and finite differences through time.

use super::*;
use crate::model::kernel::*;

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// `R h + Rb` of one gate.
fn product(r: &[f64], bias: &[f64], gate: usize, h: &[f64]) -> Vec<f64> {
    let n = h.len();
    (gate * n..(gate + 1) * n).map(|o| bias[o] + (0..n).map(|i| r[o * n + i] * h[i]).sum::<f64>()).collect()
}

/// The states from `W x + Wb`, both `[rows][positions][batch]`, by ONNX's equations.
fn gru(g: &GruGeometry, a: &[f64], r: &[f64], bias: &[f64], batch: usize) -> Vec<f64> {
    let (n, positions) = (g.hidden, g.positions);
    let at = |row: usize, t: usize, b: usize| (row * positions + t) * batch + b;
    let mut y = vec![0.0; n * positions * batch];
    for b in 0..batch {
        let mut h = vec![0.0; n];
        for t in 0..positions {
            let gate = |k: usize, p: &[f64]| -> Vec<f64> { (0..n).map(|i| a[at(k * n + i, t, b)] + p[i]).collect() };
            let z: Vec<f64> = gate(0, &product(r, bias, 0, &h)).into_iter().map(logistic).collect();
            let reset: Vec<f64> = gate(1, &product(r, bias, 1, &h)).into_iter().map(logistic).collect();
            let times = |x: &[f64]| -> Vec<f64> { x.iter().zip(&reset).map(|(x, r)| x * r).collect() };
            let inner = match g.reset_after {
                true => times(&product(r, bias, 2, &h)),
                false => product(r, bias, 2, &times(&h)),
            };
            let candidate = gate(2, &inner);
            for i in 0..n {
                h[i] = (1.0 - z[i]) * libm::tanh(candidate[i]) + z[i] * h[i];
                y[at(i, t, b)] = h[i];
            }
        }
    }
    y
}

fn lstm(g: &LstmGeometry, a: &[f64], r: &[f64], bias: &[f64], batch: usize) -> Vec<f64> {
    let (n, positions) = (g.hidden, g.positions);
    let at = |row: usize, t: usize, b: usize| (row * positions + t) * batch + b;
    let mut y = vec![0.0; n * positions * batch];
    for b in 0..batch {
        let (mut h, mut c) = (vec![0.0; n], vec![0.0; n]);
        for t in 0..positions {
            let gates: Vec<f64> =
                (0..4).flat_map(|k| product(r, bias, k, &h)).enumerate().map(|(row, p)| p + a[at(row, t, b)]).collect();
            for i in 0..n {
                let [input, output, forget] = [0, 1, 2].map(|k| logistic(gates[k * n + i]));
                c[i] = forget * c[i] + input * libm::tanh(gates[3 * n + i]);
                h[i] = output * libm::tanh(c[i]);
                y[at(i, t, b)] = h[i];
            }
        }
    }
    y
}

/// A recurrent weight of `rows * hidden`, as stored and in full.
struct Recurrent {
    sparse: Sparse,
    is_sparse: bool,
    full: Vec<f32>,
    bias: Vec<f32>,
}

impl Recurrent {
    fn new(seed: &mut u64, rows: usize, hidden: usize, is_sparse: bool) -> Self {
        let mut sparse = if is_sparse { Sparse::new(seed, rows, hidden, 4) } else { Sparse::full(seed, rows, hidden) };
        sparse.w = smooth(seed, sparse.w.len()).iter().map(|w| w * 0.5).collect();
        let mut full = vec![0.0; rows * hidden];
        for o in 0..rows {
            sparse.row(o).for_each(|(k, i)| full[o * hidden + i] = sparse.w[k]);
        }
        Self { sparse, is_sparse, full, bias: smooth(seed, rows) }
    }

    fn weight(&self) -> RecurrentWeight<'_> {
        RecurrentWeight { values: &self.sparse.w, pattern: self.is_sparse.then(|| self.sparse.pattern()) }
    }

    /// The gradients of all weights and biases, the pruned weights' as 0, by the calls that a caller makes.
    fn gradients(&self, parts: &[RecurrentRows], hidden: usize, lanes: usize) -> (Vec<f32>, Vec<f32>) {
        let rows = self.bias.len();
        let stored = collected(self.sparse.w.len(), |sink| {
            for part in parts {
                let (outputs, by) = (part.rows.len(), part.rows.start * hidden);
                if self.is_sparse {
                    let pattern = self.sparse.pattern().rows(part.rows.clone());
                    csr_weight_grad(pattern, part.dy, part.x, hidden, outputs, lanes, sink);
                } else {
                    dense_weight_grad(part.dy, part.x, hidden, outputs, lanes, &mut Raised { sink, by });
                }
            }
        });
        let mut full = vec![0.0; rows * hidden];
        for o in 0..rows {
            self.sparse.row(o).for_each(|(k, i)| full[o * hidden + i] = stored[k]);
        }
        let bias = collected(rows, |sink| {
            for part in parts {
                bias_grad(part.dy, part.rows.len(), lanes, &mut Raised { sink, by: part.rows.start });
            }
        });
        (full, bias)
    }

    /// The gradient of the live weights, 0 for the others.
    fn differences(&self, f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        let mut all = differences(&self.full, f);
        let hidden = self.full.len() / self.bias.len();
        let mut live = vec![false; all.len()];
        for o in 0..self.bias.len() {
            self.sparse.row(o).for_each(|(_, i)| live[o * hidden + i] = true);
        }
        all.iter_mut().zip(live).filter(|(_, live)| !live).for_each(|(d, _)| *d = 0.0);
        all
    }
}

/// Hidden, positions, batch, stored sparsely, seed.
fn shape() -> impl Strategy<Value = (usize, usize, usize, bool, u64)> {
    (1usize..6, 1usize..5, prop_oneof![1usize..5, Just(9)], any::<bool>(), any::<u64>())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn gated_recurrent_unit(
        (hidden, positions, batch, sparse, mut seed) in shape(),
        reset_after: bool,
        with_bias: bool,
    ) {
        let g = GruGeometry { hidden, positions, reset_after };
        let lanes = positions * batch;
        let a = smooth(&mut seed, 3 * hidden * lanes);
        let dy = smooth(&mut seed, hidden * lanes);
        let mut r = Recurrent::new(&mut seed, 3 * hidden, hidden, sparse);
        if !with_bias {
            r.bias.fill(0.0);
        }
        let bias: &[f32] = if with_bias { &r.bias } else { &[] };
        let (n, m) = (g.saved_len() * batch, hidden * lanes);
        // Saved and states together, to compare the variants on both.
        let forward = both(|| {
            let mut all = vec![f32::NAN; n + m];
            let (saved, y) = all.split_at_mut(n);
            saved[..a.len()].copy_from_slice(&a);
            let mut scratch = vec![f32::NAN; g.forward_scratch_len() * batch];
            gru_forward(&g, &r.weight(), bias, saved, y, &mut scratch, batch);
            all
        });
        let (saved, y) = forward.split_at(n);
        let (a64, r64, b64) = (doubles(&a), doubles(&r.full), doubles(&r.bias));
        close(y, &gru(&g, &a64, &r64, &b64, batch), 1e-6);

        let scratch_len = g.backward_scratch_len() * batch;
        let backward = both(|| {
            let mut all = saved.to_vec();
            all.resize(n + scratch_len, f32::NAN);
            let (saved, scratch) = all.split_at_mut(n);
            gru_backward(&g, &r.weight(), y, &dy, saved, scratch, batch);
            all
        });
        let (saved, scratch) = backward.split_at(n);
        let gradients = gru_gradients(&g, saved, scratch, batch);
        let loss = |a: &[f64], r: &[f64], b: &[f64]| weighted(&gru(&g, a, r, b, batch), &dy);
        close(gradients.input, &differences(&a, |a| loss(a, &r64, &b64)), 1e-5);
        let (dr, db) = r.gradients(&gradients.recurrent, hidden, lanes);
        close(&dr, &r.differences(|r| loss(&a64, r, &b64)), 1e-5);
        close(&db, &differences(&r.bias, |b| loss(&a64, &r64, b)), 1e-5);
    }

    #[test]
    fn long_short_term_memory((hidden, positions, batch, sparse, mut seed) in shape(), with_bias: bool) {
        let g = LstmGeometry { hidden, positions };
        let lanes = positions * batch;
        let a = smooth(&mut seed, 4 * hidden * lanes);
        let dy = smooth(&mut seed, hidden * lanes);
        let mut r = Recurrent::new(&mut seed, 4 * hidden, hidden, sparse);
        if !with_bias {
            r.bias.fill(0.0);
        }
        let bias: &[f32] = if with_bias { &r.bias } else { &[] };
        let (n, m) = (g.saved_len() * batch, hidden * lanes);
        let forward = both(|| {
            let mut all = vec![f32::NAN; n + m];
            let (saved, y) = all.split_at_mut(n);
            saved[..a.len()].copy_from_slice(&a);
            let mut scratch = vec![f32::NAN; g.forward_scratch_len() * batch];
            lstm_forward(&g, &r.weight(), bias, saved, y, &mut scratch, batch);
            all
        });
        let (saved, y) = forward.split_at(n);
        let (a64, r64, b64) = (doubles(&a), doubles(&r.full), doubles(&r.bias));
        close(y, &lstm(&g, &a64, &r64, &b64, batch), 1e-6);

        let scratch_len = g.backward_scratch_len() * batch;
        let backward = both(|| {
            let mut all = saved.to_vec();
            all.resize(n + scratch_len, f32::NAN);
            let (saved, scratch) = all.split_at_mut(n);
            lstm_backward(&g, &r.weight(), y, &dy, saved, scratch, batch);
            all
        });
        let (saved, scratch) = backward.split_at(n);
        let gradients = lstm_gradients(&g, saved, scratch, batch);
        let loss = |a: &[f64], r: &[f64], b: &[f64]| weighted(&lstm(&g, a, r, b, batch), &dy);
        close(gradients.input, &differences(&a, |a| loss(a, &r64, &b64)), 1e-5);
        let (dr, db) = r.gradients(&[gradients.recurrent], hidden, lanes);
        close(&dr, &r.differences(|r| loss(&a64, r, &b64)), 1e-5);
        close(&db, &differences(&r.bias, |b| loss(&a64, &r64, b)), 1e-5);
    }

    /// An example's numbers do not depend on the batch that it is in.
    #[test]
    fn examples_are_independent(hidden in 1usize..20, positions in 1usize..6, batch in 2usize..11, mut seed: u64) {
        let g = GruGeometry { hidden, positions, reset_after: seed % 2 == 0 };
        let r = Recurrent::new(&mut seed, 3 * hidden, hidden, false);
        let a = smooth(&mut seed, 3 * hidden * positions * batch);
        let run = |a: &[f32], batch: usize| {
            let mut saved = vec![f32::NAN; g.saved_len() * batch];
            saved[..a.len()].copy_from_slice(a);
            let mut y = vec![f32::NAN; hidden * positions * batch];
            let mut scratch = vec![f32::NAN; g.forward_scratch_len() * batch];
            gru_forward(&g, &r.weight(), &r.bias, &mut saved, &mut y, &mut scratch, batch);
            y
        };
        let of = |x: &[f32], b: usize| x.iter().skip(b).step_by(batch).copied().collect::<Vec<f32>>();
        let y = run(&a, batch);
        for b in 0..batch {
            prop_assert_eq!(bits(&run(&of(&a, b), 1)), bits(&of(&y, b)));
        }
    }
}
