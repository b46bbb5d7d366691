//! `report.html`: one file that loads nothing, runs no script, and is well-formed XML too, so that a program can check it.

mod audit;
mod axis;
mod bars;
mod compare;
mod compare_codec;
mod compare_privacy;
mod density;
mod error_bars;
mod lines;
mod number;
mod page;
mod picture;
mod privacy;
mod rounds;
mod settings;
mod subject;
mod traffic;

pub use audit::render_audit;
pub use compare::render_comparison;
pub use compare_codec::{codec_pictures, render_codec_comparison};
pub use compare_privacy::render_privacy_comparison;
pub(crate) use lines::{LineChart, Series};
pub(crate) use picture::picture;

use super::RunReport;
use number::{DASH, bytes, count, duration, percent, real};
use page::{callout, tile};

/// (id, title) of each section in the order of the page.
const SECTIONS: [(&str, &str); 8] = [
    ("learning", "Learning"),
    ("privacy", "Privacy"),
    ("traffic", "Traffic"),
    ("reports", "Reports"),
    ("devices", "Accuracy across devices"),
    ("data", "Data"),
    ("model", "Model and cost on the device"),
    ("reproduce", "Reproduce"),
];

/// The page for `report`. Takes any report: what is missing or not finite is shown as a dash or as "no data".
#[must_use]
pub fn render(report: &RunReport) -> String {
    let bodies = [
        rounds::learning(report),
        privacy::section(report),
        traffic::section(report),
        rounds::reports(report),
        subject::devices(report),
        subject::data(report),
        subject::model(report),
        settings::section(report),
    ];
    let title = title(report);
    let mut body = tiles(report) + &privacy::callout_line(report) + &warnings(report);
    for ((id, name), section) in SECTIONS.into_iter().zip(bodies) {
        body += &page::section(id, name, &section);
    }
    page::document("siskin run report", &title, &subtitle(report), &SECTIONS, &body, &footer(report))
}

fn title(report: &RunReport) -> String {
    let part = |name: &str, fallback: &str| if name.is_empty() { fallback.to_owned() } else { name.to_owned() };
    format!(
        "{} on {}, {}",
        part(&report.model.name, "model"),
        part(&report.data.name, "data"),
        plural(report.totals.rounds, "round")
    )
}

fn subtitle(report: &RunReport) -> String {
    let mut parts = vec![
        format!("{} with {}", plural(report.data.devices, "device"), plural(report.data.examples.total, "example")),
        format!("seed {}", report.seed),
        format!("siskin {}", report.siskin_version),
    ];
    if let Some(timings) = &report.timings {
        parts.push(format!("{} on {}", duration(timings.wall_s), plural(timings.threads, "thread")));
    }
    parts.join(" \u{b7} ")
}

fn tiles(report: &RunReport) -> String {
    let (totals, evaluation, privacy) = (&report.totals, &report.final_evaluation, &report.privacy);
    let params = report.model.params();
    let up = totals.bytes_up_per_selection();
    let fraction = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
    let smaller = up.filter(|up| *up > 0.0).map(|up| 4.0 * params as f64 / up);
    let mut html = String::from("<dl class=\"tiles\">\n");
    let mut on = plural(evaluation.examples, "example");
    if evaluation.targets > evaluation.examples {
        on.insert_str(0, &format!("{} of ", plural(evaluation.targets, "position")));
    }
    html.push_str(&tile(
        "Accuracy",
        &percent(evaluation.accuracy),
        &format!("{on} held out, after round {}", count(evaluation.round)),
    ));
    html.push_str(&tile(
        "Worst tenth of devices",
        &at_most(percent(report.device_accuracy.at(10))),
        &format!("accuracy at the 10th percentile; median {}", percent(report.device_accuracy.at(50))),
    ));
    html.push_str(&tile(
        "Bits per live param",
        &real(totals.bits_per_param.live, 3),
        &format!("{} per model param; payload without headers", real(totals.bits_per_param.model, 3)),
    ));
    html.push_str(&tile(
        "Upload, device and round",
        &up.map_or(DASH.to_owned(), bytes),
        &smaller.filter(|_| params > 0).map_or_else(
            || "all bytes up, over selections".to_owned(),
            |times| format!("all bytes up; float32 params are {}\u{d7} that", real(Some(times), 3)),
        ),
    ));
    html.push_str(&tile("Epsilon", &privacy::epsilon(report), &privacy::assumption(privacy)));
    html.push_str(&tile(
        "Devices",
        &count(report.data.devices),
        &format!(
            "{} a round; {} of selections gave no report",
            mean(totals.selected, totals.rounds),
            percent(fraction(totals.selected.saturating_sub(totals.reports_in), totals.selected))
        ),
    ));
    html.push_str(&tile(
        "Rounds",
        &count(totals.rounds),
        &format!("{} abandoned; {} of virtual time", count(totals.abandoned), duration(totals.virtual_time_s)),
    ));
    let arena = report.device_cost.arena_bytes();
    html.push_str(&tile(
        "Memory on the device",
        &if arena == 0 { DASH.to_owned() } else { bytes(arena as f64) },
        &format!("arena, exact; sparsity {}", percent(fraction(params.saturating_sub(report.model.live()), params))),
    ));
    html.push_str("</dl>\n");
    html
}

fn at_most(text: String) -> String {
    if text == DASH { text } else { format!("\u{2264} {text}") }
}

/// What the run left out, with the checks that the report makes of its own numbers.
fn warnings(report: &RunReport) -> String {
    let mut points: Vec<String> = Vec::new();
    for warning in &report.warnings {
        points.push(match warning.count {
            0 => warning.text.clone(),
            n => format!("{} {}", count(n), warning.text),
        });
    }
    let wrong = report.rounds.iter().filter(|round| round.unaccounted() != 0).count();
    if wrong > 0 {
        points.push(format!(
            "in {} the reports in and the dropped devices do not add up to the selected ones: a fault in the count",
            plural(wrong as u64, "round")
        ));
    }
    if points.is_empty() {
        let totals = &report.totals;
        let text = match (totals.selected, totals.dropped.devices()) {
            (0, _) => "No device was selected.".to_owned(),
            (_, 0) => "Nothing was left out: every selected device has reported.".to_owned(),
            (selected, dropped) => format!(
                "{} of {} selections added no report (by cause under Reports); nothing else was left out.",
                count(dropped),
                count(selected)
            ),
        };
        return callout("plain", &text, &[]);
    }
    callout("warn", "Left out, or worth a second look", &points)
}

fn footer(report: &RunReport) -> String {
    format!(
        "Bytes are those that crossed the transport, in units of 1000. Deltas are global minus local parameters; losses \
         are in nats. report.json beside this page has every round (layout {}).",
        report.format
    )
}

/// `sum / n` without decimals where it is whole.
fn mean(sum: u64, n: u64) -> String {
    match sum.checked_rem(n) {
        None => DASH.to_owned(),
        Some(0) => count(sum / n),
        Some(_) => real(Some(sum as f64 / n as f64), 3),
    }
}

/// `1 round`, `2 rounds`.
fn plural(n: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(n), if n == 1 { "" } else { "s" })
}
