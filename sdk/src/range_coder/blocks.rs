//! The order of decisions: walks the live coordinates block by block and drives model and range coder.

use super::Support;
use super::binary::Bins;
use super::mixer::Mixer;
use super::model::{BLOCK, CELLS, Columns, ESCAPE, Model, Place, SETS, SPARSE};
use crate::quantize::{MAX_SYMBOL, Subset};

/// Bytes of weights and of all cells' probabilities and counts: with `4 * width`, all of the scratch memory.
const WEIGHTS: usize = 16 * SETS;
const FIXED: usize = WEIGHTS + 3 * CELLS;

/// Bytes of scratch memory for `width` columns: weights and cells, and 4 bytes of averages and votes a column.
pub(super) fn scratch_bytes(width: u32) -> usize {
    (width as usize).saturating_mul(4).saturating_add(FIXED)
}

/// The scratch memory, cut up.
pub(super) struct State<'a> {
    pub(super) model: Model<'a>,
    /// What [`Columns`] has, one entry a column that the scratch has room for.
    slow: &'a mut [u16],
    fast: &'a mut [u8],
    signs: &'a mut [u8],
}

/// Why scratch memory does not do.
pub(super) enum ScratchError {
    Short { expected: usize, got: usize },
    Misaligned,
}

impl<'a> State<'a> {
    pub(super) fn new(scratch: &'a mut [u8]) -> Result<Self, ScratchError> {
        let got = scratch.len();
        let short = ScratchError::Short { expected: FIXED, got };
        let Some((fixed, columns)) = scratch.split_at_mut_checked(FIXED) else { return Err(short) };
        let (weights, cells) = fixed.split_at_mut(WEIGHTS);
        let weights = bytemuck::try_cast_slice_mut(weights).map_err(|_| ScratchError::Misaligned)?;
        let (chances, counts) = cells.split_at_mut(2 * CELLS);
        let chances = bytemuck::try_cast_slice_mut(chances).map_err(|_| ScratchError::Misaligned)?;
        let (Ok(weights), Ok(chances), Ok(counts)) = (weights.try_into(), chances.try_into(), counts.try_into()) else {
            return Err(short);
        };
        let width = columns.len() / 4;
        let (slow, rest) = columns.split_at_mut(2 * width);
        let slow = bytemuck::try_cast_slice_mut(slow).map_err(|_| ScratchError::Misaligned)?;
        let (fast, rest) = rest.split_at_mut(width);
        let model = Model::new(Mixer { weights, chances, counts });
        Ok(Self { model, slow, fast, signs: &mut rest[..width] })
    }

    /// Bytes that a tensor of `width` columns needs, if these are not enough.
    pub(super) fn too_narrow(&self, width: u32) -> Option<(usize, usize)> {
        let room = self.slow.len();
        (width as usize > room).then(|| (scratch_bytes(width), FIXED + 4 * room))
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
pub(super) trait Row: Copy {
    fn column(self, place: usize) -> usize;
    fn load(self, state: &State<'_>, start: usize, len: usize) -> Columns;
    fn store(self, state: &mut State<'_>, block: &Columns, start: usize, len: usize);
}

const NOTHING: Columns = Columns { slow: [0; BLOCK], fast: [0; BLOCK], signs: [0; BLOCK] };

#[derive(Clone, Copy)]
struct DenseRow;

/// The first `len` entries, at most a block, by one move if it is whole.
#[inline(always)]
fn copy<T: Copy>(to: &mut [T], from: &[T], len: usize) {
    if len == BLOCK {
        to[..BLOCK].copy_from_slice(&from[..BLOCK]);
    } else {
        to[..len].copy_from_slice(&from[..len]);
    }
}

impl Row for DenseRow {
    #[inline(always)]
    fn column(self, place: usize) -> usize {
        place
    }
    #[inline(always)]
    fn load(self, state: &State<'_>, start: usize, len: usize) -> Columns {
        let mut block = NOTHING;
        copy(&mut block.slow, &state.slow[start..], len);
        copy(&mut block.fast, &state.fast[start..], len);
        copy(&mut block.signs, &state.signs[start..], len);
        block
    }
    #[inline(always)]
    fn store(self, state: &mut State<'_>, block: &Columns, start: usize, len: usize) {
        copy(&mut state.slow[start..], &block.slow, len);
        copy(&mut state.fast[start..], &block.fast, len);
        copy(&mut state.signs[start..], &block.signs, len);
    }
}

#[derive(Clone, Copy)]
struct SparseRow<'a>(&'a [u16]);

impl Row for SparseRow<'_> {
    #[inline(always)]
    fn column(self, place: usize) -> usize {
        usize::from(self.0[place])
    }
    #[inline(always)]
    fn load(self, state: &State<'_>, start: usize, len: usize) -> Columns {
        let mut block = NOTHING;
        for (i, &column) in self.0[start..start + len].iter().enumerate() {
            let column = usize::from(column);
            block.slow[i] = state.slow[column];
            block.fast[i] = state.fast[column];
            block.signs[i] = state.signs[column];
        }
        block
    }
    #[inline(always)]
    fn store(self, state: &mut State<'_>, block: &Columns, start: usize, len: usize) {
        for (i, &column) in self.0[start..start + len].iter().enumerate() {
            let column = usize::from(column);
            state.slow[column] = block.slow[i];
            state.fast[column] = block.fast[i];
            state.signs[column] = block.signs[i];
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

/// Codes one row of live coordinates: behind the first so many of the tensor, so many.
pub(super) trait WalkRow: Copy {
    fn row<B: Bins, S: Source, R: Row>(
        self,
        bins: &mut B,
        state: &mut State<'_>,
        row: R,
        part: (usize, usize),
        source: &S,
        each: &mut impl FnMut(usize, i32),
    ) -> Result<(), Stop>;
}

/// All of its coordinates.
#[derive(Clone, Copy)]
pub(super) struct All;

/// A part of the coordinates.
pub(super) trait Keeps: Copy {
    /// True if the coordinate with this index in the tensor is coded.
    fn keeps(&self, index: usize) -> bool;
}

/// Those of a part, as if the others did not live.
#[derive(Clone, Copy)]
pub(super) struct Kept<K>(pub(super) K);

/// Those of a subset.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) subset: Subset,
    /// Live coordinates of the tensors before.
    pub(super) before: usize,
}

impl Keeps for Part {
    #[inline(always)]
    fn keeps(&self, index: usize) -> bool {
        self.subset.keeps(self.before + index)
    }
}

/// Codes all rows of a checked support; `each` hears of every nonzero symbol, by its index in the tensor.
#[inline(always)]
pub(super) fn walk<B: Bins, S: Source, W: WalkRow>(
    bins: &mut B,
    state: &mut State<'_>,
    support: &Support<'_>,
    source: S,
    way: W,
    mut each: impl FnMut(usize, i32),
) -> Result<(), Stop> {
    let width = support.width() as usize;
    state.slow[..width].fill(state.model.column_start());
    state.fast[..width].fill(0);
    state.signs[..width].fill(0);
    match *support {
        Support::Dense { rows, cols } => {
            let cols = cols as usize;
            for row in 0..rows as usize {
                state.model.start_row(row);
                way.row(bins, state, DenseRow, (row * cols, cols), &source, &mut each)?;
            }
        }
        // One copy of the rows' code for both: it is large.
        Support::Csr { row_ptr, cols, .. } | Support::Blocks { row_ptr, cols, .. } => {
            sparse_rows(bins, state, (row_ptr, cols, support.height()), &source, way, &mut each)?;
        }
    }
    Ok(())
}

/// All rows of lists of columns, each of `height` rows.
#[inline(always)]
fn sparse_rows<B: Bins, S: Source, W: WalkRow>(
    bins: &mut B,
    state: &mut State<'_>,
    (row_ptr, cols, height): (&[u32], &[u16], usize),
    source: &S,
    way: W,
    each: &mut impl FnMut(usize, i32),
) -> Result<(), Stop> {
    for (list, ends) in row_ptr.windows(2).enumerate() {
        let (start, end) = (ends[0] as usize, ends[1] as usize);
        let (cols, length) = (SparseRow(&cols[start..end]), end - start);
        for row in 0..height {
            state.model.start_row(list * height + row);
            way.row(bins, state, cols, (start * height + row * length, length), source, each)?;
        }
    }
    Ok(())
}

impl WalkRow for All {
    #[inline(always)]
    fn row<B: Bins, S: Source, R: Row>(
        self,
        bins: &mut B,
        state: &mut State<'_>,
        row: R,
        (first, length): (usize, usize),
        source: &S,
        each: &mut impl FnMut(usize, i32),
    ) -> Result<(), Stop> {
        let mut start = 0;
        while start < length {
            let len = (length - start).min(BLOCK);
            let symbols = source.block(first + start, len);
            let mut columns = row.load(state, start, len);
            block(bins, state, &mut columns, &symbols, (start, len), |i| first + start + i, each)?;
            row.store(state, &columns, start, len);
            start += len;
        }
        Ok(())
    }
}

impl<K: Keeps> WalkRow for Kept<K> {
    /// Gathers a block's worth of what travels, codes it, and goes on behind it.
    #[inline(always)]
    fn row<B: Bins, S: Source, R: Row>(
        self,
        bins: &mut B,
        state: &mut State<'_>,
        row: R,
        (first, length): (usize, usize),
        source: &S,
        each: &mut impl FnMut(usize, i32),
    ) -> Result<(), Stop> {
        let (mut next, mut start) = (0, 0);
        loop {
            let (mut places, mut len) = ([0; BLOCK], 0);
            while next < length && len < BLOCK {
                if self.0.keeps(first + next) {
                    places[len] = next;
                    len += 1;
                }
                next += 1;
            }
            if len == 0 {
                return Ok(());
            }
            let (mut symbols, mut columns) = ([0; BLOCK], NOTHING);
            for (i, &place) in places[..len].iter().enumerate() {
                let column = row.column(place);
                symbols[i] = source.block(first + place, 1)[0];
                columns.slow[i] = state.slow[column];
                columns.fast[i] = state.fast[column];
                columns.signs[i] = state.signs[column];
            }
            block(bins, state, &mut columns, &symbols, (start, len), |i| first + places[i], each)?;
            for (i, &place) in places[..len].iter().enumerate() {
                let column = row.column(place);
                state.slow[column] = columns.slow[i];
                state.fast[column] = columns.fast[i];
                state.signs[column] = columns.signs[i];
            }
            start += len;
        }
    }
}

/// Codes a block of `len` coordinates behind `start` others of its row; `index` is where each stands in the tensor.
#[inline(always)]
pub(super) fn block<B: Bins>(
    bins: &mut B,
    state: &mut State<'_>,
    columns: &mut Columns,
    symbols: &[i32; BLOCK],
    (start, len): (usize, usize),
    index: impl Fn(usize) -> usize,
    each: &mut impl FnMut(usize, i32),
) -> Result<(), Stop> {
    let level = state.model.level(columns);
    let any = symbols.iter().fold(0, |any, &s| any | s) != 0;
    if level < SPARSE && !state.model.flag(bins, columns, level, len, any) {
        state.model.skip(columns, start, len);
        return Ok(());
    }
    let mut free = level >= SPARSE;
    let mut sum = 0;
    for (i, &known) in symbols.iter().enumerate().take(len) {
        let place = Place { i, len, start, free };
        let symbol = state.model.coordinate(bins, columns, place, known);
        let Some(symbol) = symbol.filter(|q| q.unsigned_abs() <= MAX_SYMBOL as u32) else {
            return Err(Stop::Range(index(i)));
        };
        if symbol != 0 {
            free = true;
            sum += symbol.unsigned_abs().min(ESCAPE);
            each(index(i), symbol);
        }
    }
    state.model.end_block(sum, len);
    if bins.over() { Err(Stop::Over) } else { Ok(()) }
}
