//! The coder as its users see it: whole tensors, modelled or plain, into one stream.

use super::binary::{Bins, ByteDecoder, ByteEncoder, EncoderState, EndError};
use super::blocks::{All, Kept, Part, ScratchError, Source, State, Stop, Unknown, scratch_bytes, walk};
use super::order_zero::OrderZero;
use super::{CodeError, DecodeError, DecodeTensors, EncodeTensors, EntropyCoder, Start, Support};
use crate::checkin::parts;
use crate::quantize::{MAX_SYMBOL, Subset};

/// Alignment of the scratch memory in bytes.
pub const SCRATCH_ALIGN: usize = 4;
/// Bits of a symbol that is written as it is: `symbol + 2^24`, 0 being invalid.
const RAW_BITS: usize = 25;
/// Tensors of fewer coordinates may do without contexts.
const SMALL: usize = 1000;

/// Adaptive binary range coder whose contexts are the activity of row and column; see the [module](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowColumn;

impl EntropyCoder for RowColumn {
    type Encoder<'a> = Encoder<'a>;
    type Decoder<'a> = Decoder<'a>;

    /// 4,012 bytes of probabilities and weights, and 4 a column.
    fn required_scratch(max_cols: u32) -> usize {
        scratch_bytes(max_cols)
    }

    /// `ceil(27/8 * live) + 8`: where adaptation does not pay, a tensor is written with 25 bits a symbol and at most 2 a tensor; the
    /// range coder itself loses less than 1/1000 bit a symbol, and one bit stays spare.
    fn encoded_bound(live: usize) -> usize {
        if live == 0 {
            0
        } else {
            live.saturating_mul(3).saturating_add((live / 8).saturating_mul(3)).saturating_add(11)
        }
    }

    fn encoder<'a>(out: &'a mut [u8], scratch: &'a mut [u8]) -> Result<Encoder<'a>, CodeError> {
        Encoder::begin(out, scratch)
    }

    fn decoder<'a>(bytes: &'a [u8], scratch: &'a mut [u8]) -> Result<Decoder<'a>, DecodeError> {
        Decoder::begin(bytes, scratch)
    }
}

/// Writes the tensors of one report into one stream; probabilities carry over from tensor to tensor.
pub struct Encoder<'a> {
    pub(super) bins: ByteEncoder<'a>,
    pub(super) state: State<'a>,
    pub(super) capacity: usize,
    /// Live coordinates so far.
    live: usize,
    /// True once a coordinate was coded.
    pub(super) begun: bool,
    /// True while the contexts have learned nothing.
    pub(super) fresh: bool,
    /// What travels of the tensors that follow; none is all.
    subset: Option<Subset>,
    /// Set by the first error; the stream is worthless from then on.
    pub(super) failed: Option<CodeError>,
}

/// What the scratch memory of one that writes lacks.
pub(super) fn scratch_error(error: ScratchError) -> CodeError {
    match error {
        ScratchError::Short { expected, got } => CodeError::Scratch { expected, got },
        ScratchError::Misaligned => CodeError::Misaligned { expected: SCRATCH_ALIGN },
    }
}

/// Walks a tensor behind `before` live coordinates.
#[inline(always)]
pub(super) fn walk_part<B: Bins, S: Source>(
    bins: &mut B,
    state: &mut State<'_>,
    support: &Support<'_>,
    source: S,
    (subset, before): (Option<Subset>, usize),
    each: impl FnMut(usize, i32),
) -> Result<(), Stop> {
    match subset {
        Some(subset) if parts::SUBSET.here => walk_subset(bins, state, support, source, Part { subset, before }, each),
        _ => walk(bins, state, support, source, All, each),
    }
}

/// Out of the way of those reports that carry everything.
#[inline(never)]
fn walk_subset<B: Bins, S: Source>(
    bins: &mut B,
    state: &mut State<'_>,
    support: &Support<'_>,
    source: S,
    part: Part,
    each: impl FnMut(usize, i32),
) -> Result<(), Stop> {
    walk(bins, state, support, source, Kept(part), each)
}

impl<'a> Encoder<'a> {
    /// A stream that starts at `out[0]`. `scratch` is aligned to [`SCRATCH_ALIGN`] and has at least
    /// [`RowColumn::required_scratch`] of the widest tensor; its contents do not matter.
    ///
    /// # Errors
    /// [`CodeError::Scratch`], [`CodeError::Misaligned`].
    pub fn begin(out: &'a mut [u8], scratch: &'a mut [u8]) -> Result<Self, CodeError> {
        let state = State::new(scratch).map_err(scratch_error)?;
        let (capacity, bins) = (out.len(), ByteEncoder::new(out));
        Ok(Self { capacity, bins, state, live: 0, begun: false, fresh: true, subset: None, failed: None })
    }

    /// Begins with what a server learned of earlier streams; before the first tensor. The decoder must begin with the same.
    #[must_use]
    pub fn starting(mut self, start: Start<'a>) -> Self {
        self.state.model.begin(start);
        self
    }

    /// Of the tensors that follow only the coordinates of `subset` are coded, as if no others lived; none is all. Symbols are still
    /// given for every live one, and their indices, over all tensors, are those that the subset is asked for.
    pub fn keep_only(&mut self, subset: Option<Subset>) {
        self.subset = subset;
    }

    fn try_tensor(&mut self, support: &Support<'_>, symbols: &[i32]) -> Result<(), CodeError> {
        support.check().map_err(CodeError::Support)?;
        let (expected, got) = (support.live(), symbols.len());
        if expected != got {
            return Err(CodeError::Length { expected, got });
        }
        if let Some((expected, got)) = self.state.too_narrow(support.width()) {
            return Err(CodeError::Scratch { expected, got });
        }
        let (before, subset) = (self.live, self.subset.filter(|_| parts::SUBSET.here));
        let kept = subset.map_or(symbols.len(), |subset| subset.count(before, symbols.len()));
        if kept == 0 {
            self.live = before.saturating_add(symbols.len());
            return Ok(());
        }
        self.begun = true;
        let (back, limit) = (self.bins.state(), unmodelled(kept));
        let fits = |state: EncoderState| state.position() - back.position() < limit;
        let travels = |index: &usize| subset.is_none_or(|subset| subset.keeps(before + index));
        let all = || symbols.iter().copied().enumerate().filter(|(index, _)| travels(index));
        // Only contexts that know nothing can be put back to what they were.
        let small = self.fresh && kept < SMALL;
        let bare = small.then(|| {
            order_zero(&mut self.bins, all());
            let bare = self.bins.state();
            self.bins.rewind(back);
            bare
        });
        self.bins.plain(0, 1);
        let walked = walk_part(&mut self.bins, &mut self.state, support, symbols, (subset, before), |_, _| ());
        if let Err(Stop::Range(index)) = walked {
            return Err(CodeError::Symbol { index: self.live + index, got: symbols[index] });
        }
        let modelled = self.bins.state();
        self.fresh = walked.is_err() || !fits(modelled);
        let bare = bare.filter(|bare| fits(*bare) && (self.fresh || bare.bits() < modelled.bits()));
        if self.fresh || bare.is_some() {
            self.fresh = true;
            self.bins.rewind(back);
            self.state.model.reset();
            if let Some((index, got)) = all().find(|(_, symbol)| symbol.unsigned_abs() > MAX_SYMBOL as u32) {
                return Err(CodeError::Symbol { index: self.live + index, got });
            }
            if bare.is_some() {
                order_zero(&mut self.bins, all());
            } else {
                // Either the model's is longer than unmodelled symbols are or the slice is full; in both cases those may still fit.
                self.bins.plain(1, 1);
                if small {
                    self.bins.plain(1, 1);
                }
                all().for_each(|(_, symbol)| _ = plain_symbol(&mut self.bins, symbol));
            }
        }
        self.live = self.live.saturating_add(symbols.len());
        if self.bins.over() { Err(CodeError::Full { capacity: self.capacity }) } else { Ok(()) }
    }
}

/// Bytes of plain symbols. As the encoder's position is at most 8 bits off either way, what moves it by less takes at most 27 bits a symbol.
fn unmodelled(live: usize) -> usize {
    live.saturating_mul(3) + live / 8 * 3 + live % 8 * 3 / 8
}

/// A tensor without contexts.
fn order_zero(bins: &mut ByteEncoder<'_>, symbols: impl Iterator<Item = (usize, i32)>) {
    bins.plain(1, 1);
    bins.plain(0, 1);
    let mut cells = OrderZero::NEW;
    symbols.for_each(|(_, symbol)| _ = cells.symbol(bins, symbol));
}

/// Codes a symbol in [`RAW_BITS`] equiprobable bits, most significant first.
fn plain_symbol<B: Bins>(bins: &mut B, symbol: i32) -> i32 {
    let word = (symbol + (1 << (RAW_BITS - 1))) as u32;
    let mut got = 0;
    for (shift, count) in [(17, 8), (9, 8), (1, 8), (0, 1)] {
        got = got << count | bins.plain(word >> shift & ((1 << count) - 1), count);
    }
    got as i32 - (1 << (RAW_BITS - 1))
}

impl EncodeTensors for Encoder<'_> {
    fn tensor(&mut self, support: &Support<'_>, symbols: &[i32]) -> Result<(), CodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.try_tensor(support, symbols);
        self.failed = result.err();
        result
    }

    fn finish(self) -> Result<usize, CodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if !self.begun {
            return Ok(0);
        }
        let length = self.bins.finish();
        if length > self.capacity { Err(CodeError::Full { capacity: self.capacity }) } else { Ok(length) }
    }
}

/// Reads the tensors of one stream, in the order in which they were written.
pub struct Decoder<'a> {
    pub(super) bins: ByteDecoder<'a>,
    pub(super) state: State<'a>,
    pub(super) length: usize,
    live: usize,
    pub(super) begun: bool,
    pub(super) fresh: bool,
    subset: Option<Subset>,
    failed: Option<DecodeError>,
}

impl<'a> Decoder<'a> {
    /// A stream that is all of `bytes`; `scratch` as for [`Encoder::begin`].
    ///
    /// # Errors
    /// [`DecodeError::Scratch`], [`DecodeError::Misaligned`].
    pub fn begin(bytes: &'a [u8], scratch: &'a mut [u8]) -> Result<Self, DecodeError> {
        let state = State::new(scratch).map_err(|error| match error {
            ScratchError::Short { expected, got } => DecodeError::Scratch { expected, got },
            ScratchError::Misaligned => DecodeError::Misaligned { expected: SCRATCH_ALIGN },
        })?;
        let (length, bins) = (bytes.len(), ByteDecoder::new(bytes));
        Ok(Self { length, bins, state, live: 0, begun: false, fresh: true, subset: None, failed: None })
    }

    /// As [`Encoder::starting`].
    #[must_use]
    pub fn starting(mut self, start: Start<'a>) -> Self {
        self.state.model.begin(start);
        self
    }

    /// As [`Encoder::keep_only`].
    pub fn keep_only(&mut self, subset: Option<Subset>) {
        self.subset = subset;
    }

    fn try_tensor(&mut self, support: &Support<'_>, mut each: impl FnMut(usize, i32)) -> Result<(), DecodeError> {
        support.check().map_err(DecodeError::Support)?;
        if let Some((expected, got)) = self.state.too_narrow(support.width()) {
            return Err(DecodeError::Scratch { expected, got });
        }
        let (first, live) = (self.live, support.live());
        let Some(end) = first.checked_add(live) else { return Err(DecodeError::TooLong { position: first }) };
        let subset = self.subset.filter(|_| parts::SUBSET.here);
        let kept = subset.map_or(live, |subset| subset.count(first, live));
        if kept == 0 {
            self.live = end;
            return Ok(());
        }
        self.begun = true;
        let over = DecodeError::Truncated { position: self.length };
        let travels = |index: &usize| subset.is_none_or(|subset| subset.keeps(*index));
        if self.bins.plain(0, 1) == 0 {
            self.fresh = false;
            let each = |index, symbol| each(first + index, symbol);
            walk_part(&mut self.bins, &mut self.state, support, Unknown, (subset, first), each).map_err(|stop| {
                match stop {
                    Stop::Over => over,
                    Stop::Range(index) => DecodeError::Symbol { index: first + index, position: self.bins.position() },
                }
            })?;
        } else {
            let mut cells = (self.fresh && kept < SMALL && self.bins.plain(0, 1) == 0).then_some(OrderZero::NEW);
            self.state.model.reset();
            self.fresh = true;
            for index in (first..end).filter(travels) {
                let symbol = match &mut cells {
                    Some(cells) => cells.symbol(&mut self.bins, 0),
                    None => plain_symbol(&mut self.bins, 0),
                };
                if symbol < -MAX_SYMBOL {
                    return Err(DecodeError::Symbol { index, position: self.bins.position() });
                }
                if symbol != 0 {
                    each(index, symbol);
                }
                if self.bins.over() {
                    return Err(over);
                }
            }
        }
        self.live = end;
        if self.bins.over() { Err(over) } else { Ok(()) }
    }
}

impl DecodeTensors for Decoder<'_> {
    fn tensor(&mut self, support: &Support<'_>, each: impl FnMut(usize, i32)) -> Result<(), DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.try_tensor(support, each);
        self.failed = result.err();
        result
    }

    fn finish(self) -> Result<(), DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if !self.begun {
            return if self.length == 0 { Ok(()) } else { Err(DecodeError::Trailing { position: 0 }) };
        }
        self.bins.finish().map_err(|error| match error {
            EndError::Missing { position } => DecodeError::Truncated { position },
            EndError::Trailing { position } => DecodeError::Trailing { position },
            EndError::Different { position } => DecodeError::Ending { position },
        })
    }
}
