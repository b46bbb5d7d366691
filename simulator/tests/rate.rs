//! The step that holds a budget: on the embedded digits, with and without noise, and what is refused.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rate").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn siskin(args: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siskin")).args(args.split_whitespace()).output().unwrap()
}

const DIGITS: &str = "run --devices 300 --cohort 80 --model dense:48,relu,dense --evaluate-every 12 \
                      --progress quiet --epochs 1 --seed 3";

fn report(name: &str, more: &str) -> (Value, String) {
    let out = folder(name);
    let output = siskin(&format!("{DIGITS} --rounds 12 --out {} {more}", out.display()));
    assert!(output.status.success(), "{more}: {}", String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    (report, String::from_utf8(output.stdout).unwrap())
}

fn rounds<'a>(report: &'a Value, field: &'a str) -> impl Iterator<Item = &'a Value> {
    report["rounds"].as_array().unwrap().iter().map(move |round| &round[field])
}

fn bits(report: &Value) -> Vec<f64> {
    rounds(report, "bits_per_param").map(|bits| bits["live"].as_f64().unwrap()).collect()
}

/// From round 5 on within a tenth, in each round.
fn holds(report: &Value, budget: f64) {
    let bits = bits(report);
    assert!(bits[4..].iter().all(|b| (b / budget - 1.0).abs() <= 0.1), "{budget}: {bits:?}");
    assert!(rounds(report, "bits_budget").all(|b| b.as_f64() == Some(budget)));
}

#[test]
fn budgets_are_held_from_round_five_on() {
    for (budget, rounding) in [
        (0.03, "auto"),
        (0.1, "auto"),
        (0.03, "stochastic"),
        (0.1, "stochastic"),
        (0.6, "auto"),
        (4.0, "auto"),
        (0.3, "rotated"),
        (1.5, "dithered"),
        (0.6, "optimised"),
    ] {
        let (report, summary) = report(
            &format!("bits-{budget}-{rounding}"),
            &format!("--noise-multiplier 0 --sparsity 0.3 --bits-per-param {budget} --rounding {rounding}"),
        );
        holds(&report, budget);
        if rounding == "rotated" || (rounding == "auto" && budget <= 0.1) {
            // Nothing is searched for: as many signs as there is room for, from the first round on.
            assert!(bits(&report).iter().all(|b| (b / budget - 1.0).abs() <= 0.06), "{:?}", bits(&report));
        }
        // Where all coordinates have enough hangs on the deltas; somewhere between 0.1 bit and 4.
        let kept: Vec<f64> = rounds(&report, "part_kept").skip(4).map(|kept| kept.as_f64().unwrap_or(1.0)).collect();
        assert!(budget > 0.1 || kept.iter().all(|kept| *kept < 0.5), "{budget}: {kept:?}");
        assert!(budget < 4.0 || kept.iter().all(|kept| *kept == 1.0), "{budget}: {kept:?}");
        assert!(
            summary.contains(&format!("budget             {budget} bits per live param; from round 5 on")),
            "{summary}"
        );
        assert!(summary.contains("8 of 8 rounds within 10 %"), "{summary}");
    }
}

#[test]
fn roundings_are_refused_where_they_do_not_go() {
    for (flags, why) in [
        ("--bits-per-param 0.05 --rounding rotated", "noise multiplier is 2, it must be 0"),
        (
            "--noise-multiplier 0 --bits-per-param 0.05 --rounding rotated --keep 0.5",
            "keep is 0.5, it must be left out",
        ),
        ("--noise-multiplier 0 --rate-slope 3 --rounding rotated", "it must be fixed, or a budget of bits"),
        ("--noise-multiplier 0 --bits-per-param 0.05 --rounding rotated --clipping adaptive", "bit share is"),
        ("--rounding dithered", "0, and no shares of noise, for dithered rounding"),
        ("--rounding optimised", "0, and no shares of noise, for optimised rounding"),
        ("--noise-multiplier 0 --profile distributed --rounding dithered", "for dithered rounding"),
        ("--noise-multiplier 0 --rounding optimised --keep 0.5", "1 with optimised rounding"),
        ("--noise-multiplier 0 --rounding optimised --rate-slope 3", "left out with optimised rounding"),
        ("--noise-multiplier 0 --rounding optimised --bit-price 900", "it must be between 0 and 255"),
    ] {
        let out = folder("refused-rounding");
        let output = siskin(&format!("{DIGITS} --rounds 2 --out {} {flags}", out.display()));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && message.contains(why), "{flags}: {message}");
    }
}

#[test]
fn also_while_a_mask_closes_in_and_the_clip_norm_moves() {
    let (report, _) = report(
        "moving",
        "--noise-multiplier 0 --sparsity 0.7 --prune-start 2 --prune-end 10 --prune-every 2 --clipping adaptive \
         --bits-per-param 0.3",
    );
    let bits = bits(&report);
    let mean = bits[4..].iter().sum::<f64>() / 8.0;
    assert!((mean / 0.3 - 1.0).abs() < 0.1 && bits[4..].iter().all(|b| (b / 0.3 - 1.0).abs() < 0.35), "{bits:?}");
    let norms: Vec<f64> = rounds(&report, "clip_norm").map(|c| c.as_f64().unwrap()).collect();
    assert!(norms.windows(2).all(|pair| pair[0] != pair[1]), "{norms:?}");
}

/// The noise of sizes is accounted for, and calibrated with the rest: the target is met all the same, with a little more noise.
#[test]
fn privacy_pays_for_the_sizes() {
    let of = |name, more: &str| report(name, &format!("--privacy uls --epsilon 8 --dp-delta 1e-4 {more}")).0;
    let (plain, held) = (of("plain", ""), of("held", "--bits-per-param 0.5"));
    let field = |report: &Value, name: &str| report["privacy"][name].as_f64().unwrap();
    let more = field(&held, "noise_multiplier") / field(&plain, "noise_multiplier");
    assert!((more - 1.01f64.sqrt()).abs() < 1e-4, "{more}");
    for report in [&plain, &held] {
        let epsilon = field(report, "epsilon");
        assert!((7.99..=8.0).contains(&epsilon), "{epsilon}");
    }
    let bits = bits(&held);
    let mean = bits[4..].iter().sum::<f64>() / 8.0;
    assert!((mean / 0.5 - 1.0).abs() < 0.15, "{bits:?}");
}

#[test]
fn schedules_and_slopes_move_the_step() {
    let steps = |report: &Value| rounds(report, "step").map(|s| s.as_f64().unwrap()).collect::<Vec<_>>();
    let (halving, _) = report("halving", "--noise-multiplier 0 --step 8 --step-schedule halving:3:2");
    let steps_of = steps(&halving);
    let over: Vec<f64> = steps_of.iter().map(|s| (s / steps_of[0] * 1e4).round() / 1e4).collect();
    assert_eq!(over, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25]);
    let (slope, _) = report("slope", "--noise-multiplier 0 --rate-slope 3");
    let last: Vec<f64> = rounds(&slope, "rate_slope").map(|s| s.as_f64().unwrap()).collect();
    let wanted = slope["settings"].as_array().unwrap().iter().find(|s| s["key"] == "step, absolute").unwrap();
    assert!(wanted["value"].as_str().is_some());
    // In squares of clip_norm / sqrt(live).
    let unit = 1.0 / slope["rounds"][0]["step"].as_f64().unwrap() * 3.5;
    let relative: Vec<f64> = last.iter().map(|s| s * unit * unit).collect();
    assert!(relative[4..].iter().all(|s| (s / 3.0 - 1.0).abs() < 0.2), "{relative:?}");
}

#[test]
fn what_cannot_be_is_refused() {
    for (more, words) in [
        ("--bits-per-param 0", &["--bits-per-param 0", "between 0.0001 and 16"][..]),
        ("--bits-per-param lots", &["--bits-per-param lots", "a number"]),
        ("--bits-per-param 0.1 --rate-slope 1", &["--rate-slope 1", "leave one of the two out"]),
        ("--bits-per-param 0.1 --step-schedule halving:3", &["--step-schedule halving:3", "leave one of the two out"]),
        ("--step-schedule sometimes", &["--step-schedule sometimes", "linear:END"]),
        ("--keep 0.5", &["quantization.keep", "with noise"]),
        ("--bits-per-param 0.1 --keep 0.5", &["keep is 0.5", "no noise"]),
        ("--rate-slope 1", &["rate slope is", "with noise"]),
        ("--bits-per-param 0.1 --profile local", &["bits per param is 0.1", "at least 3.1"]),
        ("--bits-per-param 0.1 --profile distributed", &["bits per param is 0.1", "distributed profile"]),
        ("--privacy blt --epsilon 8 --bits-per-param 0.1 --rounds 3", &["correlated noise", "fixed step"]),
        ("--privacy els --epsilon 8 --bits-per-param 0.1", &["examples are clipped"]),
    ] {
        let rounds = if more.contains("--rounds") { "" } else { "--rounds 12" };
        let output = siskin(&format!("{DIGITS} {rounds} --out {} {more}", folder("refused").display()));
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{more}: {text}");
        assert_eq!(text.trim_end().lines().count(), 1, "one clear line: {text}");
        for word in words {
            assert!(text.contains(word), "{more} should say `{word}`: {text}");
        }
    }
}
