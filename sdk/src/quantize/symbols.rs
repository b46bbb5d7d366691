//! The step from a clipped delta to symbols that keep the bound.

use super::{MAX_SYMBOL, Step, conditional, rotated};
use crate::checkin::{Quantization, Rounding, parts};
use crate::privacy::{ClippedDelta, GridBound, GridBoundError, sum_of_squares};

/// A clipped delta on the plan's grid: integers whose sum of squares is at most that of the [`GridBound`], checked exactly.
///
/// The only way on is [`noise`](Self::noise), also where the plan leaves the noise to the server:
/// ```compile_fail,E0599
/// use siskin::{checkin::Plan, model::Graph, quantize::Symbols};
/// let _ = |symbols: Symbols<'_>, plan: &Plan, graph: &Graph| {
///     let _ = symbols.encode((plan, 0), (1, &siskin::quantize::Carried::All), &[], (graph, &[], &[]), &mut [], &mut []); // not noised: no such method
/// };
/// ```
/// With that step it compiles:
/// ```
/// use siskin::{checkin::Plan, model::Graph, quantize::Symbols};
/// let _ = |symbols: Symbols<'_>, plan: &Plan, graph: &Graph, rng: &mut rand_chacha::ChaCha20Rng| {
///     let noised = symbols.noise(&plan.privacy, rng).unwrap();
///     let _ = noised.encode((plan, 0), (1, &siskin::quantize::Carried::All), &[], (graph, &[], &[]), &mut [], &mut []);
/// };
/// ```
#[derive(Debug)]
pub struct Symbols<'a> {
    pub(crate) values: &'a mut [i32],
    pub(crate) clip_norm: f32,
    pub(crate) step: f32,
    saturated: usize,
    /// Rounding may have lengthened it beyond the clip norm: no noise is to be added.
    pub(crate) roomy: bool,
}

impl<'a> ClippedDelta<'a> {
    /// Puts every coordinate on the grid, in the same memory, so that the symbols together keep the clip norm: shortened first
    /// where rounding would lengthen them beyond it, and the zero vector if everything else fails. Of a delta
    /// [`without_noise`](Self::without_noise) they keep the clip norm and what rounding adds, so that nothing is shortened. `seed` drives
    /// stochastic rounding and must be fresh for every report. The bit of an adaptive clip, unless it was rotated, is set exactly
    /// ([`GridBound::bit`]), and the others keep what its square leaves of the bound.
    ///
    /// Of [`Rounding::Rotated`] the delta must have been rotated and be without noise; [`rotated`] says what becomes of it.
    ///
    /// Costs nine passes over the values, one with each coin and each look at the sum of squares; without noise, one.
    ///
    /// # Errors
    /// [`GridBoundError`] if clip norm and step do not go together; a checked plan's always do.
    pub fn quantize(self, quantization: &Quantization, seed: u64) -> Result<Symbols<'a>, GridBoundError> {
        let (clip_norm, step) = (self.clip_norm(), quantization.step);
        let bound = match self.room_for {
            Some(coordinates) => GridBound::with_room(clip_norm, quantization, coordinates, self.bit_share())?,
            None => GridBound::new(clip_norm, step)?.with_bit(self.bit_share()),
        };
        let grid = Step::new(step).map_err(|_| GridBoundError { clip_norm, step })?;
        if parts::ROTATED.here && quantization.rounding == Rounding::Rotated {
            // A checked plan promises no noise then, and has no clip bit.
            let most = match self.room_for {
                Some(count) => rotated::largest_scale(clip_norm, step, count),
                None => return Err(GridBoundError { clip_norm, step }),
            };
            let rotated::Chosen { symbols, saturated } = rotated::choose(self.values, quantization, most, seed);
            debug_assert!(bound.holds(symbols));
            return Ok(Symbols { values: symbols, clip_norm, step, saturated: usize::from(saturated), roomy: true });
        }
        let coins = match quantization.rounding {
            Rounding::Nearest => None,
            _ => Some(seed),
        };
        let bit = self.bit_share().map(|_| bound.bit());
        // The bit's square is at most the bound's.
        let limit = bound.squares() - bit.map_or(0, |bit| u128::from(bit.unsigned_abs()).pow(2));
        let (values, roomy) = (self.values, self.room_for.is_some());
        let rounded = values.len() - usize::from(bit.is_some() && !values.is_empty());
        let round = if roomy { conditional::round_with_room } else { conditional::round_within };
        let conditional::Bounded { symbols, saturated } = round(&mut values[..rounded], grid, coins, limit);
        debug_assert!(sum_of_squares(symbols) <= limit);
        let values: &mut [i32] = bytemuck::cast_slice_mut(values);
        if let (Some(bit), Some(last)) = (bit, values.last_mut()) {
            *last = if f32::from_bits(*last as u32) > 0.0 { bit } else { -bit };
        }
        Ok(Symbols { values, clip_norm, step, saturated, roomy })
    }
}

impl Symbols<'_> {
    /// One integer per coordinate, of magnitude at most [`MAX_SYMBOL`].
    pub fn values(&self) -> &[i32] {
        self.values
    }

    /// Coordinates that were too large for a symbol and became the largest one.
    pub fn saturated(&self) -> usize {
        debug_assert!(self.values.iter().all(|q| q.unsigned_abs() <= MAX_SYMBOL as u32));
        self.saturated
    }
}
