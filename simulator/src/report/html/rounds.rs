//! Sections that follow the rounds: learning, and which reports came in.

use super::bars::Stacks;
use super::lines::{LineChart, Series};
use super::number::{DASH, byte_unit, bytes, count, percent, real};
use super::page::{Column, charts, details, paragraph, table};
use crate::progress::round_interval;
use crate::report::{RoundRecord, RunReport};

/// Rows of the table of rounds; where there are more, every k-th and the last are shown.
const MOST_ROWS: u64 = 120;

fn points(report: &RunReport, y: impl Fn(&RoundRecord) -> Option<f64>) -> Vec<(f64, f64)> {
    report.rounds.iter().filter_map(|round| Some((round.round as f64, y(round)?))).collect()
}

pub(super) fn learning(report: &RunReport) -> String {
    let by_round = |title, y_label, y_factor, series, note| LineChart {
        title,
        x_label: "round",
        y_label,
        x_whole: true,
        y_factor,
        series,
        note,
    };
    let accuracy = by_round(
        "Accuracy",
        "% of held-out examples",
        100.0,
        vec![Series { name: "held out", class: "s3", points: points(report, |r| r.accuracy) }],
        "",
    );
    let loss = by_round(
        "Loss",
        "nats an example",
        1.0,
        vec![
            Series { name: "held out", class: "s3", points: points(report, |r| r.test_loss) },
            Series { name: "on devices, while training", class: "s1", points: points(report, |r| r.mean_train_loss) },
        ],
        "",
    );
    let (scale, unit) = byte_unit(report.totals.bytes_up.total() as f64);
    let mut uploaded = 0;
    let mut against_bytes = Vec::new();
    for round in &report.rounds {
        uploaded += round.bytes_up.total();
        if let Some(accuracy) = round.accuracy {
            against_bytes.push((uploaded as f64 / scale, accuracy));
        }
    }
    let x_label = format!("uploaded so far by all devices, {unit}");
    let price = LineChart {
        title: "Accuracy against upload",
        x_label: &x_label,
        y_label: "% of held-out examples",
        x_whole: false,
        y_factor: 100.0,
        series: vec![Series { name: "held out", class: "s3", points: against_bytes }],
        note: "",
    };
    let step = by_round(
        "Size of the server's step",
        "L2 norm",
        1.0,
        vec![Series { name: "update", class: "s1", points: points(report, |r| r.update_norm) }],
        "",
    );
    charts(&[accuracy.render(), loss.render(), price.render(), step.render()])
}

pub(super) fn reports(report: &RunReport) -> String {
    let stacks = Stacks {
        title: "What became of the selected devices",
        x_label: "round",
        y_label: "devices",
        parts: vec![
            ("s3", "report in"),
            ("s7", "dropped out"),
            ("s2", "late"),
            ("s5", "refused"),
            ("s4", "corrupted"),
            ("s6", "too few, round abandoned"),
        ],
        columns: report
            .rounds
            .iter()
            .map(|r| {
                let d = &r.dropped;
                let parts = [r.reports_in, d.dropped_out, d.late, d.refused, d.corrupted, d.too_few];
                (r.round, parts.map(|n| n as f64).to_vec())
            })
            .collect(),
    };
    let mut rates = vec![
        Series { name: "live params", class: "s1", points: points(report, |r| r.bits_per_param.live) },
        Series { name: "all params", class: "s2", points: points(report, |r| r.bits_per_param.model) },
    ];
    let budget = points(report, |r| r.bits_budget);
    if !budget.is_empty() {
        // Of the live params it is; the line of all of them would only press the others together.
        rates[1] = Series { name: "budget", class: "s4", points: budget };
    }
    let grid = LineChart {
        title: "Step of the grid",
        x_label: "round",
        y_label: "units of the params",
        x_whole: true,
        y_factor: 1.0,
        series: vec![Series { name: "step", class: "s1", points: points(report, |r| r.step) }],
        note: "",
    };
    let rate = LineChart {
        title: "Rate of the reports",
        x_label: "round",
        y_label: "bits per param, payload",
        x_whole: true,
        y_factor: 1.0,
        series: rates,
        note: "",
    };
    let totals = &report.totals;
    let share = |n: u64| percent((totals.selected > 0).then(|| n as f64 / totals.selected as f64));
    let row =
        |name: &str, n: u64, share: String, meaning: &str| vec![name.to_owned(), count(n), share, meaning.to_owned()];
    let mut rows = vec![row("report in", totals.reports_in, share(totals.reports_in), "added to a sum")];
    for (cause, n) in totals.dropped.by_cause() {
        let (meaning, counted) = meaning(cause);
        rows.push(row(cause, n, if counted { share(n) } else { DASH.to_owned() }, meaning));
    }
    rows.push(row("selected", totals.selected, share(totals.selected), "duplicates aside, the sum of the above"));
    let head = [
        ("Outcome", Column::Text),
        ("Count", Column::Number),
        ("Of selections", Column::Number),
        ("Meaning", Column::Text),
    ];
    let outcomes = if totals.rounds == 0 { Vec::new() } else { rows };
    charts(&[stacks.render(), rate.render(), grid.render()])
        + &table("Outcome of every selection", &head, &outcomes, true)
        + &every_round(report)
}

fn meaning(cause: &str) -> (&'static str, bool) {
    match cause {
        "dropped out" => ("took the task, never reported", true),
        "late" => ("reported after the round had closed", true),
        "refused" => ("the device refused the plan, or the server the report, by a rule", true),
        "corrupted" => ("the report did not pass its checks", true),
        "too few" => ("sound, but the round was abandoned", true),
        "duplicate" => ("copies of a report that was counted already; no device is lost", false),
        _ => ("", true),
    }
}

fn every_round(report: &RunReport) -> String {
    let rounds = &report.rounds;
    let every = round_interval(rounds.len() as u64, MOST_ROWS);
    let shown = |i: &usize| *i == 0 || rounds[*i].round.is_multiple_of(every) || i + 1 == rounds.len();
    let rows: Vec<Vec<String>> = (0..rounds.len()).filter(shown).map(|i| round_row(&rounds[i])).collect();
    let head = [
        "Round",
        "Reports",
        "Dropped",
        "Train loss",
        "Held-out loss",
        "Accuracy",
        "Epsilon",
        "Bits/live",
        "Budget",
        "Step",
        "Up",
        "Down",
        "Clipped",
        "Clip norm",
        "Step norm",
        "Sparsity",
    ]
    .map(|name| (name, Column::Number));
    let caption =
        if every > 1 { format!("One round in {every}, the first and the last") } else { "Every round".to_owned() };
    let note = if every > 1 { "report.json has them all." } else { "" };
    details("Round by round", &(table(&caption, &head, &rows, false) + &paragraph("note", note)))
}

fn round_row(r: &RoundRecord) -> Vec<String> {
    let round = if r.abandoned { format!("{} abandoned", count(r.round)) } else { count(r.round) };
    vec![
        round,
        count(r.reports_in),
        count(r.dropped.devices()),
        real(r.mean_train_loss, 4),
        real(r.test_loss, 4),
        percent(r.accuracy),
        real(r.epsilon, 3),
        real(r.bits_per_param.live, 3),
        real(r.bits_budget, 3),
        real(r.step, 3),
        bytes(r.bytes_up.total() as f64),
        bytes(r.bytes_down.total() as f64),
        percent(r.clipped_fraction),
        real(r.clip_norm, 3),
        real(r.update_norm, 3),
        percent(r.sparsity),
    ]
}
