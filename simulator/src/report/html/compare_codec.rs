//! The page of a comparison of codecs.

use super::error_bars::{ErrorChart, Means};
use super::number::{DASH, count, percent, real};
use super::page::{Column, callout, charts, document, escape, paragraph, section, shell_line, table};
use super::picture::{Panel, panels};
use crate::codec::compare::frontier::{ERRORS, Round, bits_at};
use crate::codec::compare::lossless::{Row, STEPS};
use crate::codec::compare::{Comparison, Scheme, federated, noised};

const ALL: [(&str, &str); 6] = [
    ("conclusions", "Conclusions"),
    ("lossless", "The same integers"),
    ("frontier", "Bits at equal error"),
    ("federated", "Accuracy at equal bits"),
    ("noised", "Noise on the device"),
    ("reproduce", "Reproduce"),
];

/// The page for `comparison`; like that of a run it loads nothing and runs no script.
#[must_use]
pub fn render_codec_comparison(comparison: &Comparison) -> String {
    let bodies = [
        Some(conclusions(comparison)),
        Some(lossless(&comparison.lossless)).filter(|_| !comparison.lossless.is_empty()),
        Some(frontier(&comparison.frontier)).filter(|_| !comparison.frontier.is_empty()),
        Some(accuracy(&comparison.federated)).filter(|_| !comparison.federated.is_empty()),
        Some(under_noise(&comparison.noised)).filter(|_| !comparison.noised.is_empty()),
        Some(reproduce(comparison)),
    ];
    let shown: Vec<_> = ALL.into_iter().zip(bodies).filter_map(|(names, body)| Some((names, body?))).collect();
    let sections: Vec<_> = shown.iter().map(|(names, _)| *names).collect();
    let body: String = shown.iter().map(|((id, name), body)| section(id, name, body)).collect();
    let subtitle = format!("seed {}; siskin {}", comparison.seed, comparison.siskin_version);
    let footer = "Bits are of whole messages, without headers that all codecs would share; a scale that a codec sends is in them.";
    document("siskin: codecs compared", "Compression of updates", &subtitle, &sections, &body, footer)
}

/// Each picture of the page as an SVG file that stands on its own, and its name.
#[must_use]
pub fn codec_pictures(comparison: &Comparison) -> Vec<(String, String)> {
    let name = |text: &str| {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        text.chars().map(plain).collect::<String>()
    };
    let mut pictures = Vec::new();
    let lossless = lossless_charts(&comparison.lossless);
    if !lossless.is_empty() {
        pictures.push(("lossless".to_owned(), panels(&lossless)));
    }
    for round in &comparison.frontier {
        pictures.push((format!("frontier-{}", name(&round.name)), panels(&frontier_charts(round))));
    }
    for report in &comparison.federated {
        pictures.push((format!("accuracy-{}", name(&report.data)), panels(&[accuracy_chart(report)])));
    }
    if !comparison.noised.is_empty() {
        pictures.push(("noised".to_owned(), panels(&noised_charts(&comparison.noised))));
    }
    pictures
}

/// Class of a codec's line.
fn class(scheme: Option<Scheme>) -> &'static str {
    match scheme {
        Some(
            Scheme::Siskin
            | Scheme::SiskinNearest
            | Scheme::SiskinOptimised
            | Scheme::SiskinSigns
            | Scheme::SiskinDrawn,
        ) => "s1",
        Some(Scheme::GammaStochastic | Scheme::GammaVoted) => "s2",
        Some(Scheme::GammaNearest) => "s3",
        Some(Scheme::TopK | Scheme::TopKIdeal) => "s4",
        Some(Scheme::Eden | Scheme::EdenCoded) => "s5",
        Some(Scheme::Qsgd) => "s6",
        Some(Scheme::Drive | Scheme::DriveLeast) => "s7",
        Some(Scheme::GammaDithered) => "s8",
        Some(_) => "s10",
        None => "s9",
    }
}

fn conclusions(comparison: &Comparison) -> String {
    let mut html = String::new();
    for report in &comparison.federated {
        // What matters first: where a rival is ahead, and what ours costs.
        let said = report.findings.iter().filter(|f| f.rival.is_none() || f.verdict == federated::Verdict::Above);
        let points: Vec<String> = said.map(|finding| finding.text.clone()).collect();
        html += &callout("plain", &format!("{}, by these numbers", report.data), &points);
    }
    let ratios: Vec<String> = comparison
        .lossless
        .iter()
        .filter_map(|row| {
            let (own, ratio) = (row.bits_of("siskin")?, row.ratio("siskin")?);
            let Row { update, step_rms, rounding, .. } = row;
            Some(format!(
                "{update}, step {step_rms}, {rounding}: {} bits a param, {ratio:.3} of gamma's",
                real(Some(own), 3)
            ))
        })
        .collect();
    if !ratios.is_empty() {
        html += &callout("plain", "The same integers, against zero runs in Elias gamma", &ratios);
    }
    if html.is_empty() { paragraph("nodata", "The tables below have no conclusions of their own.") } else { html }
}

fn lossless_charts(rows: &[Row]) -> Vec<Panel> {
    let coders = ["siskin", "rlgamma", "rlrice", "zstd"].iter().zip(["s1", "s2", "s5", "s4"]);
    let mut names: Vec<(&str, &str)> = rows.iter().map(|row| (&row.update[..], &row.rounding[..])).collect();
    names.dedup();
    let panel = |(update, rounding): (&str, &str)| {
        let own = |row: &&Row| row.update == update && row.rounding == rounding;
        let series = coders.clone().map(|(name, class)| {
            let point = |row: &Row| Some((row.step_rms, row.bits_of(name)?, None));
            Means { name, class, dashed: false, points: rows.iter().filter(own).filter_map(point).collect() }
        });
        ErrorChart {
            title: &format!("{update}, {rounding}"),
            x_label: "step, root mean squares",
            y_label: "bits a param",
            round_ticks: false,
            log: true,
            series: series.collect(),
            note: "",
        }
        .panel()
    };
    names.into_iter().map(panel).collect()
}

fn lossless(rows: &[Row]) -> String {
    let lead = format!(
        "Updates on a grid of {} root mean squares, in every lossless coder; each message was decoded again and compared. Rice \
         parameters are the best ones; gzip and zstd are of one, two or four bytes a symbol.",
        STEPS.map(|step| step.to_string()).join(", ")
    );
    let coders: Vec<&str> = rows.first().map_or(Vec::new(), |row| row.bits.iter().map(|(name, _)| &name[..]).collect());
    let mut head = vec![
        ("Update", Column::Code),
        ("Rounding", Column::Text),
        ("Step", Column::Number),
        ("Nonzero", Column::Number),
    ];
    head.extend(coders.iter().map(|name| (*name, Column::Number)));
    head.push(("siskin / rlgamma", Column::Number));
    let line = |row: &Row| {
        let mut cells = vec![
            row.update.clone(),
            row.rounding.clone(),
            row.step_rms.to_string(),
            percent(Some(row.nonzero as f64 / row.params.max(1) as f64)),
        ];
        cells.extend(row.bits.iter().map(|(_, bits)| real(Some(*bits), 4)));
        cells.push(row.ratio("siskin").map_or(DASH.to_owned(), |ratio| format!("{ratio:.3}")));
        cells
    };
    let figures: Vec<String> = lossless_charts(rows).iter().map(Panel::figure).collect();
    let table = table("Bits a param", &head, &rows.iter().map(line).collect::<Vec<_>>(), false);
    paragraph("lead", &lead) + &table + &charts(&figures)
}

/// The codecs whose curves are drawn; all of them stand in the table.
const DRAWN: [Scheme; 8] = [
    Scheme::SiskinNearest,
    Scheme::Siskin,
    Scheme::GammaNearest,
    Scheme::GammaStochastic,
    Scheme::GammaDithered,
    Scheme::TopKIdeal,
    Scheme::Eden,
    Scheme::Drive,
];

fn frontier_charts(round: &Round) -> Vec<Panel> {
    let chart = |title: &str, of: fn(&crate::codec::compare::frontier::Curve) -> &[(f64, f64)]| {
        let curve =
            |scheme: Option<Scheme>| round.curves.iter().find(|curve| curve.scheme == scheme).map_or(&[][..], of);
        // Errors of more than the vector itself say nothing here.
        let points = |scheme| curve(scheme).iter().filter(|p| p.1 <= 1.0).map(|p| (p.0, p.1, None)).collect();
        let mut series: Vec<Means<'_>> = DRAWN
            .into_iter()
            .map(|scheme| {
                let dashed = scheme == Scheme::Siskin;
                let name = if scheme == Scheme::SiskinNearest { "siskin" } else { scheme.name() };
                Means { name, class: class(Some(scheme)), dashed, points: points(Some(scheme)) }
            })
            .collect();
        series.push(Means {
            name: "Shannon's bound, independent",
            class: class(None),
            dashed: true,
            points: points(None),
        });
        let note = "siskin: nearest, dashed stochastic. The bound is that of independent coordinates; what depends on its row and \
                    column can cost less.";
        let (x_label, y_label) = ("bits a param", "squared error over squared norm");
        ErrorChart { title, x_label, y_label, round_ticks: true, log: true, series, note }.panel()
    };
    let mut panels = vec![chart(&format!("{}: one client", round.name), |curve| &curve.client)];
    if round.clients > 1 {
        panels.push(chart(&format!("{}: mean of {} clients", round.name, round.clients), |curve| &curve.cohort));
    }
    panels
}

fn frontier(rounds: &[Round]) -> String {
    let lead = "Every codec's parameter is swept; rates are read off between the points, on logarithmic scales. A dash: its curve does \
                not get there. One step for all clients of a round.";
    let mut html = paragraph("lead", lead);
    for round in rounds {
        let figures: Vec<String> = frontier_charts(round).iter().map(Panel::figure).collect();
        html += &charts(&figures);
        html += &frontier_table(round, "one client", |curve| &curve.client);
        if round.clients > 1 {
            html += &frontier_table(round, "mean of the cohort", |curve| &curve.cohort);
        }
    }
    html
}

fn frontier_table(
    round: &Round,
    what: &str,
    of: fn(&crate::codec::compare::frontier::Curve) -> &[(f64, f64)],
) -> String {
    let heads: Vec<String> = ERRORS.iter().map(|error| format!("error {error}")).collect();
    let mut head = vec![("Codec", Column::Text)];
    head.extend(heads.iter().map(|name| (&name[..], Column::Number)));
    let row = |curve: &crate::codec::compare::frontier::Curve| {
        let mut cells = vec![curve.scheme.map_or("Shannon's bound, independent", Scheme::name).to_owned()];
        cells.extend(ERRORS.iter().map(|error| real(bits_at(of(curve), *error), 3)));
        cells
    };
    let rows: Vec<Vec<String>> = round.curves.iter().filter(|c| of(c).len() > 1).map(row).collect();
    let caption = format!("{}, {} params: bits a param at equal error, {what}", round.name, count(round.params as u64));
    let mut html = table(&caption, &head, &rows, false);
    let fixed: Vec<Vec<String>> = round
        .curves
        .iter()
        .filter_map(|curve| match of(curve) {
            [(bits, error)] => Some(vec![curve.scheme?.name().to_owned(), real(Some(*bits), 4), real(Some(*error), 3)]),
            _ => None,
        })
        .collect();
    if !fixed.is_empty() {
        let head =
            [("Codec without a choice", Column::Text), ("Bits a param", Column::Number), ("Error", Column::Number)];
        html += &table(&format!("{}, {what}", round.name), &head, &fixed, false);
    }
    html
}

fn accuracy_chart(report: &federated::Report) -> Panel {
    let mut series = Vec::new();
    for scheme in federated::SCHEMES {
        let points = report.points.iter().filter(|p| p.scheme == Some(scheme));
        let mut points: Vec<_> = points.map(|p| (p.bits.mean, p.accuracy.mean, p.accuracy.half_width)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Of two forms of one codec, which share a colour, the lesser one.
        let dashed = matches!(scheme, Scheme::SiskinDrawn | Scheme::GammaVoted | Scheme::EdenCoded);
        series.push(Means { name: scheme.name(), class: class(Some(scheme)), dashed, points });
    }
    let plain = report.points.iter().filter(|p| p.scheme.is_none());
    // Its own place would be 32 bits; as a reference it holds everywhere.
    let middle = series.iter().flat_map(|s| &s.points).map(|p| p.0).fold(f64::INFINITY, f64::min);
    let points = plain.map(|p| (if middle.is_finite() { middle } else { 32.0 }, p.accuracy.mean, None)).collect();
    series.push(Means { name: "no compression", class: class(None), dashed: true, points });
    ErrorChart {
        title: &format!("{}: accuracy at equal bits", report.data),
        x_label: "bits a param that a report took",
        y_label: "% of held-out examples",
        round_ticks: true,
        log: false,
        series,
        note: "Error bars are 95 % intervals of the mean over seeds (Student's t); the dashed black line is no compression, other dashed ones are another form of the codec of that colour.",
    }
    .panel()
}

fn accuracy(reports: &[federated::Report]) -> String {
    let lead = "Real runs: the same devices, cohorts and initial weights for every codec of a seed. Reports cross the transport; a \
                rival's estimate stands in the place of what the server decoded. A step comes from the server, which follows the size of \
                reports to meet a budget; points stand at the bits that they took.";
    let mut html = paragraph("lead", lead);
    for report in reports {
        let about = format!(
            "{}: {}, {} params, {} rounds of {} reports, {} seeds; accuracy is the mean after the last {} rounds, on {} held-out examples.",
            report.data,
            report.model,
            count(report.params as u64),
            report.rounds,
            report.cohort,
            report.options.seeds,
            report.averaged,
            count(report.examples as u64)
        );
        html += &paragraph("", &about);
        html += &charts(&[accuracy_chart(report).figure()]);
        let row = |point: &federated::Point| {
            let bar = |e: &crate::compare_privacy::Estimate| {
                e.half_width.map_or(String::new(), |h| format!(" \u{b1} {:.2}", 100.0 * h))
            };
            vec![
                point.scheme.map_or("no compression", Scheme::name).to_owned(),
                real(point.budget, 2),
                real(Some(point.bits.mean), 3),
                format!("{:.2}{}", 100.0 * point.accuracy.mean, bar(&point.accuracy)),
                format!("{:+.2}{}", 100.0 * point.difference.mean, bar(&point.difference)),
                if point.scheme.is_some_and(Scheme::is_ours) {
                    DASH.to_owned()
                } else {
                    real(Some(point.error.mean), 3)
                },
            ]
        };
        let head = [
            ("Codec", Column::Text),
            ("Budget", Column::Number),
            ("Bits a param", Column::Number),
            ("Accuracy, %", Column::Number),
            ("Against none, points", Column::Number),
            ("Error of a report", Column::Number),
        ];
        html += &table(&report.data, &head, &report.points.iter().map(row).collect::<Vec<_>>(), false);
        let said: Vec<String> = report.findings.iter().map(|finding| finding.text.clone()).collect();
        html += &callout("plain", "Against siskin at the same bits, seed by seed", &said);
    }
    html
}

fn noised_charts(rows: &[noised::Row]) -> Vec<Panel> {
    let mut names: Vec<&str> = rows.iter().map(|row| &row.update[..]).collect();
    names.dedup();
    let panel = |update: &str| {
        let series = |name, class, dashed, bits: fn(&noised::Row) -> f64| {
            let points =
                rows.iter().filter(|row| row.update == update).map(|row| (row.ratio, bits(row), None)).collect();
            Means { name, class, dashed, points }
        };
        ErrorChart {
            title: update,
            x_label: "root mean square over sigma",
            y_label: "bits a param",
            round_ticks: false,
            log: true,
            series: vec![
                series("step of sigma, noised", "s1", false, |row| row.noised),
                series("layered", "s2", false, |row| row.layered),
                series("least of a Gaussian", class(None), true, |row| row.least),
            ],
            note: "",
        }
        .panel()
    };
    names.into_iter().map(panel).collect()
}

fn under_noise(rows: &[noised::Row]) -> String {
    let lead = "A delta that is noised on the device looks like noise to the coder: what it costs is set by the step over sigma alone. The \
                layered quantiser needs no noise beside it, as its error is the noise, but whoever has the seed that device and aggregator \
                share sees none: it protects against those who see sums. KS is Kolmogorov and Smirnov's distance of that error from the \
                Gaussian, times the root of the number of params: above 1.95 once in a thousand exact samples.";
    let head = [
        ("Update", Column::Code),
        ("RMS over sigma", Column::Number),
        ("Step of sigma", Column::Number),
        ("Variance", Column::Number),
        ("Layered", Column::Number),
        ("Variance", Column::Number),
        ("KS", Column::Number),
        ("Least", Column::Number),
    ];
    let line = |row: &noised::Row| {
        vec![
            row.update.clone(),
            row.ratio.to_string(),
            real(Some(row.noised), 4),
            real(Some(row.noised_variance), 3),
            real(Some(row.layered), 4),
            real(Some(row.layered_variance), 3),
            real(Some(row.kolmogorov), 2),
            real(Some(row.least), 5),
        ]
    };
    let figures: Vec<String> = noised_charts(rows).iter().map(Panel::figure).collect();
    let table = table(
        "Bits a param, and the error's variance in that of the noise",
        &head,
        &rows.iter().map(line).collect::<Vec<_>>(),
        false,
    );
    paragraph("lead", lead) + &table + &charts(&figures)
}

fn reproduce(comparison: &Comparison) -> String {
    if comparison.command.is_empty() {
        return paragraph("nodata", "Command: no data");
    }
    format!("<pre><code>{}</code></pre>\n", escape(&shell_line(&comparison.command)))
}
