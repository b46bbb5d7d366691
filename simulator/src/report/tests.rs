//! The report as a whole: JSON, files, and the page.

use super::*;
use std::path::{Path, PathBuf};

/// A run whose figures follow simple formulae, with something of everything that a page can show.
fn sample(rounds: u64) -> RunReport {
    let command = ["siskin", "run", "--data", "digits", "--rounds", &rounds.to_string(), "--out", "my run"];
    let mut report = RunReport::new(command.map(str::to_owned).to_vec(), 7);
    report.data = DataSummary {
        name: "digits".into(),
        devices: 100,
        examples: ExampleCounts::of(&(0..100).map(|i| 5 + i * i % 23).collect::<Vec<_>>()),
        labels: (0..10).map(|l| LabelCount { label: l.to_string(), examples: 120 + l * 37 % 50 }).collect(),
        scaling: "pixels / 16, to [0, 1]".into(),
        held_out: "every fifth example of each device; test users are train users".into(),
        held_out_examples: 360,
        attribution: "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits (CC BY 4.0)".into(),
    };
    let layer = |name: &str, out, from, live, kernel| LayerSummary {
        name: name.into(),
        kind: "dense".into(),
        shape: vec![out, from],
        params: out * from + out,
        live: live + out,
        kernel,
        multiply_adds: live,
        accuracy_if_halved: Some(0.71),
    };
    report.model = ModelSummary {
        name: "mlp-128".into(),
        layers: vec![layer("hidden", 128, 64, 1638, Kernel::Csr), layer("logits", 10, 128, 1280, Kernel::Dense)],
    };
    let records = (1..=rounds).map(|round| {
        let t = round as f64 / 40.0;
        let d = |k: u64| u64::from((round * k) % 7 == 3);
        let dropped = Dropped {
            dropped_out: d(1) + d(5),
            late: d(2),
            refused: d(4) * d(3),
            corrupted: d(3) * d(5),
            too_few: 0,
            duplicate: d(6),
        };
        let abandoned = round % 61 == 30;
        let mut reports_in = 20 - dropped.devices();
        let too_few = if abandoned { std::mem::take(&mut reports_in) } else { 0 };
        RoundRecord {
            round,
            selected: 20,
            reports_in,
            dropped: Dropped { too_few, ..dropped },
            abandoned,
            reclipped: round % 11 / 10,
            clipped_fraction: Some(0.9 - 0.5 * (-t).exp()),
            clip_norm: Some(0.5),
            unclipped_estimate: None,
            step: Some(0.05 + 0.2 * (-t).exp()),
            bits_budget: Some(2.0),
            part_kept: None,
            rate_slope: None,
            examples: 240,
            bytes_down: StageBytes {
                check_in: 640,
                plan: 2400,
                checkpoint: 20 * 12_416,
                acks: 400,
                ..Default::default()
            },
            bytes_up: StageBytes {
                check_in: 960,
                report_payload: 20 * (900 - round.min(300)),
                report_framing: 1180,
                acks: 160,
                resent: 40 * d(6),
                ..Default::default()
            },
            bits_per_param: BitsPerParam::of(reports_in * (900 - round.min(300)), reports_in, 3056, 9610),
            mean_train_loss: Some(0.08 + 2.1 * (-1.4 * t).exp()),
            accuracy: (round % 2 == 0).then(|| 0.938 - 0.83 * (-1.2 * t).exp() + 0.008 * (round as f64 * 1.7).sin()),
            test_loss: (round % 2 == 0).then(|| 0.21 + 2.0 * (-1.2 * t).exp()),
            sparsity: Some(0.682),
            epsilon: Some(0.6 + 0.23 * (round as f64).sqrt()),
            virtual_time_s: Some(round as f64 * 930.0),
            update_norm: Some(0.4 * (-t).exp() + 0.06),
        }
    });
    report.set_rounds(records.collect());
    report.final_evaluation = Evaluation {
        round: rounds,
        examples: 360,
        targets: 360,
        accuracy: report.rounds.iter().rev().find_map(|r| r.accuracy),
        test_loss: Some(0.22),
    };
    let accuracies: Vec<f64> = (0..100)
        .map(|i| if i % 33 == 5 { f64::NAN } else { 1.0 - 0.5 * (f64::from(i * 37 % 100) / 100.0).powi(3) })
        .collect();
    report.device_accuracy = DeviceAccuracy::of(&accuracies, "each device's own held-out fifth");
    report.privacy = PrivacyStatement {
        line: "(3.85, 1e-5)-DP for users under add or remove one, central Gaussian noise, Poisson sampling assumed"
            .into(),
        epsilon: report.rounds.last().and_then(|r| r.epsilon),
        dp_delta: Some(1e-5),
        adjacency: "add or remove one user".into(),
        unit: "user".into(),
        sampling: "Poisson, each device with probability 0.2 a round; the run draws 20 without replacement".into(),
        sampling_enforced: false,
        mechanism: "Gaussian on the sum, server-side; privacy loss distribution".into(),
        clip_norm: Some(0.5),
        noise_multiplier: Some(1.1),
        certificate: String::new(),
        warnings: vec!["The cohort is of fixed size, the accountant's is not.".into()],
    };
    let part = |purpose: &str, bytes, persistent| ArenaPart { purpose: purpose.into(), bytes, persistent };
    report.device_cost = DeviceCost {
        arena: vec![
            part("params", 12_224, true),
            part("pattern", 7_344, true),
            part("gradient", 12_224, false),
            part("activations", 8_832, false),
            part("report buffer", 1_024, true),
        ],
        largest_report_bytes: 957,
        largest_checkpoint_bytes: 12_416,
        multiply_adds_per_round: Some(105_048.0),
        multiply_adds_per_example: Some(105_048.0),
    };
    report.setting("data", "name", "digits", "", "data set");
    report.setting("data", "devices", 100, "devices", "how many devices share the data");
    report.setting("fleet", "cohort", 20, "devices", "selected each round");
    report.setting("fleet", "drop_out", 0.1, "probability", "a device takes the task and never reports");
    report.setting("privacy", "clip_norm", 0.5, "L2", "bound on each device's delta");
    report.setting("privacy", "noise_multiplier", 1.1, "", "sigma / C");
    report.warn(3, "examples left out: the device's store holds 25 at most");
    report.timings = Some(Timings {
        started_unix_s: Some(1_700_000_000),
        wall_s: Some(12.4),
        threads: 2,
        machine: "linux x86_64".into(),
        stages: vec![
            StageTime { stage: "train".into(), seconds: Some(19.8) },
            StageTime { stage: "aggregate".into(), seconds: Some(0.31) },
        ],
    });
    report
}

/// A folder of this test that goes away with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("siskin-report-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Reads `page` as XML: tags balance, attributes are quoted and not repeated, entities are known, ids are unique and
/// linked ones exist. Returns the text of its elements.
fn parse(page: &str) -> String {
    let (mut open, mut text, mut ids, mut links) = (Vec::<String>::new(), String::new(), Vec::new(), Vec::new());
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("doctype");
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        assert!(!rest[..at].contains('>'), "stray '>' in {:?}", &rest[..at]);
        let end = at + rest[at..].find('>').expect("tag ends");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closing tag");
            continue;
        }
        let closed = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "tag {name:?}");
        assert!(!["script", "iframe", "object", "img"].contains(&name), "{name}");
        let mut seen = Vec::new();
        while !attributes.trim().is_empty() {
            let (key, value) = attributes.trim_start().split_once("=\"").expect("quoted attribute");
            let (value, after) = value.split_once('"').expect("attribute ends");
            assert!(!value.contains('<') && !key.contains(char::is_whitespace), "{key}={value}");
            assert!(!seen.contains(&key) && !key.starts_with("on"), "{key} in {tag}");
            seen.push(key);
            assert!(!["src", "style", "srcset", "xlink:href"].contains(&key), "{key}");
            match key {
                "href" if value == "data:," => {}
                "href" => links.push(value.strip_prefix('#').expect("links stay on the page").to_owned()),
                "id" => ids.push(value.to_owned()),
                _ => {}
            }
            if ["x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height"].contains(&key) {
                let number: f64 = value.parse().expect("a number");
                assert!(number.is_finite() && number.abs() < 1e5, "{key}={value}");
                assert!(!["width", "height"].contains(&key) || number >= 0.0, "{key}={value}");
            }
            attributes = after;
        }
        if name == "style" && !closed {
            let css = &rest[..rest.find("</style>").expect("style ends")];
            assert!(!css.contains("url(") && !css.contains("@import") && !css.contains('<'));
            rest = &rest[css.len()..];
        }
        if !closed {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    for (at, _) in page.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
        assert!(known.iter().any(|entity| page[at..].starts_with(entity)), "{:?}", page.get(at..at + 8));
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "ids repeat");
    assert!(links.iter().all(|link| ids.contains(link)), "{links:?} in {ids:?}");
    assert!(!text.contains("NaN") && !text.contains("inf"), "not finite");
    text
}

#[test]
fn json_round_trips() {
    let report = sample(200);
    let text = to_json(&report).unwrap();
    let back: RunReport = serde_json::from_str(&text).unwrap();
    assert!(back == report, "a report read back differs");
    assert!(to_json(&back).unwrap() == text);
}

#[test]
fn timings_are_all_that_may_differ() {
    let (mut one, mut two) = (sample(20), sample(20));
    one.timings = Some(Timings { wall_s: Some(1.0), ..Default::default() });
    two.timings = Some(Timings { wall_s: Some(2.0), threads: 64, ..Default::default() });
    assert_ne!(to_json(&one).unwrap(), to_json(&two).unwrap());
    let (one, two) = (to_json(&one.without_timings()).unwrap(), to_json(&two.without_timings()).unwrap());
    assert_eq!(one, two);
    assert!(!one.contains("timings"));
    assert_eq!(serde_json::from_str::<RunReport>(&one).unwrap().timings, None);
}

#[test]
fn floats_that_are_not_finite_become_null() {
    let mut report = sample(2);
    report.rounds[0].accuracy = Some(f64::NAN);
    report.privacy.epsilon = Some(f64::INFINITY);
    let text = to_json(&report).unwrap();
    assert!(!text.contains("NaN") && !text.contains("inf"));
    let back: RunReport = serde_json::from_str(&text).unwrap();
    assert_eq!((back.rounds[0].accuracy, back.privacy.epsilon), (None, None));
    let page = parse(&render(&report));
    assert!(page.contains("no finite guarantee"));
}

#[test]
fn totals_add_up() {
    let report = sample(200);
    let totals = &report.totals;
    assert!(report.rounds.iter().all(|round| round.unaccounted() == 0));
    assert_eq!(totals.selected, 4000);
    assert_eq!(totals.selected, totals.reports_in + totals.dropped.devices());
    assert_eq!(totals.abandoned, 3);
    assert_eq!(totals.bytes_up.total(), report.rounds.iter().map(|r| r.bytes_up.total()).sum::<u64>());
    let each: Vec<f64> = report.rounds.iter().filter_map(|r| r.bits_per_param.live).collect();
    let rate = totals.bits_per_param.live.unwrap();
    assert!(each.iter().any(|b| *b < rate) && each.iter().any(|b| *b > rate));
    assert_eq!(BitsPerParam::of(100, 2, 50, 400), BitsPerParam { live: Some(8.0), model: Some(1.0) });
    assert_eq!(BitsPerParam::of(0, 0, 50, 400), BitsPerParam::default());
}

#[test]
fn quantiles_follow_their_definition() {
    let accuracy = DeviceAccuracy::of(&[1.0, 0.0, 0.5, f64::NAN, 0.25], "all");
    assert_eq!((accuracy.devices, accuracy.devices_without_examples), (4, 1));
    // numpy.quantile([0, 0.25, 0.5, 1], [0, 0.1, 0.25, 0.5, 0.75, 1])
    let expected = [(0, 0.0), (10, 0.075), (25, 0.1875), (50, 0.375), (75, 0.625), (100, 1.0)];
    for (percent, value) in expected {
        assert!((accuracy.at(percent).unwrap() - value).abs() < 1e-12, "{percent}");
    }
    assert_eq!(accuracy.histogram.iter().sum::<u64>(), 4);
    assert_eq!((accuracy.histogram[0], accuracy.histogram[5], accuracy.histogram[HISTOGRAM_BINS - 1]), (1, 1, 1));
    assert_eq!(DeviceAccuracy::of(&[], "all").quantiles, []);
    assert_eq!(ExampleCounts::of(&[4, 1, 2, 9]), ExampleCounts { total: 16, min: 1, median: Some(3.0), max: 9 });
}

#[test]
fn the_page_is_sound_for_any_length_of_run() {
    for rounds in [0, 1, 2, 3, 73, 200, 1500] {
        let report = sample(rounds);
        let page = render(&report);
        let text = parse(&page);
        assert!(!page.contains("http://") && !page.contains("https://"));
        assert_eq!(text.matches("no data").count() > 0, rounds <= 1, "{rounds} rounds");
        assert!(text.contains("--out &#39;my run&#39;") && text.contains("seed 7"));
        assert!(page.len() < 700_000, "{rounds} rounds: {} bytes", page.len());
    }
}

#[test]
fn the_page_takes_an_empty_report() {
    let text = parse(&render(&RunReport::default()));
    assert!(text.matches("no data").count() >= 8);
    assert!(text.contains("makes no claim about privacy"));
}

#[test]
fn figures_of_the_page_are_those_of_the_report() {
    let report = sample(200);
    let text = parse(&render(&report));
    for shown in
        ["93.6\u{a0}%", "add or remove one user", "dp_delta 1e-5", "assumed, not enforced", "3 examples left out"]
    {
        assert!(text.contains(shown), "{shown}");
    }
    for setting in &report.settings {
        assert!(text.contains(&setting.key) && text.contains(&setting.note.replace('\'', "&#39;")));
    }
    for layer in &report.model.layers {
        assert!(text.contains(&layer.name));
    }
}

#[test]
fn hostile_text_stays_text() {
    let evil = "</title></style><script>alert('x')</script><img src=x onerror=\"y\">&\u{0}\u{1b}]]>";
    let json = to_json(&sample(3)).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
    fn poison(value: &mut serde_json::Value, evil: &str) {
        match value {
            serde_json::Value::String(text) if !["none", "dense", "csr", "block"].contains(&text.as_str()) => {
                evil.clone_into(text);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| poison(item, evil)),
            serde_json::Value::Object(fields) => fields.values_mut().for_each(|field| poison(field, evil)),
            _ => {}
        }
    }
    poison(&mut value, evil);
    let page = render(&serde_json::from_value(value).unwrap());
    parse(&page);
    assert!(!page.contains("<script") && !page.contains("<img") && page.contains("&lt;script&gt;"));
}

#[test]
fn extreme_numbers_do_not_break_the_page() {
    let mut report = sample(5);
    for (round, value) in report.rounds.iter_mut().zip([f64::MAX, -f64::MAX, f64::MIN_POSITIVE, f64::NAN, 1e300]) {
        round.round += u64::MAX - 5;
        (round.accuracy, round.test_loss, round.update_norm) = (Some(value), Some(value), Some(-value));
        (round.epsilon, round.mean_train_loss) = (Some(value), Some(f64::NEG_INFINITY));
        round.clipped_fraction = Some(value);
    }
    report.device_accuracy.quantiles[3].accuracy = Some(f64::NAN);
    parse(&render(&report));
}

#[test]
fn a_fault_in_the_count_is_shown() {
    let mut report = sample(4);
    report.rounds[2].reports_in -= 1;
    assert_eq!(report.rounds[2].unaccounted(), 1);
    assert!(parse(&render(&report)).contains("in 1 round the reports in"));
}

/// With `SISKIN_REPORT_SAMPLE` set to a folder the sample stays there, to be looked at.
#[test]
fn files_are_whole_and_alone() {
    let folder = Folder::new("files");
    let out = folder.0.join("a/b");
    check_writable(&out).unwrap();
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0, "the probe stays");
    let report = sample(200);
    std::fs::write(out.join(JSON_NAME), "of an older run").unwrap();
    let written = write_all(&report, &out).unwrap();
    assert_eq!(std::fs::read_to_string(&written.json).unwrap(), to_json(&report).unwrap());
    assert_eq!(std::fs::read_to_string(&written.html).unwrap(), render(&report));
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 2);
    if let Some(keep) = std::env::var_os("SISKIN_REPORT_SAMPLE") {
        write_all(&report, Path::new(&keep)).unwrap();
    }
}

#[test]
fn errors_name_the_path_and_what_to_do() {
    let folder = Folder::new("errors");
    let file = folder.0.join("taken");
    std::fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = check_writable(&path).unwrap_err().to_string();
        assert!(error.contains(&*file.to_string_lossy()) && error.contains("another folder"), "{error}");
    }
    std::fs::create_dir(folder.0.join(HTML_NAME)).unwrap();
    let early = check_writable(&folder.0).unwrap_err().to_string();
    assert!(early.contains(HTML_NAME) && early.contains("move it away"), "{early}");
    let late = write_all(&sample(1), &folder.0).unwrap_err().to_string();
    assert!(late.contains(HTML_NAME), "{late}");
    assert_eq!(folder.names(), [HTML_NAME, JSON_NAME, "taken"], "no part of a file is left");
}

#[test]
fn a_privacy_comparison_is_a_page_too() {
    use crate::compare_privacy::{Common, Comparison, mean};
    let options = mean::Options { users: 200, examples: 4, dims: 4, batch: 8, steps: 4, ..mean::Options::quick() };
    let options = mean::Options { groups: vec![1, 4], epsilons: vec![4.0], ..options };
    let report = mean::run(&options, &Common { seed: 1, dp_delta: 1e-5 }, || ()).unwrap();
    let comparison = Comparison::new(vec!["a & b".to_owned()], 1, Some(report), None);
    let text = parse(&render_privacy_comparison(&comparison));
    assert_eq!(comparison.findings.len(), 2);
    assert!(comparison.findings.iter().all(|found| text.contains(&found.text)), "{text}");
    assert!(text.contains("Mean estimation") && !text.contains("Fine-tuning"), "a part that was not run is not shown");
    parse(&render_privacy_comparison(&Comparison::default()));
}
