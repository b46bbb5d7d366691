//! Means over seeds with the error that they have.

use serde::{Deserialize, Serialize};

/// A mean over independent repetitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Mean.
    pub mean: f64,
    /// Half the width of its 95 % confidence interval (Student's t); `None` of a single repetition, which has none.
    pub half_width: Option<f64>,
    /// Repetitions.
    pub repetitions: usize,
}

/// 97.5 % quantile of Student's t for 1, 2, ... degrees of freedom.
const T: [f64; 15] =
    [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131];

impl Estimate {
    /// Of what the repetitions gave; `None` of nothing.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let half_width = (n > 1).then(|| {
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
            // Beyond the table a little too wide, never too narrow.
            T[(n - 2).min(T.len() - 1)] * (variance / n as f64).sqrt()
        });
        Some(Self { mean, half_width, repetitions: n })
    }

    /// `self - other` with the sum of the half widths: beyond it the error bars do not overlap, which chance alone brings about in
    /// less than 1 % of comparisons, and not in 5 %, for many are made. `None` where one of them has no error bar.
    pub fn minus(&self, other: &Self) -> Option<(f64, f64)> {
        let (own, theirs) = (self.half_width?, other.half_width?);
        Some((self.mean - other.mean, own + theirs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_widths_are_students() {
        assert_eq!(Estimate::of(&[]), None);
        assert_eq!(Estimate::of(&[2.0]).unwrap().half_width, None);
        let three = Estimate::of(&[1.0, 2.0, 3.0]).unwrap();
        assert!((three.mean - 2.0).abs() < 1e-12 && (three.half_width.unwrap() - 4.303 / 3f64.sqrt()).abs() < 1e-9);
        let (difference, bar) = three.minus(&Estimate::of(&[5.0, 6.0, 7.0]).unwrap()).unwrap();
        assert!((difference + 4.0).abs() < 1e-12 && (bar - 2.0 * three.half_width.unwrap()).abs() < 1e-9);
        // A hundred repetitions: 2.131 is above the normal distribution's 1.96.
        let many: Vec<f64> = (0..100).map(f64::from).collect();
        assert!(Estimate::of(&many).unwrap().half_width.unwrap() > 1.96 * 29.01 / 10.0);
    }
}
