//! Bits per parameter of one update in a file, by codec, on the same symbols.

use super::rivals::rounding;
use super::{CodecError, Coder, Update};
use siskin::quantize::{MAX_SYMBOL, Quantized, Rounding, Step, Uniform, quantize_in_place};
use siskin::range_coder::{EntropyCoder, FINE, RowColumn, Support, optimise};
use std::path::Path;

/// How reals become symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundingKind {
    /// Half to even.
    Nearest,
    /// Unbiased, from this seed.
    Stochastic {
        /// Of the sdk's uniform numbers.
        seed: u64,
    },
    /// Subtractive dither that both sides know, from this seed.
    Dithered {
        /// Of the sdk's uniform numbers.
        seed: u64,
    },
}

impl RoundingKind {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Stochastic { .. } => "stochastic",
            Self::Dithered { .. } => "dithered",
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Number of params.
    pub params: usize,
    /// Root mean square of the update.
    pub rms: f64,
    /// The step.
    pub step: f32,
    /// Symbols that are not 0.
    pub nonzero: usize,
    /// Whole bytes of each codec's message, which was decoded again and compared.
    pub bytes: Vec<(&'static str, usize)>,
}

impl Measured {
    /// Bits per parameter of each codec.
    pub fn bits_per_param(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.bytes.iter().map(|&(name, bytes)| (name, 8.0 * bytes as f64 / self.params as f64))
    }
}

/// Symbols of `values` on the grid of `step`, and how many values are too large for it. Nearest and stochastic rounding are the
/// sdk's own; the dither of coordinate `i` is `u - 1/2` with the sdk's uniform `u`, on which rounding is the paper's.
pub fn symbols_of(values: &[f32], step: Step, rounding: RoundingKind) -> (Vec<i32>, usize) {
    let rounding = match rounding {
        RoundingKind::Nearest => Rounding::Nearest,
        RoundingKind::Stochastic { seed } => Rounding::Stochastic { seed, first: 0 },
        RoundingKind::Dithered { seed } => {
            let x: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
            let (symbols, _) = rounding::dithered(&x, f64::from(step.get()), &dither(seed, values.len()));
            let saturated = symbols.iter().filter(|q| q.unsigned_abs() > MAX_SYMBOL as u32).count();
            return (symbols, saturated);
        }
    };
    let mut values = values.to_vec();
    let Quantized { symbols, saturated, .. } = quantize_in_place(&mut values, step, rounding);
    (symbols.to_vec(), saturated)
}

/// Symbols of `values` by rounding that weighs error against bits ([`optimise`]); `None` where the step is too fine for them.
pub fn optimised_symbols(values: &[f32], shapes: &[[u32; 2]], step: Step, price: u32) -> Option<Vec<i32>> {
    let fine = Step::new(step.get() / FINE as f32).ok()?;
    let (mut symbols, saturated) = symbols_of(values, fine, RoundingKind::Nearest);
    if saturated > 0 {
        return None;
    }
    let tensors = shapes.iter().map(|[rows, cols]| Support::dense(*rows, *cols)).collect::<Result<Vec<_>, _>>().ok()?;
    let bytes = RowColumn::required_scratch(shapes.iter().map(|shape| shape[1]).max().unwrap_or(0));
    let mut words = vec![0u32; bytes.div_ceil(4)];
    let scratch: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    optimise(&tensors, &mut symbols, price, scratch.get_mut(..bytes)?).ok().map(|_| symbols)
}

/// The dither of a seed, uniform on `[-1/2, 1/2)`.
pub fn dither(seed: u64, count: usize) -> Vec<f64> {
    let uniform = Uniform::new(seed);
    (0..count as u32).map(|i| f64::from(uniform.at(i)) - 0.5).collect()
}

/// Quantises all tensors of a safetensors file of 32-bit floats, in the order of their names, with one step of `step_rms` times
/// their root mean square, and codes the symbols with every codec.
///
/// # Errors
/// [`CodecError`]: the file, a step that is none, or values that do not fit it.
pub fn measure(path: &Path, step_rms: f64, rounding: RoundingKind) -> Result<Measured, CodecError> {
    measure_update(&Update::read(path)?, step_rms, rounding)
}

/// The same of an update that was read.
///
/// # Errors
/// [`CodecError`]: a step that is none, or values that do not fit it.
pub fn measure_update(update: &Update, step_rms: f64, rounding: RoundingKind) -> Result<Measured, CodecError> {
    let Update { shapes, values, .. } = update;
    let rms = update.rms();
    let step = Step::new((step_rms * rms) as f32).map_err(|e| CodecError::new("step", e))?;
    let (symbols, saturated) = symbols_of(values, step, rounding);
    if saturated > 0 {
        return Err(CodecError::new("step", format!("{saturated} values are too large for it")));
    }
    let mut bytes = Vec::new();
    for (name, coder) in Coder::NAMES {
        let coded = coder.encode(shapes, &symbols)?.bytes;
        if coder.decode(shapes, &coded)? != symbols {
            return Err(CodecError::new(name, "what was decoded is not what was encoded"));
        }
        bytes.push((name, coded.len()));
    }
    let nonzero = symbols.iter().filter(|&&q| q != 0).count();
    Ok(Measured { params: values.len(), rms, step: step.get(), nonzero, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dither_leaves_an_error_that_is_uniform_whatever_the_value() {
        let step = Step::new(0.5).unwrap();
        for value in [0.0f32, 0.1, 0.25, -3.3] {
            let values = vec![value; 20_000];
            let (symbols, saturated) = symbols_of(&values, step, RoundingKind::Dithered { seed: 4 });
            assert_eq!(saturated, 0);
            let estimate = symbols.iter().zip(dither(4, values.len())).map(|(&q, u)| (f64::from(q) + u) * 0.5);
            let errors: Vec<f64> = estimate.map(|x| x - f64::from(value)).collect();
            assert!(errors.iter().all(|e| e.abs() <= 0.25 + 1e-6));
            let moment = |power| errors.iter().map(|e| e.powi(power)).sum::<f64>() / errors.len() as f64;
            // Uniform of width 1/2: mean 0, variance 1/48; five standard errors.
            assert!(moment(1).abs() < 5.0 * (1.0f64 / 48.0 / 20_000.0).sqrt(), "{value}: {}", moment(1));
            assert!((moment(2) * 48.0 - 1.0).abs() < 5.0 * (0.8f64 / 20_000.0).sqrt(), "{value}: {}", moment(2));
        }
        let (_, saturated) = symbols_of(&[1e9], step, RoundingKind::Dithered { seed: 4 });
        assert_eq!(saturated, 1);
    }
}
