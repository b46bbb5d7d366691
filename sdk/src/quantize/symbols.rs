//! The step from a clipped delta to symbols that keep the bound.

use super::{Dither, MAX_SYMBOL, Quantized, Rounding as Way, Step};
use super::{conditional, dither_in_place, quantize_in_place, rotated};
use crate::checkin::{Quantization, Rounding, parts};
use crate::privacy::{ClippedDelta, GridBound, GridBoundError, sum_of_squares};
use crate::range_coder::{self, CodeError, FINE, Start, Support};
use core::fmt;

/// A clipped delta on the plan's grid: integers whose sum of squares is at most that of the [`GridBound`], checked exactly.
///
/// The only way on is [`noise`](Self::noise), also where the plan leaves the noise to the server:
/// ```compile_fail,E0599
/// use siskin::{checkin::Plan, model::Graph, quantize::Symbols};
/// let _ = |symbols: Symbols<'_>, plan: &Plan, graph: &Graph| {
///     let _ = symbols.encode((plan, 0), (1, &siskin::quantize::Carried::All, siskin::range_coder::Start::NONE), &[], (graph, &[], &[]), &mut [], &mut []); // not noised: no such method
/// };
/// ```
/// With that step it compiles:
/// ```
/// use siskin::{checkin::Plan, model::Graph, quantize::Symbols};
/// let _ = |symbols: Symbols<'_>, plan: &Plan, graph: &Graph, rng: &mut rand_chacha::ChaCha20Rng| {
///     let noised = symbols.noise(&plan.privacy, rng).unwrap();
///     let _ = noised.encode((plan, 0), (1, &siskin::quantize::Carried::All, siskin::range_coder::Start::NONE), &[], (graph, &[], &[]), &mut [], &mut []);
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
    /// [`Rounding::Dithered`] is [`dither`](Self::dither), [`Rounding::Optimised`] is [`optimise`](Self::optimise).
    ///
    /// Costs nine passes over the values, one with each coin and each look at the sum of squares; without noise, one.
    ///
    /// # Errors
    /// [`GridBoundError`] if clip norm and step do not go together; a checked plan's always do.
    pub fn quantize(self, quantization: &Quantization, seed: u64) -> Result<Symbols<'a>, GridBoundError> {
        let refused = GridBoundError { clip_norm: self.clip_norm(), step: quantization.step };
        let coins = match quantization.rounding {
            Rounding::Rotated if parts::ROTATED.here => return self.choose_signs(quantization, seed),
            Rounding::Dithered | Rounding::Optimised { .. } => return Err(refused),
            Rounding::Nearest => None,
            _ => Some(seed),
        };
        let round = match self.room_for {
            Some(_) => conditional::round_with_room,
            None => conditional::round_within,
        };
        self.on_grid(quantization, |values, step, limit| Ok(round(values, step, coins, limit)))
    }

    /// The same after `dither` was taken away, for plans that round [`Rounding::Dithered`]. The delta is one
    /// [`without_noise`](Self::without_noise).
    ///
    /// # Errors
    /// [`GridBoundError`] if the delta is another one; a checked plan's never is.
    pub fn dither(self, quantization: &Quantization, dither: &Dither) -> Result<Symbols<'a>, GridBoundError> {
        let refused = GridBoundError { clip_norm: self.clip_norm(), step: quantization.step };
        if !parts::DITHER.here || self.room_for.is_none() || quantization.rounding != Rounding::Dithered {
            return Err(refused);
        }
        self.on_grid(quantization, |values, step, limit| {
            Ok(conditional::checked(dither_in_place(values, step, dither, 0), limit))
        })
    }

    /// Puts every coordinate on the grid so that error and priced bits are least together ([`range_coder::optimise`]), in the same memory.
    /// The delta is one [`without_noise`](Self::without_noise), of plans that round [`Rounding::Optimised`]; `tensors` are those of the
    /// live coordinates, in their order, `start` is what the coder begins with and `scratch` its own.
    /// Coordinates beyond 65,535 steps saturate.
    ///
    /// # Errors
    /// [`OptimiseError`] if the delta is another one, or tensors and scratch memory are not its.
    pub fn optimise<'s>(
        self,
        quantization: &Quantization,
        (tensors, start): (impl IntoIterator<Item = Support<'s>>, Start<'_>),
        scratch: &mut [u8],
    ) -> Result<Symbols<'a>, OptimiseError> {
        let refused = GridBoundError { clip_norm: self.clip_norm(), step: quantization.step };
        match quantization.rounding {
            Rounding::Optimised { price } if parts::OPTIMISED.here && self.room_for.is_some() => {
                self.on_grid(quantization, |values, step, limit| {
                    let fine = Step::new(step.get() / FINE as f32).map_err(|_| refused)?;
                    let Quantized { symbols, saturated, .. } = quantize_in_place(values, fine, Way::Nearest);
                    range_coder::optimise(tensors, start, symbols, price.into(), scratch)?;
                    Ok(conditional::checked(Quantized { symbols, saturated, non_finite: 0 }, limit))
                })
            }
            _ => Err(refused.into()),
        }
    }

    fn choose_signs(self, quantization: &Quantization, seed: u64) -> Result<Symbols<'a>, GridBoundError> {
        let (clip_norm, step) = (self.clip_norm(), quantization.step);
        // A checked plan promises no noise then, and has no clip bit.
        let Some(count) = self.room_for else { return Err(GridBoundError { clip_norm, step }) };
        let bound = GridBound::with_room(clip_norm, quantization, count, None)?;
        let most = rotated::largest_scale(clip_norm, step, count);
        let rotated::Chosen { symbols, saturated } = rotated::choose(self.values, quantization, most, seed);
        debug_assert!(bound.holds(symbols));
        Ok(Symbols { values: symbols, clip_norm, step, saturated: usize::from(saturated), roomy: true })
    }

    /// What `round` makes of the coordinates, with a bound on its sum of squares, and the clip bit behind them.
    fn on_grid<E: From<GridBoundError>>(
        self,
        quantization: &Quantization,
        round: impl FnOnce(&mut [f32], Step, u128) -> Result<conditional::Bounded<'_>, E>,
    ) -> Result<Symbols<'a>, E> {
        let (clip_norm, step) = (self.clip_norm(), quantization.step);
        let bound = match self.room_for {
            Some(coordinates) => GridBound::with_room(clip_norm, quantization, coordinates, self.bit_share())?,
            None => GridBound::new(clip_norm, step)?.with_bit(self.bit_share()),
        };
        let grid = Step::new(step).map_err(|_| GridBoundError { clip_norm, step })?;
        let bit = self.bit_share().map(|_| bound.bit());
        // The bit's square is at most the bound's.
        let limit = bound.squares() - bit.map_or(0, |bit| u128::from(bit.unsigned_abs()).pow(2));
        let (values, roomy) = (self.values, self.room_for.is_some());
        let rounded = values.len() - usize::from(bit.is_some() && !values.is_empty());
        let conditional::Bounded { symbols, saturated } = round(&mut values[..rounded], grid, limit)?;
        debug_assert!(sum_of_squares(symbols) <= limit);
        let values: &mut [i32] = bytemuck::cast_slice_mut(values);
        if let (Some(bit), Some(last)) = (bit, values.last_mut()) {
            *last = if f32::from_bits(*last as u32) > 0.0 { bit } else { -bit };
        }
        Ok(Symbols { values, clip_norm, step, saturated, roomy })
    }
}

/// Why a delta has no optimised symbols.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum OptimiseError {
    /// Clip norm and step do not go together, or the delta is not one for this rounding.
    Grid(GridBoundError),
    /// Tensors or scratch memory do not belong to the delta.
    Code(CodeError),
}

impl fmt::Display for OptimiseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grid(e) => write!(f, "no optimised rounding: {e}"),
            Self::Code(e) => write!(f, "no optimised rounding: {e}"),
        }
    }
}

impl core::error::Error for OptimiseError {}

impl From<GridBoundError> for OptimiseError {
    fn from(e: GridBoundError) -> Self {
        Self::Grid(e)
    }
}

impl From<CodeError> for OptimiseError {
    fn from(e: CodeError) -> Self {
        Self::Code(e)
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
