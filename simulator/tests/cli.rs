//! The command as a user types it: what it leaves, and what it says when it is used wrongly.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own for each test, emptied before.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn siskin(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siskin")).args(args).output().unwrap()
}

/// It must end with code 2 and one line that has all of `words`.
fn refused(args: &[&str], words: &[&str]) -> String {
    let output = siskin(args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert_eq!(text.trim_end().lines().count(), 1, "one clear line: {text}");
    for word in words {
        assert!(text.contains(word), "{args:?} should name `{word}`: {text}");
    }
    text
}

const SMALL: [&str; 8] = ["--devices", "60", "--cohort", "20", "--rounds", "4", "--progress", "quiet"];

fn small_run(out: &Path, more: &[&str]) -> serde_json::Value {
    let out_text = out.to_str().unwrap();
    // What a test sets itself is not set twice.
    let mut args: Vec<&str> =
        SMALL.as_chunks::<2>().0.iter().filter(|pair| !more.contains(&pair[0])).flatten().copied().collect();
    args.extend(["--out", out_text]);
    args.extend(more);
    let output = siskin(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["report.html", "report.json", "model.safetensors", "model.plan"] {
        assert!(std::fs::metadata(out.join(name)).unwrap().len() > 0, "{name}");
    }
    serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap()
}

/// Everything but the clock and the words of the command, which name the folder.
fn without_timings(mut report: serde_json::Value) -> serde_json::Value {
    let fields = report.as_object_mut().unwrap();
    assert!(fields.remove("timings").is_some());
    assert!(fields.remove("command").is_some());
    report
}

#[test]
fn the_same_seed_gives_the_same_report_for_any_number_of_threads() {
    let dir = folder("threads");
    let one = without_timings(small_run(&dir.join("one"), &["--threads", "1"]));
    let three = without_timings(small_run(&dir.join("three"), &["--threads", "3"]));
    assert_eq!(one, three);
    let model = |name: &str| std::fs::read(dir.join(name).join("model.safetensors")).unwrap();
    assert_eq!(model("one"), model("three"));
    let other = without_timings(small_run(&dir.join("other"), &["--seed", "2"]));
    assert_ne!(one, other);
}

/// From a norm that is a hundred times too low: C rises by what the estimates say, the rate of the reports stays.
#[test]
fn an_adaptive_clip_norm_moves_by_its_estimates() {
    let dir = folder("adaptive");
    for profile in ["central", "local", "distributed"] {
        let more = ["--clipping", "adaptive", "--clip-norm", "0.01", "--clip-rate", "1", "--target-quantile", "0.4"];
        let report =
            small_run(&dir.join(profile), &[&more[..], &["--profile", profile, "--noise-multiplier", "1"]].concat());
        let rounds = report["rounds"].as_array().unwrap();
        let of = |round: &serde_json::Value, name: &str| round[name].as_f64().unwrap();
        assert_eq!((rounds.len(), of(&rounds[0], "clip_norm") as f32), (4, 0.01));
        for pair in rounds.windows(2) {
            let moved = of(&pair[1], "clip_norm") / of(&pair[0], "clip_norm");
            let expected = (0.4 - of(&pair[0], "unclipped_estimate")).exp();
            assert!((moved / expected - 1.0).abs() < 1e-5, "{profile}: {moved} {expected}");
        }
        if profile == "central" {
            assert!(of(&rounds[3], "clip_norm") > 0.015, "it rises");
            let rate = |round: usize| rounds[round]["bits_per_param"]["live"].as_f64().unwrap();
            assert!((rate(3) / rate(0) - 1.0).abs() < 0.2, "{} {}", rate(0), rate(3));
        }
        let page = std::fs::read_to_string(dir.join(profile).join("report.html")).unwrap();
        assert!(page.contains("in the first round") && page.contains("Clip norm"));
    }
    let fixed = small_run(&dir.join("fixed"), &[]);
    assert!(fixed["rounds"][0]["unclipped_estimate"].is_null());
    refused(&["run", "--clipping", "adaptive", "--target-quantile", "1.5"], &["target-quantile", "0.999"]);
    refused(
        &["run", "--clipping", "adaptive", "--weighting", "examples", "--devices", "60", "--cohort", "20"],
        &["weighting"],
    );
}

/// Runs twice from the same weights, with different steps of the server, and tells which tensors of the model are the same in
/// both, and that no weight was lost.
fn unmoved(name: &str, train: &str) -> Vec<String> {
    let dir = folder(name);
    let file = |rate: &str| {
        let out = dir.join(rate);
        let settings = ["--train", train, "--sparsity", "0", "--noise-multiplier", "0", "--server-rate", rate];
        small_run(&out, &settings);
        std::fs::read(out.join("model.safetensors")).unwrap()
    };
    let (one, other) = (file("0.1"), file("0.7"));
    let [one, other] = [&one, &other].map(|bytes| safetensors::SafeTensors::deserialize(bytes).unwrap());
    let mut same = Vec::new();
    for name in one.names() {
        let data = one.tensor(name).unwrap().data();
        assert!(name.ends_with("bias") || data.chunks(4).filter(|v| *v != [0; 4]).count() > data.len() / 8, "{name}");
        if data == other.tensor(name).unwrap().data() {
            same.push(name.to_owned());
        }
    }
    same.sort();
    same
}

#[test]
fn what_is_frozen_stays_as_it_was() {
    assert_eq!(unmoved("frozen-all", "all"), [""; 0]);
    let first = ["layer1.bias", "layer1.weight", "layer3.bias", "layer3.weight"];
    assert_eq!(unmoved("frozen-last-layer", "last-layer"), first);
    assert_eq!(unmoved("frozen-bias", "bias"), ["layer1.weight", "layer3.weight", "layer5.weight"]);
    let all = ["layer1.bias", "layer1.weight", "layer3.bias", "layer3.weight", "layer5.bias", "layer5.weight"];
    assert_eq!(unmoved("frozen-layers", "layers=layer1,layer5"), all[2..4]);
    // Each adapter stands behind its layer: two matrices and their sum.
    let frozen = ["layer1.bias", "layer1.weight", "layer6.bias", "layer6.weight", "layer11.bias", "layer11.weight"];
    let mut frozen = frozen.map(str::to_owned);
    frozen.sort();
    assert_eq!(unmoved("frozen-lora", "lora=4"), frozen);
    // Growth and rankings by change are for weights that train.
    for algorithm in ["set", "rigl", "saliency", "global-saliency"] {
        let prune = ["--prune-algorithm", algorithm, "--prune-end", "5"];
        refused(&[&["run", "--train", "lora=4"][..], &prune].concat(), &["--train lora=4", algorithm, "--sparsity 0"]);
    }
    refused(&["run", "--train", "lora=0", "--sparsity", "0"], &["lora=0", "65535"]);
}

/// A mask that moves: devices come again with masks of several rounds, and download what changed.
#[test]
fn changes_of_the_mask_travel_the_same_with_any_number_of_threads() {
    let dir = folder("changes");
    let moving = ["--prune-algorithm", "set", "--prune-every", "1", "--prune-end", "4"];
    let run = |name: &str, more: &[&str]| without_timings(small_run(&dir.join(name), &[&moving, more].concat()));
    let one = run("one", &["--threads", "1"]);
    assert_eq!(one, run("three", &["--threads", "3"]));
    let whole = run("whole", &["--remembered-masks", "0"]);
    let masks = |report: &serde_json::Value| -> Vec<u64> {
        let rounds = report["rounds"].as_array().unwrap().iter();
        rounds.map(|r| r["bytes_down"]["mask"].as_u64().unwrap()).collect()
    };
    let (changes, whole) = (masks(&one), masks(&whole));
    assert!(changes.len() == 4 && whole[0] > 0 && changes[0] == whole[0], "nobody has a mask at first");
    assert!(changes[1..].iter().zip(&whole[1..]).all(|(changes, whole)| changes < whole), "{changes:?} {whole:?}");
}

#[test]
fn a_printed_configuration_gives_the_same_run() {
    let dir = folder("config");
    let flags = [&SMALL[..], &["--dropout", "0.3", "--momentum", "0.5", "--print-config"]].concat();
    let printed = siskin(&flags);
    assert!(printed.status.success());
    let file = dir.join("run.toml");
    std::fs::write(&file, &printed.stdout).unwrap();
    let direct = without_timings(small_run(&dir.join("direct"), &["--dropout", "0.3", "--momentum", "0.5"]));
    let out = dir.join("filed");
    let output = siskin(&["run", "--config", file.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let filed = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(direct, without_timings(filed));
}

/// Every device is asked in every round, and keeps to its own ledger.
#[test]
fn devices_refuse_what_their_ledgers_forbid() {
    let dir = folder("participations");
    let everyone =
        ["--cohort", "60", "--selection", "fixed", "--over-selection", "1", "--dropout", "0", "--min-fraction", "0.1"];
    let run = |name: &str, more: &[&str]| {
        let report = small_run(&dir.join(name), &[&everyone[..], more].concat());
        let rounds = report["rounds"].as_array().unwrap().clone();
        let number = |round: &serde_json::Value, path: &str| round.pointer(path).unwrap().as_u64().unwrap();
        rounds.iter().map(|r| [number(r, "/reports_in"), number(r, "/dropped/refused")]).collect::<Vec<_>>()
    };
    assert_eq!(run("free", &[]), [[60, 0]; 4]);
    assert_eq!(run("twice", &["--max-participations", "2"]), [[60, 0], [60, 0], [0, 60], [0, 60]]);
    assert_eq!(run("far", &["--min-separation", "3"]), [[60, 0], [0, 60], [0, 60], [60, 0]]);
}

#[test]
fn a_plan_says_what_it_costs() {
    let dir = folder("device");
    let report = small_run(&dir, &[]);
    let plan = dir.join("model.plan");
    let output = siskin(&["device", "--plan", plan.to_str().unwrap(), "--max-frame", "16384", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cost: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let parts = report["device_cost"]["arena"].as_array().unwrap();
    let arena: u64 = parts.iter().map(|p| p["bytes"].as_u64().unwrap()).sum();
    assert_eq!(cost["arena_bytes"], arena);
    assert_eq!(cost["params"], 17_226);
    let pruned = cost["params"].as_u64().unwrap() - cost["live"].as_u64().unwrap();
    assert!(pruned * 10 >= cost["params"].as_u64().unwrap() * 8, "at least 80 % sparse, biases counted: {cost}");
    let text = siskin(&["device", "--plan", plan.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("in all"));

    // Plans that lie: each is refused by name, none makes it allocate or panic.
    let bytes = std::fs::read(&plan).unwrap();
    let bad = dir.join("bad.plan");
    let bad_text = bad.to_str().unwrap();
    for cut in [0, 3, 5, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&bad, &bytes[..cut]).unwrap();
        refused(&["device", "--plan", bad_text], &["bad.plan"]);
    }
    std::fs::write(&bad, [&bytes[..], b"more"].concat()).unwrap();
    refused(&["device", "--plan", bad_text], &["bad.plan", "4 bytes too many"]);
    for at in 5..bytes.len() {
        let mut lie = bytes.clone();
        lie[at] = 0xff;
        std::fs::write(&bad, &lie).unwrap();
        let code = siskin(&["device", "--plan", bad_text]).status.code();
        assert!(code == Some(0) || code == Some(2), "byte {at}: {code:?}");
    }
}

/// An IDX file of bytes (type 8) or big-endian 16-bit integers (11) or floats (13).
fn idx(kind: u8, dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0, kind, dims.len() as u8];
    out.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
    out.extend(data);
    out
}

fn triple(dir: &Path, x: &[u8], y: &[u8], users: &[u8]) {
    for (name, bytes) in [("x-idx", x), ("y-idx", y), ("user-idx", users)] {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}

#[test]
fn own_data_runs_and_bad_data_is_named() {
    let dir = folder("data");
    let data = dir.to_str().unwrap();
    let out = dir.join("out");
    let out = out.to_str().unwrap();
    let run = |more: &[&str]| {
        let base = ["run", "--data", data, "--out", out, "--rounds", "2", "--progress", "quiet"];
        base.iter().chain(more).map(|s| (*s).to_owned()).collect::<Vec<_>>()
    };
    let as_str = |v: &[String]| v.iter().map(String::as_str).collect::<Vec<_>>().join("\u{1}");
    let refused_with = |more: &[&str], words: &[&str]| {
        let args = as_str(&run(more));
        refused(&args.split('\u{1}').collect::<Vec<_>>(), words);
        assert!(!dir.join("out/report.json").exists() && !dir.join("out/model.safetensors").exists());
    };
    // 40 examples of 4x4, 2 classes, 8 users.
    let pixels: Vec<u8> = (0..40u32 * 16).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let labels: Vec<u8> = (0..40).map(|i| i % 2).collect();
    let users: Vec<u8> = (0..40).map(|i| i / 5).collect();
    let (x, y, u) = (idx(8, &[40, 4, 4], &pixels), idx(8, &[40], &labels), idx(8, &[40], &users));

    refused(&["run", "--data", "/no/such/folder", "--out", out], &["/no/such/folder"]);
    refused_with(&[], &["x"]);
    triple(&dir, &x[..x.len() - 7], &y, &u);
    refused_with(&[], &["x-idx", "cut off"]);
    triple(&dir, &x, &idx(8, &[39], &labels[..39]), &u);
    refused_with(&[], &["39", "40"]);
    let mut floats: Vec<u8> = (0..40 * 16).flat_map(|i| (i as f32).to_be_bytes()).collect();
    floats[400..404].copy_from_slice(&f32::NAN.to_be_bytes());
    triple(&dir, &idx(13, &[40, 4, 4], &floats), &y, &u);
    refused_with(&[], &["x-idx", "NaN"]);
    let negative: Vec<u8> = (0..40i16).flat_map(|i| (i - 1).to_be_bytes()).collect();
    triple(&dir, &x, &idx(11, &[40], &negative), &u);
    refused_with(&[], &["y-idx", "-1"]);
    triple(&dir, &idx(8, &[0, 4, 4], &[]), &idx(8, &[0], &[]), &idx(8, &[0], &[]));
    refused_with(&[], &["no"]);
    triple(&dir, &idx(8, &[u32::MAX, u32::MAX, 4], &pixels), &y, &u);
    refused_with(&[], &["x-idx"]);

    triple(&dir, &x, &y, &u);
    refused_with(&["--cohort", "9"], &["cohort", "9"]);
    let args = run(&["--model", "dense:8,relu,dense", "--sparsity", "0.5", "--cohort", "2"]);
    let output = siskin(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Each of 12 users counts in three letters from a place of its own.
fn counting() -> String {
    let line =
        |user: usize, line: usize| (0..7).map(|i| ["a", "b", "c"][(user + line * 7 + i) % 3]).collect::<String>();
    let row = |i: usize| format!("{}\t{}\\n{}\n", i % 12, line(i % 12, 2 * (i / 12)), line(i % 12, 2 * (i / 12) + 1));
    std::iter::once("user\ttext\n".to_owned()).chain((0..12 * 10).map(row)).collect()
}

#[test]
fn text_is_learned_the_same_with_any_number_of_threads() {
    let dir = folder("text");
    std::fs::write(dir.join("count.tsv"), counting()).unwrap();
    let flags = "--rounds 45 --cohort 6 --window 16 --model embedding:6,gru:12,point --batch 2 --epochs 2 --sparsity 0.3 \
                 --learning-rate 0.01 --step 0.1";
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let with = |data: &str, out: &str, more: &[&str]| {
        let base = ["run", "--data", data, "--out", out, "--progress", "quiet"];
        siskin(&[&base[..], &flags, more].concat())
    };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let run = |name: &str, more: &[&str]| {
        let output = with(&text(&dir), &text(&dir.join(name)), more);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json = std::fs::read(dir.join(name).join("report.json")).unwrap();
        without_timings(serde_json::from_slice(&json).unwrap())
    };
    let one = run("one", &["--threads", "1"]);
    assert_eq!(one, run("three", &["--threads", "3"]));
    let evaluation = &one["final_evaluation"];
    // 12 users, 4 of their 20 lines each held out, 7 letters and a line break a line.
    assert_eq!(evaluation["targets"], 12 * 4 * 8);
    // All but the first letter of some lines can be known.
    let accuracy = evaluation["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.9, "{accuracy}");
    assert!(one["data"]["held_out"].as_str().unwrap().contains("48 of 240 lines"), "{}", one["data"]["held_out"]);
    let last = run("last", &["--train", "last-layer"]);
    let live = |report: &serde_json::Value| report["totals"]["bytes_up"]["report_payload"].as_u64().unwrap();
    assert!(live(&last) < live(&one), "what does not train is not in a report");

    let bad = dir.join("bad.tsv");
    let file = text(&bad);
    for (bytes, words) in [
        (&b"user\ttext\n1\tx\n2\n"[..], ["bad.tsv", "line 3"]),
        (b"user\ttext\n1\t\xff\n", ["bad.tsv", "line 2, byte 3"]),
        (b"user\tspeech\n1\tx\n", ["bad.tsv", "`text`"]),
    ] {
        std::fs::write(&bad, bytes).unwrap();
        refused(&["--data", &file, "--out", &text(&dir.join("never"))], &words);
    }
    refused(&["--data", &text(&dir)], &["bad.tsv", "count.tsv"]);
    let numbers = text(&dir.join("count.tsv"));
    refused(&["--data", &numbers, "--model", "gru:4,point", "--cohort", "6"], &["embedding:D"]);
    refused(&["--data", &numbers, "--window", "0"], &["window", "1 to 16384"]);
}

#[test]
fn wrong_use_is_one_clear_line() {
    refused(&["--sparsity", "1.5"], &["--sparsity 1.5", "between 0 and 0.999"]);
    refused(&["--cohort", "5000", "--rounds", "1"], &["cohort", "5000", "2000"]);
    refused(&["--devices", "0"], &["devices", "0"]);
    refused(&["--dropout", "nan"], &["--dropout nan"]);
    refused(&["--noise-multiplier", "-1"], &["--noise-multiplier -1"]);
    refused(&["--dp-delta", "0"], &["--dp-delta 0"]);
    refused(&["--model", "dense:12,than,dense"], &["`than`"]);
    refused(&["--train", "layers=layer9"], &["--train", "`layer9`", "layer1 (dense)"]);
    refused(&["--client-optimizer", "sdg"], &["--client-optimizer sdg", "sgd"]);
    refused(&["--model", "conv:4x9,dense"], &["layer 0", "9", "8"]);
    refused(&["--out", "/proc/nothing/here"], &["/proc/nothing/here"]);
    refused(&["--config", "/no/such.toml"], &["/no/such.toml"]);
    refused(&["device", "--plan", "/no/such.plan"], &["/no/such.plan"]);
    refused(&["bench", "a1", "--data", "/no/such"], &["/no/such"]);
    assert_eq!(siskin(&["--no-such-flag"]).status.code(), Some(2));
    assert_eq!(siskin(&["device"]).status.code(), Some(2));
    for help in [&["--help"][..], &["run", "--help"], &["device", "--help"], &["bench", "a1", "--help"]] {
        let output = siskin(help);
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("Example"));
    }
}
