//! Curves and comparisons as SVG files.

use super::Comparison;
use crate::report::{LineChart, Series, picture};
use serde::Serialize;
use siskin_accounting::Point;

/// Epsilon over rounds with one noise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// In the unit of `--noise`.
    pub noise: f64,
    /// Ascending.
    pub points: Vec<Point>,
}

const CLASSES: [&str; 7] = ["s1", "s2", "s3", "s4", "s5", "s6", "s7"];

/// Epsilon over rounds, a line a noise.
pub fn of_curves(curves: &[Curve], title: &str, note: &str) -> String {
    let names: Vec<String> = curves.iter().map(|curve| format!("noise {}", curve.noise)).collect();
    let series = curves
        .iter()
        .zip(&names)
        .enumerate()
        .map(|(i, (curve, name))| Series {
            name,
            class: CLASSES[i % CLASSES.len()],
            points: curve.points.iter().map(|point| (point.rounds as f64, point.epsilon)).collect(),
        })
        .collect();
    let chart = LineChart { title, x_label: "rounds", y_label: "epsilon", x_whole: true, y_factor: 1.0, series, note };
    picture(vec![chart])
}

/// Noise in the mean gradient over the group, a chart an epsilon.
pub fn of_comparison(comparison: &Comparison) -> String {
    let mut epsilons: Vec<f64> = comparison.rows.iter().map(|row| row.epsilon).collect();
    epsilons.dedup();
    let titles: Vec<String> = epsilons.iter().map(|e| format!("Noise in the mean gradient at epsilon {e}")).collect();
    let between = format!("user-level, correlation {}", comparison.correlation);
    let note = format!(
        "{} users, {} gradients a step, {} steps, dp_delta {:e}; in units of one example's bound",
        comparison.users, comparison.budget, comparison.rounds, comparison.dp_delta
    );
    let charts = epsilons
        .iter()
        .zip(&titles)
        .map(|(epsilon, title)| {
            let line = |name, class, of: fn(&super::Compared) -> f64| {
                let mine = comparison.rows.iter().filter(|row| row.epsilon == *epsilon);
                let mut points: Vec<(f64, f64)> = mine.map(|row| ((row.group as f64).log2(), of(row))).collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                Series { name, class, points }
            };
            let series = vec![
                line("example-level", "s1", |row| row.els.noise),
                line("user-level, parallel", "s2", |row| row.uls.noise_parallel),
                line(&between, "s4", |row| row.uls.noise),
                line("user-level, orthogonal", "s3", |row| row.uls.noise_orthogonal),
            ];
            LineChart {
                title,
                x_label: "examples a user that count, as a power of 2",
                y_label: "standard deviation x 10\u{2074}",
                x_whole: true,
                y_factor: 1e4,
                series,
                note: &note,
            }
        })
        .collect();
    picture(charts)
}
