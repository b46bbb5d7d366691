//! The step from a noised delta to symbols.

use super::{MAX_SYMBOL, Quantized, Step, StepError, quantize_in_place};
use crate::checkin::{Quantization, Rounding};
use crate::privacy::NoisedDelta;

/// A delta on the plan's grid: what a report carries.
#[derive(Debug)]
pub struct Symbols<'a> {
    pub(crate) values: &'a mut [i32],
    saturated: usize,
}

impl<'a> NoisedDelta<'a> {
    /// Puts every coordinate on the grid, in the same memory. `seed` drives stochastic rounding and must be fresh for
    /// every report.
    ///
    /// # Errors
    /// [`StepError`] if the plan's step is no step; a checked plan's always is.
    pub fn quantize(self, quantization: &Quantization, seed: u64) -> Result<Symbols<'a>, StepError> {
        let step = Step::new(quantization.step)?;
        let rounding = match quantization.rounding {
            Rounding::Nearest => super::Rounding::Nearest,
            Rounding::Stochastic => super::Rounding::Stochastic { seed, first: 0 },
        };
        let Quantized { symbols, saturated, .. } = quantize_in_place(self.values, step, rounding);
        Ok(Symbols { values: symbols, saturated })
    }
}

impl Symbols<'_> {
    /// One integer per live coordinate, of magnitude at most [`MAX_SYMBOL`].
    pub fn values(&self) -> &[i32] {
        self.values
    }

    /// Coordinates that were too large for a symbol and became the largest one.
    pub fn saturated(&self) -> usize {
        debug_assert!(self.values.iter().all(|q| q.unsigned_abs() <= MAX_SYMBOL as u32));
        self.saturated
    }
}
