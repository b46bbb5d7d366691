//! Bits per parameter of one update in a file, by codec, on the same symbols.

use super::rivals::rounding;
use super::{CodecError, Coder, Update};
use siskin::quantize::{MAX_SYMBOL, Quantized, Rounding, Step, Uniform, quantize_in_place};
use siskin::range_coder::{EntropyCoder, FINE, RowColumn, Start, Support, optimise};
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
    /// Whatever has the least error and priced bits ([`optimise`]).
    Optimised {
        /// Squared steps a bit, in 1/256.
        price: u32,
    },
}

/// The price of optimised rounding where nothing else is said: 0.13 squared steps a bit, in the middle of the range that
/// [`optimise`] gives.
pub const PRICE: u32 = 33;

impl RoundingKind {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Stochastic { .. } => "stochastic",
            Self::Dithered { .. } => "dithered",
            Self::Optimised { .. } => "optimised",
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

/// Symbols of `values`, which are those of tensors of `shapes`, on the grid of `step`, and how many values are too large for it.
/// All are the sdk's own but the dithered ones: the dither of coordinate `i` is `u - 1/2` with the sdk's uniform `u`, on which
/// rounding is the paper's.
///
/// # Errors
/// [`CodecError`] of optimised rounding: shapes that are none or not those of the values, a step of which 1/256 is none.
pub fn symbols_of(
    values: &[f32],
    shapes: &[[u32; 2]],
    step: Step,
    rounding: RoundingKind,
) -> Result<(Vec<i32>, usize), CodecError> {
    let rounding = match rounding {
        RoundingKind::Nearest => Rounding::Nearest,
        RoundingKind::Stochastic { seed } => Rounding::Stochastic { seed, first: 0 },
        RoundingKind::Dithered { seed } => {
            let x: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
            let (symbols, _) = rounding::dithered(&x, f64::from(step.get()), &dither(seed, values.len()));
            let saturated = symbols.iter().filter(|q| q.unsigned_abs() > MAX_SYMBOL as u32).count();
            return Ok((symbols, saturated));
        }
        RoundingKind::Optimised { price } => return optimised(values, shapes, step, price),
    };
    Ok(rounded(values, step, rounding))
}

fn rounded(values: &[f32], step: Step, rounding: Rounding) -> (Vec<i32>, usize) {
    let mut values = values.to_vec();
    let Quantized { symbols, saturated, .. } = quantize_in_place(&mut values, step, rounding);
    (symbols.to_vec(), saturated)
}

/// Rounding that weighs error against bits ([`optimise`]). Values that are too large leave the others to the nearest.
fn optimised(values: &[f32], shapes: &[[u32; 2]], step: Step, price: u32) -> Result<(Vec<i32>, usize), CodecError> {
    let fine = Step::new(step.get() / FINE as f32).map_err(|e| CodecError::new("step / 256", e))?;
    let (mut symbols, saturated) = rounded(values, fine, Rounding::Nearest);
    if saturated > 0 {
        return Ok((symbols, saturated));
    }
    let tensors = shapes.iter().map(|[rows, cols]| Support::dense(*rows, *cols)).collect::<Result<Vec<_>, _>>();
    let tensors = tensors.map_err(|e| CodecError::new("shape", e))?;
    let bytes = RowColumn::required_scratch(shapes.iter().map(|shape| shape[1]).max().unwrap_or(0));
    let mut words = vec![0u32; bytes.div_ceil(4)];
    let scratch: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    optimise(tensors, Start::NONE, &mut symbols, price, &mut scratch[..bytes])
        .map_err(|e| CodecError::new("shape", e))?;
    Ok((symbols, 0))
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
    let (symbols, saturated) = symbols_of(values, shapes, step, rounding)?;
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
            let (symbols, saturated) = symbols_of(&values, &[], step, RoundingKind::Dithered { seed: 4 }).unwrap();
            assert_eq!(saturated, 0);
            let estimate = symbols.iter().zip(dither(4, values.len())).map(|(&q, u)| (f64::from(q) + u) * 0.5);
            let errors: Vec<f64> = estimate.map(|x| x - f64::from(value)).collect();
            assert!(errors.iter().all(|e| e.abs() <= 0.25 + 1e-6));
            let moment = |power| errors.iter().map(|e| e.powi(power)).sum::<f64>() / errors.len() as f64;
            // Uniform of width 1/2: mean 0, variance 1/48; five standard errors.
            assert!(moment(1).abs() < 5.0 * (1.0f64 / 48.0 / 20_000.0).sqrt(), "{value}: {}", moment(1));
            assert!((moment(2) * 48.0 - 1.0).abs() < 5.0 * (0.8f64 / 20_000.0).sqrt(), "{value}: {}", moment(2));
        }
        let (_, saturated) = symbols_of(&[1e9], &[], step, RoundingKind::Dithered { seed: 4 }).unwrap();
        assert_eq!(saturated, 1);
    }

    /// Of 40 normal columns of other scales each: fewer bits than to the nearest, a price of nothing is nearly the nearest, and what does not
    /// belong together is refused.
    #[test]
    fn optimised_symbols_have_a_price() {
        let uniform = Uniform::new(8);
        let at = |i: u32| (0..6).map(|k| uniform.at(6 * i + k) - 0.5).sum::<f32>();
        let values: Vec<f32> = (0..4000u32).map(|i| at(i) * (1 + i % 40) as f32 * 0.05).collect();
        let shapes = vec![[100u32, 40]];
        let update = Update { name: String::new(), shapes, values };
        let of = |rounding| measure_update(&update, 2.0, rounding).unwrap();
        let (nearest, free) = (of(RoundingKind::Nearest), of(RoundingKind::Optimised { price: 0 }));
        // But for values that 1/256 of a step brings to the middle of two.
        assert!(free.nonzero.abs_diff(nearest.nonzero) <= 4000 / 100, "{free:?} {nearest:?}");
        let priced = of(RoundingKind::Optimised { price: PRICE });
        assert!(priced.nonzero < nearest.nonzero && priced.bytes[0].1 < nearest.bytes[0].1, "{priced:?} {nearest:?}");
        let step = Step::new(1.0).unwrap();
        let of = |shapes, values: &[f32]| symbols_of(values, shapes, step, RoundingKind::Optimised { price: PRICE });
        assert!(of(&[[2, 3]], &[0.0; 5]).is_err());
        assert!(of(&[[2, 3]], &[0.0; 7]).is_err());
        assert_eq!(of(&[[1, 2]], &[0.0, 66_000.0]).unwrap().1, 1);
    }
}
