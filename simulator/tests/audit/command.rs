//! `siskin audit` as a user types it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("audit").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn siskin(dir: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    command.arg("audit").args(args.split_whitespace()).current_dir(dir).output().unwrap()
}

const SMALL: &str = "--dim 1000 --devices 4 --rounds 4 --canaries 200 --ordinary 5 --canary-dim 2000 --coins 200";

#[test]
fn an_audit_leaves_a_page_and_figures_and_repeats_itself() {
    let dir = folder("files");
    let run = |out: &str| {
        let output = siskin(&dir, &format!("{SMALL} --out {out}"));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), std::fs::read_to_string(dir.join(out).join("audit.json")).unwrap())
    };
    let (text, json) = run("one");
    for words in ["level 1", "variance of the noise", "level 3", "cannot see", "checks passed", "one/audit.html"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let report = |json: &str| {
        let mut report: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(report["passed"], true);
        report.as_object_mut().unwrap().remove("command");
        report
    };
    assert_eq!(report(&json), report(&run("two").1));
    let printed = siskin(&dir, &format!("{SMALL} --json"));
    assert_eq!(report(&json), report(std::str::from_utf8(&printed.stdout).unwrap()));
    let other = siskin(&dir, &format!("{SMALL} --json --seed 2"));
    assert_ne!(report(&json), report(std::str::from_utf8(&other.stdout).unwrap()));
    let page = std::fs::read_to_string(dir.join("one/audit.html")).unwrap();
    for words in ["Audit passed", "<svg", "Cannot see", "One-run bound"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("NaN") && !page.contains("<script"));
}

#[test]
fn wrong_use_is_one_clear_line() {
    let dir = folder("wrong");
    for (args, words) in [
        ("--noise-multiplier -1", ["--noise-multiplier -1", "between"]),
        ("--noise-multiplier nan", ["--noise-multiplier NaN", "between"]),
        ("--clip-norm much", ["--clip-norm much", "a number"]),
        ("--dim 1e3", ["--dim 1e3", "a whole number"]),
        ("--dim 100000", ["--dim 100000", "65535"]),
        ("--dp-delta 0", ["--dp-delta 0", "between"]),
        ("--alpha 2", ["--alpha 2", "between"]),
        ("--levels 1,4", ["--levels 1,4", "`4`"]),
        ("--canaries 3", ["--canaries 3", "between"]),
    ] {
        let output = siskin(&dir, args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args}: {text}");
        assert_eq!(text.trim_end().lines().count(), 1, "{text}");
        for word in words {
            assert!(text.contains(word), "{args} should name `{word}`: {text}");
        }
    }
    assert_eq!(siskin(&dir, "--no-such-flag").status.code(), Some(2));
    let help = siskin(&dir, "--help");
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("Examples"));
}
