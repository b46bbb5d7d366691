//! Table 1: the same integers through every lossless coder.

use crate::codec::{CodecError, RoundingKind, Update, measure_update};
use serde::{Deserialize, Serialize};

/// Steps in root mean squares.
pub const STEPS: [f64; 3] = [0.5, 3.0, 10.0];

/// One update at one step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the update.
    pub update: String,
    /// Its params.
    pub params: usize,
    /// Step in its root mean squares.
    pub step_rms: f64,
    /// How it was rounded.
    pub rounding: String,
    /// Symbols that are not 0.
    pub nonzero: usize,
    /// Bits a param of each coder, whole messages; each was decoded again and compared.
    pub bits: Vec<(String, f64)>,
}

impl Row {
    /// Bits a param of one coder.
    pub fn bits_of(&self, coder: &str) -> Option<f64> {
        self.bits.iter().find(|(name, _)| name == coder).map(|(_, bits)| *bits)
    }

    /// Bits of one coder over those of zero runs in Elias gamma.
    pub fn ratio(&self, coder: &str) -> Option<f64> {
        Some(self.bits_of(coder)? / self.bits_of("rlgamma")?)
    }
}

/// Number of calls of `done`.
pub fn work(updates: &[Update]) -> u64 {
    (updates.len() * STEPS.len() * 2) as u64
}

/// All rows. `seed` is that of stochastic rounding.
///
/// # Errors
/// [`CodecError`] names the update.
pub fn table(updates: &[Update], seed: u64, mut done: impl FnMut()) -> Result<Vec<Row>, CodecError> {
    let mut rows = Vec::new();
    for update in updates {
        for rounding in [RoundingKind::Nearest, RoundingKind::Stochastic { seed }] {
            for step_rms in STEPS {
                let measured =
                    measure_update(update, step_rms, rounding).map_err(|e| CodecError::new(&*update.name, e))?;
                rows.push(Row {
                    update: update.name.clone(),
                    params: measured.params,
                    step_rms,
                    rounding: rounding.name().to_owned(),
                    nonzero: measured.nonzero,
                    bits: measured.bits_per_param().map(|(name, bits)| (name.to_owned(), bits)).collect(),
                });
                done();
            }
        }
    }
    Ok(rows)
}
