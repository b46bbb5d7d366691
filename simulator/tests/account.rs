//! `siskin account` as a user types it. Values without another source are those of dp_accounting 0.6.0, see
//! `tests/vectors/accounting/README.md`.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own for each test, emptied before.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("account").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn siskin(dir: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    command.arg("account").args(args.split_whitespace()).current_dir(dir).output().unwrap()
}

fn done(dir: &Path, args: &str) -> String {
    let output = siskin(dir, args);
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &str) -> Value {
    serde_json::from_str(&done(Path::new("."), &format!("{args} --json"))).unwrap()
}

/// It must end with code 2, print nothing and say one line that has all of `words`.
fn refused(dir: &Path, args: &str, words: &[&str]) {
    let output = siskin(dir, args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args}: {text}");
    assert!(output.stdout.is_empty(), "{args}: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(text.trim_end().lines().count(), 1, "one clear line: {text}");
    for word in words {
        assert!(text.contains(word), "{args} should say `{word}`: {text}");
    }
}

fn number(of: &Value, name: &str) -> f64 {
    of[name].as_f64().unwrap_or_else(|| panic!("{name}: {of}"))
}

fn near(args: &str, got: f64, expected: f64, rtol: f64) {
    assert!((got / expected - 1.0).abs() <= rtol, "{args}: {got}, expected {expected}");
}

#[test]
fn every_mechanism_has_its_epsilon() {
    // (flags, epsilon, relative tolerance)
    let cases = [
        ("uls --noise 1 --sampling 0.01 --rounds 1000 --dp-delta 1e-6", 2.12452253, 1e-6),
        ("uls --noise 1 --rate 0.01 --group 64 --rounds 1000 --dp-delta 1e-6", 2.12452253, 1e-6),
        ("uls --noise 1 --sampling 0.01 --rounds 1000 --dp-delta 1e-6 --adjacency zero-out", 2.12452253, 1e-6),
        ("gaussian --noise 1 --rounds 1 --dp-delta 1e-8", 5.77609838, 1e-6),
        ("els --noise 1 --sampling 0.01 --group 1 --rounds 1000 --dp-delta 1e-6", 2.12452253, 1e-6),
        (
            "two-stage --noise 4 --sampling 0.01 --example-sampling 0.5 --group 8 --rounds 1000 --dp-delta 1e-6",
            3.16617275,
            1e-6,
        ),
        ("mixture --noise 6 --norms 1,2 --weights 0.7,0.3 --rounds 50 --dp-delta 1e-6", 8.08599751, 1e-6),
        (
            "truncated --noise 1 --sampling 0.01 --users 100000 --cap 1030 --rounds 1000 --dp-delta 1e-6 --adjacency zero-out",
            9.46644653,
            1e-6,
        ),
        ("fixed-size --noise 2 --users 10000 --cohort 100 --rounds 500 --dp-delta 1e-6", 1.13537194, 1e-3),
        ("laplace --noise 1 --rounds 1 --dp-delta 1e-6", 0.999998, 1e-6),
        ("discrete-gaussian --noise 1 --rounds 1 --dp-delta 1e-5", 4.43023806, 1e-6),
        ("discrete-laplace --noise 1 --rounds 1 --dp-delta 1e-6", 0.999998632, 1e-6),
        // One Gaussian of z = 4 at dp_delta 1e-10; reference privacy.md 3.5 has z = 7 with 79 nodes of the tree.
        ("blt --noise 4 --separation 40 --participations 5 --rounds 200 --dp-delta 1e-10", 1.49, 1e-2),
        ("banded --noise 4 --separation 20 --bands 20 --rounds 100 --dp-delta 1e-10", 1.49, 1e-2),
        ("tree --noise 4 --participations 1 --rounds 100 --dp-delta 1e-10", 1.49, 1e-2),
    ];
    for (args, expected, rtol) in cases {
        let said = json(&format!("epsilon --mechanism {args}"));
        near(args, number(&said, "epsilon"), expected, rtol);
        assert_eq!(said["mechanism"], args.split(' ').next().unwrap());
        assert_eq!(said["unit"], "user");
        let directions = number(&said, "remove_epsilon").max(number(&said, "add_epsilon"));
        assert_eq!(directions, number(&said, "epsilon"), "{args}");
        assert!(!said["assumptions"].as_array().unwrap().is_empty(), "{args}");
        assert!(
            said["adjacency"].is_string() && said["method"]["accountant"].is_string() && said["parameters"].is_object()
        );
    }
}

#[test]
fn noise_on_integers_costs_about_what_a_gaussian_of_its_variance_does() {
    // With much noise on the grid the lattice does not show: both bounds are by Renyi divergences, the Gaussian exact.
    let of = |args: &str| number(&json(&format!("epsilon --rounds 10 --dp-delta 1e-6 --mechanism {args}")), "epsilon");
    let gaussian = of("gaussian --noise 20");
    let skellam = of("skellam --noise 2000 --l2 100 --l1 1000");
    let distributed = of("distributed --noise 200 --devices 100 --dimension 100 --l2 100");
    for got in [skellam, distributed] {
        assert!(got > gaussian && got < 1.2 * gaussian, "{got} and {gaussian}");
    }
}

#[test]
fn the_text_says_what_the_number_means() {
    let text = done(
        Path::new("."),
        "epsilon --mechanism els --noise 4 --sampling 0.01 --group 8 --rounds 1000 --dp-delta 1e-6",
    );
    for words in ["3.0300", "1e-6", "adjacency add/remove", "tight PLD", "no user has more than 8 examples", "removing"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    let none = done(Path::new("."), "epsilon --noise 0 --sampling 0.5 --rounds 3 --dp-delta 1e-6");
    assert!(none.contains("no guarantee"), "{none}");
    assert_eq!(json("epsilon --noise 0 --sampling 0.5 --rounds 3 --dp-delta 1e-6")["epsilon"], "inf");
    let unused = json("epsilon --noise 2 --sampling 0 --rounds 3 --dp-delta 1e-6");
    assert_eq!(number(&unused, "epsilon"), 0.0);
}

#[test]
fn both_ways_of_calibration_meet_the_target() {
    let found = json("calibrate --epsilon 1 --sampling 0.01 --rounds 1000 --dp-delta 1e-6");
    near("calib-uls-01", number(&found, "noise"), 1.56268257, 1e-5);
    assert!(number(&found["account"], "epsilon") <= 1.0);
    let els = json("calibrate --mechanism els --group 8 --epsilon 1 --sampling 0.001 --rounds 1000 --dp-delta 1e-6");
    near("calib-els-01", number(&els, "noise"), 1.33248058, 1e-5);
    let rounds = json("calibrate --epsilon 1 --sampling 0.01 --noise 1.57 --dp-delta 1e-6");
    let most = rounds["rounds"].as_u64().unwrap();
    let epsilon = |rounds: u64| {
        number(&json(&format!("epsilon --noise 1.57 --sampling 0.01 --rounds {rounds} --dp-delta 1e-6")), "epsilon")
    };
    assert!(most > 1000 && epsilon(most) <= 1.0 && epsilon(most + 1) > 1.0, "{most}");
    let blt = json("calibrate --mechanism blt --separation 20 --epsilon 1 --rounds 100 --dp-delta 1e-6");
    // The analytic Gaussian, Balle & Wang 2018.
    near("agauss-inv-02", number(&blt, "noise"), 4.22467889, 1e-6);
}

#[test]
fn a_curve_rises_to_the_epsilon_of_the_last_round() {
    let dir = folder("curve");
    let args = "curve --noise 1,2 --sampling 0.01 --rounds 1000 --points 7 --dp-delta 1e-6 --out c.svg";
    let said: Value = serde_json::from_str(&done(&dir, &format!("{args} --json"))).unwrap();
    let points = said["curves"][0]["points"].as_array().unwrap();
    assert_eq!((points.len(), points[6]["rounds"].as_u64()), (7, Some(1000)));
    assert!(points.windows(2).all(|p| number(&p[0], "epsilon") < number(&p[1], "epsilon")));
    near("last", number(&points[6], "epsilon"), 2.12452253, 1e-6);
    let picture = std::fs::read_to_string(dir.join("c.svg")).unwrap();
    assert!(picture.starts_with("<svg xmlns=") && picture.trim_end().ends_with("</svg>"));
    assert_eq!(picture.matches("<path class=\"line").count(), 2, "a line a noise");
    assert!(picture.contains("noise 1<") && picture.contains("noise 2<"));
    let table = done(&dir, args);
    assert!(table.contains("2.12453") && table.contains("written c.svg"), "{table}");
    // Separation, participations and rounds shape correlated noise; its epsilon rises to that of all rounds.
    let blt =
        "curve --mechanism blt --noise 4 --separation 10 --rounds 40 --points 4 --dp-delta 1e-6 --out b.svg --json";
    let said: Value = serde_json::from_str(&done(&dir, blt)).unwrap();
    let whole = json("epsilon --mechanism blt --noise 4 --separation 10 --rounds 40 --dp-delta 1e-6");
    near("blt", number(&said["curves"][0]["points"][3], "epsilon"), number(&whole, "epsilon"), 1e-9);
}

/// `reference` table: 100,000 users, 4,096 gradients, 2,000 steps, dp_delta 1e-6, at epsilon 4.
#[test]
fn sampling_of_users_and_of_examples_at_equal_compute() {
    let dir = folder("compare");
    let args = "compare --epsilon 4 --groups 1,4,16 --correlation 0.5 --dp-delta 1e-6 --out c.svg";
    let said: Value = serde_json::from_str(&done(&dir, &format!("{args} --json"))).unwrap();
    let rows = said["rows"].as_array().unwrap();
    // (G, sigma of ELS, noise x 1e4, sigma of ULS, noise of parallel and orthogonal gradients x 1e4)
    let expected =
        [(2.332, 5.69, 2.332, 5.69, 5.69), (2.340, 5.71, 0.880, 8.60, 4.30), (2.342, 5.72, 0.600, 23.44, 5.86)];
    assert_eq!(rows.len(), 3);
    for (row, (els, els_noise, uls, parallel, orthogonal)) in rows.iter().zip(expected) {
        near("ELS sigma", number(&row["els"], "noise_multiplier"), els, 1e-3);
        near("ELS noise", 1e4 * number(&row["els"], "noise"), els_noise, 1.5e-3);
        near("ULS sigma", number(&row["uls"], "noise_multiplier"), uls, 1e-3);
        near("parallel", 1e4 * number(&row["uls"], "noise_parallel"), parallel, 1.5e-3);
        near("orthogonal", 1e4 * number(&row["uls"], "noise_orthogonal"), orthogonal, 1.5e-3);
    }
    // At G = 4 user-level sampling wins below some correlation, at G = 16 it never does.
    let even = |row: &Value| number(row, "break_even_correlation");
    assert!(even(&rows[1]) > 0.1 && even(&rows[1]) < 0.5, "{}", rows[1]);
    assert_eq!(even(&rows[2]), 0.0);
    let text = done(&dir, args);
    assert!(text.contains("orthogonal: 4.30e-4 at G=4"), "{text}");
    let picture = std::fs::read_to_string(dir.join("c.svg")).unwrap();
    assert_eq!(picture.matches("<path class=\"line").count(), 4);
}

/// The larger part of the documented example.
const UNTIL_LAPLACE: &str = "epsilon --noise 1 --sampling 0.01 --rounds 500 --dp-delta 1e-6";

#[test]
fn events_compose_in_any_order() {
    let dir = folder("events");
    let event = |z: &str, rounds: u32| {
        format!(r#"{{"rounds": {rounds}, "release": {{"mechanism": "uls", "noise_multiplier": {z}, "rate": 0.01}}}}"#)
    };
    let file = |name: &str, events: &[String]| {
        let text = format!(r#"{{"adjacency": "add_or_remove", "events": [{}]}}"#, events.join(","));
        std::fs::write(dir.join(name), text).unwrap();
    };
    file("a.json", &[event("1.0", 500), event("2.0", 500)]);
    file("b.json", &[event("2.0", 200), event("1.0", 500), event("2.0", 300)]);
    let said: Value = serde_json::from_str(&done(&dir, "events a.json --dp-delta 1e-6 --json")).unwrap();
    near("mixed-01", number(&said, "epsilon"), 1.65386474, 1e-6);
    assert_eq!((&said["mechanism"], said["rounds"].as_u64()), (&Value::from("composition"), Some(1000)));
    let other: Value = serde_json::from_str(&done(&dir, "events b.json --dp-delta 1e-6 --json")).unwrap();
    near("another order", number(&other, "epsilon"), number(&said, "epsilon"), 1e-9);

    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/accounting/examples/composition.json");
    let documented = json(&format!("events {example} --dp-delta 1e-6"));
    assert!(number(&documented, "epsilon") > number(&json(UNTIL_LAPLACE), "epsilon"), "{documented}");
    let readme = include_str!("../accounting/README.md");
    assert!(readme.contains(std::fs::read_to_string(example).unwrap().trim_end()), "the README has the example's text");

    let bad = |name: &str, text: &str, words: &[&str]| {
        std::fs::write(dir.join(name), text).unwrap();
        refused(&dir, &format!("events {name} --dp-delta 1e-6"), words);
    };
    file("rate.json", &[event("1.0", 5), event("1.0", 5).replace("0.01", "1.5")]);
    refused(&dir, "events rate.json --dp-delta 1e-6", &["rate.json", "event 2 (uls)", "1.5", "[0, 1]"]);
    file("rounds.json", &[event("1.0", 0)]);
    refused(&dir, "events rounds.json --dp-delta 1e-6", &["rounds.json", "event 1", "0 rounds"]);
    file("negative.json", &[event("-1", 3)]);
    refused(&dir, "events negative.json --dp-delta 1e-6", &["event 1", "-1"]);
    let unknown = r#"{"adjacency": "add_or_remove", "events": [{"rounds": 1, "release": {"mechanism": "snowflake"}}]}"#;
    bad("unknown.json", unknown, &["unknown.json", "snowflake", "uls", "line 1"]);
    bad("typo.json", r#"{"adjacency": "add_or_remove", "event": []}"#, &["typo.json", "`event`", "`events`"]);
    bad("none.json", r#"{"adjacency": "add_or_remove", "events": []}"#, &["none.json", "no events"]);
    bad("half.json", r#"{"adjacency": "add_or"#, &["half.json", "line 1"]);
    refused(&dir, "events absent.json --dp-delta 1e-6", &["absent.json"]);
}

#[test]
fn what_is_wrong_is_named_with_both_numbers() {
    let dir = folder("refused");
    let uls = "epsilon --mechanism uls --noise 1 --sampling 0.01 --rounds 10 --dp-delta 1e-6";
    let with = |flag: &str, value: &str| {
        let mut words: Vec<&str> = uls.split(' ').collect();
        let at = words.iter().position(|w| *w == flag).unwrap();
        words[at + 1] = value;
        words.join(" ")
    };
    done(&dir, uls);
    for (flag, value, word) in [
        ("--noise", "-1", "at least 0"),
        ("--noise", "nan", "at least 0"),
        ("--noise", "inf", "finite"),
        ("--noise", "much", "a number"),
        ("--sampling", "1.01", "[0, 1]"),
        ("--sampling", "-0.1", "[0, 1]"),
        ("--sampling", "NaN", "[0, 1]"),
        ("--rounds", "0", "at least 1"),
        ("--rounds", "1.5", "whole number"),
        ("--dp-delta", "0", "above 0"),
        ("--dp-delta", "1", "below 1"),
        ("--dp-delta", "nan", "above 0"),
        ("--mechanism", "snowflake", "gaussian, uls, els, two-stage, mixture"),
    ] {
        refused(&dir, &with(flag, value), &[flag, value, word]);
    }
    let missing = |args: &str, words: &[&str]| refused(&dir, &format!("epsilon {args}"), words);
    missing("--sampling 0.1 --rounds 1 --dp-delta 1e-6", &["--noise is missing"]);
    missing("--noise 1 --rounds 1 --dp-delta 1e-6", &["--sampling is missing", "uls"]);
    missing("--noise 1 --sampling 0.1 --dp-delta 1e-6", &["--rounds is missing"]);
    missing("--noise 1 --sampling 0.1 --rounds 1", &["--dp-delta is missing"]);
    missing("--mechanism els --noise 1 --sampling 0.1 --rounds 1 --dp-delta 1e-6", &["--group is missing", "els"]);
    missing("--mechanism blt --noise 1 --rounds 9 --dp-delta 1e-6", &["--separation is missing", "--participations"]);
    let rest = "--rounds 5 --dp-delta 1e-6";
    let mixture = |norms: &str, weights: &str| {
        format!("epsilon --mechanism mixture --noise 1 --norms {norms} --weights {weights} {rest}")
    };
    refused(&dir, &mixture("1,2", "0.7,0.2"), &["0.8999", "sum to 1"]);
    refused(&dir, &mixture("1,2,3", "0.7,0.3"), &["2 weights", "3 norms"]);
    refused(&dir, &mixture("1,-2", "0.7,0.3"), &["--norms", "-2"]);
    refused(
        &dir,
        &format!("epsilon --mechanism laplace --noise 1 --group 3 {rest}"),
        &["--group", "laplace", "--sensitivity"],
    );
    refused(&dir, &format!("epsilon --mechanism laplace --noise 0 {rest}"), &["--noise 0", "above 0"]);
    let els = "--mechanism els --noise 1 --sampling 0.1 --group 2";
    refused(&dir, &format!("epsilon {els} --adjacency replace-one {rest}"), &["els", "replace-one"]);
    refused(&dir, &format!("epsilon {els} --adjacency both {rest}"), &["--adjacency both", "zero-out"]);
    let blt = "--mechanism blt --noise 1 --separation 2";
    refused(&dir, &format!("epsilon {blt} --buffers 5 {rest}"), &["--buffers 5", "4"]);
    refused(&dir, &format!("epsilon {blt} --adjacency add-remove {rest}"), &["add-remove", "zero-out"]);
    let fixed = "--mechanism fixed-size --noise 1 --users 10 --cohort 11";
    refused(&dir, &format!("epsilon {fixed} {rest}"), &["11", "10"]);
    let calibrate = "calibrate --sampling 0.1 --dp-delta 1e-6";
    refused(&dir, &format!("{calibrate} --rounds 5"), &["--epsilon is missing"]);
    refused(&dir, &format!("{calibrate} --epsilon 0 --rounds 5"), &["--epsilon 0", "above 0"]);
    refused(&dir, &format!("{calibrate} --epsilon 1"), &["--rounds is missing"]);
    refused(&dir, &format!("{calibrate} --epsilon 1 --noise 1 --rounds 5"), &["--noise", "--rounds 5"]);
    refused(&dir, "compare --groups 0 --dp-delta 1e-6", &["--groups 0"]);
    refused(&dir, "compare --groups 5000 --dp-delta 1e-6", &["--groups 5000", "4096"]);
    refused(
        &dir,
        "curve --noise 1 --sampling 0.1 --rounds 5 --dp-delta 1e-6 --out no/such/c.svg",
        &["--out no/such/c.svg"],
    );
}
