//! `siskin compare-privacy` as a user types it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own for each test, emptied before.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compare-privacy").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn siskin(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siskin")).arg("compare-privacy").args(args).output().unwrap()
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

/// 80 users who count in three letters.
fn counting() -> String {
    let mut text = "user\ttext\n".to_owned();
    for line in 0..10 {
        for user in 0..80 {
            let letters: String = (0..60).map(|i| ["a", "b", "c"][(user + line + i) % 3]).collect();
            writeln!(text, "{user}\t{letters}").unwrap();
        }
    }
    text
}

#[test]
fn the_quick_comparison_leaves_figures_a_page_and_conclusions_from_them() {
    let dir = folder("quick");
    let (file, out) = (dir.join("count.tsv"), dir.join("out"));
    std::fs::write(&file, counting()).unwrap();
    let output = siskin(&["--quick", "--data", file.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let (text, progress) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{progress}");
    assert!(progress.contains("mean estimation") && progress.contains("fine-tuning"), "{progress}");

    let figures: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("compare-privacy.json")).unwrap()).unwrap();
    let page = std::fs::read_to_string(out.join("compare-privacy.html")).unwrap();
    let findings = figures["findings"].as_array().unwrap();
    // Two kinds of users and one text, two epsilons each.
    assert_eq!(findings.len(), 2 * 2 + 2);
    for finding in findings {
        let line = finding["text"].as_str().unwrap();
        assert!(text.contains(line) && page.contains(line), "{line}");
        let (name, verdict) = (finding["name"].as_str().unwrap(), finding["verdict"].as_str().unwrap());
        if name.contains("identical") {
            assert_eq!(
                (finding["uls_group"].as_u64(), finding["group_gains"].as_bool()),
                (Some(1), Some(false)),
                "{line}"
            );
            assert_ne!(verdict, "uls", "{line}");
        }
        if name.contains("diverse") {
            assert!(finding["uls_group"].as_u64() > Some(1) && finding["group_gains"] == true, "{line}");
            assert_eq!(verdict, "uls", "{line}");
        }
    }
    let runs = figures["text"]["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1 + 2 * (1 + 2));
    assert!(runs[1..].iter().all(|run| run["noise_multiplier"].as_f64() > Some(0.0)));
    assert_eq!(page.matches("<svg").count(), 2 * 2 + 2);
    assert!(page.contains("whisker") && !page.contains("<script"));
}

#[test]
fn json_is_on_standard_output_and_the_same_for_any_number_of_threads() {
    let dir = folder("json");
    let run = |threads: &str| {
        let out = dir.join(threads);
        let flags = ["--quick", "--users", "300", "--steps", "5", "--epsilons", "4", "--json", "--quiet"];
        let output = siskin(&[&flags[..], &["--threads", threads, "--out", out.to_str().unwrap()]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "quiet");
        assert_eq!(std::fs::read(out.join("compare-privacy.json")).unwrap(), output.stdout);
        let mut figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        // It names the folder.
        figures.as_object_mut().unwrap().remove("command").unwrap();
        figures
    };
    let one = run("1");
    assert_eq!(one, run("3"));
    assert!(one["text"].is_null() && one["mean"]["cells"].as_array().unwrap().len() == 2 * 2 * 3);
}

#[test]
fn wrong_use_is_one_clear_line() {
    let dir = folder("wrong");
    let out = dir.to_str().unwrap();
    let with = |args: &[&str], words: &[&str]| refused(&[args, &["--quick", "--out", out]].concat(), words);
    with(&["--only", "text"], &["--only text", "--data"]);
    with(&["--only", "pictures"], &["--only pictures", "`mean`"]);
    with(&["--epsilons", "4,x"], &["--epsilons", "x"]);
    with(&["--epsilons", "-4"], &["epsilon -4", "above 0"]);
    with(&["--epsilons", "nan"], &["epsilon NaN"]);
    with(&["--groups", "3"], &["group 3", "divisor"]);
    with(&["--dp-delta", "0"], &["dp_delta 0"]);
    with(&["--dp-delta", "1.5"], &["dp_delta 1.5"]);
    with(&["--repetitions", "1"], &["repetitions 1"]);
    with(&["--data", "/no/such.tsv"], &["/no/such.tsv"]);
    with(&["--data", "digits"], &["--data digits", "text"]);
    refused(&["--out", "/proc/nothing/here"], &["/proc/nothing/here"]);
    assert_eq!(siskin(&["--no-such-flag"]).status.code(), Some(2));
}
