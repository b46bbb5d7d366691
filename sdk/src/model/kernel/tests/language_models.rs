//! Three small language models against PyTorch: logits, loss and every gradient (`golden/models`).

use std::collections::BTreeMap;
use std::format;
use std::path::PathBuf;
use std::string::String;

use super::*;
use crate::model::kernel::*;

/// Of the largest entry, as the golden values' own index says.
const TOLERANCE: f64 = 1e-4;

/// The tensors of a model; nothing, said aloud, where the shared data is absent.
struct Golden {
    tensors: BTreeMap<String, (Vec<usize>, Vec<u32>)>,
    positions: usize,
    batch: usize,
}

impl Golden {
    fn read(model: &str) -> Option<Self> {
        let shared = std::env::var_os("SISKIN_SHARED")
            .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
        let path = shared.join(format!("golden/models/{model}.safetensors"));
        let Ok(bytes) = std::fs::read(&path) else {
            std::println!("skipped: {} not found", path.display());
            return None;
        };
        let head = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..head]).unwrap();
        let number = |v: &serde_json::Value| usize::try_from(v.as_u64().unwrap()).unwrap();
        let mut tensors = BTreeMap::new();
        for (name, tensor) in header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__") {
            let [from, to] = [0, 1].map(|k| head + number(&tensor["data_offsets"][k]));
            let shape: Vec<usize> = tensor["shape"].as_array().unwrap().iter().map(number).collect();
            let (words, rest) = bytes[from..to].as_chunks::<4>();
            assert!(rest.is_empty() && ["F32", "I32", "U8", "BOOL"].contains(&tensor["dtype"].as_str().unwrap()));
            tensors.insert(name.clone(), (shape, words.iter().map(|w| u32::from_le_bytes(*w)).collect()));
        }
        let input: &(Vec<usize>, _) = &tensors["input"];
        let (batch, positions) = (input.0[0], input.0[1]);
        Some(Self { tensors, positions, batch })
    }

    fn lanes(&self) -> usize {
        self.positions * self.batch
    }

    /// Integers of `[batch][position]`, the batch innermost.
    fn integers(&self, name: &str) -> Vec<u32> {
        self.inward(&self.tensors[name].1, 1)
    }

    /// `[batch][position][channel]` as `[channel][position][batch]`.
    fn inward(&self, x: &[u32], channels: usize) -> Vec<u32> {
        let mut y = vec![0; x.len()];
        for (at, &x) in x.iter().enumerate() {
            let (b, t, c) = (at / channels / self.positions, at / channels % self.positions, at % channels);
            y[(c * self.positions + t) * self.batch + b] = x;
        }
        y
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.tensors[name].1.iter().map(|bits| f32::from_bits(*bits)).collect()
    }

    fn parameter(&self, name: &str) -> Vec<f32> {
        self.floats(&format!("param/{name}"))
    }

    /// The logits' check; returns their gradient.
    fn finish(&self, mut logits: Vec<f32>) -> Vec<f32> {
        let classes = logits.len() / self.lanes();
        let want: Vec<f64> =
            self.inward(&self.tensors["logits"].1, classes).iter().map(|w| f64::from(f32::from_bits(*w))).collect();
        near(&logits, &want);
        let loss = softmax_cross_entropy(&mut logits, &self.integers("labels"), classes, self.lanes());
        near(&[loss], &doubles(&self.floats("loss")));
        logits
    }

    fn check(&self, name: &str, gradient: &[f32]) {
        near(gradient, &doubles(&self.floats(&format!("grad/{name}"))));
    }

    /// `W x + b` at every position.
    fn dense(&self, name: &str, x: &[f32]) -> Vec<f32> {
        let (w, bias) = (self.parameter(&format!("{name}.weight")), self.bias(name));
        let inputs = x.len() / self.lanes();
        let outputs = w.len() / inputs;
        let mut y = vec![f32::NAN; outputs * self.lanes()];
        dense_forward(&w, &bias, x, &mut y, inputs, outputs, self.lanes());
        y
    }

    fn bias(&self, name: &str) -> Vec<f32> {
        let name = format!("{name}.bias");
        if self.tensors.contains_key(&format!("param/{name}")) { self.parameter(&name) } else { vec![] }
    }

    /// Checks the gradients of a dense layer's parameters and returns its input's.
    fn dense_grad(&self, name: &str, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let w = self.parameter(&format!("{name}.weight"));
        let lanes = self.lanes();
        let (inputs, outputs) = (x.len() / lanes, dy.len() / lanes);
        let dw = collected(w.len(), |sink| dense_weight_grad(dy, x, inputs, outputs, lanes, sink));
        self.check(&format!("{name}.weight"), &dw);
        if !self.bias(name).is_empty() {
            self.check(&format!("{name}.bias"), &collected(outputs, |sink| bias_grad(dy, outputs, lanes, sink)));
        }
        let mut dx = vec![f32::NAN; x.len()];
        dense_input_grad(&w, dy, &mut dx, inputs, outputs, lanes);
        dx
    }

    fn embedding(&self, name: &str) -> Vec<f32> {
        let (rows, dims) = self.table(name);
        let mut x = vec![f32::NAN; dims * self.lanes()];
        embedding_forward(&self.parameter(name), &self.ids(), &mut x, rows, dims, self.lanes());
        x
    }

    fn embedding_grad(&self, name: &str, dx: &[f32]) {
        let (rows, dims) = self.table(name);
        let grad = collected(rows * dims, |sink| {
            embedding_weight_grad(&self.ids(), dx, rows, dims, self.lanes(), sink);
        });
        self.check(name, &grad);
    }

    fn table(&self, name: &str) -> (usize, usize) {
        let shape = &self.tensors[&format!("param/{name}")].0;
        (shape[0], shape[1])
    }

    fn ids(&self) -> Vec<f32> {
        self.integers("input").iter().map(|id| *id as f32).collect()
    }

    /// Layer norm and its statistics.
    fn norm(&self, name: &str, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let g = NormGeometry::layer(x.len() / self.lanes());
        let mut statistics = vec![f32::NAN; g.statistics_len(self.lanes())];
        norm_statistics(&g, x, 1e-5, &mut statistics, self.lanes());
        let mut y = vec![f32::NAN; x.len()];
        let [scale, shift] = ["weight", "bias"].map(|p| self.parameter(&format!("{name}.{p}")));
        norm_forward(&g, x, &statistics, &scale, &shift, &mut y, self.lanes());
        (y, statistics)
    }

    fn norm_grad(&self, name: &str, x: &[f32], statistics: &[f32], dy: &[f32]) -> Vec<f32> {
        let g = NormGeometry::layer(x.len() / self.lanes());
        let grad = collected(g.channels, |sink| norm_scale_grad(&g, x, statistics, dy, self.lanes(), sink));
        self.check(&format!("{name}.weight"), &grad);
        let grad = collected(g.channels, |sink| bias_grad(dy, g.channels, self.lanes(), sink));
        self.check(&format!("{name}.bias"), &grad);
        let mut dx = vec![f32::NAN; x.len()];
        let scale = self.parameter(&format!("{name}.weight"));
        norm_input_grad(&g, x, statistics, &scale, dy, &mut dx, self.lanes());
        dx
    }
}

/// Within the tolerance. That of the keys' bias is zero but for rounding, as a softmax does not see what is added to all: below
/// `1e-5` a largest entry says nothing.
#[track_caller]
fn near(got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1e-5f64, |m, w| m.max(w.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*got) - want).abs() <= TOLERANCE * largest, "{i}: {got} for {want}");
    }
}

/// Blocks of rows in another order.
fn blocks(x: &[f32], order: &[usize]) -> Vec<f32> {
    let size = x.len() / order.len();
    order.iter().flat_map(|k| x[k * size..(k + 1) * size].iter().copied()).collect()
}

/// A recurrent language model; `order` says which of PyTorch's gates are ONNX's.
fn recurrent_model(model: &str, order: &[usize]) {
    let Some(golden) = Golden::read(model) else { return };
    let (positions, batch, lanes) = (golden.positions, golden.batch, golden.lanes());
    let parameter = |name: &str| blocks(&golden.parameter(name), order);
    let [w, r] = ["ih", "hh"].map(|m| parameter(&format!("rnn.weight_{m}_l0")));
    let [wb, rb] = ["ih", "hh"].map(|m| parameter(&format!("rnn.bias_{m}_l0")));
    let (rows, hidden) = (rb.len(), rb.len() / order.len());
    let x = golden.embedding("emb.weight");
    let inputs = x.len() / lanes;
    let weight = RecurrentWeight { values: &r, pattern: None };
    let gru = GruGeometry { hidden, positions, reset_after: true };
    let lstm = LstmGeometry { hidden, positions };
    let is_gru = order.len() == 3;
    let lens = match is_gru {
        true => [gru.saved_len(), gru.forward_scratch_len(), gru.backward_scratch_len()],
        false => [lstm.saved_len(), lstm.forward_scratch_len(), lstm.backward_scratch_len()],
    };
    let [mut saved, mut forward, mut backward] = lens.map(|n| vec![f32::NAN; n * batch]);
    let mut y = vec![f32::NAN; hidden * lanes];
    dense_forward(&w, &wb, &x, &mut saved[..rows * lanes], inputs, rows, lanes);
    match is_gru {
        true => gru_forward(&gru, &weight, &rb, &mut saved, &mut y, &mut forward, batch),
        false => lstm_forward(&lstm, &weight, &rb, &mut saved, &mut y, &mut forward, batch),
    }
    let dlogits = golden.finish(golden.dense("out", &y));
    let dy = golden.dense_grad("out", &y, &dlogits);
    let (input, parts) = if is_gru {
        gru_backward(&gru, &weight, &y, &dy, &mut saved, &mut backward, batch);
        let all = gru_gradients(&gru, &saved, &backward, batch);
        (all.input, all.recurrent.to_vec())
    } else {
        lstm_backward(&lstm, &weight, &y, &dy, &mut saved, &mut backward, batch);
        let all = lstm_gradients(&lstm, &saved, &backward, batch);
        (all.input, vec![all.recurrent])
    };
    let check = |name: &str, got: &[f32]| {
        near(got, &doubles(&blocks(&golden.floats(&format!("grad/rnn.{name}_l0")), order)));
    };
    check("weight_ih", &collected(w.len(), |sink| dense_weight_grad(input, &x, inputs, rows, lanes, sink)));
    check("bias_ih", &collected(rows, |sink| bias_grad(input, rows, lanes, sink)));
    let dr = collected(r.len(), |sink| {
        for part in &parts {
            let by = part.rows.start * hidden;
            dense_weight_grad(part.dy, part.x, hidden, part.rows.len(), lanes, &mut Raised { sink, by });
        }
    });
    check("weight_hh", &dr);
    let drb = collected(rows, |sink| {
        for part in &parts {
            bias_grad(part.dy, part.rows.len(), lanes, &mut Raised { sink, by: part.rows.start });
        }
    });
    check("bias_hh", &drb);
    let mut dx = vec![f32::NAN; x.len()];
    dense_input_grad(&w, input, &mut dx, inputs, rows, lanes);
    golden.embedding_grad("emb.weight", &dx);
}

/// PyTorch's gates are r, z, n.
#[test]
fn gru_lm() {
    recurrent_model("gru_lm", &[1, 0, 2]);
}

/// PyTorch's gates are i, f, g, o.
#[test]
fn lstm_lm() {
    recurrent_model("lstm_lm", &[0, 3, 1, 2]);
}

/// One block, norms first, two heads.
#[test]
fn transformer_lm() {
    let Some(golden) = Golden::read("transformer_lm") else { return };
    let (positions, batch) = (golden.positions, golden.batch);
    let mut x0 = golden.embedding("tok.weight");
    let dims = x0.len() / golden.lanes();
    // The table of positions is [position][channel].
    let table = golden.parameter("pos");
    let mut positional = vec![f32::NAN; table.len()];
    transpose_forward([positions, dims, 1], [1, 0, 2], &table, &mut positional, 1);
    offset_forward(&positional, &mut x0, batch);
    let g = AttentionGeometry { heads: 2, size: dims / 2, positions, causal: true };
    let softmax = SoftmaxGeometry { groups: g.heads, size: positions, positions, causal: true };
    let scale = 1.0 / libm::sqrtf(g.size as f32);
    let sum = |a: &[f32], b: &[f32]| {
        let mut y = a.to_vec();
        add_forward(&mut y, b, dims, positions, batch);
        y
    };

    let (n1, s1) = golden.norm("ln1", &x0);
    let [q, k, v] = ["q", "k", "v"].map(|name| golden.dense(name, &n1));
    let mut p = vec![f32::NAN; g.scores() * batch];
    scores_forward(&g, scale, &q, &k, &mut p, batch);
    softmax_forward(&softmax, &mut p, batch);
    let mut context = vec![f32::NAN; q.len()];
    context_forward(&g, &p, &v, &mut context, batch);
    let x1 = sum(&x0, &golden.dense("o", &context));
    let (n2, s2) = golden.norm("ln2", &x1);
    let up = golden.dense("up", &n2);
    let mut active = vec![f32::NAN; up.len()];
    gelu_forward(&up, &mut active);
    let x2 = sum(&x1, &golden.dense("down", &active));
    let (last, sf) = golden.norm("lnf", &x2);
    let dlogits = golden.finish(golden.dense("head", &last));

    let dlast = golden.dense_grad("head", &last, &dlogits);
    let dx2 = golden.norm_grad("lnf", &x2, &sf, &dlast);
    let mut dup = golden.dense_grad("down", &active, &dx2);
    gelu_backward(&up, &mut dup);
    let dn2 = golden.dense_grad("up", &n2, &dup);
    let dx1 = sum(&dx2, &golden.norm_grad("ln2", &x1, &s2, &dn2));
    let dcontext = golden.dense_grad("o", &context, &dx1);
    let [mut dq, mut dk, mut dv] = [(); 3].map(|()| vec![f32::NAN; q.len()]);
    let mut ds = vec![f32::NAN; p.len()];
    context_backward_values(&g, &p, &dcontext, &mut dv, batch);
    context_backward_weights(&g, &v, &dcontext, &mut ds, batch);
    softmax_backward(&softmax, &p, &mut ds, batch);
    scores_backward_query(&g, scale, &k, &ds, &mut dq, batch);
    scores_backward_key(&g, scale, &q, &ds, &mut dk, batch);
    let [dq, dk, dv] = [("q", &dq), ("k", &dk), ("v", &dv)].map(|(name, dy)| golden.dense_grad(name, &n1, dy));
    let dx0 = sum(&dx1, &golden.norm_grad("ln1", &x0, &s1, &sum(&sum(&dq, &dk), &dv)));
    let grad = collected(positional.len(), |sink| offset_grad(&dx0, batch, sink));
    let mut want = vec![f32::NAN; grad.len()];
    transpose_forward([positions, dims, 1], [1, 0, 2], &golden.floats("grad/pos"), &mut want, 1);
    near(&grad, &doubles(&want));
    golden.embedding_grad("tok.weight", &dx0);
}
