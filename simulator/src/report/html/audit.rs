//! The page of an audit: what was checked, what was seen, and what each level cannot see.

use super::density::Histogram;
use super::lines::{LineChart, Series};
use super::number::{count, real, tiny};
use super::page::{Column, callout, charts, document, escape, facts, paragraph, section, shell_line, table, tile};
use crate::audit::canary::{BIN, OneShot};
use crate::audit::noise::{BINS, Pictures};
use crate::audit::one_run::Bound;
use crate::audit::{AuditReport, Level, Verdict};

const SECTIONS: [(&str, &str); 4] = [
    ("unit", "Noise and sensitivity"),
    ("canary", "One-shot canaries"),
    ("one-run", "One-run bound"),
    ("reproduce", "Reproduce"),
];

/// The page for `report`; it loads nothing and runs no script.
#[must_use]
pub fn render_audit(report: &AuditReport) -> String {
    let title = if report.passed { "Audit passed" } else { "Audit failed" };
    let subtitle = format!("{}; seed {}; siskin {}", report.mechanism, report.settings.seed, report.siskin_version);
    let ran = |level: &Level| report.checks.iter().any(|c| c.level == *level);
    let mut shown: Vec<(&str, &str)> =
        SECTIONS.into_iter().zip(Level::ALL).filter(|(_, level)| ran(level)).map(|(section, _)| section).collect();
    shown.push(SECTIONS[3]);
    let mut body = tiles(report) + &verdict(report);
    for ((id, name), level) in SECTIONS.into_iter().zip(Level::ALL).filter(|(_, level)| ran(level)) {
        let pictures = match level {
            Level::Unit => report.noise.as_ref().map(noise),
            Level::Canary => report.canary.as_ref().map(canary),
            Level::OneRun => report.one_run.as_ref().map(one_run),
        };
        body += &section(id, name, &(scope(level) + &pictures.unwrap_or_default() + &checks(report, level)));
    }
    body += &section(SECTIONS[3].0, SECTIONS[3].1, &reproduce(report));
    let footer =
        "An audit can show that a mechanism is broken. It cannot show that it is private: that is a proof's part.";
    document("siskin: privacy audit", title, &subtitle, &shown, &body, footer)
}

fn tiles(report: &AuditReport) -> String {
    let s = &report.settings;
    let mut html = String::from("<dl class=\"tiles\">\n");
    let (passed, all) = (report.checks.iter().filter(|c| c.passed).count(), report.checks.len());
    let note = format!("an honest mechanism fails with probability {} at most", tiny(Some(s.alpha)));
    html += &tile("Checks passed", &format!("{passed} of {all}"), &note);
    if let Some(noise) = &report.noise {
        let note = format!("of the claimed standard deviation, from {} numbers", count(noise.samples));
        html += &tile("Noise", &real(Some(noise.deviation), 4), &note);
    }
    if let Some(canary) = &report.canary {
        let note =
            format!("estimated at dp_delta {}; stated {}", tiny(Some(s.dp_delta)), real(Some(canary.accounted), 3));
        html += &tile("Epsilon, canaries", &real(Some(canary.epsilon), 3), &note);
    }
    if let Some(bound) = &report.one_run {
        let note = format!("with 95 % confidence; stated {}", real(Some(bound.accounted), 3));
        html += &tile("Epsilon, at least", &real(Some(bound.epsilon), 3), &note);
    }
    html + "</dl>\n"
}

fn verdict(report: &AuditReport) -> String {
    if report.passed {
        return callout("privacy", "What was released looks as the claim says, as far as these checks see.", &[]);
    }
    let points: Vec<String> =
        report.failed().map(|c| format!("{}: {}; claimed: {}", c.name, c.seen, c.claimed)).collect();
    callout("privacy warn", "What was released does not look as the claim says.", &points)
}

fn scope(level: Level) -> String {
    facts(&[("Sees", level.sees().to_owned()), ("Cannot see", level.misses().to_owned())])
}

fn checks(report: &AuditReport, level: Level) -> String {
    let rows: Vec<Vec<String>> = report
        .checks
        .iter()
        .filter(|c| c.level == level)
        .map(|c| {
            let p = match c.verdict {
                Verdict::Probability(p) => real(Some(p), 2),
                Verdict::Exact(_) => "exact".to_owned(),
            };
            let passed = if c.passed { "passed" } else { "FAILED" }.to_owned();
            vec![c.name.clone(), c.seen.clone(), c.claimed.clone(), p, passed]
        })
        .collect();
    let head = [
        ("Check", Column::Text),
        ("Seen", Column::Text),
        ("Claimed", Column::Text),
        ("Probability", Column::Number),
        ("", Column::Text),
    ];
    let note = format!(
        "Probability, if the claim holds, of what was seen or less likely; a check fails below {}.",
        real(Some(report.least_probability), 2)
    );
    table("Checks", &head, &rows, false) + &paragraph("note", &note)
}

/// The density of the standard normal.
fn bell(x: f64) -> f64 {
    libm::exp(-0.5 * x * x) / (2.0 * std::f64::consts::PI).sqrt()
}

fn noise(pictures: &Pictures) -> String {
    let width = 8.0 / BINS as f64;
    let histogram = Histogram {
        title: "The noise against its law",
        x_label: "released, in claimed standard deviations",
        y_label: "density",
        first: -4.0,
        width,
        bars: vec![("s1", "released", density(&pictures.histogram, pictures.samples, width))],
        curves: vec![("s2", "claimed", Box::new(bell))],
        note: "Bars: all rounds and params. Line: the normal law of the claim.",
    };
    let points = |values: &[f64]| values.iter().enumerate().map(|(i, v)| (i as f64 + 1.0, *v)).collect::<Vec<_>>();
    let limit = |limit: f64| vec![(1.0, limit), (pictures.lags.len() as f64, limit)];
    let note = "Outside the limits a correlation is less likely than the audit allows.";
    let lags = LineChart {
        title: "Correlation over rounds",
        x_label: "rounds apart",
        y_label: "correlation",
        x_whole: true,
        y_factor: 1.0,
        series: vec![
            Series { name: "seen", class: "s1", points: points(&pictures.lags) },
            Series { name: "upper limit", class: "s7", points: limit(pictures.lag_limit) },
            Series { name: "lower limit", class: "s7", points: limit(-pictures.lag_limit) },
        ],
        note,
    };
    let rounds = LineChart {
        title: "Standard deviation of each round",
        x_label: "round",
        y_label: "of the claimed one",
        x_whole: true,
        y_factor: 1.0,
        series: vec![Series { name: "seen", class: "s1", points: points(&pictures.rounds) }],
        note: "",
    };
    charts(&[histogram.render(), lags.render(), rounds.render()])
}

fn density(counts: &[u64], of: u64, width: f64) -> Vec<f64> {
    counts.iter().map(|n| *n as f64 / (of.max(1) as f64 * width)).collect()
}

fn canary(found: &OneShot) -> String {
    let (m, s) = (found.mean, found.deviation);
    let of = |counts: &[u64]| density(counts, counts.iter().sum(), BIN);
    let histogram = Histogram {
        title: "Cosines of canaries with what was released",
        x_label: "cosine, times the root of the number of params",
        y_label: "density",
        first: found.first_bin,
        width: BIN,
        bars: vec![("s7", "did not take part", of(&found.unseen)), ("s1", "took part", of(&found.seen))],
        curves: vec![
            ("s5", "N(0, 1), did not", Box::new(bell)),
            ("s2", "fitted, took part", Box::new(move |x| bell((x - m) / s) / s)),
        ],
        note: "Epsilon is how far apart the two laws are. No noise, and the right one stands far out; too much, and they are one.",
    };
    let facts = facts(&[
        (
            "Canaries",
            format!(
                "{}, each in {} of {} round(s), {} params",
                count(u64::from(found.canaries)),
                found.participations,
                found.rounds,
                count(found.dim as u64)
            ),
        ),
        ("Fitted", format!("mean {}, deviation {}", real(Some(m), 3), real(Some(s), 3))),
        ("Estimate", format!("epsilon {} \u{b1} {}", real(Some(found.epsilon), 4), real(Some(found.epsilon_error), 2))),
        ("From the mean alone", real(Some(found.epsilon_of_mean), 4)),
        ("Stated", real(Some(found.accounted), 4)),
    ]);
    charts(&[histogram.render(), facts])
}

fn one_run(bound: &Bound) -> String {
    let rows: Vec<Vec<String>> = bound
        .guesses
        .iter()
        .map(|(guesses, right, epsilon)| {
            vec![count(u64::from(*guesses)), count(u64::from(*right)), real(Some(*epsilon), 3)]
        })
        .collect();
    let head = [("Guesses", Column::Number), ("Right", Column::Number), ("Epsilon at least", Column::Number)];
    let lead = format!(
        "{} of {} canaries took part, as coins fell. The best of the bounds counts; each is held to a fifth of the 5 %.",
        count(u64::from(bound.included)),
        count(u64::from(bound.coins))
    );
    paragraph("lead", &lead) + &table("Guesses", &head, &rows, false)
}

fn reproduce(report: &AuditReport) -> String {
    let s = &report.settings;
    let step = report.claim().map_or(f64::NAN, |claim| f64::from(claim.step));
    let list = facts(&[
        ("noise_multiplier", s.noise_multiplier.to_string()),
        ("clip_norm C", s.clip_norm.to_string()),
        ("step", real(Some(step), 4)),
        ("dp_delta", tiny(Some(s.dp_delta))),
        ("alpha", tiny(Some(s.alpha))),
        ("Level 1", format!("{} params, {} devices, {} rounds", s.dim, s.devices, s.rounds)),
        (
            "Level 2",
            format!(
                "{} canaries, {} other devices, {} params, {} round(s)",
                s.canaries, s.ordinary, s.canary_dim, s.canary_rounds
            ),
        ),
        ("Level 3", format!("{} canaries, {} params", s.coins, s.canary_dim)),
    ]);
    if report.command.is_empty() {
        return list;
    }
    format!("<pre><code>{}</code></pre>\n", escape(&shell_line(&report.command))) + &list
}
