//! TernGrad (Wen et al. 2017): `-1`, `0` or `1` times the largest magnitude, nonzero with probability `|x| / max`; unbiased.

use super::Sent;

/// Symbols and the largest magnitude; nonzero where `u <= |x| / max`.
pub fn quantize(x: &[f64], uniform: &[f64]) -> (Vec<i32>, f64) {
    let max = x.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    let one = |(x, u): (&f64, &f64)| if *x != 0.0 && *u <= x.abs() / max { x.signum() as i32 } else { 0 };
    (x.iter().zip(uniform).map(one).collect(), max)
}

/// Two bits a coordinate and one `f32`.
pub fn send(x: &[f64], uniform: &[f64]) -> Sent {
    let (symbols, max) = quantize(x, uniform);
    Sent { bits: 2 * x.len() + 32, estimate: symbols.iter().map(|&q| f64::from(q) * max).collect() }
}
