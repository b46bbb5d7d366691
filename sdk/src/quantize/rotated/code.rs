//! The code: bits from the most significant on, zeros up to a byte behind the last.
//!
//! 1. The scale's code, 12 bits. 0 is a report of zeros, and nothing follows.
//! 2. For each of the `k` coordinates that travel, rising: its gap, then one bit, 1 if it is negative. The gap is the number of coordinates passed
//!    over since the last one (since the start), in Golomb's code of parameter `M = max(1, round(ln 2 * n / k))`, the best one for
//!    places at random (Gallager and van Voorhis 1975): the quotient by `M` as so many ones and a zero, then the remainder `r` in
//!    truncated binary: with `b = ceil(log2 M)` and `c = 2^b - M`, `r` in `b - 1` bits if it is below `c`, else `r + c` in `b`.

use super::{CODES, code_below, scale};
use crate::range_coder::{CodeError, DecodeError};

const SCALE_BITS: u32 = CODES.ilog2();

/// Golomb's parameter: of `n` and `k` as above, with `ln 2` as 45,426 / 65,536.
fn parameter(count: usize, length: usize) -> u64 {
    let (n, k) = (length as u64, count.max(1) as u64);
    ((n.saturating_mul(45_426) / k + (1 << 15)) >> 16).max(1)
}

/// Most bits of a remainder, and how many of the remainders take one less.
fn truncated(parameter: u64) -> (u32, u64) {
    let bits = parameter.next_power_of_two().trailing_zeros();
    (bits, (1 << bits) - parameter)
}

/// Most bytes: gaps add up to `n - k` at the most, so that quotients do to that over `M`.
pub(super) fn bound(count: usize, length: usize) -> usize {
    let parameter = parameter(count, length);
    let (bits, _) = truncated(parameter);
    let of_each = (count as u64).saturating_mul(u64::from(bits) + 2);
    let quotients = length.saturating_sub(count) as u64 / parameter;
    let all = of_each.saturating_add(quotients).saturating_add(u64::from(SCALE_BITS));
    usize::try_from(all.div_ceil(8)).unwrap_or(usize::MAX)
}

/// Mean bits, if places are random.
pub(super) fn expected(count: usize, length: usize) -> f64 {
    let parameter = parameter(count, length);
    let (bits, shorter) = truncated(parameter);
    // Gaps are about geometric: `g` with probability `p (1 - p)^g`.
    let none = 1.0 - (count as f64 / length as f64).min(1.0);
    let whole = libm::pow(none, parameter as f64);
    let quotient = whole / (1.0 - whole).max(1e-300);
    let saved = (1.0 - libm::pow(none, shorter as f64)) / (1.0 - whole).max(1e-300);
    f64::from(SCALE_BITS) + count as f64 * (2.0 + quotient + f64::from(bits) - saved) + 3.5
}

struct Writer<'a> {
    out: &'a mut [u8],
    /// Bits written.
    at: usize,
}

impl Writer<'_> {
    /// The lower `bits` of `value`, at most 63.
    fn put(&mut self, value: u64, bits: u32) -> Result<(), CodeError> {
        for bit in (0..bits).rev() {
            let capacity = self.out.len();
            let byte = self.out.get_mut(self.at / 8).ok_or(CodeError::Full { capacity })?;
            let place = 7 - self.at % 8;
            // What was in the slice before must not show.
            *byte = if place == 7 { 0 } else { *byte } | ((value >> bit & 1) as u8) << place;
            self.at += 1;
        }
        Ok(())
    }
}

pub(super) fn encode(count: usize, length: usize, symbols: &[i32], out: &mut [u8]) -> Result<usize, CodeError> {
    if symbols.len() != length {
        return Err(CodeError::Length { expected: length, got: symbols.len() });
    }
    let mut writer = Writer { out, at: 0 };
    let first = symbols.iter().position(|q| *q != 0);
    let size = first.map_or(0, |first| symbols[first].unsigned_abs());
    let code = code_below(size.min(super::MAX_SCALE));
    let no_scale = |index: usize| CodeError::Symbol { index, got: symbols[index] };
    if let Some(first) = first.filter(|_| scale(code) != size) {
        return Err(no_scale(first));
    }
    writer.put(u64::from(code), SCALE_BITS)?;
    if size == 0 {
        return Ok(writer.at.div_ceil(8));
    }
    let parameter = parameter(count, length);
    let (bits, shorter) = truncated(parameter);
    let (mut next, mut travelling) = (0, 0);
    for (index, q) in symbols.iter().enumerate().filter(|(_, q)| **q != 0) {
        if q.unsigned_abs() != size {
            return Err(no_scale(index));
        }
        let gap = (index - next) as u64;
        for _ in 0..gap / parameter {
            writer.put(1, 1)?;
        }
        writer.put(0, 1)?;
        let rest = gap % parameter;
        if rest < shorter {
            writer.put(rest, bits - 1)?;
        } else {
            writer.put(rest + shorter, bits)?;
        }
        writer.put(u64::from(*q < 0), 1)?;
        (next, travelling) = (index + 1, travelling + 1);
    }
    if travelling != count {
        return Err(CodeError::Length { expected: count, got: travelling });
    }
    Ok(writer.at.div_ceil(8))
}

struct Reader<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn bit(&mut self) -> Result<u64, DecodeError> {
        let truncated = DecodeError::Truncated { position: self.payload.len() };
        let byte = self.payload.get(self.at / 8).ok_or(truncated)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(u64::from(bit))
    }

    fn take(&mut self, bits: u32) -> Result<u64, DecodeError> {
        let mut value = 0;
        for _ in 0..bits {
            value = value << 1 | self.bit()?;
        }
        Ok(value)
    }
}

pub(super) fn decode(
    count: usize,
    length: usize,
    payload: &[u8],
    mut each: impl FnMut(usize, i32),
) -> Result<(), DecodeError> {
    let mut reader = Reader { payload, at: 0 };
    let size = scale(reader.take(SCALE_BITS)? as u32) as i32;
    let parameter = parameter(count, length);
    let (bits, shorter) = truncated(parameter);
    let mut next = 0u64;
    for _ in 0..if size == 0 { 0 } else { count } {
        let mut gap = 0;
        while gap <= length as u64 && reader.bit()? == 1 {
            gap += parameter;
        }
        if bits > 0 {
            let rest = reader.take(bits - 1)?;
            gap += if rest < shorter { rest } else { (rest << 1 | reader.bit()?) - shorter };
        }
        let index = next + gap;
        if index >= length as u64 {
            return Err(DecodeError::Symbol { index: length, position: reader.at / 8 });
        }
        each(index as usize, if reader.bit()? == 1 { -size } else { size });
        next = index + 1;
    }
    let used = reader.at.div_ceil(8);
    while reader.at < 8 * used {
        if reader.bit()? != 0 {
            return Err(DecodeError::Ending { position: used - 1 });
        }
    }
    if used < payload.len() { Err(DecodeError::Trailing { position: used }) } else { Ok(()) }
}
