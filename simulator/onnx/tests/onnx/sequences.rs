//! Sequences: recurrent layers, tables of tokens, attention and its masks; and what a loss makes of a file's last node.

use crate::agreement::{holds, kinds, refused};
use crate::made::{Int, Ints, Made, Text};
use siskin::checkin::Loss;
use siskin_onnx::{ImportError, ImportOptions, import};

pub(crate) fn recurrent(operator: &str, attributes: &[(&str, crate::made::Attribute)], output: usize) -> Made {
    let gates = if operator == "GRU" { 3 } else { 4 };
    let mut all = vec![("hidden_size", Int(5))];
    all.extend(attributes.iter().cloned());
    let names = if output == 0 { vec!["h"] } else { vec!["", "h"] };
    let made = Made::new(14, &[7, 4])
        .weights("w", &[1, gates * 5, 4])
        .weights("r", &[1, gates * 5, 5])
        .weights("b", &[1, gates * 10])
        .ints("one", &[if output == 0 { 1 } else { 0 }])
        .node("Transpose", &["x"], &["t"], &[("perm", Ints(&[1, 0, 2]))])
        .node(operator, &["t", "w", "r", "b"], &names, &all)
        .node("Squeeze", &["h", "one"], &["s"], &[]);
    let back = [("perm", Ints(if output == 0 { &[1, 0, 2] } else { &[0, 1] }))];
    made.node("Transpose", &["s"], &["y"], &back)
}

#[test]
fn recurrent_layers() {
    for reset in [0, 1] {
        for output in [0, 1] {
            holds("GRU", &recurrent("GRU", &[("linear_before_reset", Int(reset))], output));
        }
    }
    holds("LSTM", &recurrent("LSTM", &[], 0));
    holds("LSTM", &recurrent("LSTM", &[], 1));
    let backwards = recurrent("GRU", &[("direction", Text("reverse"))], 0);
    assert!(refused(&backwards).contains("node `GRU_h` (GRU): direction"), "{}", refused(&backwards));
}

#[test]
fn tokens_choose_rows() {
    let made = Made::of_tokens(13, &[5]).weights("table", &[7, 4]).node("Gather", &["table", "x"], &["a"], &[]);
    assert_eq!(
        kinds(&holds("rows", &made.clone().weights("p", &[5, 4]).node("Add", &["a", "p"], &["y"], &[])))[0],
        "embedding"
    );
    let dense = made.weights("w", &[20, 3]).ints("to", &[-1, 20]);
    holds("flat", &dense.node("Reshape", &["a", "to"], &["f"], &[]).node("MatMul", &["f", "w"], &["y"], &[]));
    let sums = Made::of_tokens(13, &[5]).node("Add", &["x", "x"], &["y"], &[]);
    assert!(refused(&sums).contains("tokens"));
}

/// How a mask is written.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mask {
    None,
    Added,
    Chosen,
    Triangle,
}

/// Two heads of three numbers over four positions.
pub(crate) fn attention(mask: Mask, scale_first: bool) -> Made {
    let mut made = Made::new(14, &[4, 6]).ints("heads", &[0, 0, 2, 3]).ints("join", &[0, 0, 6]).weights("wo", &[6, 6]);
    for part in ["q", "k", "v"] {
        let (weight, raw, cut, out) = (format!("w{part}"), format!("{part}0"), format!("{part}1"), part);
        let perm: &[i64] = if part == "k" { &[0, 2, 3, 1] } else { &[0, 2, 1, 3] };
        made = made
            .weights(&weight, &[6, 6])
            .node("MatMul", &["x", &weight], &[&raw], &[])
            .node("Reshape", &[&raw, "heads"], &[&cut], &[])
            .node("Transpose", &[&cut], &[out], &[("perm", Ints(perm))]);
    }
    made = made.floats("by", &[], vec![1.0 / 3f32.sqrt()]).floats("root", &[], vec![3f32.sqrt()]);
    made = if scale_first {
        made.node("Mul", &["q", "by"], &["qs"], &[]).node("MatMul", &["qs", "k"], &["s"], &[])
    } else {
        made.node("MatMul", &["q", "k"], &["qk"], &[]).node("Div", &["qk", "root"], &["s"], &[])
    };
    let above = |i: usize| i % 4 > i / 4;
    made = match mask {
        Mask::None => made.node("Identity", &["s"], &["m"], &[]),
        Mask::Added => {
            let values = (0..16).map(|i| if above(i) { f32::NEG_INFINITY } else { 0.0 }).collect();
            made.floats("mask", &[4, 4], values).node("Add", &["s", "mask"], &["m"], &[])
        }
        Mask::Chosen => {
            let values: Vec<i64> = (0..16).map(|i| i64::from(!above(i))).collect();
            made.ints("flat", &values)
                .ints("square", &[1, 1, 4, 4])
                .floats("low", &[], vec![-1e9])
                .node("Reshape", &["flat", "square"], &["whole"], &[])
                .node("Cast", &["whole"], &["kept"], &[("to", Int(9))])
                .node("Where", &["kept", "s", "low"], &["m"], &[])
        }
        Mask::Triangle => made
            .ints("size", &[4, 4])
            .int("next", 1)
            .floats("value", &[1], vec![f32::MIN])
            .node("Expand", &["value", "size"], &["full"], &[])
            .node("Trilu", &["full", "next"], &["mask"], &[])
            .node("Add", &["mask", "s"], &["m"], &[]),
    };
    made.node("Softmax", &["m"], &["p"], &[("axis", Int(-1))])
        .node("MatMul", &["p", "v"], &["c"], &[])
        .node("Transpose", &["c"], &["d"], &[("perm", Ints(&[0, 2, 1, 3]))])
        .node("Reshape", &["d", "join"], &["e"], &[])
        .node("MatMul", &["e", "wo"], &["y"], &[])
}

#[test]
fn attention_of_heads() {
    let layers = ["transpose", "conv2d", "conv2d", "scores", "softmax", "conv2d", "context", "conv2d", "transpose"];
    for mask in [Mask::None, Mask::Added, Mask::Chosen, Mask::Triangle] {
        for scale_first in [false, true] {
            let imported = holds("attention", &attention(mask, scale_first));
            assert_eq!(kinds(&imported), layers);
            let causal = |l: &siskin::checkin::Layer| match l.spec {
                siskin::checkin::LayerSpec::Scores { causal, .. } => causal,
                _ => false,
            };
            assert_eq!(imported.model.layers.iter().any(causal), mask != Mask::None);
        }
    }
}

/// What a causal mask hides is small in the file and nothing at all in the network: only a softmax sees no difference.
#[test]
fn masked_scores_are_read_by_a_softmax_only() {
    for operator in ["Relu", "Tanh", "Sigmoid", "Neg"] {
        let mut made = attention(Mask::Added, false);
        let node = made.graph().node.iter_mut().find(|n| n.op_type == "Softmax").unwrap();
        node.input[0] = "between".into();
        let made = made.node(operator, &["m"], &["between"], &[]);
        let why = refused(&made);
        assert!(why.contains("causal mask"), "{why}");
    }
    let mut over_queries = attention(Mask::Added, false);
    over_queries.graph().node.iter_mut().find(|n| n.op_type == "Softmax").unwrap().attribute[0].i = -2;
    assert!(refused(&over_queries).contains("causal mask"), "{}", refused(&over_queries));
    let mut scores = attention(Mask::Added, false);
    scores.graph().output[0].name = "m".into();
    assert!(refused(&scores).contains("causal mask"));
    let mut other = attention(Mask::Added, false);
    other.graph().initializer.iter_mut().find(|t| t.name == "mask").unwrap().float_data[4] = -1e9;
    assert!(refused(&other).contains("neither causal"), "{}", refused(&other));
}

#[test]
fn losses_and_what_stands_before_them() {
    let made = Made::new(13, &[6]).weights("w", &[6, 4]).node("MatMul", &["x", "w"], &["a"], &[]);
    let end = |operator| made.clone().node(operator, &["a"], &["y"], &[]).bytes();
    let with = |bytes: &[u8], loss| import(bytes, None, &ImportOptions { loss, ..Default::default() });
    let (softmax, log, sigmoid, relu) = (end("Softmax"), end("LogSoftmax"), end("Sigmoid"), end("Relu"));
    for (bytes, loss) in
        [(&softmax, Loss::SoftmaxCrossEntropy), (&log, Loss::SoftmaxCrossEntropy), (&sigmoid, Loss::BinaryCrossEntropy)]
    {
        let told = with(bytes, None).unwrap();
        assert_eq!((told.model.loss, kinds(&told)), (loss, vec!["dense"]));
        assert_eq!(with(bytes, Some(loss)).unwrap(), told);
        // Squares are of what the file answers.
        assert_eq!(with(bytes, Some(Loss::MeanSquaredError)).unwrap().model.layers.len(), 2);
    }
    assert!(with(&softmax, Some(Loss::BinaryCrossEntropy)).is_err());
    assert!(with(&sigmoid, Some(Loss::SoftmaxCrossEntropy)).is_err());
    assert!(matches!(with(&relu, None), Err(ImportError::Loss { .. })));
    assert!(with(&relu, Some(Loss::SoftmaxCrossEntropy)).is_ok());

    // A class for each position, with the classes on either axis.
    let positions = Made::new(13, &[5, 6]).weights("w", &[6, 4]).node("MatMul", &["x", "w"], &["y"], &[]);
    let turned = Made::new(13, &[5, 6]).weights("w", &[6, 4]).node("MatMul", &["x", "w"], &["a"], &[]).node(
        "Transpose",
        &["a"],
        &["y"],
        &[("perm", Ints(&[0, 2, 1]))],
    );
    for made in [positions, turned] {
        let imported = with(&made.bytes(), Some(Loss::SoftmaxCrossEntropy)).unwrap();
        assert_eq!(siskin::model::Graph::new(&imported.model).unwrap().classes(), 4);
    }
}
