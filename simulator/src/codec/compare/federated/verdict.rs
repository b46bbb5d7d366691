//! What the points say: the cost of compression, and whether a rival is above us at the bits that it takes.

use super::Point;
use crate::codec::compare::scheme::Scheme;
use crate::compare_privacy::Estimate;
use serde::{Deserialize, Serialize};

/// How a difference stands against its error bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Above it.
    Above,
    /// Below it.
    Below,
    /// Inside, or there is no error bar.
    Even,
}

impl Verdict {
    fn of(difference: &Estimate) -> Self {
        match difference.half_width {
            Some(bar) if difference.mean > bar => Self::Above,
            Some(bar) if difference.mean < -bar => Self::Below,
            _ => Self::Even,
        }
    }
}

/// One conclusion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The rival; none for ours against no compression.
    pub rival: Option<Scheme>,
    /// Bits a param.
    pub bits: f64,
    /// Accuracy minus the other's, of the same seeds: ours minus no compression's, or the rival's minus ours.
    pub difference: Estimate,
    /// Is that beyond chance?
    pub verdict: Verdict,
    /// The sentence.
    pub text: String,
}

/// Ours of one seed at these bits, between two of its points on a logarithmic scale, or the nearest one outside them.
fn ours_at(ours: &[&Point], seed: usize, bits: f64) -> Option<f64> {
    let of = |point: &Point| Some((point.bits.mean.ln(), *point.accuracies.get(seed)?));
    let points: Vec<(f64, f64)> = ours.iter().filter_map(|p| of(p)).collect();
    let (x, (first, last)) = (bits.ln(), (points.first()?, points.last()?));
    if x <= first.0 {
        return Some(first.1);
    }
    let between = points.windows(2).find(|w| w[0].0 <= x && x <= w[1].0);
    Some(between.map_or(last.1, |w| w[0].1 + (w[1].1 - w[0].1) * (x - w[0].0) / (w[1].0 - w[0].0).max(1e-12)))
}

fn points(value: &Estimate) -> String {
    let bar = value.half_width.map_or(String::new(), |bar| format!(" \u{b1} {:.2}", 100.0 * bar));
    format!("{:+.2}{bar} points", 100.0 * value.mean)
}

pub(super) fn findings(all: &[Point]) -> Vec<Finding> {
    let mut ours: Vec<&Point> = all.iter().filter(|p| p.scheme == Some(Scheme::Siskin)).collect();
    ours.sort_by(|a, b| a.bits.mean.total_cmp(&b.bits.mean));
    let mut findings = Vec::new();
    for point in &ours {
        let (bits, difference) = (point.bits.mean, point.difference);
        let text = format!("siskin at {bits:.3} bits a param against no compression: {}", points(&difference));
        findings.push(Finding { rival: None, bits, difference, verdict: Verdict::of(&difference), text });
    }
    for point in all {
        let Some(rival) = point.scheme.filter(|scheme| !scheme.is_ours()) else { continue };
        let bits = point.bits.mean;
        let each = point.accuracies.iter().enumerate();
        let differences: Option<Vec<f64>> = each.map(|(seed, own)| Some(own - ours_at(&ours, seed, bits)?)).collect();
        let Some(difference) = differences.and_then(|d| Estimate::of(&d)) else { continue };
        let verdict = Verdict::of(&difference);
        let word = match verdict {
            Verdict::Above => "above siskin",
            Verdict::Below => "below siskin",
            Verdict::Even => "not told apart from siskin",
        };
        let text = format!("{} at {bits:.3} bits a param is {word}: {}", rival.name(), points(&difference));
        findings.push(Finding { rival: Some(rival), bits, difference, verdict, text });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(scheme: Option<Scheme>, bits: f64, accuracies: [f64; 3]) -> Point {
        let none = Estimate { mean: 0.0, half_width: Some(0.0), repetitions: 3 };
        Point {
            scheme,
            budget: None,
            bits: Estimate { mean: bits, ..none },
            accuracy: Estimate::of(&accuracies).unwrap(),
            accuracies: accuracies.to_vec(),
            difference: none,
            error: none,
        }
    }

    #[test]
    fn rivals_are_compared_at_their_own_bits_seed_by_seed() {
        let all = [
            point(Some(Scheme::Siskin), 0.01, [0.5, 0.6, 0.7]),
            point(Some(Scheme::Siskin), 1.0, [0.7, 0.8, 0.9]),
            // Halfway on the logarithmic scale: 0.6, 0.7, 0.8.
            point(Some(Scheme::Eden), 0.1, [0.65, 0.751, 0.849]),
            point(Some(Scheme::TopK), 0.1, [0.5, 0.6, 0.7]),
            point(Some(Scheme::Qsgd), 0.1, [0.5, 0.8, 0.8]),
            // Beyond the ends: the nearest one.
            point(Some(Scheme::Drive), 4.0, [0.7, 0.8, 0.9]),
        ];
        let found = findings(&all);
        let verdicts: Vec<(Option<Scheme>, Verdict)> = found.iter().map(|f| (f.rival, f.verdict)).collect();
        assert_eq!(
            verdicts[2..],
            [
                (Some(Scheme::Eden), Verdict::Above),
                (Some(Scheme::TopK), Verdict::Below),
                (Some(Scheme::Qsgd), Verdict::Even),
                (Some(Scheme::Drive), Verdict::Even),
            ]
        );
        assert!((found[2].difference.mean - 0.05).abs() < 1e-9, "{:?}", found[2]);
    }
}
