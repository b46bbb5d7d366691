//! Every operator, as exporters write it: the network's output is tract's, and trained parameters come back out of an exported
//! file, which tract runs to the same output.

use crate::agreement::{holds, kinds, options, refused};
use crate::made::{Float, Int, Ints, Made, Text};
use siskin::checkin::Loss;
use siskin_onnx::import;

fn conv2d(attributes: &[(&str, crate::made::Attribute)], weight: &[i64]) -> Made {
    Made::new(17, &[6, 9, 8]).weights("w", weight).weights("b", &weight[..1]).node(
        "Conv",
        &["x", "w", "b"],
        &["y"],
        attributes,
    )
}

#[test]
fn convolutions() {
    holds("plain", &conv2d(&[], &[4, 6, 3, 2]));
    let uneven = [("pads", Ints(&[1, 0, 2, 1])), ("strides", Ints(&[2, 3])), ("dilations", Ints(&[2, 1]))];
    holds("uneven", &conv2d(&uneven, &[4, 6, 3, 2]));
    holds("groups", &conv2d(&[("group", Int(3)), ("pads", Ints(&[1; 4]))], &[6, 2, 3, 3]));
    holds("depthwise", &conv2d(&[("group", Int(6)), ("pads", Ints(&[1; 4]))], &[12, 1, 3, 3]));
    for auto in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
        for stride in [1, 2] {
            let strides = [stride; 2];
            holds(auto, &conv2d(&[("auto_pad", Text(auto)), ("strides", Ints(&strides))], &[4, 6, 4, 3]));
        }
    }
    let sequence = [("pads", Ints(&[3, 1])), ("strides", Ints(&[2])), ("dilations", Ints(&[2]))];
    let made = Made::new(13, &[4, 15]).weights("w", &[5, 4, 3]);
    holds("sequence", &made.node("Conv", &["x", "w"], &["y"], &sequence));
    // A Pad belongs to the window behind it; before 11 it is an attribute.
    let padded = Made::new(13, &[2, 5, 5]).ints("p", &[0, 0, 1, 0, 0, 0, 2, 1]).weights("w", &[3, 2, 3, 3]);
    let imported = holds("pad", &padded.node("Pad", &["x", "p"], &["a"], &[]).node("Conv", &["a", "w"], &["y"], &[]));
    assert_eq!(kinds(&imported), ["conv2d"]);
}

/// A convolution and something behind it.
fn behind_conv(opset: i64, add: impl Fn(Made) -> Made) -> Made {
    let made = Made::new(opset, &[2, 7, 6]).weights("w", &[4, 2, 3, 3]).weights("b", &[4]);
    add(made.node("Conv", &["x", "w", "b"], &["a"], &[("pads", Ints(&[1; 4]))]))
}

#[test]
fn pooling() {
    let window = [("kernel_shape", Ints(&[3, 2])), ("strides", Ints(&[2, 2])), ("pads", Ints(&[1, 0, 1, 1]))];
    let ceil = [("kernel_shape", Ints(&[3, 3])), ("strides", Ints(&[2, 2])), ("ceil_mode", Int(1))];
    let padding = [("kernel_shape", Ints(&[3, 3])), ("pads", Ints(&[1; 4])), ("count_include_pad", Int(1))];
    for operator in ["MaxPool", "AveragePool"] {
        for attributes in [&window[..], &ceil, &padding] {
            if operator == "MaxPool" && attributes.len() == 3 && attributes[2].0 == "count_include_pad" {
                continue;
            }
            holds(operator, &behind_conv(17, |m| m.node(operator, &["a"], &["y"], attributes)));
        }
        let auto = [("kernel_shape", Ints(&[2, 3])), ("strides", Ints(&[2, 2])), ("auto_pad", Text("SAME_UPPER"))];
        holds(operator, &behind_conv(17, |m| m.node(operator, &["a"], &["y"], &auto)));
        let made = Made::new(17, &[3, 11]).weights("w", &[3, 3, 1]).node("Conv", &["x", "w"], &["a"], &[]);
        let window = [("kernel_shape", Ints(&[3])), ("strides", Ints(&[2]))];
        holds(operator, &made.node(operator, &["a"], &["y"], &window));
    }
    for operator in ["GlobalAveragePool", "GlobalMaxPool"] {
        holds(operator, &behind_conv(17, |m| m.node(operator, &["a"], &["y"], &[])));
    }
    for keep in [0, 1] {
        let attributes = [("axes", Ints(&[2, 3])), ("keepdims", Int(keep))];
        holds("ReduceMean", &behind_conv(13, |m| m.node("ReduceMean", &["a"], &["y"], &attributes)));
        let of_input = |m: Made| m.ints("i", &[-1, -2]).node("ReduceMean", &["a", "i"], &["y"], &attributes[1..]);
        holds("ReduceMean 18", &behind_conv(18, of_input));
    }
}

#[test]
fn activations() {
    let simple = ["Relu", "Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "HardSigmoid", "Neg"];
    for operator in simple {
        holds(operator, &behind_conv(17, |m| m.node(operator, &["a"], &["y"], &[])));
    }
    holds("alpha", &behind_conv(17, |m| m.node("LeakyRelu", &["a"], &["y"], &[("alpha", Float(0.3))])));
    holds(
        "PRelu",
        &behind_conv(17, |m| m.floats("s", &[4, 1, 1], vec![0.25; 4]).node("PRelu", &["a", "s"], &["y"], &[])),
    );
    let clip = [("min", Float(-0.3)), ("max", Float(0.6))];
    holds("Clip 9", &behind_conv(9, |m| m.node("Clip", &["a"], &["y"], &clip)));
    let bounds = |m: Made| m.floats("l", &[], vec![-0.3]).floats("h", &[], vec![0.6]);
    holds("Clip", &behind_conv(13, |m| bounds(m).node("Clip", &["a", "l", "h"], &["y"], &[])));
    holds("Clip below", &behind_conv(13, |m| bounds(m).node("Clip", &["a", "l"], &["y"], &[])));
    holds("Clip above", &behind_conv(13, |m| bounds(m).node("Clip", &["a", "", "h"], &["y"], &[])));
    holds("Min", &behind_conv(13, |m| bounds(m).node("Min", &["a", "h"], &["y"], &[])));
    holds("Max", &behind_conv(13, |m| bounds(m).node("Max", &["l", "a"], &["y"], &[])));
    holds("Gelu", &behind_conv(20, |m| m.node("Gelu", &["a"], &["y"], &[])));
    holds("Dropout", &behind_conv(13, |m| m.node("Dropout", &["a"], &["y"], &[])));
    let two = |m: Made| m.floats("two", &[], vec![2.0]);
    holds("Pow", &behind_conv(13, |m| two(m).node("Pow", &["a", "two"], &["y"], &[])));
    let swish = behind_conv(13, |m| m.node("Sigmoid", &["a"], &["s"], &[]).node("Mul", &["a", "s"], &["y"], &[]));
    holds("x sigmoid x", &swish);

    // As PyTorch takes them apart.
    let erf = behind_conv(13, |m| {
        m.floats("r", &[], vec![std::f32::consts::SQRT_2])
            .floats("one", &[], vec![1.0])
            .floats("half", &[], vec![0.5])
            .node("Div", &["a", "r"], &["c"], &[])
            .node("Erf", &["c"], &["d"], &[])
            .node("Add", &["d", "one"], &["e"], &[])
            .node("Mul", &["a", "e"], &["f"], &[])
            .node("Mul", &["f", "half"], &["y"], &[])
    });
    assert_eq!(kinds(&holds("Erf", &erf)), ["conv2d", "gelu"]);
    let hard = behind_conv(13, |m| {
        m.node("HardSigmoid", &["a"], &["h"], &[("alpha", Float(1.0 / 6.0))]).node("Mul", &["a", "h"], &["y"], &[])
    });
    assert_eq!(kinds(&holds("hard swish", &hard)), ["conv2d", "hard swish"]);
    let clipped = behind_conv(13, |m| {
        m.floats("three", &[], vec![3.0])
            .floats("zero", &[], vec![0.0])
            .floats("six", &[], vec![6.0])
            .node("Add", &["a", "three"], &["c"], &[])
            .node("Clip", &["c", "zero", "six"], &["d"], &[])
            .node("Mul", &["a", "d"], &["e"], &[])
            .node("Div", &["e", "six"], &["y"], &[])
    });
    assert_eq!(kinds(&holds("hard swish", &clipped)), ["conv2d", "hard swish"]);

    let alone = behind_conv(13, |m| m.node("Erf", &["a"], &["y"], &[]));
    assert!(refused(&alone).contains("node `Erf_y` (Erf): the error function"), "{}", refused(&alone));
    let tanh = behind_conv(20, |m| m.node("Gelu", &["a"], &["y"], &[("approximate", Text("tanh"))]));
    assert!(refused(&tanh).contains("tanh"));
}

#[test]
fn softmax_over_any_axis() {
    for operator in ["Softmax", "LogSoftmax"] {
        for axis in [1, 2, -1] {
            holds(operator, &behind_conv(13, |m| m.node(operator, &["a"], &["y"], &[("axis", Int(axis))])));
        }
        // Before 13, all axes from the named one on.
        holds(operator, &behind_conv(11, |m| m.node(operator, &["a"], &["y"], &[("axis", Int(1))])));
    }
    let over_batch = behind_conv(13, |m| m.node("Softmax", &["a"], &["y"], &[("axis", Int(0))]));
    assert!(refused(&over_batch).contains("mix the examples"));
}

#[test]
fn normalisations() {
    let statistics = |m: Made| m.positive("s", &[4]).weights("t", &[4]).weights("m", &[4]).positive("v", &[4]);
    let batch = ["a", "s", "t", "m", "v"];
    holds("batch", &behind_conv(15, |m| statistics(m).node("BatchNormalization", &batch, &["y"], &[])));
    let epsilon = [("epsilon", Float(0.1))];
    holds("epsilon", &behind_conv(9, |m| statistics(m).node("BatchNormalization", &batch, &["y"], &epsilon)));
    holds("instance", &behind_conv(15, |m| statistics(m).node("InstanceNormalization", &batch[..3], &["y"], &[])));
    let groups = [("num_groups", Int(2))];
    holds("group", &behind_conv(21, |m| statistics(m).node("GroupNormalization", &batch[..3], &["y"], &groups)));
    // Before 21, a scale a group.
    let per_group = |m: Made| m.positive("s", &[2]).weights("t", &[2]);
    let old = behind_conv(18, |m| per_group(m).node("GroupNormalization", &batch[..3], &["y"], &groups));
    let notes = import(&old.bytes(), None, &options(Loss::MeanSquaredError)).unwrap().notes;
    assert!(notes[0].contains("does not train"), "{notes:?}");
    // As PyTorch writes a group normalisation.
    let torch = behind_conv(17, |m| {
        m.ints("split", &[0, 2, -1])
            .ints("back", &[-1, 4, 7, 6])
            .floats("ones", &[2], vec![1.0; 2])
            .floats("zeros", &[2], vec![0.0; 2])
            .positive("s", &[4, 1, 1])
            .weights("t", &[4, 1, 1])
            .node("Reshape", &["a", "split"], &["c"], &[])
            .node("InstanceNormalization", &["c", "ones", "zeros"], &["d"], &[])
            .node("Reshape", &["d", "back"], &["e"], &[])
            .node("Mul", &["e", "s"], &["f"], &[])
            .node("Add", &["f", "t"], &["y"], &[])
    });
    assert_eq!(kinds(&holds("group", &torch)), ["conv2d", "group norm"]);

    let sequence = |m: Made| m.weights("w", &[6, 5]).positive("s", &[5]).weights("t", &[5]);
    let made = sequence(Made::new(17, &[4, 6])).node("MatMul", &["x", "w"], &["a"], &[]);
    let normalized = made.clone().node("LayerNormalization", &["a", "s", "t"], &["y"], &[]);
    // The file's last axis is our first; the squared error takes the file's order again.
    assert_eq!(kinds(&holds("layer", &normalized)), ["transpose", "conv2d", "layer norm", "transpose"]);
    holds("no shift", &made.node("LayerNormalization", &["a", "s"], &["y"], &[]));
    let image = behind_conv(17, |m| {
        let m = m.positive("s", &[4, 7, 6]).weights("t", &[4, 7, 6]);
        m.node("LayerNormalization", &["a", "s", "t"], &["y"], &[("axis", Int(1))])
    });
    holds("layer over all", &image);
}

#[test]
fn matrices() {
    let made = Made::new(13, &[6]).weights("w", &[6, 4]).weights("b", &[4]);
    holds("Gemm", &made.clone().node("Gemm", &["x", "w", "b"], &["y"], &[]));
    holds("no bias", &made.clone().node("Gemm", &["x", "w"], &["y"], &[]));
    let factors = [("alpha", Float(0.5)), ("beta", Float(-2.0))];
    holds("factors", &made.clone().node("Gemm", &["x", "w", "b"], &["y"], &factors));
    let turned = Made::new(13, &[6]).weights("w", &[4, 6]).weights("b", &[1, 4]);
    holds("turned", &turned.node("Gemm", &["x", "w", "b"], &["y"], &[("transB", Int(1))]));
    holds("MatMul", &made.clone().node("MatMul", &["x", "w"], &["c"], &[]).node("Add", &["b", "c"], &["y"], &[]));
    let vector = Made::new(13, &[3, 6]).weights("w", &[6]);
    holds("vector", &vector.node("MatMul", &["x", "w"], &["y"], &[]));
    let sequence = Made::new(13, &[5, 6]).weights("w", &[6, 4]).weights("b", &[4]);
    let biased = sequence.node("MatMul", &["x", "w"], &["c"], &[]).node("Add", &["c", "b"], &["y"], &[]);
    assert_eq!(kinds(&holds("sequence", &biased)), ["transpose", "conv2d", "transpose"]);
    let before = Made::new(13, &[5, 6]).weights("w", &[4, 5]);
    holds("constant first", &before.node("MatMul", &["w", "x"], &["y"], &[]));
    let over_batch = made.node("Transpose", &["x"], &["t"], &[]).weights("v", &[2, 3]);
    assert!(refused(&over_batch.node("MatMul", &["t", "v"], &["y"], &[])).contains("MatMul_y"));
}

#[test]
fn features_in_any_order() {
    let dense = |m: Made, from: &str| m.weights("d", &[4 * 7 * 6, 5]).node("MatMul", &[from, "d"], &["y"], &[]);
    let flat = behind_conv(13, |m| dense(m.node("Flatten", &["a"], &["f"], &[]), "f"));
    assert_eq!(kinds(&holds("flatten", &flat)), ["conv2d", "dense"]);
    let last = |m: Made| m.node("Transpose", &["a"], &["t"], &[("perm", Ints(&[0, 2, 3, 1]))]);
    // Columns of the weight are moved instead of the features.
    let columns = behind_conv(13, |m| dense(last(m).node("Flatten", &["t"], &["f"], &[]), "f"));
    assert_eq!(kinds(&holds("columns", &columns)), ["conv2d", "dense"]);
    let between = |m: Made| last(m).node("Flatten", &["t"], &["f"], &[]).node("Tanh", &["f"], &["g"], &[]);
    holds("between", &behind_conv(13, |m| dense(between(m), "g")));
    let given_back = behind_conv(13, |m| {
        let m = m.ints("back", &[-1, 4, 7, 6]).ints("flat", &[0, -1]).weights("v", &[3, 4, 1, 1]);
        let m = m.node("Reshape", &["a", "flat"], &["f"], &[]).node("Relu", &["f"], &["g"], &[]);
        m.node("Reshape", &["g", "back"], &["h"], &[]).node("Conv", &["h", "v"], &["y"], &[])
    });
    assert_eq!(kinds(&holds("there and back", &given_back)), ["conv2d", "relu", "conv2d"]);
    // Pixels to channels, as a vision transformer cuts patches out of an image.
    let patches = Made::new(13, &[2, 4, 6])
        .ints("cut", &[-1, 2, 2, 2, 3, 2])
        .ints("rows", &[-1, 6, 8])
        .weights("w", &[8, 5])
        .node("Reshape", &["x", "cut"], &["c"], &[])
        .node("Transpose", &["c"], &["t"], &[("perm", Ints(&[0, 2, 4, 1, 3, 5]))])
        .node("Reshape", &["t", "rows"], &["r"], &[])
        .node("MatMul", &["r", "w"], &["y"], &[]);
    let why = refused(&patches);
    assert!(why.contains("MatMul_y") && why.contains("transposition"), "{why}");
}

#[test]
fn exporters_arithmetic_on_shapes() {
    let made = behind_conv(13, |m| {
        m.int("zero", 0)
            .ints("axes", &[0])
            .ints("minus", &[-1])
            .ints("one", &[1])
            .ints("four", &[4])
            .weights("d", &[168, 5])
            .node("Shape", &["a"], &["s"], &[])
            .node("Gather", &["s", "zero"], &["n"], &[])
            .node("Unsqueeze", &["n", "axes"], &["u"], &[])
            .node("Concat", &["u", "minus"], &["to"], &[("axis", Int(0))])
            .node("Reshape", &["a", "to"], &["f"], &[])
            .node("MatMul", &["f", "d"], &["g"], &[])
            .node("Slice", &["s", "one", "four"], &["chw"], &[])
            .node("Cast", &["chw"], &["real"], &[("to", Int(1))])
            .node("Cast", &["real"], &["whole"], &[("to", Int(7))])
            .node("Concat", &["u", "whole"], &["all"], &[("axis", Int(0))])
            .node("Reshape", &["f", "all"], &["h"], &[])
            .node("GlobalAveragePool", &["h"], &["p"], &[])
            .ints("tail", &[2, 3])
            .node("Squeeze", &["p", "tail"], &["q"], &[])
            .weights("e", &[4, 5])
            .node("MatMul", &["q", "e"], &["r"], &[])
            .node("Add", &["g", "r"], &["y"], &[])
    });
    assert_eq!(kinds(&holds("shapes", &made)), ["conv2d", "dense", "global average pool", "dense", "add"]);
}

#[test]
fn sums_products_and_parts() {
    let residual = behind_conv(13, |m| {
        let m = m.weights("v", &[4, 4, 1, 1]).node("Relu", &["a"], &["r"], &[]);
        m.node("Conv", &["r", "v"], &["c"], &[]).node("Add", &["c", "a"], &["y"], &[])
    });
    holds("residual", &residual);
    let squeeze = |m: Made| {
        let m = m.weights("v", &[4, 4, 1, 1]).node("GlobalAveragePool", &["a"], &["p"], &[]);
        m.node("Conv", &["p", "v"], &["c"], &[]).node("Sigmoid", &["c"], &["s"], &[])
    };
    holds("excitation", &behind_conv(13, |m| squeeze(m).node("Mul", &["s", "a"], &["y"], &[])));
    holds("added", &behind_conv(13, |m| squeeze(m).node("Add", &["a", "s"], &["y"], &[])));
    holds("less", &behind_conv(13, |m| m.node("Relu", &["a"], &["r"], &[]).node("Sub", &["a", "r"], &["y"], &[])));
    holds(
        "three",
        &behind_conv(13, |m| m.node("Relu", &["a"], &["r"], &[]).node("Sum", &["a", "r", "a"], &["y"], &[])),
    );
    for axis in [1, 2, 3] {
        let m = behind_conv(13, |m| m.node("Relu", &["a"], &["r"], &[]));
        holds("concat", &m.node("Concat", &["a", "r", "a"], &["y"], &[("axis", Int(axis))]));
    }
    // Scales and shifts of channels, and arrays of the whole shape.
    holds("scale", &behind_conv(13, |m| m.positive("s", &[4, 1, 1]).node("Mul", &["a", "s"], &["y"], &[])));
    holds("shift", &behind_conv(13, |m| m.weights("s", &[1, 4, 1, 1]).node("Sub", &["a", "s"], &["y"], &[])));
    holds("from", &behind_conv(13, |m| m.weights("s", &[4, 1, 1]).node("Sub", &["s", "a"], &["y"], &[])));
    holds("array", &behind_conv(13, |m| m.weights("s", &[4, 7, 6]).node("Add", &["a", "s"], &["y"], &[])));
    holds("quotient", &behind_conv(13, |m| m.floats("s", &[], vec![3.0]).node("Div", &["a", "s"], &["y"], &[])));
    holds("rows", &behind_conv(13, |m| m.weights("s", &[7, 1]).node("Add", &["a", "s"], &["y"], &[])));

    let dense = |m: Made| m.weights("w", &[6, 9]).node("MatMul", &["x", "w"], &["a"], &[]);
    for input in [&[6][..], &[5, 6]] {
        let split = dense(Made::new(13, input)).ints("sizes", &[4, 4, 1]);
        let split = split.node("Split", &["a", "sizes"], &["p", "q", "r"], &[("axis", Int(-1))]);
        holds("split", &split.clone().node("Mul", &["p", "q"], &["y"], &[]));
        holds("one of them", &split.node("Tanh", &["q"], &["y"], &[]));
    }
    let sequence = dense(Made::new(13, &[5, 6]));
    holds("last", &sequence.clone().int("i", -1).node("Gather", &["a", "i"], &["y"], &[("axis", Int(1))]));
    let bounds = sequence.clone().ints("s", &[-1]).ints("e", &[i64::MAX]).ints("on", &[1]);
    holds("last", &bounds.node("Slice", &["a", "s", "e", "on"], &["y"], &[]));
    let first = sequence.int("i", 0).node("Gather", &["a", "i"], &["y"], &[("axis", Int(1))]);
    assert!(refused(&first).contains("only the last position"));
}
