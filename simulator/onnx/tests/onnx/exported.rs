//! The exported file: the graph, the names and every byte around the trained numbers are the original's, and what an import
//! makes of it is the trained network.

use crate::agreement::options;
use crate::hostile::dense;
use crate::made::{Ints, Made, random};
use crate::net::Net;
use crate::shared::shared;
use prost::Message;
use siskin::checkin::Loss;
use siskin_onnx::{ExportError, ImportOptions, Imported, export, import};
use std::collections::BTreeSet;
use tract_onnx::pb::{ModelProto, TensorProto};

/// Values of a stored tensor of real numbers.
fn values(tensor: &TensorProto) -> Vec<f32> {
    if tensor.raw_data.is_empty() {
        return tensor.float_data.clone();
    }
    tensor.raw_data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// The message with these tensors, and the nodes that copied some of them, taken out.
fn without(model: &ModelProto, tensors: &BTreeSet<String>) -> ModelProto {
    let mut model = model.clone();
    let graph = model.graph.as_mut().unwrap();
    graph.initializer.retain(|t| !tensors.contains(&t.name));
    graph.node.retain(|n| n.op_type != "Identity" || !tensors.contains(&n.output[0]));
    for node in graph.node.iter_mut().filter(|n| n.op_type == "Constant" && tensors.contains(&n.output[0])) {
        node.attribute
            .iter_mut()
            .filter_map(|a| a.t.as_mut())
            .for_each(|t| (t.raw_data, t.float_data) = Default::default());
    }
    model
}

/// Names of the stored tensors in which some number trains and now differs.
fn changed(before: &Imported, params: &[Vec<f32>]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (source, (was, is)) in before.sources.iter().zip(before.params.iter().zip(params)) {
        for i in (0..is.len()).filter(|i| was[*i] != is[*i]) {
            out.insert(before.stored[source.place(i).unwrap().0].name.clone());
        }
    }
    out
}

/// Exports trained parameters and holds the file against the original. Returns the names of the tensors that differ.
fn only_trained_numbers_differ(what: &str, file: &[u8], options: &ImportOptions, params: &[Vec<f32>]) -> usize {
    let before = import(file, None, options).unwrap();
    let written = export(file, None, options, params).unwrap_or_else(|e| panic!("{what}: {e}"));
    let again = import(&written, None, options).unwrap();
    assert!(again.params == params, "{what}: what comes back is what was trained");
    assert!(again.model == before.model && again.layer_names == before.layer_names, "{what}: the same layers");
    assert!(again.input == before.input && again.output == before.output, "{what}: the same input and output");
    let (old, new) = (ModelProto::decode(file).unwrap(), ModelProto::decode(&written[..]).unwrap());
    let names = changed(&before, params);
    assert!(without(&old, &names) == without(&new, &names), "{what}: the rest of the message");
    // The tensors themselves keep their names, shapes and places; what was a copy stands behind all others.
    let described = |model: &ModelProto| -> Vec<_> {
        let tensors = &model.graph.as_ref().unwrap().initializer;
        tensors.iter().map(|t| (t.name.clone(), t.dims.clone(), t.data_type, t.doc_string.clone())).collect()
    };
    assert!(described(&new).starts_with(&described(&old)), "{what}");
    assert!(old != new, "{what}: the numbers differ");
    // Exported once more with what it holds, the file is itself.
    assert!(export(&written, None, options, params).unwrap() == written, "{what}");
    names.len()
}

/// Three steps of momentum on made-up examples, by the core.
fn trained(imported: &Imported) -> Vec<Vec<f32>> {
    const BATCH: usize = 4;
    let features: usize = imported.input.dims.iter().product();
    let mut examples = random(3, BATCH * features);
    if imported.input.tokens {
        examples.iter_mut().for_each(|v| *v = ((*v + 1.0) * 3.5).floor());
    }
    let positions = siskin::model::Graph::new(&imported.model).unwrap().output.positions();
    let labels: Vec<u32> = (0..BATCH * positions).map(|i| (i % 4) as u32).collect();
    let mut net = Net::new(imported);
    (0..3).for_each(|_| _ = net.step(0.05, 0.9, &examples, &labels, BATCH));
    net.params()
}

/// Files of several exporters, trained by the core.
#[test]
fn trained_files_keep_everything_else() {
    let options = options(Loss::SoftmaxCrossEntropy);
    let golden = ["mlp", "lenet", "mobile_block_frozen_bn", "gru_lm", "lstm_lm", "transformer_lm"];
    let mut files: Vec<String> = golden.iter().map(|n| format!("golden/models/{n}.onnx")).collect();
    files.extend(["wonnx-opt-mnist", "burn-mnist"].map(|n| format!("data/onnx/{n}.onnx")));
    for name in files {
        let Some(file) = shared(&name) else { continue };
        let imported = import(&file, None, &options).unwrap();
        let count = only_trained_numbers_differ(&name, &file, &options, &trained(&imported));
        println!("{name}: {count} tensors trained");
    }
}

/// The same without files of others, so that it always runs; and with one tensor, then one number changed.
#[test]
fn a_made_up_file_keeps_everything_else() {
    let options = options(Loss::SoftmaxCrossEntropy);
    let mut made = Made::new(13, &[2, 6, 6]).weights("w", &[4, 2, 3, 3]).weights("b", &[4]).ints("flat", &[0, -1]);
    made = made.weights("d", &[64, 5]).weights("e", &[5]).weights("unused", &[3]);
    made = made.node("Conv", &["x", "w", "b"], &["c"], &[]).node("Relu", &["c"], &["r"], &[]);
    made = made.node("Reshape", &["r", "flat"], &["f"], &[]).node("Gemm", &["f", "d", "e"], &["y"], &[]);
    made.model.producer_name = "someone".into();
    made.model.doc_string = "kept".into();
    let mut file = made.bytes();
    // A field of a version to come.
    file.extend([0xba, 0x3e, 3, 1, 2, 3]);
    let imported = import(&file, None, &options).unwrap();
    assert_eq!(only_trained_numbers_differ("all", &file, &options, &trained(&imported)), 4);
    let mut one = imported.params.clone();
    one[3][2] += 1.0;
    assert_eq!(only_trained_numbers_differ("one number", &file, &options, &one), 1);
    let written = export(&file, None, &options, &one).unwrap();
    assert!(written.windows(6).any(|w| w == [0xba, 0x3e, 3, 1, 2, 3]), "an unknown field stays");
    let bias = ModelProto::decode(&written[..]).unwrap().graph.unwrap().initializer.into_iter().find(|t| t.name == "e");
    assert_eq!(values(&bias.unwrap())[2], one[3][2]);
}

/// Weights in `Constant` nodes, and copies that exporters make of tensors of equal values.
#[test]
fn constants_and_copies() {
    let options = options(Loss::MeanSquaredError);
    let tensor = TensorProto { dims: vec![5, 4], data_type: 1, float_data: random(8, 20), ..Default::default() };
    let mut made = Made::new(13, &[5]).node("Constant", &[], &["w"], &[]).node("MatMul", &["x", "w"], &["y"], &[]);
    made.graph().node[0].attribute.push(tract_onnx::pb::AttributeProto {
        name: "value".into(),
        r#type: 4,
        t: Some(tensor),
        ..Default::default()
    });
    let file = made.bytes();
    let mut params = import(&file, None, &options).unwrap().params;
    params[0].iter_mut().for_each(|v| *v += 0.5);
    assert_eq!(only_trained_numbers_differ("a Constant node", &file, &options, &params), 1);

    // Two normalisations with one scale: stored once, then copied. Trained, they are two.
    let mut made = Made::new(17, &[3, 6]).positive("s", &[6]).weights("t", &[6]).weights("u", &[6]);
    made = made.node("Identity", &["s"], &["s2"], &[]).node("LayerNormalization", &["x", "s", "t"], &["a"], &[]);
    let file = made.node("LayerNormalization", &["a", "s2", "u"], &["y"], &[]).bytes();
    let imported = import(&file, None, &options).unwrap();
    let mut params = imported.params.clone();
    for (i, tensor) in params.iter_mut().enumerate() {
        tensor.iter_mut().zip(random(i as u32 + 1, 6)).for_each(|(v, r)| *v += r / 4.0);
    }
    let written = export(&file, None, &options, &params).unwrap();
    assert_eq!(import(&written, None, &options).unwrap().params, params);
    let graph = ModelProto::decode(&written[..]).unwrap().graph.unwrap();
    let names: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["s", "s2", "t", "u"].into());
    assert!(graph.node.iter().all(|n| n.op_type == "LayerNormalization"));
    // Before version 4 of the format an initialiser is an input too: there, the copy is a use of the same numbers.
    let mut old = ModelProto::decode(&file[..]).unwrap();
    old.ir_version = 3;
    let error = import(&old.encode_to_vec(), None, &options).unwrap_err().to_string();
    assert!(error.contains("`s`") && error.contains("tied"), "{error}");
}

#[test]
fn parameters_that_do_not_fit() {
    let options = options(Loss::MeanSquaredError);
    let file = dense().bytes();
    let good = import(&file, None, &options).unwrap().params;
    let refused = |params: &[Vec<f32>]| export(&file, None, &options, params).unwrap_err();
    assert_eq!(refused(&[]), ExportError::Tensors { expected: 1, got: 0 });
    assert!(matches!(refused(&[vec![0.0; 19]]), ExportError::Length { expected: 20, got: 19, .. }));
    for value in [f32::NAN, f32::INFINITY] {
        let mut bad = good.clone();
        bad[0][7] = value;
        let error = refused(&bad);
        assert!(
            matches!(&error, ExportError::NotFinite { index: 7, tensor, .. } if tensor == "layer0.weight"),
            "{error}"
        );
    }
    assert!(matches!(export(&[1, 2, 3], None, &options, &good), Err(ExportError::Original(_))));
    // Statistics do not train.
    let mut made = Made::new(13, &[4, 5]).positive("s", &[4]).weights("t", &[4]).weights("m", &[4]).positive("v", &[4]);
    made = made.node("BatchNormalization", &["x", "s", "t", "m", "v"], &["y"], &[]);
    let file = made.bytes();
    let mut params = import(&file, None, &options).unwrap().params;
    params[2][1] += 0.5;
    assert!(matches!(export(&file, None, &options, &params), Err(ExportError::Fixed { index: 1, .. })));
    // A number that trains here and is a constant there.
    let made = Made::new(13, &[4]).weights("w", &[4, 4]).ints("axes", &[0, 1]).node("MatMul", &["x", "w"], &["a"], &[]);
    let made = made.node("Mul", &["w", "w"], &["q"], &[]).node("MatMul", &["a", "q"], &["y"], &[("unused", Ints(&[]))]);
    let file = made.bytes();
    let mut params = import(&file, None, &options).unwrap().params;
    params[0][0] += 0.5;
    assert!(matches!(export(&file, None, &options, &params), Err(ExportError::Unfaithful { .. })));
}
