//! Reals to symbols and back.
//!
//! A coordinate `x` becomes an integer symbol `q` on the grid of one [`Step`] that the plan names for all layers, and the
//! receiver's estimate is `q * step`. One step for everything is what minimises the squared error of the whole vector at a
//! given rate (Mitchell, Ballé, Charles, Konečný 2022, "Optimizing the communication-accuracy trade-off in federated
//! learning with rate-distortion theory"; their uniform and stochastic modes are [`Rounding::Nearest`] and
//! [`Rounding::Stochastic`]).
//!
//! * Nearest has the smaller error for one device, but a bias that does not average out over many devices.
//! * Dithered is unbiased with half the error of stochastic on a fine grid, and worse on a coarse one ([`Dither`]).
//! * Stochastic is unbiased, `E[q * step] = x` up to the 24 bits of the random number, and wins at low rates.
//!
//! Every operation is an IEEE 754 binary32 multiplication, addition, comparison or conversion, one after the other and
//! none fused, and the random numbers are integer arithmetic: all targets give the same symbols.
//!
//! ```
//! use siskin::quantize::{Rounding, Step, quantize_in_place};
//! let mut delta = [1.0, -2.0, 3.0, 0.5];
//! let step = Step::new(0.75).unwrap();
//! let quantized = quantize_in_place(&mut delta, step, Rounding::Nearest);
//! assert_eq!(quantized.symbols, [1, -3, 4, 1]);
//! assert_eq!(step.dequantize(4), 3.0);
//! ```

mod carried;
mod conditional;
mod dither;
#[cfg(feature = "layered")]
pub mod layered;
#[cfg(feature = "fisher")]
pub mod log_scale;
pub mod rotated;
mod subset;
mod symbols;
mod uniform;

pub use carried::Carried;
pub use dither::Dither;
pub use rotated::Rotated;
pub use subset::{Subset, scale_of};
pub use symbols::{OptimiseError, Symbols};
pub use uniform::Uniform;

use crate::model::kernel::{Work, wide};
use core::fmt;

/// Largest magnitude of a symbol: `2^24 - 1`, so that `q as f32` is exact.
pub const MAX_SYMBOL: i32 = (1 << 24) - 1;

/// Distance between neighbouring grid points, in the units of the delta: finite, positive, and neither it nor its
/// reciprocal subnormal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    step: f32,
    /// `1 / step` rounded once; multiplying by it is part of the definition of a symbol.
    reciprocal: f32,
}

/// A number that cannot be a [`Step`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StepError {
    /// The number that was refused.
    pub got: f32,
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} is not a positive number with a normal reciprocal", self.got)
    }
}

impl core::error::Error for StepError {}

impl Step {
    /// The step `step`.
    ///
    /// # Errors
    /// [`StepError`] unless `step > 0` and both `step` and `1 / step` are normal numbers.
    pub fn new(step: f32) -> Result<Self, StepError> {
        let reciprocal = 1.0 / step;
        if step > 0.0 && step.is_normal() && reciprocal.is_normal() {
            Ok(Self { step, reciprocal })
        } else {
            Err(StepError { got: step })
        }
    }

    /// The step as a number.
    pub const fn get(self) -> f32 {
        self.step
    }

    /// The real that `symbol` stands for, `symbol * step`; exact conversion, one rounding.
    pub fn dequantize(self, symbol: i32) -> f32 {
        symbol as f32 * self.step
    }
}

/// How a real between two grid points becomes one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// `round_half_even(x / step)`.
    Nearest,
    /// `floor(s) + (u < s - floor(s))` with `s = x * (1 / step)` and `u` the [`Uniform`] of `seed` and coordinate.
    Stochastic {
        /// Fresh for every report; anyone who knows it can tell on which side of a symbol the real was.
        seed: u64,
        /// Index of the first value of the slice, so that a delta may be quantised in pieces.
        first: u32,
    },
}

/// What [`quantize_in_place`] leaves behind.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "saturated and non-finite coordinates are to be reported, not dropped silently"]
pub struct Quantized<'a> {
    /// One symbol a value, magnitudes at most [`MAX_SYMBOL`]; the memory of the values.
    pub symbols: &'a mut [i32],
    /// Finite values whose symbol did not fit and became plus or minus [`MAX_SYMBOL`].
    pub saturated: usize,
    /// NaNs and infinities, which became 0. The stages before make values finite, so this is 0 unless one is broken.
    pub non_finite: usize,
}

/// Turns every value into its symbol, in the same memory: a device needs no second buffer.
///
/// Order of coordinates is kept. Cost on x86-64 with 128-bit vectors: about 0.2 ns a value for nearest, 1.4 ns for stochastic;
/// with 256-bit vectors, which are used where the CPU has them, a fraction of that.
pub fn quantize_in_place(values: &mut [f32], step: Step, rounding: Rounding) -> Quantized<'_> {
    wide(InPlace { values, step, rounding })
}

struct InPlace<'a> {
    values: &'a mut [f32],
    step: Step,
    rounding: Rounding,
}

impl<'a> Work for InPlace<'a> {
    type Output = Quantized<'a>;

    #[inline(always)]
    fn run(self) -> Quantized<'a> {
        let Self { values, step, rounding } = self;
        match rounding {
            Rounding::Nearest => in_place(values, step, |_, scaled, near| nearest(scaled, near)),
            Rounding::Stochastic { seed, first } => {
                let uniform = Uniform::new(seed);
                in_place(values, step, |i, scaled, near| stochastic(scaled, uniform.at(first.wrapping_add(i)), near))
            }
        }
    }
}

/// The same with dither: a symbol is `round_half_even(x * (1 / step) - u)`, with `u` the offset of its coordinate. `first` is the index of
/// the first value of the slice.
pub fn dither_in_place<'a>(values: &'a mut [f32], step: Step, dither: &Dither, first: u32) -> Quantized<'a> {
    wide(Dithered { values, step, dither: *dither, first })
}

struct Dithered<'a> {
    values: &'a mut [f32],
    step: Step,
    dither: Dither,
    first: u32,
}

impl<'a> Work for Dithered<'a> {
    type Output = Quantized<'a>;

    #[inline(always)]
    fn run(self) -> Quantized<'a> {
        let Self { values, step, dither, first } = self;
        in_place(values, step, |i, scaled, near| dithered(scaled, dither.units(first.wrapping_add(i)), near))
    }
}

/// `round(index, scaled, near)` rounds; `near` promises `|scaled| < NEAR`.
#[inline(always)]
fn in_place(values: &mut [f32], step: Step, round: impl Fn(u32, f32, bool) -> i32) -> Quantized<'_> {
    /// Values that take the vectorised path together, or together do not.
    const CHUNK: usize = 1024;
    const LIMIT: f32 = MAX_SYMBOL as f32;
    let (mut saturated, mut non_finite) = (0usize, 0usize);
    let symbols: &mut [i32] = bytemuck::cast_slice_mut(values);
    for (chunk, part) in symbols.chunks_mut(CHUNK).enumerate() {
        // Wraps only past 2^32 coordinates, more than any delta has.
        let first = (chunk as u32).wrapping_mul(CHUNK as u32);
        let real = |symbol: i32| f32::from_bits(symbol as u32);
        // A NaN is not near either.
        let near = |&symbol: &i32| (real(symbol) * step.reciprocal).abs() < NEAR;
        if part.iter().fold(true, |all, symbol| all & near(symbol)) {
            for (i, symbol) in part.iter_mut().enumerate() {
                *symbol = round(first.wrapping_add(i as u32), real(*symbol) * step.reciprocal, true);
            }
            continue;
        }
        for (i, symbol) in part.iter_mut().enumerate() {
            let x = real(*symbol);
            let scaled = if x.is_finite() { x * step.reciprocal } else { 0.0 };
            saturated += usize::from(scaled.abs() > LIMIT);
            non_finite += usize::from(!x.is_finite());
            *symbol = round(first.wrapping_add(i as u32), scaled.clamp(-LIMIT, LIMIT), false);
        }
    }
    Quantized { symbols, saturated, non_finite }
}

/// Bound of the path on which adding [`MAGIC`] rounds to a whole number, half to even, and leaves it in the low bits of the
/// sum: a conversion that every vector unit has.
const NEAR: f32 = 4_194_304.0; // 2^22
const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23

#[inline(always)]
fn nearest(scaled: f32, near: bool) -> i32 {
    if near { (scaled + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32 } else { nearest_far(scaled) }
}

/// Needs `0 <= u < 1`. A whole number stays itself: `u < 0` never holds.
#[inline(always)]
fn stochastic(scaled: f32, u: f32, near: bool) -> i32 {
    if !near {
        return stochastic_far(scaled, u);
    }
    let sum = scaled + MAGIC;
    let (rounded, whole) = (sum - MAGIC, sum.to_bits() as i32 - MAGIC.to_bits() as i32);
    let above = rounded > scaled;
    let floor = if above { rounded - 1.0 } else { rounded };
    whole - i32::from(above) + i32::from(u < scaled - floor)
}

/// `units` in 1/65536. What the offset moves beyond the bound of a path comes back to it, which is where the other path has it too.
#[inline(always)]
fn dithered(scaled: f32, units: i32, near: bool) -> i32 {
    let bound = if near { NEAR } else { MAX_SYMBOL as f32 };
    nearest((scaled - units as f32 * (1.0 / 65_536.0)).clamp(-bound, bound), near)
}

/// Half to even, by truncation because `core` has no `round` on every target. Needs `|scaled| <= 2^24`.
#[inline(always)]
fn nearest_far(scaled: f32) -> i32 {
    let whole = scaled as i32;
    let rest = scaled - whole as f32; // exact; has the sign of `scaled`
    let odd = whole & 1 != 0;
    let up = (rest > 0.5) | ((rest == 0.5) & odd);
    let down = (rest < -0.5) | ((rest == -0.5) & odd);
    whole + i32::from(up) - i32::from(down)
}

/// As [`stochastic`]. Needs `|scaled| <= 2^24`.
#[inline(always)]
fn stochastic_far(scaled: f32, u: f32) -> i32 {
    let whole = scaled as i32;
    let floor = whole - i32::from(whole as f32 > scaled);
    floor + i32::from(u < scaled - floor as f32)
}

#[cfg(test)]
mod tests;
