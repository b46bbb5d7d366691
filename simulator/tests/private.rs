//! Runs with a privacy target: what noise it comes to, what is enforced, and when no epsilon is stated.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own for each test, emptied before.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("private").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

const SMALL: &str = "run --devices 60 --cohort 15 --progress quiet --dp-delta 1e-4 --model dense:8,relu,dense";

fn siskin(args: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siskin")).args(args.split_whitespace()).output().unwrap()
}

fn report(name: &str, more: &str) -> Value {
    let out = folder(name);
    let rounds = if more.contains("--rounds") { "" } else { "--rounds 5" };
    let output = siskin(&format!("{SMALL} {rounds} --out {} {more}", out.display()));
    assert!(output.status.success(), "{more}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap()
}

fn refused(more: &str, words: &[&str]) {
    let output = siskin(&format!("{SMALL} --rounds 5 {more}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{more}: {text}");
    assert_eq!(text.trim_end().lines().count(), 1, "one clear line: {text}");
    for word in words {
        assert!(text.contains(word), "{more} should say `{word}`: {text}");
    }
}

fn privacy<'a>(report: &'a Value, field: &str) -> &'a Value {
    &report["privacy"][field]
}

fn noise(report: &Value) -> f64 {
    privacy(report, "noise_multiplier").as_f64().unwrap()
}

/// The epsilon stated is the target, and not above it.
fn meets(report: &Value, target: f64) {
    let epsilon = privacy(report, "epsilon").as_f64().unwrap_or_else(|| panic!("{}", report["privacy"]));
    assert!(epsilon <= target && epsilon > 0.9999 * target, "{epsilon} for {target}");
}

#[test]
fn sampling_gets_the_least_noise_for_its_target() {
    let eight = report("uls8", "--privacy uls --epsilon 8");
    meets(&eight, 8.0);
    let line = privacy(&eight, "line").as_str().unwrap();
    assert!(line.contains("Poisson-sampled") && line.contains("enforced by the server"), "{line}");
    let two = report("uls2", "--privacy uls --epsilon 2");
    meets(&two, 2.0);
    assert!(noise(&two) > 2.0 * noise(&eight), "{} and {}", noise(&two), noise(&eight));
    // The same noise, set by hand, costs the same.
    let by_hand = report("by-hand", &format!("--noise-multiplier {}", noise(&two)));
    assert_eq!(privacy(&by_hand, "epsilon"), privacy(&two, "epsilon"));
}

#[test]
fn a_cap_on_the_cohort_is_kept_and_paid_for() {
    let free = report("free", "--privacy uls --epsilon 8");
    let capped = report("capped", "--privacy uls --epsilon 8 --cohort-cap 17");
    meets(&capped, 8.0);
    assert!(noise(&capped) > noise(&free), "{} and {}", noise(&capped), noise(&free));
    let most = |report: &Value| {
        report["rounds"].as_array().unwrap().iter().map(|r| r["selected"].as_u64().unwrap()).max().unwrap()
    };
    assert!(most(&free) > 17 && most(&capped) == 17, "{} and {}", most(&free), most(&capped));
    let line = privacy(&capped, "line").as_str().unwrap();
    assert!(line.contains("cohorts of at most 17"), "{line}");
}

#[test]
fn correlated_noise_keeps_devices_apart_and_is_certified() {
    let blt = report("blt", "--privacy blt --epsilon 4 --over-selection 1 --rounds 8");
    meets(&blt, 4.0);
    let line = privacy(&blt, "line").as_str().unwrap();
    // 60 devices, 15 a round: who was asked rests for three rounds, and eight rounds are two turns.
    assert!(line.contains("BLT of 2 buffers") && line.contains("at most 2 participations"), "{line}");
    assert!(line.contains("at least 4 rounds apart"), "{line}");
    let certificate = privacy(&blt, "certificate").as_str().unwrap();
    assert!(certificate.contains("by the log of who took part"), "{certificate}");
    assert_eq!(privacy(&blt, "sampling_enforced"), true);
    let apart = report("apart", "--privacy blt --epsilon 4 --over-selection 1 --rounds 8 --min-separation 2");
    assert!(privacy(&apart, "line").as_str().unwrap().contains("at least 2 rounds apart"));
}

#[test]
fn examples_are_sampled_and_clipped_one_by_one() {
    let els = report("els", "--privacy els --epsilon 8");
    // The noise has room for the plan's single precision.
    let epsilon = privacy(&els, "epsilon").as_f64().unwrap_or_else(|| panic!("{}", els["privacy"]));
    assert!(epsilon <= 8.0 && epsilon > 7.99, "{epsilon}");
    let line = privacy(&els, "line").as_str().unwrap();
    assert!(line.contains("at most 16 of a user") && line.contains("examples with 0.5"), "{line}");
    // Half of 16 examples of a device that has as many, on average.
    let examples = els["totals"]["examples"].as_f64().unwrap() / els["totals"]["reports_in"].as_f64().unwrap();
    assert!((6.0..9.0).contains(&examples), "{examples}");
    let last = els["rounds"].as_array().unwrap().last().unwrap()["epsilon"].as_f64().unwrap();
    assert!((last / epsilon - 1.0).abs() < 1e-3, "{last} and {epsilon}");
    // While it runs it says nothing else: the ledger's, by users, is twice the target here.
    let out = folder("els-progress");
    let output = siskin(&format!(
        "{} --rounds 5 --out {} --privacy els --epsilon 8",
        SMALL.replace("quiet", "plain"),
        out.display()
    ));
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("round ") && text.contains("reports"), "{text}");
    assert!(text.lines().filter(|line| line.starts_with("round ")).all(|line| !line.contains("epsilon")), "{text}");
    // Without the coins of examples a device always moves the sum by all of them, and the noise must hide that.
    let all = report("els-all", "--privacy els --epsilon 8 --example-sampling 1");
    assert!(noise(&all) > 1.2 * noise(&els), "{} and {}", noise(&all), noise(&els));
}

#[test]
fn without_privacy_nothing_is_claimed() {
    let none = report("none", "--privacy none");
    assert_eq!((privacy(&none, "epsilon"), noise(&none)), (&Value::Null, 0.0));
    assert!(privacy(&none, "line").as_str().unwrap().contains("no guarantee"));
}

#[test]
fn no_epsilon_is_stated_of_a_run_that_broke_its_assumptions() {
    // A fifth of the devices dies, and a round needs nearly all: some are given up.
    let given_up = "--over-selection 1 --dropout 0.2 --min-fraction 0.9";
    let broken = report("broken", &format!("--privacy uls --epsilon 8 {given_up}"));
    assert!(broken["totals"]["abandoned"].as_u64().unwrap() > 0);
    assert_eq!(privacy(&broken, "epsilon"), &Value::Null);
    let line = privacy(&broken, "line").as_str().unwrap();
    assert!(
        line.contains("no epsilon is stated") && line.contains("given up") && line.contains("of 5 rounds"),
        "{line}"
    );
    assert!(broken["rounds"].as_array().unwrap().iter().all(|round| round["epsilon"].is_null()));
    // Correlated noise takes nobody's coming for secret, and owes the noise of such a round to the next.
    let blt = report("blt-given-up", &format!("--privacy blt --epsilon 8 {given_up}"));
    assert!(blt["totals"]["abandoned"].as_u64().unwrap() > 0);
    meets(&blt, 8.0);
}

#[test]
fn settings_that_contradict_the_target_are_refused() {
    refused("--privacy uls", &["--privacy uls", "--epsilon"]);
    refused("--privacy uls --epsilon 0", &["--epsilon"]);
    refused("--privacy uls --epsilon -1", &["--epsilon -1"]);
    refused("--privacy uls --epsilon nan", &["--epsilon nan"]);
    refused("--privacy uls --epsilon 1 --noise-multiplier 1", &["--noise-multiplier 1", "uls"]);
    refused("--privacy none --epsilon 1", &["--epsilon 1", "none"]);
    refused("--epsilon 1", &["--epsilon 1", "as-set"]);
    refused("--privacy dp --epsilon 1", &["--privacy dp", "uls"]);
    refused("--privacy uls --epsilon 1 --selection fixed", &["--selection fixed", "poisson"]);
    refused("--privacy uls --epsilon 1 --close goal", &["--close goal", "deadline"]);
    refused("--privacy uls --epsilon 1 --min-separation 3", &["--min-separation 3", "blt"]);
    refused("--privacy els --epsilon 1 --clipping delta", &["--clipping delta", "examples"]);
    refused("--privacy uls --epsilon 1 --clipping examples", &["--clipping examples", "delta"]);
    refused("--privacy els --epsilon 1 --rate-end 0.5", &["--rate-end 0.5", "els"]);
    refused("--privacy els --epsilon 1 --step 3", &["--step 3", "els"]);
    refused("--privacy uls --epsilon 1 --profile local", &["--profile local", "central"]);
    refused("--privacy uls --epsilon 1 --cohort-cap 61", &["cohort cap", "61", "60"]);
    refused("--privacy blt --epsilon 1 --cohort-cap 10", &["cohort cap", "10"]);
    refused("--privacy blt --epsilon 1 --min-separation 5", &["--min-separation 5", "at most 3"]);
    refused("--privacy blt --epsilon 1 --max-participations 1", &["--max-participations 1", "at least 2"]);
    refused("--privacy blt --epsilon 1 --noise-buffers 5", &["--noise-buffers 5", "4"]);
}
