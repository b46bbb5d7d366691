//! Files that others made.

use crate::agreement::{holds_with, options};
use crate::net::Net;
use crate::shared::{Digits, digits, shared};
use siskin::checkin::Loss;
use siskin_onnx::{ImportError, ImportOptions, OutputActivation, export, import};
use std::collections::BTreeMap;

/// What becomes of an output of a file.
enum Fate {
    /// It is taken in, as so many layers, and both runners agree.
    Layers(usize),
    /// It is refused; the message has these words.
    Refused(&'static [&'static str]),
}
use Fate::{Layers, Refused};

const RESIZE: Fate = Refused(&["node `Resize_43` (Resize)", "operator Resize is not supported"]);

/// Every file, and every output of each.
const FILES: [(&str, &[(&str, Fate)]); 6] = [
    ("wonnx-opt-mnist", &[("Plus214_Output_0", Layers(7))]),
    ("burn-mnist", &[("33", Layers(12))]),
    ("tract-keras-example", &[("dense_1", Layers(4))]),
    ("super_resolution", &[("output", Refused(&["opset"]))]),
    ("ultraface-slim-320", &[("scores", Layers(80)), ("boxes", Layers(77))]),
    (
        "yunet_s_320",
        &[
            ("cls_8", RESIZE),
            ("cls_16", RESIZE),
            ("cls_32", Layers(46)),
            ("obj_8", RESIZE),
            ("obj_16", RESIZE),
            ("obj_32", Layers(46)),
            ("bbox_8", RESIZE),
            ("bbox_16", RESIZE),
            ("bbox_32", Layers(46)),
            ("kps_8", RESIZE),
            ("kps_16", RESIZE),
            ("kps_32", Layers(46)),
        ],
    ),
];

#[test]
fn every_output_of_every_file() {
    for (name, outputs) in FILES {
        let Some(file) = shared(&format!("data/onnx/{name}.onnx")) else { continue };
        let asked = ImportOptions { output: Some(String::new()), ..options(Loss::MeanSquaredError) };
        if let Err(ImportError::NoSuchOutput { names, .. }) = import(&file, None, &asked) {
            let known: Vec<&str> = outputs.iter().map(|(o, _)| *o).collect();
            assert_eq!(names, known, "{name}: every output is in the table");
        }
        for (output, fate) in outputs {
            let what = format!("{name}, {output}");
            let options = ImportOptions { output: Some((*output).into()), ..options(Loss::MeanSquaredError) };
            match fate {
                Layers(count) => {
                    let imported = holds_with(&what, &file, &options, 2);
                    println!("{what}: {} layers, {} notes", imported.model.layers.len(), imported.notes.len());
                    assert_eq!(imported.model.layers.len(), *count, "{what}");
                }
                Refused(words) => {
                    let text = import(&file, None, &options).unwrap_err().to_string();
                    println!("{what}: refused: {text}");
                    for word in *words {
                        assert!(text.contains(word), "{what}: `{word}` belongs in: {text}");
                    }
                }
            }
        }
    }
}

/// Whether a network knows each test digit; `of` is what it takes for a byte.
fn right(net: &Net, digits: &Digits, of: impl Fn(u8) -> f32) -> Vec<bool> {
    const BATCH: usize = 25;
    let mut right = Vec::new();
    for (images, labels) in digits.images.chunks(BATCH * 784).zip(digits.labels.chunks(BATCH)) {
        let examples: Vec<f32> = images.iter().map(|p| of(*p)).collect();
        let outputs = net.outputs(&examples, labels.len());
        let best = |o: &[f32]| (0..10u8).max_by(|a, b| o[usize::from(*a)].total_cmp(&o[usize::from(*b)]));
        right.extend(outputs.chunks(10).zip(labels).map(|(o, l)| best(o) == Some(*l)));
    }
    right
}

/// Trained networks answer MNIST's 10,000 test digits as they did where they were trained: 98.9 % and 99.2 %; as a mean over
/// the 297 writers, of whom many have less than 20 digits, 98.4 % and 98.8 %.
#[test]
fn trained_networks_know_the_digits() {
    type Scaling = fn(u8) -> f32;
    // What each wants of a byte: 0 to 255, and what its training set had as mean and deviation.
    let cases: [(&str, [f64; 2], Scaling); 2] = [
        ("wonnx-opt-mnist", [0.9891, 0.984], |p| f32::from(p)),
        ("burn-mnist", [0.9916, 0.988], |p| (f32::from(p) / 255.0 - 0.1307) / 0.3081),
    ];
    for (name, [of_digits, of_writers], scaling) in cases {
        let (Some(file), Some(digits)) = (shared(&format!("data/onnx/{name}.onnx")), digits()) else { continue };
        let imported = import(&file, None, &options(Loss::SoftmaxCrossEntropy)).unwrap();
        let right = right(&Net::new(&imported), &digits, scaling);
        assert_eq!(right.len(), 10_000);
        let mut writers: BTreeMap<[u8; 2], (f64, f64)> = BTreeMap::new();
        for (writer, right) in digits.writers.iter().zip(&right) {
            let (known, all) = writers.entry(*writer).or_default();
            (*known, *all) = (*known + f64::from(u8::from(*right)), *all + 1.0);
        }
        let accuracy = right.iter().filter(|r| **r).count() as f64 / 10_000.0;
        let mean = writers.values().map(|(known, all)| known / all).sum::<f64>() / writers.len() as f64;
        println!("{name}: {accuracy:.4} of the digits, {mean:.4} as a mean over {} writers", writers.len());
        assert!(
            (accuracy - of_digits).abs() < 0.0005 && (mean - of_writers).abs() < 0.001,
            "{name}: {accuracy}, {mean}"
        );
    }
}

#[test]
fn golden_models_go_out_and_come_back() {
    for name in ["mlp", "lenet", "mobile_block_frozen_bn", "gru_lm", "lstm_lm", "transformer_lm"] {
        let Some(file) = shared(&format!("golden/models/{name}.onnx")) else { continue };
        holds_with(name, &file, &options(Loss::SoftmaxCrossEntropy), 2);
    }
}

#[test]
fn the_end_of_a_file_tells_the_loss() {
    let open = ImportOptions::default();
    let cases = [
        ("burn-mnist", Loss::SoftmaxCrossEntropy, OutputActivation::LogSoftmax, Loss::BinaryCrossEntropy),
        ("tract-keras-example", Loss::BinaryCrossEntropy, OutputActivation::Sigmoid, Loss::SoftmaxCrossEntropy),
    ];
    for (name, loss, activation, other) in cases {
        let Some(file) = shared(&format!("data/onnx/{name}.onnx")) else { continue };
        let imported = import(&file, None, &open).unwrap();
        assert_eq!((imported.model.loss, imported.output.activation), (loss, activation), "{name}");
        let refused = import(&file, None, &options(other)).unwrap_err();
        assert!(matches!(refused, ImportError::Loss { .. }), "{name}: {refused}");
    }
}

/// One of several outputs has to be named.
#[test]
fn several_outputs() {
    for name in ["yunet_s_320", "ultraface-slim-320"] {
        let Some(file) = shared(&format!("data/onnx/{name}.onnx")) else { continue };
        let refused = import(&file, None, &options(Loss::MeanSquaredError)).unwrap_err();
        assert!(matches!(&refused, ImportError::ChooseOutput { names } if names.len() > 1), "{name}: {refused}");
    }
}

#[test]
fn a_file_without_an_opset_is_refused() {
    let Some(file) = shared("data/onnx/super_resolution.onnx") else { return };
    assert_eq!(import(&file, None, &ImportOptions::default()).unwrap_err(), ImportError::NoOpset);
    assert!(export(&file, None, &ImportOptions::default(), &[]).is_err());
}
