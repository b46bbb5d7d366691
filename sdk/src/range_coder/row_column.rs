//! The coder itself: walks the live coordinates block by block and drives model and range coder.

use super::binary::{Bins, ByteDecoder, ByteEncoder, EndError};
use super::model::{Activity, BLOCK, CELLS, ESCAPE, Model};
use super::{CodeError, DecodeError, DecodeTensors, EncodeTensors, EntropyCoder, Support};
use crate::quantize::MAX_SYMBOL;

/// Alignment of the scratch memory in bytes.
pub const SCRATCH_ALIGN: usize = 4;
/// Bits of a symbol that is written as it is: `symbol + 2^24`, 0 being invalid.
const RAW_BITS: usize = 25;

/// Adaptive binary range coder whose contexts are the activity of row and column; see the [module](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowColumn;

impl EntropyCoder for RowColumn {
    type Encoder<'a> = Encoder<'a>;
    type Decoder<'a> = Decoder<'a>;

    /// 3,304 bytes of probabilities and 3 a column.
    fn required_scratch(max_cols: u32) -> usize {
        (max_cols as usize).saturating_mul(3).saturating_add(4 * CELLS)
    }

    /// `ceil(27/8 * live) + 8`: where adaptation does not pay, a tensor is written with 25 bits a symbol and 1 a tensor; the
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

/// The scratch memory, cut up.
struct State<'a> {
    model: Model<'a>,
    /// How busy each column was; one entry a column that the scratch has room for.
    activity: &'a mut [u16],
    /// Running vote on each column's sign.
    votes: &'a mut [i8],
}

/// Why scratch memory does not do.
enum ScratchError {
    Short { expected: usize, got: usize },
    Misaligned,
}

impl<'a> State<'a> {
    fn new(scratch: &'a mut [u8]) -> Result<Self, ScratchError> {
        let got = scratch.len();
        let short = ScratchError::Short { expected: 4 * CELLS, got };
        let Some((cells, columns)) = scratch.split_at_mut_checked(4 * CELLS) else { return Err(short) };
        let cells = bytemuck::try_cast_slice_mut::<u8, u32>(cells).map_err(|_| ScratchError::Misaligned)?;
        let Ok(cells) = <&mut [u32; CELLS]>::try_from(cells) else { return Err(short) };
        let width = columns.len() / 3;
        let (activity, votes) = columns.split_at_mut(2 * width);
        let activity = bytemuck::try_cast_slice_mut(activity).map_err(|_| ScratchError::Misaligned)?;
        Ok(Self { model: Model::new(cells), activity, votes: bytemuck::cast_slice_mut(&mut votes[..width]) })
    }

    /// Bytes that a tensor of `width` columns needs, if these are not enough.
    fn too_narrow(&self, width: u32) -> Option<(usize, usize)> {
        let room = self.activity.len();
        (width as usize > room).then(|| (RowColumn::required_scratch(width), 4 * CELLS + 3 * room))
    }
}

/// Where the symbols of a walk come from.
trait Source {
    /// The `len` symbols from `at`, then zeros.
    fn block(&self, at: usize, len: usize) -> [i32; BLOCK];
}

impl Source for &[i32] {
    #[inline(always)]
    fn block(&self, at: usize, len: usize) -> [i32; BLOCK] {
        if let Some(block) = self.get(at..).and_then(|rest| rest.first_chunk()) {
            if len == BLOCK {
                return *block;
            }
        }
        let mut block = [0; BLOCK];
        block[..len].copy_from_slice(&self[at..at + len]);
        block
    }
}

/// A decoder has none: the bits come from the stream.
struct Unknown;

impl Source for Unknown {
    #[inline(always)]
    fn block(&self, _: usize, _: usize) -> [i32; BLOCK] {
        [0; BLOCK]
    }
}

/// The columns of one row's live coordinates.
trait Row: Copy {
    fn column(self, i: usize) -> usize;
    fn load(self, activity: &[u16], start: usize, len: usize) -> Activity;
    fn store(self, activity: &mut [u16], block: &Activity, start: usize, len: usize);
}

#[derive(Clone, Copy)]
struct DenseRow;

impl Row for DenseRow {
    #[inline(always)]
    fn column(self, i: usize) -> usize {
        i
    }
    #[inline(always)]
    fn load(self, activity: &[u16], start: usize, len: usize) -> Activity {
        let mut block = [0; BLOCK];
        if len == BLOCK {
            block.copy_from_slice(&activity[start..start + BLOCK]);
        } else {
            block[..len].copy_from_slice(&activity[start..start + len]);
        }
        block
    }
    #[inline(always)]
    fn store(self, activity: &mut [u16], block: &Activity, start: usize, len: usize) {
        if len == BLOCK {
            activity[start..start + BLOCK].copy_from_slice(block);
        } else {
            activity[start..start + len].copy_from_slice(&block[..len]);
        }
    }
}

#[derive(Clone, Copy)]
struct SparseRow<'a>(&'a [u16]);

impl Row for SparseRow<'_> {
    #[inline(always)]
    fn column(self, i: usize) -> usize {
        usize::from(self.0[i])
    }
    #[inline(always)]
    fn load(self, activity: &[u16], start: usize, len: usize) -> Activity {
        let mut block = [0; BLOCK];
        for (value, &column) in block.iter_mut().zip(&self.0[start..start + len]) {
            *value = activity[usize::from(column)];
        }
        block
    }
    #[inline(always)]
    fn store(self, activity: &mut [u16], block: &Activity, start: usize, len: usize) {
        for (value, &column) in block.iter().zip(&self.0[start..start + len]) {
            activity[usize::from(column)] = *value;
        }
    }
}

/// Why a walk ended early.
enum Stop {
    /// The range coder has run out of room or bytes.
    Over,
    /// The symbol at this index of the tensor does not fit.
    Range(usize),
}

/// Codes all rows of a checked support; `each` hears of every nonzero symbol, by its index in the tensor.
#[inline(always)]
fn walk<B: Bins, S: Source>(
    bins: &mut B,
    state: &mut State<'_>,
    support: &Support<'_>,
    source: S,
    mut each: impl FnMut(usize, i32),
) -> Result<(), Stop> {
    let width = support.width() as usize;
    state.activity[..width].fill(0);
    state.votes[..width].fill(0);
    match *support {
        Support::Dense { rows, cols } => {
            let cols = cols as usize;
            for row in 0..rows as usize {
                state.model.start_row(row == 0);
                walk_row(bins, state, DenseRow, row * cols, cols, &source, &mut each)?;
            }
        }
        Support::Csr { row_ptr, cols, .. } => {
            for (row, ends) in row_ptr.windows(2).enumerate() {
                let (start, end) = (ends[0] as usize, ends[1] as usize);
                state.model.start_row(row == 0);
                walk_row(bins, state, SparseRow(&cols[start..end]), start, end - start, &source, &mut each)?;
            }
        }
    }
    Ok(())
}

#[inline(always)]
fn walk_row<B: Bins, S: Source, R: Row>(
    bins: &mut B,
    state: &mut State<'_>,
    row: R,
    first: usize,
    len: usize,
    source: &S,
    each: &mut impl FnMut(usize, i32),
) -> Result<(), Stop> {
    let mut start = 0;
    while start < len {
        let count = (len - start).min(BLOCK);
        let symbols = source.block(first + start, count);
        let mut activity = row.load(state.activity, start, count);
        let any = symbols.iter().fold(0, |any, &s| any | s) != 0;
        if state.model.flag(bins, &activity, count, any) {
            let sum = if state.model.is_sparse(&activity) {
                search(bins, state, row, (first, start, count), &symbols, &mut activity, each)?
            } else {
                step_through(bins, state, row, (first, start, count), &symbols, &mut activity, each)?
            };
            state.model.end_block(sum, count);
            if bins.over() {
                return Err(Stop::Over);
            }
        } else {
            state.model.skip(&mut activity, count);
        }
        row.store(state.activity, &activity, start, count);
        start += count;
    }
    Ok(())
}

/// Codes one coordinate that may be zero, and its sign; returns its magnitude, at most [`ESCAPE`].
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn coordinate<B: Bins, R: Row>(
    bins: &mut B,
    state: &mut State<'_>,
    row: R,
    (first, at): (usize, usize),
    (left, seen): (usize, bool),
    known: i32,
    activity: &mut u16,
    each: &mut impl FnMut(usize, i32),
) -> Result<u32, Stop> {
    let value = state.model.magnitude(bins, activity, left, seen, known.unsigned_abs());
    let Some(magnitude) = value.filter(|&m| m <= MAX_SYMBOL as u32) else { return Err(Stop::Range(first + at)) };
    if magnitude != 0 {
        let negative = state.model.sign(bins, &mut state.votes[row.column(at)], known < 0);
        each(first + at, if negative { -(magnitude as i32) } else { magnitude as i32 });
    }
    Ok(magnitude.min(ESCAPE))
}

/// A block with a nonzero coordinate, coordinate by coordinate; returns the sum of magnitudes.
#[inline(always)]
fn step_through<B: Bins, R: Row>(
    bins: &mut B,
    state: &mut State<'_>,
    row: R,
    (first, start, count): (usize, usize, usize),
    symbols: &[i32; BLOCK],
    activity: &mut Activity,
    each: &mut impl FnMut(usize, i32),
) -> Result<u32, Stop> {
    let mut sum = 0;
    for i in 0..count {
        let place = (count - i, sum != 0);
        sum += coordinate(bins, state, row, (first, start + i), place, symbols[i], &mut activity[i], each)?;
    }
    Ok(sum)
}

/// A block with a nonzero coordinate where few are expected: halves what must hold the next one down to 4 coordinates,
/// steps through those, then codes whether there are more.
#[inline(always)]
fn search<B: Bins, R: Row>(
    bins: &mut B,
    state: &mut State<'_>,
    row: R,
    (first, start, count): (usize, usize, usize),
    symbols: &[i32; BLOCK],
    activity: &mut Activity,
    each: &mut impl FnMut(usize, i32),
) -> Result<u32, Stop> {
    let has = |part: &[i32]| part.iter().fold(0, |any, &s| any | s) != 0;
    let before = *activity;
    for a in activity.iter_mut() {
        *a -= a.wrapping_add(3) >> 2;
    }
    let (mut sum, mut i) = (0, 0);
    loop {
        // The next nonzero coordinate is in `i .. end`.
        let mut end = count;
        while end - i > 4 {
            let middle = i + (end - i) / 2;
            if state.model.half(bins, [&before[i..middle], &before[middle..end]], has(&symbols[i..middle])) {
                end = middle;
            } else {
                state.model.skip_row(middle - i);
                i = middle;
            }
        }
        loop {
            let mut changed = before[i];
            let place = (end - i, false);
            let magnitude = coordinate(bins, state, row, (first, start + i), place, symbols[i], &mut changed, each)?;
            activity[i] = changed;
            sum += magnitude;
            i += 1;
            if magnitude != 0 {
                break;
            }
        }
        if i == count || !state.model.more(bins, &before[i..count], has(&symbols[i..count])) {
            state.model.skip_row(count - i);
            return Ok(sum);
        }
    }
}

/// Writes the tensors of one report into one stream; probabilities carry over from tensor to tensor.
pub struct Encoder<'a> {
    bins: ByteEncoder<'a>,
    state: State<'a>,
    capacity: usize,
    /// Live coordinates so far.
    live: usize,
    /// Set by the first error; the stream is worthless from then on.
    failed: Option<CodeError>,
}

impl<'a> Encoder<'a> {
    /// A stream that starts at `out[0]`. `scratch` is aligned to [`SCRATCH_ALIGN`] and has at least
    /// [`RowColumn::required_scratch`] of the widest tensor; its contents do not matter.
    ///
    /// # Errors
    /// [`CodeError::Scratch`], [`CodeError::Misaligned`].
    pub fn begin(out: &'a mut [u8], scratch: &'a mut [u8]) -> Result<Self, CodeError> {
        let state = State::new(scratch).map_err(|error| match error {
            ScratchError::Short { expected, got } => CodeError::Scratch { expected, got },
            ScratchError::Misaligned => CodeError::Misaligned { expected: SCRATCH_ALIGN },
        })?;
        Ok(Self { capacity: out.len(), bins: ByteEncoder::new(out), state, live: 0, failed: None })
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
        if symbols.is_empty() {
            return Ok(());
        }
        let back = self.bins.state();
        let raw_bytes = raw_bytes(symbols.len());
        self.bins.plain(0, 1);
        let walked = walk(&mut self.bins, &mut self.state, support, symbols, |_, _| ());
        if let Err(Stop::Range(index)) = walked {
            return Err(CodeError::Symbol { index: self.live + index, got: symbols[index] });
        }
        if walked.is_err() || self.bins.state().position() - back.position() > raw_bytes {
            // Either it is longer than unmodelled symbols are or the slice is full; in both cases those may still fit.
            self.bins.rewind(back);
            self.state.model.reset();
            self.bins.plain(1, 1);
            for (index, &symbol) in symbols.iter().enumerate() {
                if symbol.unsigned_abs() > MAX_SYMBOL as u32 {
                    return Err(CodeError::Symbol { index: self.live + index, got: symbol });
                }
                plain_symbol(&mut self.bins, symbol);
            }
        }
        self.live = self.live.saturating_add(symbols.len());
        if self.bins.over() { Err(CodeError::Full { capacity: self.capacity }) } else { Ok(()) }
    }
}

/// Bytes of `live` symbols that are written as they are, rounded up.
fn raw_bytes(live: usize) -> usize {
    live.saturating_mul(3).saturating_add(live / 8 + 1)
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
        if self.live == 0 {
            return Ok(0);
        }
        let length = self.bins.finish();
        if length > self.capacity { Err(CodeError::Full { capacity: self.capacity }) } else { Ok(length) }
    }
}

/// Reads the tensors of one stream, in the order in which they were written.
pub struct Decoder<'a> {
    bins: ByteDecoder<'a>,
    state: State<'a>,
    length: usize,
    live: usize,
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
        Ok(Self { length: bytes.len(), bins: ByteDecoder::new(bytes), state, live: 0, failed: None })
    }

    fn try_tensor(&mut self, support: &Support<'_>, mut each: impl FnMut(usize, i32)) -> Result<(), DecodeError> {
        support.check().map_err(DecodeError::Support)?;
        if let Some((expected, got)) = self.state.too_narrow(support.width()) {
            return Err(DecodeError::Scratch { expected, got });
        }
        let (first, live) = (self.live, support.live());
        let Some(end) = first.checked_add(live) else { return Err(DecodeError::TooLong { position: first }) };
        if live == 0 {
            return Ok(());
        }
        let over = DecodeError::Truncated { position: self.length };
        if self.bins.plain(0, 1) == 0 {
            walk(&mut self.bins, &mut self.state, support, Unknown, |index, symbol| each(first + index, symbol))
                .map_err(|stop| match stop {
                    Stop::Over => over,
                    Stop::Range(index) => DecodeError::Symbol { index: first + index, position: self.bins.position() },
                })?;
        } else {
            self.state.model.reset();
            for index in first..end {
                let symbol = plain_symbol(&mut self.bins, 0);
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
        if self.live == 0 {
            return if self.length == 0 { Ok(()) } else { Err(DecodeError::Trailing { position: 0 }) };
        }
        self.bins.finish().map_err(|error| match error {
            EndError::Missing { position } => DecodeError::Truncated { position },
            EndError::Trailing { position } => DecodeError::Trailing { position },
            EndError::Different { position } => DecodeError::Ending { position },
        })
    }
}
