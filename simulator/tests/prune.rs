//! `siskin prune` as a user types it.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder of its own for each test, emptied before.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prune").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn siskin(dir: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    command.arg("prune").args(args.split_whitespace()).current_dir(dir).output().unwrap()
}

/// Gives `case` on standard input.
fn json(case: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_siskin"))
        .args(["prune", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(case).unwrap();
    child.wait_with_output().unwrap()
}

/// It must end with code 2, print nothing and say one line that has all of `words`.
fn refused(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(text.trim_end().lines().count(), 1, "one clear line: {text}");
    for word in words {
        assert!(text.contains(word), "it should name `{word}`: {text}");
    }
}

fn write(path: &Path, tensors: &[(&str, &[usize], &[f32])]) {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// The mask of a tensor, checked for its type and shape.
fn mask(path: &Path, name: &str, shape: &[usize]) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::U8, shape));
    tensor.data().to_vec()
}

const A: [f32; 8] = [10.0, -7.0, 3.0, 0.5, 1.0, 2.0, -8.0, 0.1];
const B: [f32; 4] = [0.1, 0.9, -0.2, 0.5];

/// Params and their gradients in a folder of their own.
fn with_tensors(name: &str) -> PathBuf {
    let dir = folder(name);
    write(&dir.join("p"), &[("b", &[2, 2], &B), ("a", &[2, 4], &A), ("bias", &[3], &[5.0, 6.0, 7.0])]);
    let (a, b) = ([0.0, 1.0, 9.0, 100.0, 0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 2.0]);
    write(&dir.join("g"), &[("a", &[2, 4], &a), ("b", &[2, 2], &b)]);
    dir
}

#[test]
fn masks_of_each_algorithm_and_type() {
    let dir = with_tensors("algorithms");
    let made = |args: &str| {
        let output = siskin(&dir, &format!("--in p --out m {args}"));
        assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
        let m = dir.join("m");
        assert_eq!(mask(&m, "bias", &[3]), [1, 1, 1], "{args}");
        [mask(&m, "a", &[2, 4]), mask(&m, "b", &[2, 2])].map(|m| m.iter().map(u8::to_string).collect::<String>())
    };
    assert_eq!(made("--sparsity 0.5"), ["11100010", "0101"]);
    assert_eq!(made("--sparsity 0"), ["11111111", "1111"]);
    assert_eq!(made("--sparsity 1"), ["10000000", "0100"]);
    // Columns 0 and 2 of the first have the same sum.
    assert_eq!(made("--sparsity 0.75 --type channel"), ["10001000", "0101"]);
    assert_eq!(made("--sparsity 0.5 --type channel --axis 0"), ["11110000", "1100"]);
    assert_eq!(made("--type 1:2"), ["10100110", "0101"]);
    assert_eq!(made("--type 1:2 --axis -2"), ["11010010", "0110"]);
    assert_eq!(made("--sparsity 0.5 --type block:1x2"), ["11000011", "1100"]);
    assert_eq!(made("--sparsity 0.7 --distribution erk"), ["11000010", "0101"]);
    assert_eq!(made("--sparsity 0.75 --algorithm saliency --gradients g"), ["00110000", "0001"]);
    assert_eq!(made("--sparsity 0.75 --algorithm fisher --fisher g"), ["00100010", "0001"]);
    assert_eq!(made("--sparsity 0.5 --algorithm global-magnitude"), ["11100010", "0101"]);
    assert_eq!(made("--sparsity 0.75 --algorithm global-saliency --gradients g"), ["00110000", "0001"]);
    assert_eq!(made("--sparsity 0.75 --algorithm snip --gradients g --gradients g"), ["00110010", "0000"]);
    let random = made("--sparsity 0.5 --algorithm random --seed 1");
    assert_eq!(random.clone().map(|m| m.matches('1').count()), [4, 2]);
    assert_eq!(random, made("--sparsity 0.5 --algorithm random --seed 1"));
    assert!((2..9).any(|seed| made(&format!("--sparsity 0.5 --algorithm random --seed {seed}")) != random));
    assert_eq!(random, made("--sparsity 0.5 --algorithm static --seed 1"));
    for name in ["magnitude-ste", "acdc"] {
        assert_eq!(made(&format!("--sparsity 0.5 --algorithm {name}")), ["11100010", "0101"]);
    }
    made("--sparsity 0.5");
    std::fs::rename(dir.join("m"), dir.join("old")).unwrap();
    assert_eq!(made("--algorithm rigl --gradients g --masks old --drop-fraction 0.5"), ["10110010", "0101"]);
    let set = made("--algorithm set --masks old --seed 3");
    assert_eq!(set.map(|m| m.matches('1').count()), [4, 2]);
    assert!(!dir.join("m.partial").exists());
}

#[test]
fn the_table_counts_what_lives() {
    let dir = with_tensors("table");
    let output = siskin(&dir, "--in p --out m --sparsity 0.75");
    let text = String::from_utf8(output.stdout).unwrap();
    let fields = |name: &str| {
        let line = text.lines().find(|l| l.split_whitespace().next() == Some(name)).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(fields("a"), "[2, 4] 8 2 75.0000 %");
    assert_eq!(fields("b"), "[2, 2] 4 1 75.0000 %");
    assert_eq!(fields("bias"), "[3] 3 3 0.0000 %");
    assert_eq!(fields("prunable"), "12 3 75.0000 %");
    assert_eq!(fields("all"), "15 6 60.0000 %");
    assert!(text.ends_with("written m\n"), "{text}");
}

#[test]
fn wrong_use_is_one_clear_line() {
    let dir = with_tensors("wrong");
    let wrong = |args: &str, words: &[&str]| refused(&siskin(&dir, args), words);
    let with = |args: &str, words: &[&str]| wrong(&format!("--in p --out m {args}"), words);
    wrong("--in p", &["--out"]);
    wrong("--out m --sparsity 0.5", &["--in"]);
    wrong("--in none --out m --sparsity 0.5", &["none"]);
    wrong("--in p --out p --sparsity 0.5", &["--out p"]);
    wrong("--in p --out no/m --sparsity 0.5", &["no/m"]);
    with("", &["--sparsity"]);
    with("--sparsity 1.5", &["--sparsity 1.5"]);
    with("--sparsity -0.5", &["--sparsity -0.5"]);
    with("--sparsity nan", &["--sparsity NaN"]);
    with("--sparsity x", &["--sparsity x"]);
    with("--sparsity 0.5 --algorithm best", &["best", "magnitude"]);
    with("--sparsity 0.5 --type 3", &["--type", "3", "2:4"]);
    with("--type 2:3", &["\"a\"", "4", "3"]);
    with("--type 4:2", &["4:2"]);
    with("--type 1:2 --axis 2", &["\"a\"", "axis 2", "2 axes"]);
    with("--sparsity 0.5 --axis 1", &["--axis"]);
    with("--sparsity 0.5 --seed -1", &["--seed -1"]);
    with("--sparsity 0.5 --distribution all", &["all", "uniform"]);
    with("--type 2:4 --distribution erk", &["erk", "N:M"]);
    with("--sparsity 0.5 --algorithm saliency", &["--gradients"]);
    with("--sparsity 0.5 --gradients g", &["--gradients"]);
    with("--sparsity 0.5 --algorithm saliency --gradients g --gradients g", &["--gradients", "snip"]);
    with("--sparsity 0.5 --algorithm fisher", &["--fisher"]);
    with("--sparsity 0.5 --algorithm global-magnitude --type 2:4", &["--type"]);
    with("--sparsity 0.5 --algorithm global-magnitude --distribution uniform", &["--distribution"]);
    with("--algorithm rigl --gradients g", &["--masks"]);
    with("--algorithm set --masks p --sparsity 0.5", &["--sparsity"]);
    with("--algorithm set --masks p", &["p", "F32"]);
    with("--sparsity 0.5 --drop-fraction 0.5", &["--drop-fraction"]);

    write(&dir.join("bad"), &[("a", &[4, 2], &A), ("b", &[2, 2], &B)]);
    with("--sparsity 0.5 --algorithm saliency --gradients bad", &["bad", "\"a\"", "[4, 2]", "[2, 4]"]);
    write(&dir.join("bad"), &[("a", &[2, 4], &A)]);
    with("--sparsity 0.5 --algorithm saliency --gradients bad", &["bad", "\"b\"", "missing"]);
    write(&dir.join("bad"), &[("a", &[2, 4], &A), ("b", &[2, 2], &B), ("c", &[4], &B)]);
    with("--sparsity 0.5 --algorithm saliency --gradients bad", &["bad", "\"c\""]);
    write(&dir.join("bad"), &[("b", &[2, 2], &[1.0, f32::NAN, 1.0, 1.0])]);
    wrong("--in bad --out m --sparsity 0.5", &["bad", "\"b\"", "entry 1", "NaN"]);
    write(&dir.join("bad"), &[]);
    wrong("--in bad --out m --sparsity 0.5", &["bad", "no tensors"]);
    let bytes = std::fs::read(dir.join("p")).unwrap();
    for cut in [0, 4, 9, bytes.len() - 1] {
        std::fs::write(dir.join("bad"), &bytes[..cut]).unwrap();
        wrong("--in bad --out m --sparsity 0.5", &["bad", "safetensors"]);
    }
    assert!(!dir.join("m").exists(), "nothing is written where something is wrong");

    let help = siskin(&dir, "--help");
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("Examples"));
}

#[test]
fn a_case_has_one_answer() {
    let answer = |case: &str| {
        let output = json(case.as_bytes());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
        text.trim_end().to_owned()
    };
    let mask = r#"{"kind":"mask","scores":[[1,1],[2,0.5]],"sparsity":0.5,"type":"unstructured"}"#;
    assert_eq!(answer(mask), r#"{"mask":[[1,0],[1,0]]}"#);
    let erk = r#" {"kind":"erk","shapes":{"a":[2,4],"b":[3,6],"c":[2,4,6]},"sparsity":0.5}
    "#;
    let shares: serde_json::Value = serde_json::from_str(&answer(erk)).unwrap();
    for (name, expected) in [("a", 0.0), ("b", 0.30952380952380953), ("c", 0.6547619047619048)] {
        assert!((shares["sparsity"][name].as_f64().unwrap() - expected).abs() <= 1e-12, "{shares}");
    }
    let step = r#"{"kind":"polynomial","start":10,"end":30,"freq":5,"target":0.8,"power":3,"step":11}"#;
    assert_eq!(answer(step), r#"{"sparsity":0.21680007874965668,"update":false}"#);
    refused(&json(b""), &["line 1"]);
    for other in ["[]", "null", r#"["mask",[[1,2]],0.5,"unstructured",null]"#] {
        refused(&json(other.as_bytes()), &["case", "a JSON object belongs here"]);
    }
    refused(&json(b"\xff"), &["standard input", "utf-8"]);
    refused(&json(br#"{"kind":"mask","scores":[NaN],"sparsity":0.5,"type":"unstructured"}"#), &["line 1 column 26"]);
    refused(&json(br#"{"kind":"other"}"#), &["kind", "other"]);
    refused(&json([mask, mask].concat().as_bytes()), &["trailing"]);
    let deep =
        [r#"{"kind":"mask","type":"unstructured","sparsity":0.5,"scores":"#, &"[".repeat(9999), &"]".repeat(9999), "}"]
            .concat();
    refused(&json(deep.as_bytes()), &["recursion"]);
}
