//! The page of a comparison: curves side by side, and what each run costs.

use super::lines::{LineChart, Series};
use super::number::{DASH, bytes, count, percent, real};
use super::page::{Column, charts, document, escape, paragraph, section, shell_line, table};
use crate::compare::{Compared, Comparison};

const SECTIONS: [(&str, &str); 3] = [("curves", "Curves"), ("costs", "Accuracy and costs"), ("reproduce", "Reproduce")];

/// A colour for each run; the dense one is grey.
const CLASSES: [&str; 7] = ["s7", "s3", "s1", "s4", "s2", "s5", "s6"];

/// The page for `comparison`; like that of a run it loads nothing and runs no script.
#[must_use]
pub fn render_comparison(comparison: &Comparison) -> String {
    let title = format!("Pruning {} on {}", comparison.model, comparison.data);
    let subtitle = format!(
        "{} of all params zero; {} held-out examples; seed {}; siskin {}",
        percent(Some(f64::from(comparison.sparsity))),
        count(comparison.examples),
        comparison.seed,
        comparison.siskin_version
    );
    let bodies = [curves(comparison), costs(comparison), reproduce(comparison)];
    let body: String = SECTIONS.iter().zip(bodies).map(|((id, name), body)| section(id, name, &body)).collect();
    let footer = "The runs share data, seed and settings; each has its own report in the folder of its name.";
    document("siskin: pruning compared", &title, &subtitle, &SECTIONS, &body, footer)
}

fn chart(
    comparison: &Comparison,
    title: &str,
    y_label: &str,
    points: impl Fn(&Compared) -> &[(u64, f64)],
    note: &str,
) -> String {
    // The last curve is drawn under the others.
    let series = comparison.runs.iter().zip(CLASSES.iter().cycle()).map(|(run, class)| Series {
        name: &run.name,
        class,
        points: points(run).iter().map(|(round, y)| (*round as f64, *y)).collect(),
    });
    let series = series.collect();
    LineChart { title, x_label: "round", y_label, x_whole: true, y_factor: 100.0, series, note }.render()
}

fn curves(comparison: &Comparison) -> String {
    let [start, end, every] = comparison.schedule;
    let note = format!("Updates every {every} rounds from {start} to {end}.");
    let accuracy = chart(comparison, "Accuracy", "% of held-out examples", |run| &run.curve, "");
    let sparsity = chart(comparison, "Sparsity", "% of all params", |run| &run.sparsity, &note);
    charts(&[accuracy, sparsity])
}

fn costs(comparison: &Comparison) -> String {
    let dense = comparison.runs.first();
    let rows: Vec<Vec<String>> = comparison
        .runs
        .iter()
        .map(|run| {
            let times = |of: fn(&Compared) -> Option<f64>| match (dense.and_then(of), of(run).filter(|v| *v > 0.0)) {
                (Some(dense), Some(own)) => format!("{}\u{d7}", real(Some(dense / own), 3)),
                _ => DASH.to_owned(),
            };
            vec![
                run.name.clone(),
                percent(run.accuracy),
                run.points.map_or(DASH.to_owned(), |p| format!("{p:+.2}")),
                real(run.test_loss, 3),
                count(run.live),
                real(run.bits_per_live_param, 3),
                run.bytes_up.map_or(DASH.to_owned(), bytes),
                times(|run| run.bytes_up),
                run.bytes_down.map_or(DASH.to_owned(), bytes),
                times(|run| run.bytes_down),
                run.multiply_adds.map_or(DASH.to_owned(), |n| count(n as u64)),
                times(|run| run.multiply_adds),
                bytes(run.arena as f64),
            ]
        })
        .collect();
    let head = [
        ("Run", Column::Code),
        ("Accuracy", Column::Number),
        ("Points", Column::Number),
        ("Loss", Column::Number),
        ("Live params", Column::Number),
        ("Bits a live param", Column::Number),
        ("Up, a device and round", Column::Number),
        ("less", Column::Number),
        ("Down", Column::Number),
        ("less", Column::Number),
        ("Multiply-adds", Column::Number),
        ("less", Column::Number),
        ("Arena", Column::Number),
    ];
    let lead = "Points are hundredths of accuracy against the dense run. Bytes are means over the whole run, masks of its \
                beginning included, as they crossed the transport; multiply-adds are of training on one example once, with \
                the mask of the end; the arena is the largest of the run.";
    paragraph("lead", lead) + &table("Dense and pruned", &head, &rows, false)
}

fn reproduce(comparison: &Comparison) -> String {
    if comparison.command.is_empty() {
        return paragraph("nodata", "Command: no data");
    }
    format!("<pre><code>{}</code></pre>\n", escape(&shell_line(&comparison.command)))
}
