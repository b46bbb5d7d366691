//! Symbols to bytes and back.

mod binary;
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
