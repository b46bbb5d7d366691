//! QSGD (Alistarh, Grubic, Li, Tomioka, Vojnovic 2017): stochastic rounding to multiples of norm over levels. Coded with zero runs
//! and Elias gamma, as the comparison of Mitchell et al. (2022) does.

use super::run_length::GAMMA;
use super::{Sent, rounding};

/// Symbols in units of `|x| / levels`, and that unit.
pub fn quantize(x: &[f64], levels: u32, uniform: &[f64]) -> (Vec<i32>, f64) {
    let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let unit = norm / f64::from(levels);
    if unit == 0.0 { (vec![0; x.len()], 0.0) } else { (rounding::stochastic(x, unit, uniform), unit) }
}

/// Symbols and the norm in 32 bits.
pub fn send(x: &[f64], levels: u32, uniform: &[f64]) -> Sent {
    let (symbols, unit) = quantize(x, levels, uniform);
    Sent { bits: GAMMA.bits(&symbols) + 32, estimate: symbols.iter().map(|&q| f64::from(q) * unit).collect() }
}
