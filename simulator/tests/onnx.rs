//! ONNX files on the command line: imported, trained, exported, fine-tuned; and what is said when that is done wrongly.
#![cfg(feature = "onnx")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own for each test, emptied before.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnx").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Runs the command in a folder.
fn siskin(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siskin")).current_dir(dir).args(args).output().unwrap()
}

fn done(dir: &Path, args: &[&str]) -> String {
    let output = siskin(dir, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// It must end with code 2 and one line that has all of `words`.
fn refused(dir: &Path, args: &[&str], words: &[&str]) {
    let output = siskin(dir, args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert_eq!(text.trim_end().lines().count(), 1, "one clear line: {text}");
    for word in words {
        assert!(text.contains(word), "{args:?} should name `{word}`: {text}");
    }
}

/// Protobuf, as far as a small ONNX file needs it: a record with a length, and one with a small number.
fn record(field: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    let mut length = content.len();
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    [&out, content].concat()
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn tensor(name: &str, dims: &[u8], values: &[f32]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|d| number(1, *d)).collect();
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    record(5, &[dims, number(2, 1), record(8, name.as_bytes()), record(9, &raw)].concat())
}

/// `y = x w + b` for the embedded digits: 64 numbers, ten classes. `operator` is what makes it.
fn linear(operator: &str) -> Vec<u8> {
    let shape = [record(1, &record(2, b"batch")), record(1, &number(1, 64))].concat();
    let kind = record(1, &[number(1, 1), record(2, &shape)].concat());
    let input = record(11, &[record(1, b"x"), record(2, &kind)].concat());
    let output = record(12, &record(1, b"y"));
    let inputs: Vec<u8> = ["x", "w", "b"].iter().flat_map(|n| record(1, n.as_bytes())).collect();
    let node = [inputs, record(2, b"y"), record(3, b"the_layer"), record(4, operator.as_bytes())].concat();
    let weight: Vec<f32> =
        (0..640u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as f32 / 655_360.0 - 0.05).collect();
    let tensors = [tensor("w", &[64, 10], &weight), tensor("b", &[10], &[0.0; 10])].concat();
    let graph = [record(1, &node), record(2, b"made"), tensors, input, output].concat();
    [number(1, 8), record(2, b"someone"), record(7, &graph), record(8, &number(2, 13))].concat()
}

fn numbers(file: &Path) -> Vec<f32> {
    let bytes = std::fs::read(file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| tensors.tensor(name).unwrap().data().to_vec();
    [values("layer0.weight"), values("layer0.bias")]
        .concat()
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect()
}

#[test]
fn imported_trained_and_exported() {
    let dir = folder("round");
    std::fs::write(dir.join("made.onnx"), linear("Gemm")).unwrap();
    let told = done(&dir, &["import", "made.onnx", "--loss", "cross-entropy", "-o", "made.plan"]);
    for word in ["`x`", "[64]", "650 of them train", "the_layer", "made.safetensors"] {
        assert!(told.contains(word), "`{word}` belongs in: {told}");
    }
    let json = done(&dir, &["import", "made.onnx", "--loss", "cross-entropy", "-o", "made.plan", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["params"].as_u64(), json["loss"].as_str()), (Some(650), Some("cross-entropy")));
    // Untouched, the export is the original.
    done(&dir, &["export", "made.plan", "--into", "made.onnx", "-o", "same.onnx"]);
    assert_eq!(std::fs::read(dir.join("same.onnx")).unwrap(), linear("Gemm"));

    // Pruned by the run or not: what a run leaves goes into the file.
    for sparsity in ["0", "0.7"] {
        let small = ["--devices", "60", "--cohort", "20", "--rounds", "3", "--progress", "quiet"];
        done(&dir, &[&["run", "--model", "made.onnx", "--sparsity", sparsity, "--out", "out"][..], &small].concat());
        let told = done(&dir, &["export", "out/model.plan", "--into", "made.onnx", "-o", "trained.onnx"]);
        assert!(told.contains("numbers differ"), "{told}");
        let (old, new) = (linear("Gemm"), std::fs::read(dir.join("trained.onnx")).unwrap());
        assert_eq!(old.len(), new.len());
        let places: Vec<usize> = (0..old.len()).filter(|i| old[*i] != new[*i]).collect();
        // The graph's other records and the tensors' names and shapes are around the numbers.
        let start = |values: &[u8]| old.windows(values.len()).position(|w| w == values).unwrap();
        let (w, b) = (start(b"B\x01wJ\x80\x14") + 6, start(b"B\x01bJ\x28") + 5);
        let inside = |i: &usize| (w..w + 2560).contains(i) || (b..b + 40).contains(i);
        assert!(places.len() > 640 && places.iter().all(inside), "sparsity {sparsity}");
        // And it comes back as the trained model.
        done(&dir, &["import", "trained.onnx", "--loss", "cross-entropy", "-o", "again.plan"]);
        assert_eq!(numbers(&dir.join("again.safetensors")), numbers(&dir.join("out/model.safetensors")));
    }
}

#[test]
fn wrong_use_is_named() {
    let dir = folder("wrong");
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
    write("made.onnx", &linear("Gemm"));
    write("cosh.onnx", &linear("Cosh"));
    write("cut.onnx", &linear("Gemm")[..300]);
    write("text.onnx", b"no model at all");
    done(&dir, &["import", "made.onnx", "--loss", "cross-entropy", "-o", "made.plan"]);
    let import = |more: &[&str], words: &[&str]| refused(&dir, &[&["import"], more].concat(), words);
    import(&["none.onnx"], &["none.onnx", "cannot be read"]);
    import(&["text.onnx"], &["text.onnx", "not an ONNX file"]);
    import(&["cut.onnx"], &["cut.onnx", "not an ONNX file"]);
    import(&["made.onnx"], &["made.onnx", "output `y`", "loss"]);
    import(&["made.onnx", "--loss", "hinge"], &["--loss hinge", "cross-entropy, binary-cross-entropy, mse"]);
    import(&["made.onnx", "--loss", "mse", "--output", "z"], &["no output `z`", "there are: y"]);
    import(&["made.onnx", "--loss", "mse", "--dim", "batch"], &["--dim batch", "NAME=SIZE"]);
    import(&["made.onnx", "--loss", "mse", "--epochs", "0"], &["--epochs 0"]);
    import(&["made.onnx", "--loss", "mse", "--learning-rate", "-1"], &["--learning-rate -1"]);
    import(&["cosh.onnx", "--loss", "mse"], &["node `the_layer` (Cosh)", "operator Cosh is not supported"]);
    import(&["made.onnx", "--loss", "mse", "-o", "none/x.plan"], &["none"]);
    let export = |more: &[&str], words: &[&str]| refused(&dir, &[&["export"], more].concat(), words);
    export(&["none.plan", "--into", "made.onnx", "-o", "x.onnx"], &["none.plan", "cannot be read"]);
    export(&["made.onnx", "--into", "made.onnx", "-o", "x.onnx"], &["made.onnx", "plan"]);
    export(&["made.plan", "--into", "cosh.onnx", "-o", "x.onnx"], &["cosh.onnx", "Cosh"]);
    export(&["made.plan", "--into", "made.onnx", "-o", "made.onnx"], &["made.onnx", "the file that is read"]);
    let params = ["made.plan", "--params", "made.onnx", "--into", "made.onnx", "-o", "x.onnx"];
    export(&params, &["made.onnx", "not a safetensors file"]);
    // The plan of another network, and another network's parameters.
    done(&dir, &["run", "--devices", "60", "--cohort", "20", "--rounds", "1", "--progress", "quiet", "--out", "other"]);
    export(&["other/model.plan", "--into", "made.onnx", "-o", "x.onnx"], &["made.onnx", "another network"]);
    let params = ["made.plan", "--params", "other/model.safetensors", "--into", "made.onnx", "-o", "x.onnx"];
    export(&params, &["other/model.safetensors", "layer0.weight"]);
    assert!(!dir.join("x.onnx").exists(), "nothing is left behind");
    let tune = |more: &[&str], words: &[&str]| {
        refused(&dir, &[&["fine-tune", "--model", "made.onnx", "--data", "none"], more].concat(), words);
    };
    tune(&[], &["none", "cannot be read"]);
    tune(&["--train", "head"], &["--train head", "last-layer, bias, all"]);
    tune(&["--folds", "1"], &["--folds 1", "from 2 on"]);
    tune(&["--deviation", "0"], &["--deviation 0"]);
    tune(&["--epochs", "many"], &["--epochs many"]);
    refused(&dir, &["run", "--model", "cosh.onnx", "--out", "out"], &["cosh.onnx", "the_layer"]);
}

/// Three users of four examples each: bytes of one channel, 8 x 8, labels 0 to 9.
fn idx_folder(dir: &Path) {
    let users = 3u8;
    for part in ["train", "t10k"] {
        let count = 12u8;
        let head = |kind: u8, dims: &[u32]| {
            let dims: Vec<u8> = dims.iter().flat_map(|d| d.to_be_bytes()).collect();
            [&[0, 0, kind, (dims.len() / 4) as u8][..], &dims].concat()
        };
        let write = |name: &str, head: Vec<u8>, body: Vec<u8>| {
            std::fs::write(dir.join(format!("{part}-{name}")), [head, body].concat()).unwrap();
        };
        let pixels = (0..768u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        write("images-idx3-ubyte", head(8, &[12, 8, 8]), pixels);
        write("labels-idx1-ubyte", head(8, &[12]), (0..count).map(|i| i % 10).collect());
        let owner = |i| u16::from(i / 4 + if part == "train" { 0 } else { users });
        write("users-idx1-short", head(0x0b, &[12]), (0..count).flat_map(|i| owner(i).to_be_bytes()).collect());
    }
}

#[test]
fn each_part_is_tuned_and_no_other() {
    let dir = folder("parts");
    std::fs::write(dir.join("made.onnx"), linear("Gemm")).unwrap();
    std::fs::create_dir(dir.join("data")).unwrap();
    idx_folder(&dir.join("data"));
    let command = ["fine-tune", "--model", "made.onnx", "--data", "data", "--json"];
    let tuned = |more: &[&str]| -> serde_json::Value {
        serde_json::from_str(&done(&dir, &[&command[..], more].concat())).unwrap()
    };
    let trained = |part: &str| tuned(&["--train", part])["params_trained"].as_u64();
    assert_eq!(trained("last-layer"), Some(650));
    assert_eq!(trained("layers=layer0"), Some(650));
    assert_eq!(trained("bias"), Some(10));
    assert_eq!(trained("lora=2"), Some(2 * (64 + 10)), "an adapter beside the frozen layer");
    refused(&dir, &[&command[..], &["--train", "layers=layer7"]].concat(), &["layer7", "layer0 (dense)"]);
    refused(&dir, &[&command[..], &["--train", "lora=0"]].concat(), &["lora=0", "65535"]);

    // A run says in its report what it did to the numbers.
    let small = ["--cohort", "2", "--over-selection", "1", "--rounds", "2", "--progress", "quiet", "--json"];
    let run = |more: &[&str]| -> serde_json::Value {
        let command = ["run", "--model", "made.onnx", "--data", "data", "--out", "out"];
        serde_json::from_str(&done(&dir, &[&command[..], &small, more].concat())).unwrap()
    };
    let (plain, moved) = (run(&[]), run(&["--mean", "0.5", "--deviation", "0.25"]));
    let scaling = |report: &serde_json::Value| report["data"]["scaling"].as_str().unwrap().to_owned();
    assert_eq!(scaling(&moved), scaling(&plain) + ", then less 0.5, divided by 0.25");
    assert_ne!(plain["final_evaluation"]["test_loss"], moved["final_evaluation"]["test_loss"]);
    let setting = |report: &serde_json::Value, key: &str| report["settings"].to_string().contains(key);
    assert!(setting(&moved, "deviation") && setting(&moved, "0.25"), "{}", moved["settings"]);
    refused(&dir, &["run", "--data", "data", "--deviation", "0", "--out", "out"], &["--deviation 0", "between"]);
}

/// Sparse below, dense adapters on top: trained, exported, imported again.
#[test]
fn adapters_on_a_pruned_model() {
    let dir = folder("adapters");
    std::fs::write(dir.join("made.onnx"), linear("Gemm")).unwrap();
    let small = ["--devices", "60", "--cohort", "20", "--rounds", "3", "--progress", "quiet", "--json"];
    let pruned = ["run", "--model", "made.onnx", "--train", "lora=2", "--sparsity", "0.7", "--out", "out"];
    let report: serde_json::Value = serde_json::from_str(&done(&dir, &[&pruned[..], &small].concat())).unwrap();
    let live = |layer: usize| {
        let layer = &report["model"]["layers"][layer];
        (layer["params"].as_u64().unwrap(), layer["live"].as_u64().unwrap())
    };
    let (base, a, b) = (live(0), live(1), live(2));
    // 0.7 of the 650 params of the layer; the biases live.
    assert!(base.0 == 650 && (194..=195).contains(&base.1), "{base:?}");
    assert_eq!((a, b), ((128, 128), (20, 20)));
    let told = done(&dir, &["export", "out/model.plan", "--into", "made.onnx", "-o", "trained.onnx"]);
    assert!(told.contains("numbers differ"), "{told}");
    done(&dir, &["import", "trained.onnx", "--loss", "cross-entropy", "-o", "again.plan"]);
}

#[test]
fn help_has_examples() {
    let dir = folder("help");
    for command in ["import", "export", "fine-tune"] {
        let help = done(&dir, &[command, "--help"]);
        assert!(help.contains(&format!("Examples:\n  siskin {command} ")), "{help}");
    }
}

/// Classifiers of digits that others trained, tuned for each of the 297 writers of MNIST's test set on their digits: the mean
/// accuracy on those that a copy was not tuned on rises.
#[test]
fn trained_networks_gain_on_each_writers_digits() {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let shared = std::env::var_os("SISKIN_SHARED").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let data = shared.join("data/mnist-by-writer");
    // The first takes bytes as 0 to 255.
    let wonnx =
        ("wonnx-opt-mnist", 0.984, ["--deviation", "0.003921569", "--learning-rate", "0.00001", "--epochs", "5"]);
    let burn = ("burn-mnist", 0.9875, ["--mean", "0.1307", "--deviation", "0.3081", "--learning-rate", "0.005"]);
    for (name, before, how) in [wonnx, burn] {
        let model = shared.join("data/onnx").join(name).with_extension("onnx");
        if !model.exists() || !data.exists() {
            println!("skipped: {} or {} not found", model.display(), data.display());
            continue;
        }
        let [model, data] = [&model, &data].map(|p| p.to_str().unwrap());
        let command = ["fine-tune", "--model", model, "--data", data, "--json"];
        let text = done(&folder(name), &[&command[..], &how].concat());
        println!("{name}: {text}");
        let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
        let accuracy = |when: &str| summary[format!("accuracy_{when}")].as_f64().unwrap();
        assert_eq!((summary["users"].as_u64(), summary["examples"].as_u64()), (Some(297), Some(10_000)));
        assert!(accuracy("before") >= before && accuracy("after") > accuracy("before"), "{text}");
        assert!(summary["better"].as_u64() > summary["worse"].as_u64(), "{text}");
    }
}
