//! What is claimed about privacy, and on what it rests.

use super::lines::{LineChart, Series};
use super::number::{DASH, finite, real, setting, tiny};
use super::page::{callout, charts, facts, paragraph};
use crate::report::{PrivacyStatement, RunReport};

/// The figure of the tile: with less than three digits it would hide what a budget is about.
pub(super) fn epsilon(report: &RunReport) -> String {
    finite(report.privacy.epsilon).map_or_else(|| "none".to_owned(), |epsilon| real(Some(epsilon), 3))
}

/// What epsilon rests on, for it is never shown alone.
pub(super) fn assumption(privacy: &PrivacyStatement) -> String {
    if finite(privacy.epsilon).is_none() {
        return "no finite guarantee for this run".to_owned();
    }
    let known = |text: &str, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text.to_owned() };
    format!(
        "{} level; {}; dp_delta {}; sampling {}",
        known(&privacy.unit, "unknown"),
        known(&privacy.adjacency, "adjacency not stated"),
        tiny(privacy.dp_delta),
        if privacy.sampling_enforced { "enforced" } else { "assumed, not enforced" },
    )
}

/// The one line that can be quoted, with what weakens it.
pub(super) fn callout_line(report: &RunReport) -> String {
    let privacy = &report.privacy;
    let line = if privacy.line.is_empty() { "This run makes no claim about privacy." } else { &privacy.line };
    let mut points = privacy.warnings.clone();
    if finite(privacy.epsilon).is_some() && !privacy.sampling_enforced {
        points.push("The run did not enforce the sampling that the accountant assumes.".to_owned());
    }
    let class = match (points.is_empty(), finite(privacy.epsilon)) {
        (false, _) => "privacy warn",
        (true, Some(_)) => "privacy",
        (true, None) => "plain",
    };
    callout(class, line, &points)
}

pub(super) fn section(report: &RunReport) -> String {
    let privacy = &report.privacy;
    let spent = LineChart {
        title: "Epsilon spent",
        x_label: "round",
        y_label: "epsilon, all rounds so far",
        x_whole: true,
        y_factor: 1.0,
        series: vec![Series {
            name: "epsilon",
            class: "s2",
            points: report.rounds.iter().filter_map(|r| Some((r.round as f64, r.epsilon?))).collect(),
        }],
        note: "Holds under the assumptions of this section, and only under them.",
    };
    let clipped = LineChart {
        title: "Clipping",
        x_label: "round",
        y_label: "% of deltas",
        x_whole: true,
        y_factor: 100.0,
        series: vec![Series {
            name: "clipped on the device",
            class: "s1",
            points: report.rounds.iter().filter_map(|r| Some((r.round as f64, r.clipped_fraction?))).collect(),
        }],
        note: "Part of the cohort whose delta was longer than clip_norm.",
    };
    let norms: Vec<(f64, f64)> =
        report.rounds.iter().filter_map(|r| Some((r.round as f64, finite(r.clip_norm)?))).collect();
    // One that stays where it is stands in the facts.
    let moves = norms.windows(2).any(|pair| pair[0].1 != pair[1].1);
    let norm = LineChart {
        title: "Clip norm",
        x_label: "round",
        y_label: "C, L2 norm",
        x_whole: true,
        y_factor: 1.0,
        series: vec![Series { name: "C", class: "s4", points: norms }],
        note: "Adaptive: after each round C moves by a noised estimate of the part of the deltas within it.",
    };
    let enforced = match finite(privacy.epsilon) {
        Some(_) if privacy.sampling_enforced => "yes: the run drew its cohorts so",
        Some(_) => "no: epsilon assumes it",
        None => "",
    };
    let ends = (report.rounds.first(), report.rounds.last());
    let clip_norm = match ends {
        (Some(first), Some(last)) if moves => {
            format!("{} in the first round, {} in the last", real(first.clip_norm, 4), real(last.clip_norm, 4))
        }
        _ => setting(privacy.clip_norm),
    };
    let facts = facts(&[
        ("Epsilon", finite(privacy.epsilon).map_or(DASH.to_owned(), |e| real(Some(e), 4))),
        ("dp_delta", tiny(privacy.dp_delta)),
        ("Adjacency", privacy.adjacency.clone()),
        ("Unit", privacy.unit.clone()),
        ("Sampling", privacy.sampling.clone()),
        ("Sampling enforced", enforced.to_owned()),
        ("Mechanism", privacy.mechanism.clone()),
        ("Certified", if privacy.certificate.is_empty() { DASH.to_owned() } else { privacy.certificate.clone() }),
        ("clip_norm C", clip_norm),
        ("noise_multiplier", setting(privacy.noise_multiplier)),
        ("Clipped again", format!("{} reports, by the server", super::count(report.totals.reclipped))),
    ]);
    let mut shown = vec![spent.render(), clipped.render()];
    if moves {
        shown.push(norm.render());
    }
    let lead = "Epsilon means nothing without its unit, adjacency, sampling and mechanism: quote them together.";
    paragraph("lead", lead) + &facts + &charts(&shown)
}
