//! Files that ask for much, and valid files with bytes and numbers exchanged: no panic, and no more memory than stated.

use crate::agreement::examples;
use crate::allocations::peak;
use crate::hostile::{dense, options};
use crate::made::{Int, Ints, Made, random};
use crate::net::Net;
use crate::sequences::{Mask, attention, recurrent};
use crate::shared::{difference, shared};
use proptest::prelude::*;
use siskin::checkin::Loss;
use siskin_onnx::{ImportError, ImportOptions, Imported, OutputActivation, Reference, export, import};

/// What an import may allocate, bytes: the decoded file and what is computed from it, and the constants that a file may have
/// computed, of which there is a budget.
fn allowed(file: usize) -> usize {
    (64 << 20) + 64 * file
}

/// The budget of computed constants and of decoded parts, at its worst.
const BUDGETS: usize = 192 << 20;

/// It is refused in one line that has all of these words, within the memory allowed.
fn stopped(file: &Made, words: &[&str]) {
    let bytes = file.bytes();
    let (result, peak) = peak(|| import(&bytes, None, &options()));
    let text = result.unwrap_err().to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` belongs in: {text}");
    }
    println!("{} MB for {} bytes: {text}", peak >> 20, bytes.len());
    assert!(peak < BUDGETS, "{peak} bytes for a file of {}: {text}", bytes.len());
}

/// Adds a constant of this shape, named `c`, and what makes the output of it.
fn filled(dims: &[i64]) -> Made {
    Made::new(13, &[5]).ints("s", dims).node("ConstantOfShape", &["s"], &["c"], &[])
}

fn added(file: Made, constant: &str) -> Made {
    file.node("Add", &["x", constant], &["y"], &[])
}

/// Constants that a file lets compute: each is checked before it is made, and all together.
#[test]
fn constants_that_grow() {
    stopped(&added(filled(&[1 << 15, 1 << 15, 4]), "c"), &["node `ConstantOfShape_c`", "too large"]);
    stopped(&added(filled(&[i64::MAX, 2]), "c"), &["node `ConstantOfShape_c`", "too large"]);
    stopped(&added(filled(&[0, i64::MAX, i64::MAX]), "c"), &["node `ConstantOfShape_c`", "too large"]);
    let range = |from: i64, to: i64, by: i64| {
        let file = Made::new(13, &[5]).int("from", from).int("to", to).int("by", by);
        added(file.node("Range", &["from", "to", "by"], &["r"], &[]), "r")
    };
    stopped(&range(0, i64::MAX, 1), &["node `Range_r`", "too large"]);
    stopped(&range(i64::MAX, i64::MIN, -1), &["node `Range_r`", "too large"]);
    stopped(&range(0, 5, 0), &["node `Range_r`", "step 0"]);
    // Three entries, the sum behind the last of them beyond 64 bits; an addition of integers is refused later.
    stopped(&range(i64::MIN, i64::MAX, i64::MAX), &["node `Add_y`"]);
    let expand = filled(&[1 << 11, 1]).ints("to", &[1 << 11, 1 << 12]).node("Expand", &["c", "to"], &["e"], &[]);
    stopped(&added(expand, "e"), &["node `Expand_e`", "too large"]);
    let table = Made::new(13, &[5]).ints("many", &[0; 5000]).weights("w", &[2, 1000]);
    stopped(&added(table.node("Gather", &["w", "many"], &["g"], &[]), "g"), &["node `Gather_g`", "too large"]);
    let outer = filled(&[1 << 12, 1]).ints("t", &[1, 1 << 12]).node("ConstantOfShape", &["t"], &["d"], &[]);
    stopped(&added(outer.node("Mul", &["c", "d"], &["m"], &[]), "m"), &["node `Mul_m`", "too large"]);
    stopped(
        &added(filled(&[4]).node("Tile", &["c", "s"], &["t"], &[]), "t"),
        &["node `Tile_t` (Tile)", "not supported"],
    );

    // A little each time, again and again.
    let mut file = filled(&[1 << 20]).node("Identity", &["c"], &["c0"], &[]);
    for i in 0..60 {
        let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
        file = file.node("Concat", &[&from, &from], &[&to], &[("axis", Int(0))]);
    }
    stopped(&added(file, "c60"), &["node `Concat_c", "more constants than"]);
    // Nothing at all, but with axes that grow.
    let mut file = filled(&[0, 1 << 20]).node("Identity", &["c"], &["c0"], &[]);
    for i in 0..60 {
        let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
        file = file.node("Concat", &[&from, &from, &from, &from], &[&to], &[("axis", Int(1))]);
    }
    stopped(&added(file, "c60"), &["node `Concat_c", "too large"]);
    let huge = filled(&[0]).ints("huge", &[0, i64::MAX, i64::MAX]);
    let huge = huge.node("Reshape", &["c", "huge"], &["h"], &[("allowzero", Int(1))]);
    stopped(&added(huge.node("Transpose", &["h"], &["t"], &[]), "t"), &["node `Reshape_h`", "cannot become"]);
    let mut many = Made::new(13, &[5]).weights("w", &[1000, 100]);
    for i in 0..2000 {
        many = many.node("Transpose", &["w"], &[&format!("t{i}")], &[]);
    }
    let all: Vec<String> = (0..2000).map(|i| format!("t{i}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    stopped(&added(many.node("Concat", &all, &["all"], &[("axis", Int(0))]), "all"), &["more constants than"]);
}

/// Layers and parts without end.
#[test]
fn graphs_that_grow() {
    let chain = |operator: &str, count: usize| {
        let mut file = Made::new(13, &[5]).weights("w", &[5, 5]).node("MatMul", &["x", "w"], &["r0"], &[]);
        for i in 0..count {
            let to = if i + 1 == count { "y".into() } else { format!("r{}", i + 1) };
            file = file.node(operator, &[&format!("r{i}")], &[&to], &[]);
        }
        file
    };
    stopped(&chain("Sigmoid", 300), &["301 layers", "a plan may have"]);
    stopped(&chain("Sigmoid", 20_000), &["layers", "a plan may have"]);
    // One weight in many layers.
    let mut file = Made::new(13, &[500]).weights("w", &[500, 500]).node("MatMul", &["x", "w"], &["r0"], &[]);
    for i in 0..200 {
        let to = if i == 199 { "y".into() } else { format!("r{}", i + 1) };
        file = file.node("MatMul", &[&format!("r{i}"), "w"], &[&to], &[]);
    }
    stopped(&file, &["node `MatMul_r", "more often than a network can"]);
    stopped(&Made::new(13, &[100]).weights("w", &[60_000, 100, 1]).node("Conv", &["x", "w"], &["y"], &[]), &["_y"]);
    // Empty messages take much more memory than they have bytes: nodes, attributes of a node, tensors, inputs.
    let message = |field: u8, content: Vec<u8>| {
        let length = content.len();
        let varint = [0, 7, 14, 21].map(|s| (length >> s) as u8 & 0x7f | if s < 21 { 0x80 } else { 0 });
        [&[field << 3 | 2][..], &varint, &content].concat()
    };
    for count in [1 << 15, 1 << 16, 1 << 22] {
        let attributes = message(1, [0x2a, 0].repeat(count));
        for graph in [[0x0a, 0].repeat(count), attributes, [0x2a, 0].repeat(count), [0x5a, 0].repeat(count)] {
            let bytes = [&[0x42, 2, 0x10, 13][..], &message(7, graph)].concat();
            let (result, peak) = peak(|| import(&bytes, None, &options()));
            let error = result.unwrap_err();
            println!("{} MB for {} bytes: {error}", peak >> 20, bytes.len());
            assert!(matches!(error, ImportError::TooManyParts { .. }) || count < 1 << 22, "{error}");
            assert!(peak < BUDGETS, "{peak} bytes for a file of {}", bytes.len());
        }
    }
}

/// Both runners compute the same, whatever a changed file asks for.
fn agrees(tract: &Reference, imported: &Imported, batch: usize) {
    let input = examples(imported, batch);
    let Ok(wanted) = tract.run(&input) else { return };
    let got = Net::new(imported).outputs(&input, batch);
    // Beside weights that are larger than a mask of -1e9, the mask hides nothing in the file.
    let usual = |v: &f32| v.abs() < 1e3;
    let numbers = imported.params.iter().flatten().chain(&wanted);
    if numbers.into_iter().all(usual) && imported.output.activation == OutputActivation::None {
        let apart = difference(&got, &wanted);
        assert!(apart <= 1e-3, "{apart} of the largest entry: {:?}\n{got:?}\n{wanted:?}", imported.model);
    }
}

/// Whatever comes out: it came out, in one line, without a panic and within the memory allowed.
fn survives(bytes: &[u8]) {
    for loss in [Loss::MeanSquaredError, Loss::SoftmaxCrossEntropy] {
        let options = ImportOptions { loss: Some(loss), ..Default::default() };
        let (result, peak) = peak(|| import(bytes, None, &options));
        assert!(peak < allowed(bytes.len()), "{peak} bytes for a file of {}: {result:?}", bytes.len());
        match result {
            Ok(imported) => {
                let params: Vec<Vec<f32>> =
                    imported.params.iter().map(|p| p.iter().map(|v| v * 1.5).collect()).collect();
                let _ = export(bytes, None, &options, &params);
                let batch = imported.input.batch.unwrap_or(2);
                if let Ok(tract) = Reference::new(bytes, None, &imported, batch) {
                    agrees(&tract, &imported, batch);
                }
            }
            Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
        }
    }
}

/// Files to change bytes of.
fn seeds() -> Vec<Vec<u8>> {
    let mut out = vec![dense().bytes()];
    let conv = Made::new(13, &[2, 6, 6]).weights("w", &[4, 2, 3, 3]).weights("s", &[4, 1, 1]).ints("t", &[0, -1]);
    let conv = conv.node("Conv", &["x", "w"], &["c"], &[("pads", Ints(&[1; 4]))]).node("Mul", &["c", "s"], &["m"], &[]);
    let conv = conv.node("MaxPool", &["m"], &["p"], &[("kernel_shape", Ints(&[2, 2])), ("strides", Ints(&[2, 2]))]);
    out.push(conv.node("Reshape", &["p", "t"], &["y"], &[]).bytes());
    for made in [attention(Mask::Triangle, false), recurrent("LSTM", &[], 1), recurrent("GRU", &[], 0)] {
        out.push(made.bytes());
    }
    for name in ["mobile_block_frozen_bn", "gru_lm", "lstm_lm", "transformer_lm"] {
        out.extend(shared(&format!("golden/models/{name}.onnx")));
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        survives(&bytes);
    }

    /// One to four bytes of a real file are others, or a piece of it is gone, doubled or moved.
    #[test]
    fn broken_files_are_survived(which in any::<prop::sample::Index>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5), kind in 0..6u8) {
        let mut all = seeds();
        let mut bytes = all.swap_remove(which.index(all.len()));
        for (at, value) in &changes {
            let at = at.index(bytes.len());
            let length = usize::from(*value).min(bytes.len() - at);
            match kind {
                // Structure stands in the small bytes: names, keys and lengths are found more often in the first part.
                0..=2 => bytes[at] = *value,
                3 => drop(bytes.drain(at..at + length)),
                4 => { let piece = bytes[at..at + length].to_vec(); bytes.splice(at..at, piece); }
                _ => bytes.truncate(at.max(1)),
            }
            if bytes.is_empty() { break }
        }
        survives(&bytes);
    }

    /// A well-formed file with one number, name or list of a node, tensor or input exchanged.
    #[test]
    fn changed_graphs_are_survived(seed in any::<u32>(), which in any::<prop::sample::Index>()) {
        use prost::Message;
        let mut all = seeds();
        let bytes = all.swap_remove(which.index(all.len()));
        let mut model = tract_onnx::pb::ModelProto::decode(&bytes[..]).unwrap();
        let mut draws = random(seed, 12).into_iter().map(|v| (v + 1.0) / 2.0);
        let mut pick = |n: usize| ((draws.next().unwrap() * n as f32) as usize).min(n.saturating_sub(1));
        let numbers = [-1, 0, 1, 2, 3, 7, 24, 255, 256, 65_536, i64::MAX, i64::MIN];
        let graph = model.graph.as_mut().unwrap();
        let names: Vec<String> = graph.node.iter().flat_map(|n| n.output.clone()).chain(graph.initializer.iter().map(|t| t.name.clone())).collect();
        let operators = ["Add", "Mul", "MatMul", "Gemm", "Conv", "Reshape", "Transpose", "Softmax", "GRU", "Concat", "Slice", "Gather", "Squeeze", "Where", "Split", "LayerNormalization", "Flatten", "Pad"];
        let (node, tensor) = (pick(graph.node.len()), pick(graph.initializer.len()));
        match pick(8) {
            0 => graph.node[node].op_type = operators[pick(operators.len())].into(),
            1 if !graph.node[node].input.is_empty() => {
                let i = pick(graph.node[node].input.len());
                graph.node[node].input[i] = names[pick(names.len())].clone();
            }
            2 if !graph.node[node].attribute.is_empty() => {
                let i = pick(graph.node[node].attribute.len());
                let value = numbers[pick(numbers.len())];
                let a = &mut graph.node[node].attribute[i];
                a.i = value;
                a.f = value as f32;
                if !a.ints.is_empty() { let k = pick(a.ints.len()); a.ints[k] = value; }
            }
            3 => drop(graph.node[node].attribute.pop()),
            4 if !graph.initializer[tensor].dims.is_empty() => {
                let dims = &mut graph.initializer[tensor].dims;
                let i = pick(dims.len());
                dims[i] = numbers[pick(numbers.len())];
            }
            5 => graph.initializer[tensor].dims.reverse(),
            6 => drop(graph.node[node].input.pop()),
            _ => drop(graph.node.remove(node)),
        }
        survives(&model.encode_to_vec());
    }
}
