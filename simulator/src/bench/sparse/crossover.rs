//! The density below which a sparse step is faster than a dense one.

use super::{DENSE, Row, SGEMM};
use serde::Serialize;

/// Of one layer, batch and format: densities below which its step is the faster one, by straight lines between the measured
/// ones. `None`: slower at all of them. The largest measured one where it is faster at all of them.
#[derive(Debug, Clone, Serialize)]
pub struct Crossover {
    /// Which layer.
    pub layer: String,
    /// Examples at a time.
    pub batch: usize,
    /// How its weights are stored.
    pub format: &'static str,
    /// Faster than `sgemm`.
    pub to_sgemm: Option<f64>,
    /// Faster than the client's own dense kernels.
    pub to_dense: Option<f64>,
    /// The largest measured density.
    pub measured: f64,
}

/// For each layer, batch and format of several densities.
pub(super) fn find(rows: &[Row]) -> Vec<Crossover> {
    let mut all = Vec::new();
    for first in rows.iter().filter(|row| row.format != SGEMM && row.format != DENSE) {
        let same = |row: &&Row| (&row.layer, row.batch, row.format) == (&first.layer, first.batch, first.format);
        let mut points: Vec<&Row> = rows.iter().filter(same).collect();
        points.sort_by(|a, b| a.density.total_cmp(&b.density));
        if points.len() < 2 || points.last().is_some_and(|last| last.density != first.density) {
            continue;
        }
        let step = |ratios: fn(&Row) -> [f64; 4]| {
            let points: Vec<(f64, f64)> = points.iter().map(|row| (row.density, 1.0 / ratios(row)[3])).collect();
            crossing(&points)
        };
        all.push(Crossover {
            layer: first.layer.clone(),
            batch: first.batch,
            format: first.format,
            to_sgemm: step(|row| row.to_sgemm),
            to_dense: step(|row| row.to_dense),
            measured: first.density,
        });
    }
    all
}

/// Where the time, in units of the dense one, reaches 1; densities ascend.
fn crossing(points: &[(f64, f64)]) -> Option<f64> {
    let over = points.iter().position(|&(_, time)| time > 1.0);
    match over {
        None => points.last().map(|&(density, _)| density),
        Some(0) => None,
        Some(at) => {
            let ((d0, t0), (d1, t1)) = (points[at - 1], points[at]);
            Some(d0 + (d1 - d0) * (1.0 - t0) / (t1 - t0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::crossing;

    #[test]
    fn crossings() {
        assert_eq!(crossing(&[(0.1, 0.5), (0.3, 1.5), (0.5, 2.0)]), Some(0.2));
        assert_eq!(crossing(&[(0.1, 1.5), (0.3, 2.0)]), None);
        assert_eq!(crossing(&[(0.1, 0.5), (0.3, 0.75)]), Some(0.3));
    }
}
