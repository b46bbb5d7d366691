//! The least rate at which independent coordinates of a distribution can be sent with a mean squared error: Shannon's
//! rate-distortion function, by the algorithm of Blahut and Arimoto (Blahut 1972, "Computation of channel capacity and rate-distortion
//! functions").
//!
//! It knows only how often values occur. Real updates are not independent, so that a coder which sees rows and columns can go below.

/// A distribution on few points: the means of the values in intervals that are narrow near 0 and grow with the magnitude.
#[derive(Debug, Clone, PartialEq)]
pub struct Marginal {
    points: Vec<f64>,
    probabilities: Vec<f64>,
}

/// Width of the intervals near 0 in root mean squares, and how much wider each next one is from two of them on.
const NEAR: f64 = 0.04;
const GROWTH: f64 = 1.02;

impl Marginal {
    /// Of values, in units of their root mean square. `None` if they are all 0.
    pub fn of(values: &[f32]) -> Option<Self> {
        let square: f64 = values.iter().map(|x| f64::from(*x).powi(2)).sum();
        let rms = (square / values.len() as f64).sqrt();
        if !(rms > 0.0 && rms.is_finite()) {
            return None;
        }
        let edge = 2.0 / NEAR;
        let interval = |x: f64| {
            let place = (x.abs() / NEAR + 0.5).floor();
            let place = if place <= edge { place } else { edge + ((place / edge).ln() / GROWTH.ln()).floor() + 1.0 };
            (place * x.signum()) as i64
        };
        let mut bins = std::collections::BTreeMap::<i64, (f64, f64)>::new();
        for value in values {
            let x = f64::from(*value) / rms;
            let bin = bins.entry(interval(x)).or_default();
            bin.0 += 1.0;
            bin.1 += x;
        }
        let points = bins.values().map(|(count, sum)| sum / count).collect();
        let probabilities = bins.values().map(|(count, _)| count / values.len() as f64).collect();
        Some(Self { points, probabilities })
    }

    /// `(rate, error)` in bits a coordinate and squared error over the mean square, where the slope of the error is
    /// `2 ln 2 / beta` times the rate's.
    pub fn at_slope(&self, beta: f64) -> (f64, f64) {
        const MOST: usize = 400;
        let n = self.points.len();
        let weight = |i: usize, j: usize| (-beta * (self.points[i] - self.points[j]).powi(2)).exp();
        let weights: Vec<f64> = (0..n * n).map(|at| weight(at / n, at % n)).collect();
        let mut output = vec![1.0 / n as f64; n];
        let mut factor = vec![0.0; n];
        for _ in 0..MOST {
            factor.fill(0.0);
            for i in 0..n {
                let row = &weights[i * n..(i + 1) * n];
                let sum: f64 = row.iter().zip(&output).map(|(w, q)| w * q).sum();
                let share = self.probabilities[i] / sum;
                factor.iter_mut().zip(row).for_each(|(f, w)| *f += share * w);
            }
            output.iter_mut().zip(&factor).for_each(|(q, f)| *q *= f);
            // The gap between the bounds on the rate is at most the logarithm of the largest factor (Blahut, theorem 6).
            if factor.iter().fold(0.0, |max: f64, f| max.max(*f)).ln() < 1e-3 {
                break;
            }
        }
        let (mut rate, mut error) = (0.0, 0.0);
        for i in 0..n {
            let row = &weights[i * n..(i + 1) * n];
            let sum: f64 = row.iter().zip(&output).map(|(w, q)| w * q).sum();
            for (j, (w, q)) in row.iter().zip(&output).enumerate() {
                let joint = self.probabilities[i] * w * q / sum;
                if joint > 0.0 {
                    rate += joint * (w / sum).log2();
                    error += joint * (self.points[i] - self.points[j]).powi(2);
                }
            }
        }
        (rate.max(0.0), error)
    }

    /// A curve of `(rate, error)` from few bits to many.
    pub fn curve(&self, points: usize) -> Vec<(f64, f64)> {
        // An error of D has a slope of about 1 / (2 D).
        let beta = |i: usize| 0.02 * (60.0f64 / 0.02).powf(i as f64 / (points.max(2) - 1) as f64);
        (0..points.max(2)).map(|i| self.at_slope(beta(i))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::frontier::bits_at;
    use super::*;

    /// Values at the middles of equal parts of a distribution.
    fn quantiles(inverse: impl Fn(f64) -> f64) -> Vec<f32> {
        (0..40_000).map(|i| inverse((f64::from(i) + 0.5) / 40_000.0) as f32).collect()
    }

    #[test]
    fn laplace_and_uniform_of_known_rates() {
        let laplace = quantiles(|p| if p < 0.5 { (2.0 * p).ln() } else { -(2.0 - 2.0 * p).ln() });
        let curve = Marginal::of(&laplace).unwrap().curve(24);
        for (error, want) in [(0.5, 0.4146), (0.25, 0.9010), (0.1, 1.5584), (0.03, 2.4260)] {
            let got = bits_at(&curve, error).unwrap();
            assert!((got - want).abs() < 0.02, "{error}: {got} against {want}");
        }
        // Below the Gaussian's rate, and above Shannon's lower bound h - log2(2 pi e D) / 2.
        let curve = Marginal::of(&quantiles(|p| p - 0.5)).unwrap().curve(24);
        for error in [0.25, 0.1, 0.03] {
            let (got, gauss) = (bits_at(&curve, error).unwrap(), -0.5 * f64::log2(error));
            let lower = gauss - 0.5 * f64::log2(std::f64::consts::TAU * std::f64::consts::E / 2.0 / 6.0);
            assert!(got < gauss + 0.01 && got > lower - 0.02, "{error}: {got}, {gauss}, {lower}");
        }
        assert_eq!(Marginal::of(&[0.0; 4]), None);
    }
}
