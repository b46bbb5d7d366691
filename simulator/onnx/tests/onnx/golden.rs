//! Six models against PyTorch's recordings, from the file alone: the import's network, its parameters, their gradients and
//! three steps of momentum, dense, sparse and masked. Within 1e-4 of a tensor's largest entry, as the recording states.
//!
//! One tensor needs a floor: shifting all keys of an attention head changes no softmax, so the true gradient of the
//! transformer's `k.bias` is zero and the recorded 1e-10 is rounding. A gradient's floor is 1e-7, and the steps of such a
//! tensor are held against its start.

use crate::net::Net;
use crate::shared::{difference, shared};
use safetensors::SafeTensors;
use siskin::checkin::{Loss, Path};
use siskin_onnx::{ImportOptions, Imported, Reference, import};
use std::collections::BTreeMap;

const TOLERANCE: f32 = 1e-4;

/// A gradient below this is zero but for rounding: sums of some thousand products of numbers around 1e-2.
const FLOOR: f32 = 1e-7;

const MODELS: [&str; 6] = ["mlp", "lenet", "mobile_block_frozen_bn", "gru_lm", "lstm_lm", "transformer_lm"];

struct Recording<'a>(SafeTensors<'a>);

impl Recording<'_> {
    fn words<T>(&self, key: &str, of: impl Fn([u8; 4]) -> T) -> Vec<T> {
        let tensor = self.0.tensor(key).unwrap();
        tensor.data().chunks_exact(4).map(|c| of(c.try_into().unwrap())).collect()
    }

    fn floats(&self, key: &str) -> Vec<f32> {
        match self.0.tensor(key).unwrap().dtype() {
            safetensors::Dtype::F32 => self.words(key, f32::from_le_bytes),
            _ => self.words(key, |b| i32::from_le_bytes(b) as f32),
        }
    }

    /// Names and values under a prefix.
    fn all(&self, prefix: &str) -> BTreeMap<String, Vec<f32>> {
        let names = self.0.names().into_iter().filter_map(|n| n.strip_prefix(prefix)?.strip_prefix('/'));
        names.filter(|n| *n != "loss").map(|n| (n.to_owned(), self.floats(&format!("{prefix}/{n}")))).collect()
    }
}

/// Values of our tensors at the places of the file's numbers, by the stored tensor's name: `f` of the value and the factor.
fn in_file(imported: &Imported, ours: &[Vec<f32>], f: impl Fn(f32, f32) -> f32) -> BTreeMap<String, Vec<f32>> {
    let mut out = BTreeMap::new();
    for (source, values) in imported.sources.iter().zip(ours).filter(|(s, _)| s.trains()) {
        for (i, value) in values.iter().enumerate() {
            let (stored, index, factor) = source.place(i).unwrap();
            let tensor = &imported.stored[stored];
            let all = out.entry(tensor.name.clone()).or_insert_with(|| vec![f32::NAN; tensor.dims.iter().product()]);
            all[index] = f(*value, factor);
        }
    }
    out
}

fn close(what: &str, got: &BTreeMap<String, Vec<f32>>, want: &BTreeMap<String, Vec<f32>>, floor: f32) {
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "{what}");
    for (name, want) in want {
        let (got, largest) = (&got[name], want.iter().fold(0.0f32, |m, v| m.max(v.abs())));
        assert_eq!(got.len(), want.len(), "{what}: {name}");
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            let allowed = (TOLERANCE * largest).max(floor);
            assert!((g - w).abs() <= allowed, "{what}: {name}[{i}]: {g} for {w}, largest {largest}");
        }
    }
}

fn same(what: &str, got: &[f32], want: &[f32]) {
    let apart = difference(got, want);
    assert!(apart <= TOLERANCE, "{what}: {apart} of the largest entry");
    println!("{what}: {apart:.1e} of the largest entry");
}

fn loaded(name: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    Some((shared(&format!("golden/models/{name}.onnx"))?, shared(&format!("golden/models/{name}.safetensors"))?))
}

fn options() -> ImportOptions {
    ImportOptions { loss: Some(Loss::SoftmaxCrossEntropy), ..Default::default() }
}

/// Parameters, and the outputs of both runners.
#[test]
fn outputs_are_those_of_tract_and_of_pytorch() {
    for name in MODELS {
        let Some((file, recording)) = loaded(name) else { continue };
        let recording = Recording(SafeTensors::deserialize(&recording).unwrap());
        let imported = import(&file, None, &options()).unwrap();
        assert_eq!(in_file(&imported, &imported.params, |v, f| v / f), recording.all("param"), "{name}");
        let (input, logits) = (recording.floats("input"), recording.floats("logits"));
        let batch = recording.0.tensor("logits").unwrap().shape()[0];
        let tract = Reference::new(&file, None, &imported, batch).unwrap().run(&input).unwrap();
        same(&format!("{name}: tract's output, PyTorch's"), &tract, &logits);
        let ours = Net::new(&imported).outputs(&input, batch);
        same(&format!("{name}: our output, tract's"), &ours, &tract);
        same(&format!("{name}: our output, PyTorch's"), &ours, &logits);
    }
}

#[test]
fn training_is_that_of_pytorch() {
    for name in MODELS {
        let Some((file, recording)) = loaded(name) else { continue };
        let recording = Recording(SafeTensors::deserialize(&recording).unwrap());
        let imported = import(&file, None, &options()).unwrap();
        for path in [Path::Dense, Path::Sparse] {
            trains(&format!("{name}, {path:?}"), &imported, &recording, path);
        }
    }
}

fn trains(name: &str, imported: &Imported, recording: &Recording, path: Path) {
    let input = recording.floats("input");
    let labels = recording.words("labels", u32::from_le_bytes);
    let batch = recording.0.tensor("labels").unwrap().shape()[0];
    let full: Vec<Vec<bool>> = imported.params.iter().map(|p| vec![true; p.len()]).collect();
    let net = Net::pruned(imported, &full, path);

    let (loss, gradient) = net.gradient(&input, &labels, batch);
    same(&format!("{name}: loss"), &[loss], &recording.floats("loss"));
    // A number of the file moves the value by the factor.
    let in_place = |g: &[Vec<f32>]| in_file(imported, g, |v, f| v * f);
    close(&format!("{name}: gradient"), &in_place(&gradient), &recording.all("grad"), FLOOR);

    let (mut norms, mut squares) = (Vec::new(), BTreeMap::new());
    let examples = input.chunks(input.len() / batch).zip(labels.chunks(labels.len() / batch));
    for (example, label) in examples {
        let gradient = in_place(&net.gradient(example, label, 1).1);
        let all = gradient.values().flatten().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        norms.push(all.sqrt() as f32);
        for (name, g) in gradient {
            let sum = squares.entry(name).or_insert_with(|| vec![0.0; g.len()]);
            sum.iter_mut().zip(&g).for_each(|(s, g)| *s += g * g);
        }
    }
    same(&format!("{name}: norms of examples"), &norms, &recording.floats("per_example_grad_norm"));
    close(&format!("{name}: Fisher"), &squares, &recording.all("sum_squared_per_example_grad"), FLOOR * FLOOR);

    // Masks by the place in the file; the recording masks arrays of positions too, which no plan prunes: their entries are
    // set back to zero after each step.
    let masks: Vec<Vec<bool>> = imported
        .sources
        .iter()
        .zip(&imported.params)
        .map(|(source, params)| {
            let mask = (0..params.len()).map(|i| {
                let Some((stored, index, _)) = source.place(i) else { return true };
                let mask = recording.0.tensor(&format!("mask/{}", imported.stored[stored].name));
                mask.map_or(true, |m| m.data()[index] != 0)
            });
            mask.collect()
        })
        .collect();
    for (masks, prefix) in [(&full, "sgd3"), (&masks, "masked_sgd3")] {
        let prunable: Vec<Vec<bool>> = imported
            .sources
            .iter()
            .zip(masks)
            .map(|(s, m)| if s.role.prunes() { m.clone() } else { vec![true; m.len()] })
            .collect();
        let mut net = Net::pruned(imported, &prunable, path);
        let pin = |net: &mut Net| {
            for (t, mask) in masks.iter().enumerate().filter(|(t, _)| !imported.sources[*t].role.prunes()) {
                let range = net.range(t);
                net.values[range].iter_mut().zip(mask).filter(|(_, live)| !**live).for_each(|(v, _)| *v = 0.0);
            }
        };
        pin(&mut net);
        for _ in 0..3 {
            net.step(0.1, 0.9, &input, &labels, batch);
            pin(&mut net);
        }
        let got = in_file(imported, &net.params(), |v, f| v / f);
        close(&format!("{name}: {prefix}"), &got, &recording.all(prefix), FLOOR);
        // The loss after the third step is the one before a fourth.
        let after = net.step(0.1, 0.0, &input, &labels, batch);
        same(&format!("{name}: {prefix}/loss"), &[after], &recording.floats(&format!("{prefix}/loss")));
    }
}
