//! `siskin codec compare` as a user types it.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own for each test, emptied before.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("codec-compare").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn siskin(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siskin")).args(["codec", "compare"]).args(args).output().unwrap()
}

/// It must end with code 2, print nothing and say one line that has all of `words`.
fn refused(args: &[&str], words: &[&str]) {
    let output = siskin(&[args, &["--quiet"]].concat());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(text.trim_end().lines().count(), 1, "one clear line: {text}");
    for word in words {
        assert!(text.contains(word), "{args:?} should name `{word}`: {text}");
    }
}

/// An update whose rows and columns have scales of their own, as those of dense layers do.
fn write_update(path: &Path, seed: u64) {
    let uniform = siskin::quantize::Uniform::new(seed);
    let scale = |i: u32| (6.0 * uniform.at(i) - 3.0).exp();
    let value = |i: u32| {
        let u = uniform.at(10_000 + i) - 0.5 + 1.0 / 33_554_432.0;
        -(1.0 - 2.0 * u.abs()).ln() * u.signum() * scale(i / 80) * scale(1000 + i % 80)
    };
    let bytes: Vec<u8> = (0..200 * 80).flat_map(|i| value(i).to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![200, 80], &bytes).unwrap();
    std::fs::write(path, safetensors::serialize([("w", view)], None).unwrap()).unwrap();
}

/// Bits of a codec at an error in the tables of the page's figures.
fn curve<'a>(round: &'a Value, scheme: &str) -> &'a Vec<Value> {
    let curves = round["curves"].as_array().unwrap();
    curves.iter().find(|curve| curve["scheme"] == *scheme).unwrap()["client"].as_array().unwrap()
}

#[test]
fn the_quick_comparison_leaves_figures_a_page_and_pictures() {
    let dir = folder("quick");
    for client in 0..2 {
        write_update(&dir.join(format!("dense_client{client}.safetensors")), client);
    }
    let out = dir.join("out");
    let (updates, folder) = (dir.to_str().unwrap(), out.to_str().unwrap());
    let output = siskin(&["--quick", "--updates", updates, "--out", folder]);
    let (text, progress) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{progress}");
    for part in ["lossless: 12/12", "bits at equal error", "accuracy: digits"] {
        assert!(progress.contains(part), "{progress}");
    }

    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let figures: Value = serde_json::from_str(&read("codec-compare.json")).unwrap();
    let page = read("codec-compare.html");
    // Table 1: two updates, two roundings, three steps; contexts are worth a tenth on such updates, at least.
    let rows = figures["lossless"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * 2 * 3);
    for row in rows {
        let bits = |name: &str| {
            let all = row["bits"].as_array().unwrap();
            all.iter().find(|pair| pair[0] == *name).unwrap()[1].as_f64().unwrap()
        };
        assert!(bits("siskin") < 0.9 * bits("rlgamma"), "{row}");
        assert!(bits("rlgamma") < bits("elias-gamma"), "{row}");
        assert!(text.contains(&format!("{:.4}", bits("siskin"))), "{row}");
    }
    // Table 2: one round of two clients; from few bits to many the error falls, and no codec of independent symbols is below the bound.
    let rounds = figures["frontier"].as_array().unwrap();
    assert_eq!((rounds.len(), rounds[0]["clients"].as_u64()), (1, Some(2)));
    for scheme in ["siskin-nearest", "gamma-nearest", "eden", "top-k"] {
        let points = curve(&rounds[0], scheme);
        let error = |at: usize| points[at][1].as_f64().unwrap();
        assert!(points.len() > 3 && error(points.len() - 1) < error(0), "{scheme}: {points:?}");
    }
    let bound = rounds[0]["curves"].as_array().unwrap().last().unwrap();
    assert!(bound["scheme"].is_null() && bound["client"].as_array().unwrap().len() == 6, "{bound}");
    // Table 3: every codec has its points, and what is said of them stands on the page and on standard output.
    let report = &figures["federated"][0];
    let points = report["points"].as_array().unwrap();
    assert!(points[0]["scheme"].is_null() && points[0]["difference"]["mean"] == 0.0, "{}", points[0]);
    for point in &points[1..] {
        let (bits, budget) = (point["bits"]["mean"].as_f64().unwrap(), point["budget"].as_f64());
        // Four rounds are enough to be near, and not to be there.
        assert!(budget.is_none_or(|b| bits > 0.3 * b && bits < 2.0 * b), "{point}");
        assert!((0.0..=1.0).contains(&point["accuracy"]["mean"].as_f64().unwrap()), "{point}");
    }
    for finding in report["findings"].as_array().unwrap() {
        let line = finding["text"].as_str().unwrap();
        assert!(text.contains(line) && page.contains(line), "{line}");
    }
    // Table 4: noise makes every symbol cost, and the quantiser whose error is the noise hardly any.
    let rows = figures["noised"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * 7);
    for row in rows {
        let number = |name: &str| row[name].as_f64().unwrap();
        assert!(number("noised") > 2.0 && number("layered") < number("noised") && number("kolmogorov") < 1.95, "{row}");
        assert!(text.contains(&format!("{:.4}", number("layered"))), "{row}");
    }
    // Pictures: those of the page, each well-formed on its own.
    let pictures: Vec<String> =
        std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let svgs: Vec<&String> = pictures.iter().filter(|name| name.ends_with(".svg")).collect();
    assert_eq!(svgs.len(), 4, "{pictures:?}");
    assert_eq!(page.matches("<svg").count(), 4 + 2 + 1 + 2);
    for svg in svgs {
        let svg = read(svg);
        assert!(svg.starts_with("<svg xmlns=") && !svg.contains("no data") && !svg.contains("NaN"), "{svg}");
    }
    assert!(!page.contains("<script") && !page.contains("NaN"));
}

#[test]
fn the_same_seed_gives_the_same_figures_with_any_number_of_threads() {
    let dir = folder("threads");
    let figures = |threads: &str| {
        let out = dir.join(threads);
        let common = ["--quick", "--tables", "3", "--rounds", "2", "--budgets", "0.2", "--quiet", "--json"];
        let output = siskin(&[&common[..], &["--threads", threads, "--out", out.to_str().unwrap()]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut json: Value = serde_json::from_slice(&output.stdout).unwrap();
        json["command"] = Value::Null;
        json
    };
    assert_eq!(figures("1"), figures("3"));
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let dir = folder("refused");
    let path = dir.to_str().unwrap();
    refused(&["--tables", "1,9"], &["--tables", "9"]);
    refused(&["--tables", "1", "--updates", path], &["--updates", "no .safetensors files"]);
    refused(&["--tables", "1", "--updates", "nowhere.safetensors"], &["nowhere.safetensors"]);
    refused(&["--tables", "3", "--data", "nowhere"], &["nowhere"]);
    refused(&["--tables", "3", "--budgets", "0.1,0"], &["--budgets", "0"]);
    refused(&["--tables", "3", "--budgets", "some"], &["--budgets", "some", "number"]);
    refused(&["--tables", "3", "--seeds", "0"], &["--seeds"]);
    refused(&["--tables", "3", "--model", "dense:0"], &["model"]);
}
