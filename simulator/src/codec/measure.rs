//! Bits per parameter of one update in a file, by codec, on the same symbols.

use super::{CodecError, Coder};
use crate::prune::read_params;
use siskin::quantize::{Quantized, Rounding, Step, quantize_in_place};
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

/// Quantises all tensors of a safetensors file of 32-bit floats, in the order of their names, with one step of `step_rms` times
/// their root mean square, and codes the symbols with every codec.
///
/// # Errors
/// [`CodecError`]: the file, a step that is none, or values that do not fit it.
pub fn measure(path: &Path, step_rms: f64, rounding: RoundingKind) -> Result<Measured, CodecError> {
    let tensors = read_params(path).map_err(|e| CodecError::new(e.at, e.what))?;
    let mut values: Vec<f32> = tensors.iter().flat_map(|tensor| &tensor.values).copied().collect();
    let mut shapes = Vec::new();
    for tensor in &tensors {
        let cols = tensor.shape.last().copied().unwrap_or(1);
        let rows = tensor.values.len().checked_div(cols).unwrap_or(0);
        let [rows, cols] = [rows, cols].map(u32::try_from);
        let too_large = |_| CodecError::new(&*tensor.name, "its shape is too large");
        shapes.push([rows.map_err(too_large)?, cols.map_err(too_large)?]);
    }
    let params = values.len();
    let rms = (values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / params.max(1) as f64).sqrt();
    let step = Step::new((step_rms * rms) as f32).map_err(|e| CodecError::new("step", e))?;
    let rounding = match rounding {
        RoundingKind::Nearest => Rounding::Nearest,
        RoundingKind::Stochastic { seed } => Rounding::Stochastic { seed, first: 0 },
    };
    let Quantized { symbols, saturated, .. } = quantize_in_place(&mut values, step, rounding);
    if saturated > 0 {
        return Err(CodecError::new("step", format!("{saturated} values are too large for it")));
    }
    let mut bytes = Vec::new();
    for (name, coder) in Coder::NAMES {
        let coded = coder.encode(&shapes, symbols)?.bytes;
        if coder.decode(&shapes, &coded)? != symbols {
            return Err(CodecError::new(name, "what was decoded is not what was encoded"));
        }
        bytes.push((name, coded.len()));
    }
    let nonzero = symbols.iter().filter(|&&q| q != 0).count();
    Ok(Measured { params, rms, step: step.get(), nonzero, bytes })
}
