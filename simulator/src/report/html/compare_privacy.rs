//! The page of a comparison of example-level with user-level sampling.

use super::error_bars::{ErrorChart, Means};
use super::number::{DASH, count, percent, real, setting, tiny};
use super::page::{Column, callout, charts, document, escape, facts, paragraph, section, shell_line, table};
use crate::compare_privacy::{Comparison, Estimate, Method, mean, text};

const ALL: [(&str, &str); 4] =
    [("conclusions", "Conclusions"), ("mean", "Mean estimation"), ("text", "Fine-tuning"), ("reproduce", "Reproduce")];

/// Classes of ELS and ULS.
const CLASSES: [&str; 2] = ["s2", "s1"];

/// The page for `comparison`; like that of a run it loads nothing and runs no script.
#[must_use]
pub fn render_privacy_comparison(comparison: &Comparison) -> String {
    let bodies = [
        Some(conclusions(comparison)),
        comparison.mean.as_ref().map(mean_section),
        comparison.text.as_ref().map(text_section),
        Some(reproduce(comparison)),
    ];
    let shown: Vec<_> = ALL.into_iter().zip(bodies).filter_map(|(names, body)| Some((names, body?))).collect();
    let sections: Vec<_> = shown.iter().map(|(names, _)| *names).collect();
    let body: String = shown.iter().map(|((id, name), body)| section(id, name, body)).collect();
    let subtitle = format!("seed {}; siskin {}", comparison.seed, comparison.siskin_version);
    let footer = "Epsilon is that of a user, add or remove. Error bars are 95 % intervals of the mean over repetitions (Student's t).";
    document(
        "siskin: privacy compared",
        "Example-level against user-level sampling",
        &subtitle,
        &sections,
        &body,
        footer,
    )
}

fn conclusions(comparison: &Comparison) -> String {
    let lead = "ELS flips a coin for each example and clips each gradient; ULS flips one for each user and clips the mean of G of its \
                gradients. Both take the same number of gradients a step and keep each user within the same epsilon.";
    let points: Vec<String> = comparison.findings.iter().map(|finding| finding.text.clone()).collect();
    let title = if points.is_empty() { "Nothing was compared." } else { "At the best G of each, by these numbers" };
    let method = "A difference counts where the error bars of the two do not overlap. The best G of each method is picked by the numbers \
                  that are compared, for both alike.";
    paragraph("lead", lead) + &callout("plain", title, &points) + &paragraph("note", method)
}

fn shown(value: &Estimate, digits: usize) -> String {
    let bar = value.half_width.map_or(String::new(), |h| format!(" \u{b1} {}", real(Some(h), 2)));
    format!("{}{bar}", real(Some(value.mean), digits))
}

fn mean_section(report: &mean::Report) -> String {
    let o = &report.options;
    let lead = format!(
        "{} users with {} examples of {} dimensions each, gradients of length 1; {} gradients a step, {} steps, dp_delta {}; {} \
         repetitions, each with users, cohorts and noise of its own. Shown is the squared distance of the estimate from the mean \
         of all examples.",
        count(o.users.into()),
        count(o.examples.into()),
        count(o.dims.into()),
        count(o.batch.into()),
        count(o.steps.into()),
        tiny(Some(report.dp_delta)),
        o.repetitions
    );
    let mut figures = Vec::new();
    for &correlation in &o.correlations {
        for &epsilon in &o.epsilons {
            figures.push(mean_chart(report, correlation, epsilon));
        }
    }
    let note = "Dashed: predicted, from the noise that the accountant gives, from who is drawn and from the examples that ELS \
                leaves out; without what clipping takes.";
    paragraph("lead", &lead) + &charts(&figures) + &paragraph("note", note) + &mean_table(report)
}

fn mean_chart(report: &mean::Report, correlation: f64, epsilon: f64) -> String {
    let of = |method: Method, value: fn(&mean::Cell) -> (f64, Option<f64>)| {
        let cells = report.cells.iter().filter(|c| c.correlation == correlation && c.epsilon == epsilon);
        let point = |cell: &mean::Cell| {
            let (y, half_width) = value(cell);
            (f64::from(cell.group), y, half_width)
        };
        cells.filter(|c| c.method == method).map(point).collect()
    };
    let measured: fn(&mean::Cell) -> (f64, Option<f64>) = |c| (c.error.mean, c.error.half_width);
    let predicted: fn(&mean::Cell) -> (f64, Option<f64>) = |c| (c.predicted_error, None);
    let [els, uls] = CLASSES;
    let series = vec![
        Means { name: "ULS", class: uls, dashed: false, points: of(Method::Uls, measured) },
        Means { name: "ELS", class: els, dashed: false, points: of(Method::Els, measured) },
        Means { name: "ULS predicted", class: uls, dashed: true, points: of(Method::Uls, predicted) },
        Means { name: "ELS predicted", class: els, dashed: true, points: of(Method::Els, predicted) },
    ];
    let title = format!("{}, epsilon {}", upper(&mean::kind_of(correlation)), setting(Some(epsilon)));
    ErrorChart {
        title: &title,
        x_label: "G, examples of a user",
        y_label: "squared error",
        round_ticks: false,
        log: true,
        series,
        note: "",
    }
    .render()
}

fn upper(text: &str) -> String {
    let mut text = text.to_owned();
    text[..1].make_ascii_uppercase();
    text
}

fn mean_table(report: &mean::Report) -> String {
    let row = |c: &mean::Cell| {
        vec![
            real(Some(c.correlation), 2),
            setting(Some(c.epsilon)),
            c.method.name().to_owned(),
            c.group.to_string(),
            real(Some(c.noise_multiplier), 4),
            real(Some(c.clip_norm), 3),
            real(Some(1e4 * c.deviation), 4),
            real(Some(c.predicted_noise), 3),
            shown(&c.noise, 3),
            real(Some(c.predicted_error), 3),
            shown(&c.error, 3),
        ]
    };
    let rows: Vec<Vec<String>> = report.cells.iter().map(row).collect();
    let head = [
        ("Correlation", Column::Number),
        ("Epsilon", Column::Number),
        ("Method", Column::Text),
        ("G", Column::Number),
        ("Noise multiplier", Column::Number),
        ("Clip norm", Column::Number),
        ("Noise of a step's mean \u{d7} 1e4", Column::Number),
        ("Noise predicted", Column::Number),
        ("measured", Column::Number),
        ("Error predicted", Column::Number),
        ("measured", Column::Number),
    ];
    table("Mean estimation", &head, &rows, false)
}

fn text_section(report: &text::Report) -> String {
    let o = &report.options;
    let pairs = [
        ("Data", report.data.clone()),
        ("Model", format!("{}, {} parameters", o.model, count(report.params as u64))),
        (
            "Public users",
            format!(
                "{}: pretraining ({} steps of {} examples), clip norms, learning rates",
                count(report.public_users as u64),
                count(o.pretraining_steps.into()),
                o.pretraining_batch
            ),
        ),
        (
            "Protected users",
            format!(
                "{}, with {} examples in the median: the G of ELS",
                count(report.users as u64),
                report.median_examples
            ),
        ),
        ("Budget", format!("{} gradients a step, {} steps; {} repetitions", o.batch, o.steps, o.repetitions)),
        ("Privacy", format!("dp_delta {}; public users are not protected", tiny(Some(report.dp_delta)))),
        ("Accuracy", format!("of {} symbols of the protected users' held-out lines", count(report.targets))),
    ];
    let figures: Vec<String> = o.epsilons.iter().map(|epsilon| text_chart(report, *epsilon)).collect();
    facts(&pairs) + &charts(&figures) + &paragraph("note", &text::few_users(report)) + &text_table(report)
}

fn text_chart(report: &text::Report, epsilon: f64) -> String {
    let of = |method: Method, epsilon: Option<f64>| -> Vec<(f64, f64, Option<f64>)> {
        let runs = report.runs.iter().filter(|run| run.method == method && run.epsilon == epsilon);
        runs.map(|run| (f64::from(run.group), run.accuracy.mean, run.accuracy.half_width)).collect()
    };
    let [els, uls] = CLASSES;
    let reference = |points: Vec<(f64, f64, Option<f64>)>| points.into_iter().map(|p| (p.0, p.1, None)).collect();
    let pretrained = vec![(f64::from(report.median_examples), report.pretrained, None)];
    let series = vec![
        Means { name: "ULS", class: uls, dashed: false, points: of(Method::Uls, Some(epsilon)) },
        Means { name: "ELS", class: els, dashed: false, points: of(Method::Els, Some(epsilon)) },
        Means { name: "no privacy", class: "s3", dashed: true, points: reference(of(Method::None, None)) },
        Means { name: "pretrained", class: "s7", dashed: true, points: pretrained },
    ];
    let title = format!("Fine-tuning, epsilon {}", setting(Some(epsilon)));
    let y_label = "% of held-out symbols";
    let x_label = "G, examples of a user";
    ErrorChart { title: &title, x_label, y_label, round_ticks: false, log: false, series, note: "" }.render()
}

fn text_table(report: &text::Report) -> String {
    let accuracy = |value: &Estimate| {
        let bar = value.half_width.map_or(String::new(), |h| format!(" \u{b1} {:.2}", 100.0 * h));
        format!("{:.2}{bar}", 100.0 * value.mean)
    };
    let row = |run: &text::Run| {
        vec![
            run.epsilon.map_or(DASH.to_owned(), |e| setting(Some(e))),
            run.method.name().to_owned(),
            run.group.to_string(),
            percent(Some(run.rate)),
            real(run.noise_multiplier, 4),
            real(run.clip_norm, 3),
            real(run.noise_to_clip, 3),
            setting(Some(run.learning_rate)),
            real(Some(run.gradients), 3),
            accuracy(&run.accuracy),
            shown(&run.loss, 4),
        ]
    };
    let rows: Vec<Vec<String>> = report.runs.iter().map(row).collect();
    let head = [
        ("Epsilon", Column::Number),
        ("Method", Column::Text),
        ("G", Column::Number),
        ("Rate", Column::Number),
        ("Noise multiplier", Column::Number),
        ("Clip norm", Column::Number),
        ("Noise of a step, clip norms", Column::Number),
        ("Learning rate", Column::Number),
        ("Gradients a step", Column::Number),
        ("Accuracy, %", Column::Number),
        ("Loss, nats", Column::Number),
    ];
    table("Fine-tuning", &head, &rows, false)
}

fn reproduce(comparison: &Comparison) -> String {
    if comparison.command.is_empty() {
        return paragraph("nodata", "Command: no data");
    }
    format!("<pre><code>{}</code></pre>\n", escape(&shell_line(&comparison.command)))
}
