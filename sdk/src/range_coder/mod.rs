//! Symbols to bytes and back: an adaptive binary range coder whose contexts are how busy row and column have been.
//!
//! Updates of dense layers are sums of few outer products, so magnitudes have row and column scales and signs follow one
//! dominant pattern; both are learned on the way, from integers that the decoder has too. Zeros, of which there are many, are
//! coded by the block, so that an all-zero block costs one decision. All of it is integer arithmetic.
//!
//! ```
//! use siskin::range_coder::{EntropyCoder, RowColumn, Support, decode, encode};
//! let tensors = [Support::dense(2, 3).unwrap(), Support::dense(1, 2).unwrap()];
//! let symbols = [0, 0, -2, 0, 0, 0, 0, 1];
//! let mut scratch = [0u32; 1025];
//! let scratch = bytemuck::cast_slice_mut(&mut scratch);
//! assert!(scratch.len() >= RowColumn::required_scratch(3));
//! let mut out = [0; 64];
//! let length = encode::<RowColumn>(&tensors, &symbols, &mut out, scratch).unwrap();
//! let mut seen = [0; 8];
//! let count = decode::<RowColumn>(&tensors, &out[..length], scratch, |index, symbol| seen[index] = symbol).unwrap();
//! assert_eq!((count, seen), (8, symbols));
//! ```
//!
//! # Format
//!
//! Enough to write another implementation. `>>` of a negative number rounds down; divisions of naturals round down.
//!
//! **Range coder.** State: `low = 0`, `range = 2^32 - 1`. A decision with `p / 2^16 = P(true)` sets `bound = (range >> 16) * p`;
//! `true` keeps the lower part (`range = bound`), `false` the upper (`low += bound`, `range -= bound`). `n` plain bits of value
//! `v`: `range >>= n`, `low += range * v`. Then, while `range < 2^24`: the top byte of the 32-bit `low` goes out,
//! `low <<= 8`, `range <<= 8`; a carry out of 32 bits is added to the bytes that went out. At the end, with
//! `v` the lowest multiple of `2^24` that is `>= low`: if `v + 2^24 <= low + range` the top byte of `v` goes out; else the two
//! top bytes of the lowest multiple of `2^16` that is `>= low`. A decoder refuses other endings. No live coordinate in any
//! tensor: no byte. Codewords are disjoint intervals, so none is the beginning of another.
//!
//! **Cells.** A cell holds `p` (22 bits, first `2^21`) and a count `n` (first 0). Its decision uses
//! `clamp(p >> 6, 16, 65520)`. Then, with `r = 131072 / (2n + 3)`: after `true`, `p += ((2^22 - 1 - p) >> 7) * r >> 9`;
//! after `false`, `p -= (p >> 7) * r >> 9`; `n = min(n + 1, 63)`. Cells outlive tensors.
//!
//! **Tensor.** One with live coordinates starts with a plain bit. 1: all symbols as plain numbers `q + 2^24` of 25 bits, most
//! significant first, in groups of 8, 8, 8 and 1 bits; before that the cells, `R`, `B` and `S` below are as at the beginning. 0: the
//! rows, as follows, with `C[j] = V[j] = 0` for all columns `j` before the first. An encoder takes 1 where 0 would be too long.
//!
//! **Row.** `S` is the slow average magnitude (in 1/65536; first 0, outlives tensors). A row starts with `R = S >> 8`,
//! `B = S >> 4`, `W = 1` if it is the tensor's first, else 0. Its live coordinates are cut into blocks of 16, the last one
//! shorter. `len` is a block's length, `m = min(|q|, 15)`, `class(x)` the number of 8, 24, 56, 112, 200, 360, 800 that are `<= x`,
//! `octave(x) = clamp(bits(x) - 3, 0, 9)` with `bits` the length in binary, `D[0] = 65536`, `D[i] = D[i-1] * 7 / 8`.
//!
//! **Block.** `T` is the sum of `C` over its columns. A decision "has a nonzero symbol" in cell
//! `flag[kind][octave(B)][octave(T)]`; `kind = 2` if `len <= 8`, else 1 if `R >= 24`, else 0.
//! * Without: `C -= (C + 3) >> 2` for its columns, `R = R * D[len] >> 16`.
//! * With, and `max(B, T) < 128`: *searched*. Start with `i = 0`. (1) `end = len`. While `end - i > 4`: `mid = i + (end - i) / 2`, a
//!   decision "nonzero in `i .. mid`" in `half[h][a][b]`, where `h` is 1 if `mid - i > 4` and `a`, `b` are
//!   `min(ceil(max(bits(sum of C) - 4, 0) / 2), 4)` over the columns of `i .. mid` and `mid .. end`; if true, `end = mid`; else
//!   `R = R * D[mid - i] >> 16` and `i = mid`. (2) Coordinates `i`, `i + 1`, ... up to the first nonzero one, with `left = end - i`
//!   and nothing seen; `i` is then behind it. (3) If `i < len`, a decision "more" in `more[min(L(len - i), 4)][min(octave(sum of C
//!   over i .. len), 7)]`; if true, go to (1); else `R = R * D[len - i] >> 16`. Sums are of `C` before the block; coordinates that were
//!   not coded singly have `C -= (C + 3) >> 2`.
//! * With, otherwise: every coordinate, with `left = len - i`; something is seen behind the first nonzero one.
//!
//! After it, `M` being the sum of `m` and `F = M` if `len = 16`, else `16 M / len`: `B += (256 F - B) >> 2`,
//! `S += (65536 M - len * S) >> 9`.
//!
//! **Coordinate** in column `j`; `r = class(R)`, `c = class(C[j])`. "Nonzero" is a decision in `later[r][c]` if something is seen or if
//! `r >= 2` and `left > 4`; else implied if `left = 1`; else in `first[L(left)][r / 2][c]`. `L` of 2.. is 0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5,
//! 5, 5, and `L(1) = 0`. If nonzero, for `k = 1 ..= 14`: "`|q| > k`" in `small[r][c][k-1]` for `k <= 4`, else `large[r][k-5]`, up to the first
//! `false`. After 14 `true`s, `x = |q| - 14` follows: for `k = 0, 1, ..`: "`bits(x) - 1 > k`" in `prefix[k]` up to the first `false`
//! (24 `true`s are refused), then the bits of `x` below its highest, most significant first, plain, in groups of 8, the last
//! group shorter. `R += (256 m - R) >> 3`, `C[j] += (256 m - C[j]) >> 2`. Magnitudes above `2^24 - 1` are refused.
//!
//! **Sign** of a nonzero symbol, after its magnitude: expected negative if exactly one of `W < 0`, `V[j] < 0`. A decision "other than
//! expected" in `sign[0]` if `W` or `V[j]` is 0, else `sign[1 + 3 t(W) + t(V[j])]`, `t` being 0, 1, 2 for magnitudes below 2, below 4,
//! above. With `s` the sign of the symbol: `W' = clamp(W + s * sgn(V[j]), -8, 8)`, `V[j] = clamp(V[j] + s * sgn(W), -6, 6)`, `W = W'`.

mod binary;
mod blocks;
mod error;
mod model;
mod row_column;
mod support;

pub use error::{CodeError, DecodeError};
pub use row_column::{Decoder, Encoder, RowColumn, SCRATCH_ALIGN};
pub use support::{Support, SupportError};

/// A way to turn the symbols of several tensors into one stream of bytes and back. Both sides know the [`Support`]s, so a
/// stream has no lengths in it and ends by itself.
///
/// A coder is prefix-free: for given supports, no stream of its is the beginning of another one, and its decoder accepts
/// exactly what its encoder writes. A stream that was cut or extended anywhere is therefore always refused.
pub trait EntropyCoder {
    /// Writes a stream.
    type Encoder<'a>: EncodeTensors;
    /// Reads a stream.
    type Decoder<'a>: DecodeTensors;

    /// Bytes of scratch memory, exactly, for tensors of at most `max_cols` columns, either way.
    fn required_scratch(max_cols: u32) -> usize;

    /// Bytes that no stream of `live` symbols exceeds, however they are spread over tensors.
    fn encoded_bound(live: usize) -> usize;

    /// Starts a stream at `out[0]`.
    ///
    /// # Errors
    /// Scratch memory that is too short or misaligned.
    fn encoder<'a>(out: &'a mut [u8], scratch: &'a mut [u8]) -> Result<Self::Encoder<'a>, CodeError>;

    /// Starts reading a stream that is all of `bytes`.
    ///
    /// # Errors
    /// Scratch memory that is too short or misaligned.
    fn decoder<'a>(bytes: &'a [u8], scratch: &'a mut [u8]) -> Result<Self::Decoder<'a>, DecodeError>;
}

/// The writing half of an [`EntropyCoder`].
pub trait EncodeTensors {
    /// Appends one tensor: `symbols[i]` is its i-th live coordinate.
    ///
    /// # Errors
    /// What is wrong with the arguments, or [`CodeError::Full`]. After an error every call returns the same one.
    fn tensor(&mut self, support: &Support<'_>, symbols: &[i32]) -> Result<(), CodeError>;

    /// Ends the stream and returns its length in bytes. Nothing beyond the lent slice was ever written.
    ///
    /// # Errors
    /// [`CodeError::Full`] or an earlier error.
    fn finish(self) -> Result<usize, CodeError>;
}

/// The reading half of an [`EntropyCoder`].
pub trait DecodeTensors {
    /// Reads one tensor and calls `each(index, symbol)` for its nonzero symbols only, in ascending order; `index` counts the
    /// live coordinates of all tensors so far. Trust what was heard only after [`Self::finish`].
    ///
    /// # Errors
    /// What is wrong with the bytes, and where. After an error every call returns the same one.
    fn tensor(&mut self, support: &Support<'_>, each: impl FnMut(usize, i32)) -> Result<(), DecodeError>;

    /// Checks that the stream ends here, byte for byte as an encoder ends it.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Trailing`], [`DecodeError::Ending`] or an earlier error.
    fn finish(self) -> Result<(), DecodeError>;
}

/// Writes all `symbols`, tensor after tensor, with the coder `C` and returns the number of bytes.
///
/// # Errors
/// See [`CodeError`].
pub fn encode<C: EntropyCoder>(
    tensors: &[Support<'_>],
    symbols: &[i32],
    out: &mut [u8],
    scratch: &mut [u8],
) -> Result<usize, CodeError> {
    let mut encoder = C::encoder(out, scratch)?;
    let mut rest = symbols;
    for support in tensors {
        let live = support.live();
        let Some((tensor, after)) = rest.split_at_checked(live) else {
            return Err(CodeError::Length { expected: live, got: rest.len() });
        };
        encoder.tensor(support, tensor)?;
        rest = after;
    }
    if rest.is_empty() {
        encoder.finish()
    } else {
        Err(CodeError::Length { expected: symbols.len() - rest.len(), got: symbols.len() })
    }
}

/// Reads what [`encode`] wrote, calls `each(index, symbol)` for nonzero symbols in ascending order of the index over all
/// tensors, and returns the number of symbols, zeros too.
///
/// # Errors
/// See [`DecodeError`]; `each` may have been called before.
pub fn decode<C: EntropyCoder>(
    tensors: &[Support<'_>],
    bytes: &[u8],
    scratch: &mut [u8],
    mut each: impl FnMut(usize, i32),
) -> Result<usize, DecodeError> {
    let mut decoder = C::decoder(bytes, scratch)?;
    let mut live = 0;
    for support in tensors {
        decoder.tensor(support, &mut each)?;
        live += support.live();
    }
    decoder.finish()?;
    Ok(live)
}

#[cfg(test)]
mod tests;
