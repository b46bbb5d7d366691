//! How much of a mask SET and RigL replace at a step.

use super::SparsityError;

/// Fraction of the live params to replace, by step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropFraction {
    /// In `[0, 1]`.
    initial: f32,
    /// Step at which a cosine has come to 0; a constant has none.
    end: Option<u32>,
}

impl DropFraction {
    /// The same at every step.
    ///
    /// # Errors
    /// [`SparsityError::DropFractionOutOfRange`].
    pub fn constant(fraction: f32) -> Result<Self, SparsityError> {
        Self::checked(fraction, None)
    }

    /// From `initial` down to 0 at step `end` and after: `initial * 0.5 * (1 + cos(pi * min(step, end) / end))` (Evci et
    /// al. 2020, arXiv 1911.11134, section 3; optax `cosine_decay_schedule`). 0 everywhere if `end` is 0.
    ///
    /// # Errors
    /// [`SparsityError::DropFractionOutOfRange`].
    pub fn cosine(initial: f32, end: u32) -> Result<Self, SparsityError> {
        Self::checked(initial, Some(end))
    }

    fn checked(initial: f32, end: Option<u32>) -> Result<Self, SparsityError> {
        if (0.0..=1.0).contains(&initial) {
            Ok(Self { initial, end })
        } else {
            Err(SparsityError::DropFractionOutOfRange { got: initial })
        }
    }

    /// The fraction at `step`, in `[0, initial]`. All in f32, as upstream's: near the end the sum `1 + cos` keeps few bits.
    pub fn at(&self, step: u32) -> f32 {
        match self.end {
            None => self.initial,
            Some(end) if step >= end => 0.0,
            Some(end) => {
                let angle = core::f32::consts::PI * step as f32 / end as f32;
                self.initial * (0.5 * (1.0 + libm::cosf(angle)))
            }
        }
    }
}
