//! Uniform 8-bit quantisation between the smallest and the largest coordinate.

use super::Sent;

/// Levels 0 to 255, the smallest coordinate and the distance between levels.
pub fn quantize(x: &[f64]) -> (Vec<u8>, f64, f64) {
    let low = x.iter().copied().fold(f64::INFINITY, f64::min);
    let high = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let unit = (high - low) / 255.0;
    let level = |x: &f64| if unit > 0.0 { ((x - low) / unit).round_ties_even() as u8 } else { 0 };
    (x.iter().map(level).collect(), low, unit)
}

/// Eight bits a coordinate and two `f32`.
pub fn send(x: &[f64]) -> Sent {
    let (levels, low, unit) = quantize(x);
    Sent { bits: 8 * x.len() + 64, estimate: levels.iter().map(|&level| low + f64::from(level) * unit).collect() }
}
