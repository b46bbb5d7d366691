//! Symbols to bytes and back: an adaptive binary range coder whose contexts are how busy row and column have been.
//!
//! Updates of dense layers are sums of few outer products, so magnitudes have row and column scales and signs follow one
//! dominant pattern; both are learned on the way, from integers that the decoder has too. Each decision mixes what four
//! small sets of contexts say of it. Where nearly all symbols are zero, an all-zero block costs one decision. All of it is
//! integer arithmetic; the four tables of constants are computed when the crate is compiled.
//!
//! ```
//! use siskin::range_coder::{EntropyCoder, RowColumn, Support, decode, encode};
//! let tensors = [Support::dense(2, 3).unwrap(), Support::dense(1, 2).unwrap()];
//! let symbols = [0, 0, -2, 0, 0, 0, 0, 1];
//! let mut scratch = [0u32; 1027];
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
//! **Decisions.** A cell holds a probability `p` in 1/65536 (first 32768) and a count `n` (first 0); a set holds four
//! weights (first 16000). A decision has one set, a pace `(shift, limit)` and four cells, one of each of its kind's tables.
//! It is coded with `SQUASH[(clamp(sum of w * STRETCH[p >> 6] >> 16, -2816, 2815) + 2816) >> 3]`. Then, with `e` that
//! probability subtracted from 65536 after `true`, from 0 after `false`: each
//! `w = clamp(w + ((STRETCH[p >> 6] * e + 2^(shift - 1)) >> shift), -131071, 131071)`, with the `p` from before; each cell
//! has `d = 65535 - p` after `true`, `d = p` after `false`, and moves `p` by `d * (131072 / (2n + 3)) >> 16` up or down;
//! `n` grows by 1 if it is below `limit`. Sets and cells outlive tensors.
//! `STRETCH[i] = round(256 ln(p / (1 - p)))` with `p = (i + 1/2) / 1024`.
//! `SQUASH[i] = 65536 / (1 + exp(-(8 i - 2812) / 256))`, rounded, then clamped to 16 ..= 65520.
//!
//! **Subset.** Where only a part of the coordinates travels ([`Subset`](crate::quantize::Subset)), the others are coded as if they did
//! not live: the stream is that of compressed rows with only those that travel.
//!
//! **Tensor.** One with live coordinates starts with a plain bit. 0: the rows, as follows, with `C[j] = A >> 4` (slow average of
//! column `j`, in 1/4096), `F[j] = 0` (fast average, in 1/16), `V[j] = 0` (vote), `U[j] = 0` (symbol above) for all columns `j`
//! before the first. 1: before anything else cells, sets and `A` are as at the beginning. If fewer than 1,000 coordinates live and no tensor
//! was coded by rows since cells, sets and `A` were last as at the beginning, a second plain bit follows: 0 is a tensor without
//! contexts. Else, or after 1: all symbols as plain numbers `q + 2^24` of 25 bits, most significant first, in groups of 8, 8, 8 and 1 bits.
//! An encoder takes what is shortest of rows and no contexts, and plain numbers where that would be too long.
//!
//! **Without contexts.** 48 cells of the tensor's own; a decision is coded with the `p` of one cell, which then moves as above with
//! `limit` 80. A symbol of magnitude `m < 2^24` with `d = bits(m)` binary digits: for `k = 0, 1, ...`: "`d > k`", cell `k`, up
//! to the first `false` or 24 `true`s. If `d > 0`: if `d > 1`, the digit below the highest, cell `23 + d`, `true` being 1; the
//! digits below that, most significant first, plain, in groups of 8, the last group shorter; a plain bit that is 1 if negative.
//!
//! **Row** `r` (from 0). `A` is the average magnitude of all before (in 1/65536; first 0, outlives tensors). A row starts
//! with `R = A` (its average, in 1/65536), `B = A >> 4` (sum in a block, in 1/256), `P = Q = 0` (the last two magnitudes),
//! `L = 0` (`F` of the coordinate before), `W = 1` if `r = 0`, else 0 (its vote). Its live coordinates are cut into blocks
//! of 16, the last one shorter. `len` is a block's length, `m = min(|q|, 15)`, `bits(x)` the length in binary, `half(x)` is
//! `x` below 2, else `2 bits(x) - 1` and 1 more if the bit after the highest is set; `quarter(x)` is, with `y = 4 (x + 1)`,
//! `4 (bits(y) - 3)` and the number that the two bits after the highest one are. `x:k` is `min(x, k)`
//! and binds closest.
//! `c = 65536 / min(r + 2, 64)`, `h = 40503 r mod 65536`, `f(i) = 65536 / min(i + 3, 512)` with `i` the index in the row,
//! of live coordinates only.
//!
//! **Block.** `T` and `G` are the sums of `C` and `F` over its columns,
//! `E = max(quarter(R >> 4) + quarter(T >> 4) + 8 - quarter(A >> 4), 0)`. If `E < 34`, a decision "has a nonzero symbol" of
//! pace (15, 64): set 1 if `len <= 8`, else 0; cells `(bits(B >> 3):8) * 9 + bits(G):8`, `81 + half(B):25`,
//! `107 + (bits(T >> 7):8) * 9 + bits(R >> 9):8`, `188 + E:39`.
//! * Without: `C -= (C * c + h) >> 16`, `F -= (F + 3) >> 2`, `U = 0` for its columns, `R = R * k >> 16`, `P = Q = 0`, `L`
//!   is the last new `F`. `k` starts at 65536 and takes 16 times `k -= k / min(i + 3, 512)`, with `i` from the index of the
//!   block's first coordinate, at most 512, on.
//! * With, or if `E >= 34`: every coordinate. It is *free* if `E >= 34` or a nonzero one came before it in the block.
//!
//! After it, `M` being the sum of `m` and `S = M` if `len = 16`, else `16 M / len`: `B += (256 S - B) >> 2`,
//! `A += (65536 M - len * A) >> 9`.
//!
//! **Coordinate** in column `j`. `D = max(quarter(R >> 4) + quarter(C[j]) - quarter(A >> 4), 0)`, `N` is `F` of the next
//! column of the block, or its own if it is the block's last. `z` is 0 if it is free, else 2 if at most 4 of the block are
//! left (itself among them), else 1.
//! * "Nonzero" is implied if it is not free and the block's last. Else a decision of pace (16, 80) if `B < 512`, else (15,
//!   64): set `2 + z`; cells `228 + (P:2) * 36 + (Q:2) * 12 + |U[j]| * 4 + bits((L + N) >> 1):3`,
//!   `336 + (bits(C[j] >> 5):9) * 10 + bits(R >> 11):9`, `436 + 22 z + half(F[j]):21`, `502 + 40 z + D:39`.
//! * If so, for `k = 0, 1, ...`: "`|q| > k + 1`" of pace (14, 40), up to the first `false` or 14 `true`s: with `i = k:5`,
//!   set `5 + i`; cells `622 + (i:3) * 49 + (bits(R >> 12):6) * 7 + bits(C[j] >> 8):6`,
//!   `818 + (i:4) * 16 + (P:3) * 4 + Q:3`, `898 + 12 i + bits(2 F[j]):9`, `970 + 20 i + (clamp(D, 8, 47) - 8) / 2`. After
//!   14 `true`s, `x = |q| - 14` follows: for `k = 0, 1, ...`: "`bits(x) - 1 > k`" of pace (14, 40) up to the first `false`
//!   (24 `true`s are refused): with `i = k:11`, set 12; cells `1184 + i`, `1196 + 2 i` and 1 more if `P = 15`, `1220 + 2 i`
//!   and 1 more if `Q = 15`, `1244 + 2 i` and 1 more if `F[j] >= 128`. Then the bits of `x` below its highest, most
//!   significant first, plain, in groups of 8, the last group shorter. Magnitudes above `2^24 - 1` are refused.
//! * If so, the sign: expected negative if exactly one of `W`, `V[j]` is negative and none is 0. `t(x)` is 0, 1, 2 for
//!   `|x|` below 2, below 4, above; `o` is 0 if `W` or `V[j]` is 0, else `1 + 3 t(W) + t(V[j])`;
//!   `g = sgn(U[j]) sgn(W) + 1`, mirrored (`2 - g`) if expected negative. "Other than expected" is a decision of pace (13,
//!   40): set 11; cells `1090 + 3 o + g`, `1120 + 3 |W| + g`, `1147 + |V[j]|`, `1154 + 3 o + m:3 - 1`. With `s` the sign of
//!   the symbol: `W' = clamp(W + s * sgn(V[j]), -8, 8)`, `V[j] = clamp(V[j] + s * sgn(W), -6, 6)`, `W = W'`.
//! * `U[j] = clamp(q, -2, 2)`, `C[j] += (4096 m * c >> 16) - ((C[j] * c + h) >> 16)`, `F[j] += 4 m - ((F[j] + 3) >> 2)`,
//!   `L = F[j]`, `R += (65536 m * f >> 16) - (R * f >> 16)` with `f = f(i)`, `Q = P`, `P = m`.
//!
//! **Changes.** Which entries of a mask change is coded among the entries that lived, and then among those that did not, each time as a tensor of
//! compressed rows that has only these entries, with the symbol 1 where the entry changes and 0 where it stays; where several rows always
//! live together, as one row. It has no plain bit before it and is never plain numbers; a decoder refuses other symbols than 0 and 1.
//! Where there are no such entries nothing is coded. After the changes of all masks of a checkpoint, cells, sets and `A` are as at the
//! beginning.
//!
//! **Start.** Where both sides have one, `A` and the cells are not at first as said above, nor where a tensor of plain numbers puts them
//! back. A start is empty, which changes nothing, or three bytes, `A` (at most `15 * 2^16`), least significant first, and then one
//! byte for each cell that it names, in rising order: its upper four bits are a level `l` from 1 to 15, its lower four the
//! number of cells passed over since the last one (since the first one), up to 14. The byte 15 passes over 15 cells and names none; it is
//! not the last. A named cell has `p = round(65536 / (1 + exp(-3 (l - 8) / 4)))` and `n = 20`.

mod among;
mod binary;
mod blocks;
mod error;
mod mixer;
mod model;
mod optimise;
mod order_zero;
mod row_column;
mod start;
mod support;

pub(crate) use among::Among;
pub use error::{CodeError, DecodeError};
pub use optimise::{FINE, optimise};
pub use row_column::{Decoder, Encoder, RowColumn, SCRATCH_ALIGN};
pub use start::{Learner, MAX_START, Start, StartError};
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
