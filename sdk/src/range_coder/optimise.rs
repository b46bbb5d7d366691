//! Rounding that weighs error against bits, by the coder's own model.
//!
//! Nearest rounding has the least error of a step, and not the least error of a number of bits: a coordinate just above half a step
//! saves little error and may cost ten bits. [`optimise`] walks over the coordinates as the coder does and, block by block, moves
//! symbols towards zero where that lowers `error + price bits`, with the bits that the model would take there, adapted to all that
//! was chosen before. What a choice does to later blocks is left out. The stream is an ordinary one; no decoder knows of it.
//!
//! It is biased, as nearest rounding is and more so: for one device's smallest error, not for the mean of many (there stochastic rounding
//! is better at low rates). Nothing is added to it after a clip: symbols only shrink against nearest ones.
//!
//! Prices that suit a step are near the slope `-dD/dR` of a fine grid, `(2 ln 2) / 12 = 0.116` squared steps a bit: 0.08 to 0.2.

use super::binary::Bins;
use super::blocks::{Row, Source, State, Stop, Unknown, WalkRow, block, walk};
use super::model::{BLOCK, Columns, Memory};
use super::row_column::scratch_error;
use super::{CodeError, Start, Support};
use crate::checkin::parts;
use crate::quantize::MAX_SYMBOL;
use core::cell::{Cell, RefCell};

/// Parts of a step that a coordinate is given in.
pub const FINE: i32 = 256;

/// Adds up what decisions cost and writes nothing.
struct Price {
    /// 1/256 bits.
    bits: u64,
}

/// `-log2(p / 65536)` in 1/256 bits, within 3 of it: `log2(1 + x)` is nearly `x + 0.3431 x (1 - x)`.
fn cost(p: u32) -> u32 {
    let top = 31 - p.max(1).leading_zeros();
    // 1 + x in 1/65536, top is at most 16.
    let x = (p << (16 - top)) & 0xffff;
    let bend = (x * (0x1_0000 - x).min(0xffff)) >> 16;
    let fraction = (x + ((bend * 22_485) >> 16)) >> 8;
    ((16 - top) << 8) - fraction.min(255)
}

impl Bins for Price {
    #[inline(always)]
    fn bin(&mut self, p: u32, bit: bool) -> bool {
        self.bits += u64::from(cost(if bit { p } else { 65_536 - p }));
        bit
    }
    fn plain(&mut self, bits: u32, count: u32) -> u32 {
        self.bits += u64::from(count << 8);
        bits
    }
    fn over(&self) -> bool {
        false
    }
}

/// Chooses block by block; what was a fine value becomes a symbol.
#[derive(Clone, Copy)]
struct Choose<'a> {
    values: &'a [Cell<i32>],
    memory: &'a RefCell<Memory>,
    /// Squared steps a bit, in 1/256.
    price: u32,
}

/// Half away from zero.
fn nearest(fine: i32) -> i32 {
    let size = (fine.unsigned_abs() + FINE as u32 / 2) / FINE as u32;
    if fine < 0 { -(size as i32) } else { size as i32 }
}

impl Choose<'_> {
    /// Squared error and priced bits of a block, in `(step / 256)^2`.
    fn loss(
        self,
        state: &mut State<'_>,
        memory: &Memory,
        columns: &Columns,
        fine: &[i32; BLOCK],
        symbols: &[i32; BLOCK],
        part: (usize, usize),
    ) -> u64 {
        let (mut columns, mut bins) = (*columns, Price { bits: 0 });
        // Symbols are in range, and a price has no end.
        let _ = block(&mut bins, state, &mut columns, symbols, part, |i| i, &mut |_, _| ());
        state.model.restore(memory);
        let error: u64 = fine.iter().zip(symbols).map(|(x, q)| u64::from((x - q * FINE).unsigned_abs()).pow(2)).sum();
        error + u64::from(self.price) * bins.bits
    }

    fn choose(
        self,
        state: &mut State<'_>,
        memory: &mut Memory,
        columns: &Columns,
        fine: &[i32; BLOCK],
        part: (usize, usize),
    ) -> [i32; BLOCK] {
        let mut best = fine.map(nearest);
        if best == [0; BLOCK] {
            return best;
        }
        state.model.save(memory);
        let mut least = self.loss(state, memory, columns, fine, &best, part);
        let mut consider = |best: &mut [i32; BLOCK], candidate: [i32; BLOCK]| {
            let loss = self.loss(state, memory, columns, fine, &candidate, part);
            if loss < least {
                (*best, least) = (candidate, loss);
            }
        };
        for i in 0..part.1 {
            if best[i] != 0 {
                let mut candidate = best;
                candidate[i] -= candidate[i].signum();
                consider(&mut best, candidate);
            }
        }
        if best != [0; BLOCK] {
            consider(&mut best, [0; BLOCK]);
        }
        best
    }
}

impl WalkRow for Choose<'_> {
    fn row<B: Bins, S: Source, R: Row>(
        self,
        bins: &mut B,
        state: &mut State<'_>,
        row: R,
        (first, length): (usize, usize),
        _: &S,
        each: &mut impl FnMut(usize, i32),
    ) -> Result<(), Stop> {
        // Rows do not nest.
        let memory = &mut *self.memory.borrow_mut();
        let mut start = 0;
        while start < length {
            let len = (length - start).min(BLOCK);
            let values = &self.values[first + start..first + start + len];
            let mut fine = [0; BLOCK];
            fine.iter_mut().zip(values).for_each(|(fine, value)| *fine = value.get());
            let mut columns = row.load(state, start, len);
            let symbols = self.choose(state, memory, &columns, &fine, (start, len));
            values.iter().zip(symbols).for_each(|(value, symbol)| value.set(symbol));
            block(bins, state, &mut columns, &symbols, (start, len), |i| first + start + i, each)?;
            row.store(state, &columns, start, len);
            start += len;
        }
        Ok(())
    }
}

/// Symbols of least `error + price bits`, in the place of coordinates in 1/[`FINE`] steps; returns about how many bits they take.
///
/// `price` is in squared steps a bit, in 1/256: 30 is 0.117. With 0 the symbols are the nearest ones. The coder begins with
/// `start`; `scratch` is that of an
/// [`Encoder`](super::Encoder), 4 KB of stack beside it. Each block with a nonzero symbol is tried once for each of them and twice more.
///
/// # Errors
/// [`CodeError`] of a support that is none, of other numbers of coordinates than live, of scratch memory, and of a coordinate above
/// `2^24 - 1`.
pub fn optimise<'s>(
    tensors: impl IntoIterator<Item = Support<'s>>,
    start: Start<'_>,
    values: &mut [i32],
    price: u32,
    scratch: &mut [u8],
) -> Result<u64, CodeError> {
    let mut state = State::new(scratch).map_err(scratch_error)?;
    if parts::STARTS.here {
        state.model.begin(start);
    }
    if let Some(index) = values.iter().position(|x| x.unsigned_abs() > MAX_SYMBOL as u32) {
        return Err(CodeError::Symbol { index, got: values[index] });
    }
    let (got, mut rest) = (values.len(), Cell::from_mut(values).as_slice_of_cells());
    let mut bins = Price { bits: 0 };
    let memory = RefCell::new(Memory::NONE);
    for support in tensors {
        support.check().map_err(CodeError::Support)?;
        if let Some((expected, got)) = state.too_narrow(support.width()) {
            return Err(CodeError::Scratch { expected, got });
        }
        let live = support.live();
        let Some((values, after)) = rest.split_at_checked(live) else {
            return Err(CodeError::Length { expected: live, got: rest.len() });
        };
        rest = after;
        let way = Choose { values, memory: &memory, price };
        // Symbols are in range, and a price has no end.
        let _ = walk(&mut bins, &mut state, &support, Unknown, way, |_, _| ());
    }
    if rest.is_empty() { Ok(bins.bits >> 8) } else { Err(CodeError::Length { expected: got - rest.len(), got }) }
}

#[cfg(test)]
mod tests;
