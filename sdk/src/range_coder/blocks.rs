//! The order of decisions: walks the live coordinates block by block and drives model and range coder.

use super::Support;
use super::binary::Bins;
use super::model::{Activity, BLOCK, CELLS, ESCAPE, Model};
use crate::quantize::MAX_SYMBOL;

/// Bytes of scratch memory for `width` columns: probabilities, 2 bytes of activity and 1 of sign votes a column.
pub(super) fn scratch_bytes(width: u32) -> usize {
    (width as usize).saturating_mul(3).saturating_add(4 * CELLS)
}

/// The scratch memory, cut up.
pub(super) struct State<'a> {
    pub(super) model: Model<'a>,
    /// How busy each column was; one entry a column that the scratch has room for.
    activity: &'a mut [u16],
    /// Running vote on each column's sign.
    votes: &'a mut [i8],
}

/// Why scratch memory does not do.
pub(super) enum ScratchError {
    Short { expected: usize, got: usize },
    Misaligned,
}

impl<'a> State<'a> {
    pub(super) fn new(scratch: &'a mut [u8]) -> Result<Self, ScratchError> {
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
    pub(super) fn too_narrow(&self, width: u32) -> Option<(usize, usize)> {
        let room = self.activity.len();
        (width as usize > room).then(|| (scratch_bytes(width), 4 * CELLS + 3 * room))
    }
}

/// Where the symbols of a walk come from.
pub(super) trait Source {
    /// The `len` symbols from `at`, then zeros.
    fn block(&self, at: usize, len: usize) -> [i32; BLOCK];
}

impl Source for &[i32] {
    #[inline(always)]
    fn block(&self, at: usize, len: usize) -> [i32; BLOCK] {
        if let Some(block) = self.get(at..).and_then(|rest| rest.first_chunk())
            && len == BLOCK
        {
            return *block;
        }
        let mut block = [0; BLOCK];
        block[..len].copy_from_slice(&self[at..at + len]);
        block
    }
}

/// A decoder has none: the bits come from the stream.
pub(super) struct Unknown;

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
pub(super) enum Stop {
    /// The range coder has run out of room or bytes.
    Over,
    /// The symbol at this index of the tensor does not fit.
    Range(usize),
}

/// Codes all rows of a checked support; `each` hears of every nonzero symbol, by its index in the tensor.
#[inline(always)]
pub(super) fn walk<B: Bins, S: Source>(
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
        Support::Csr { row_ptr, cols, .. } => sparse_rows(bins, state, (row_ptr, cols, 1), &source, &mut each)?,
        Support::Blocks { row_ptr, cols, height, .. } => {
            sparse_rows(bins, state, (row_ptr, cols, height as usize), &source, &mut each)?;
        }
    }
    Ok(())
}

/// All rows of lists of columns, each of `height` rows.
#[inline(always)]
fn sparse_rows<B: Bins, S: Source>(
    bins: &mut B,
    state: &mut State<'_>,
    (row_ptr, cols, height): (&[u32], &[u16], usize),
    source: &S,
    each: &mut impl FnMut(usize, i32),
) -> Result<(), Stop> {
    for (list, ends) in row_ptr.windows(2).enumerate() {
        let (start, end) = (ends[0] as usize, ends[1] as usize);
        let (cols, length) = (SparseRow(&cols[start..end]), end - start);
        for row in 0..height {
            state.model.start_row(list == 0 && row == 0);
            walk_row(bins, state, cols, start * height + row * length, length, source, each)?;
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
