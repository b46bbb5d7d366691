//! The server's side of the checkpoint.

use super::coded::lived;
use super::{
    CHANGES, CHANGES_HEADER, CheckpointError, HEADER, MAGIC, VERSION, WHOLE, checkpoint_len, mask_bytes, masks_len,
};
use crate::checkin::Values;
use crate::model::sparsity::{Bitmap, MaskDiffError, mask_diff_len, write_mask_diff};
use crate::model::{Graph, Tensor};
use crate::range_coder::{CodeError, EncodeTensors, Encoder};
use crate::report::support;

/// Writes the tensors of a checkpoint, with whole masks and floats; for servers. It travels as it is where the plan has no start and does
/// not code the values; else [`write_whole`] and [`write_changes`] make of it what does.
///
/// `parts` gives, per tensor, its dense row-major values and its mask (one bit per
/// entry, least significant first; ignored for tensors that have none).
///
/// # Errors
/// [`CheckpointError::Length`] if `out` has another length than [`checkpoint_len`] or a tensor another than its shape;
/// [`CheckpointError::Live`] if a mask does not keep what the graph says, [`CheckpointError::Block`] if it has not the whole
/// blocks that the graph says.
pub fn write_checkpoint<'v>(
    graph: &Graph,
    round: u32,
    parts: impl IntoIterator<Item = (&'v [f32], &'v [u8])>,
    out: &mut [u8],
) -> Result<(), CheckpointError> {
    let expected = checkpoint_len(graph);
    if out.len() != expected {
        return Err(CheckpointError::Length { expected: expected as u32, got: out.len() as u32 });
    }
    out[..4].copy_from_slice(&MAGIC);
    out[4..8].copy_from_slice(&[VERSION, WHOLE, 0, 0]);
    out[8..12].copy_from_slice(&round.to_le_bytes());
    out[12..16].copy_from_slice(&(graph.values as u32).to_le_bytes());
    let mut at = HEADER;
    let mut parts = parts.into_iter();
    for (index, tensor) in graph.tensors.iter().enumerate() {
        let (values, mask) = parts.next().unwrap_or((&[], &[]));
        let masked = tensor.has_pattern();
        let (bytes, size) = (mask_bytes(tensor), tensor.size());
        if values.len() != size || (masked && mask.len() != bytes) {
            return Err(CheckpointError::Length { expected: size as u32, got: values.len() as u32 });
        }
        out[at..at + bytes].copy_from_slice(&mask[..bytes]);
        at += bytes;
        let live = |i: &usize| !masked || mask[i / 8] >> (i % 8) & 1 == 1;
        let got = (0..size).filter(live).count() as u32;
        if got != tensor.live {
            return Err(CheckpointError::Live { tensor: index as u8, expected: tensor.live, got });
        }
        check_blocks(index as u8, tensor, |i| live(&i))?;
        for i in (0..size).filter(live) {
            out[at..at + 4].copy_from_slice(&values[i].to_le_bytes());
            at += 4;
        }
    }
    Ok(())
}

/// Refuses a mask of which a row differs from the first one of its block.
fn check_blocks(index: u8, tensor: &Tensor, live: impl Fn(usize) -> bool) -> Result<(), CheckpointError> {
    let (cols, height) = (tensor.cols as usize, tensor.pattern_height());
    let lives = |row: usize, col: &usize| live(row * cols + col);
    for row in (0..tensor.rows as usize).filter(|row| row % height > 0) {
        let first = row - row % height;
        if let Some(col) = (0..cols).find(|col| lives(row, col) != lives(first, col)) {
            let next = |row| (col..cols).find(|col| lives(row, col)).unwrap_or(cols) as u32;
            let got = if lives(row, &col) { col } else { cols } as u32;
            return Err(CheckpointError::Block { tensor: index, row: row as u32, expected: next(first), got });
        }
    }
    Ok(())
}

/// One tensor of a checkpoint with whole masks.
struct Part<'c> {
    index: u8,
    tensor: &'c Tensor,
    mask: &'c [u8],
    values: &'c [u8],
}

/// The tensors of `whole`, which has the length that follows from the plan.
fn parts<'c>(graph: &'c Graph, whole: &'c [u8]) -> Result<impl Iterator<Item = Part<'c>>, CheckpointError> {
    let expected = checkpoint_len(graph);
    if whole.len() != expected {
        return Err(CheckpointError::Length { expected: expected as u32, got: whole.len() as u32 });
    }
    let mut rest = &whole[HEADER..];
    Ok(graph.tensors.iter().enumerate().map(move |(index, tensor)| {
        let (mask, after) = rest.split_at(mask_bytes(tensor));
        let (values, after) = after.split_at(4 * tensor.live as usize);
        rest = after;
        Part { index: index as u8, tensor, mask, values }
    }))
}

/// The masks in a checkpoint with whole masks, tensor after tensor, of those that have one. One after the other they are what
/// a fingerprint is of, and the `base` of [`write_changes`] in a later round.
///
/// # Errors
/// [`CheckpointError::Length`] if it has another length than [`checkpoint_len`].
pub fn checkpoint_masks<'c>(
    graph: &'c Graph,
    whole: &'c [u8],
) -> Result<impl Iterator<Item = &'c [u8]>, CheckpointError> {
    Ok(parts(graph, whole)?.filter(|part| part.tensor.has_pattern()).map(|part| part.mask))
}

/// The masks of a tensor in `base`, and in the checkpoint.
fn masks_of<'c>(part: &Part<'c>, base: &'c [u8]) -> Result<(Bitmap<'c>, Bitmap<'c>), CheckpointError> {
    let view =
        |bits| Bitmap::new(bits, part.tensor.size()).map_err(|_| CheckpointError::Padding { tensor: part.index });
    Ok((view(base)?, view(part.mask)?))
}

fn no_change(part: &Part<'_>) -> impl Fn(MaskDiffError) -> CheckpointError + use<> {
    let tensor = part.index;
    move |source| CheckpointError::Change { tensor, source }
}

/// What comes behind the tensors of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tail<'t> {
    /// The start of the report's coder; as long as the plan says.
    pub start: &'t [u8],
    /// The values of all tensors, [coded](code_values), where the plan says that they are, with what changed in the masks before them
    /// where these do not come whole; the tensors have neither then.
    pub values: Option<&'t [u8]>,
}

impl Tail<'_> {
    /// Its bytes.
    pub fn len(&self) -> usize {
        self.start.len() + self.values.map_or(0, <[u8]>::len)
    }

    /// True if nothing comes behind the tensors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values of a tensor that come with it.
    fn own<'c>(&self, part: &Part<'c>) -> &'c [u8] {
        if self.values.is_some() { &[] } else { part.values }
    }

    /// Ends a document of which `out` is what is left.
    fn write(&self, out: &mut [u8]) {
        let (start, values) = out.split_at_mut(self.start.len());
        start.copy_from_slice(self.start);
        values.copy_from_slice(self.values.unwrap_or_default());
    }
}

/// Codes the values of a checkpoint that [`write_checkpoint`] wrote, each rounded to the nearest multiple of `step`, to the front of
/// `out`; with a `base`, as [`write_changes`] has it, what changed in the masks before them. Gives the length, and how much of it, to about
/// two bytes, the changes take. `symbols` has room for all live values; `row_ptrs` and `columns` are the patterns of its masks;
/// `scratch` is as for an [`Encoder`].
///
/// # Errors
/// [`CodeError`]: no room, a value beyond the largest symbol, or lengths and patterns of another model.
pub fn code_values(
    (graph, row_ptrs, columns): (&Graph, &[u32], &[u16]),
    (whole, base): (&[u8], Option<&[u8]>),
    step: f32,
    symbols: &mut [i32],
    scratch: &mut [u8],
    out: &mut [u8],
) -> Result<(usize, usize), CodeError> {
    let mut encoder = Encoder::begin(out, scratch)?;
    let length = |expected: usize, got: usize| CodeError::Length { expected, got };
    let all = || parts(graph, whole).map_err(|_| length(checkpoint_len(graph), whole.len()));
    let mut changes = 0;
    if let Some(mut rest) = base {
        for part in all()?.filter(|part| part.tensor.has_pattern()) {
            let short = length(part.mask.len(), rest.len());
            let (old, after) = rest.split_at_checked(part.mask.len()).ok_or(short)?;
            rest = after;
            let lived = lived(part.tensor, old);
            encoder.changes(lived, part.mask)?;
            encoder.changes(lived.others(), part.mask)?;
        }
        encoder.forget();
        changes = encoder.position();
    }
    for part in all()? {
        let live = part.tensor.live as usize;
        let got = symbols.len();
        let symbols = symbols.get_mut(..live).ok_or(length(live, got))?;
        for (symbol, value) in symbols.iter_mut().zip(part.values.as_chunks::<4>().0) {
            *symbol = Values::symbol(f32::from_le_bytes(*value), step);
        }
        encoder.tensor(&support(part.tensor, row_ptrs, columns), symbols)?;
    }
    Ok((encoder.finish()?, changes))
}

/// Length of the document that [`write_whole`] writes, bytes.
pub fn whole_len(graph: &Graph, tail: Tail<'_>) -> usize {
    checkpoint_len(graph) - if tail.values.is_some() { 4 * graph.values } else { 0 } + tail.len()
}

/// Writes, from a checkpoint of [`write_checkpoint`], the one that travels to devices without masks: with its tail, and without floats
/// where values are coded.
///
/// # Errors
/// [`CheckpointError::Length`] if `whole` or `out`, which has [`whole_len`], has a wrong length.
pub fn write_whole(graph: &Graph, whole: &[u8], tail: Tail<'_>, out: &mut [u8]) -> Result<(), CheckpointError> {
    let (expected, got) = (whole_len(graph, tail), out.len());
    if expected != got {
        return Err(CheckpointError::Length { expected: expected as u32, got: got as u32 });
    }
    let mut at = HEADER;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    for part in parts(graph, whole)? {
        put(part.mask);
        put(tail.own(&part));
    }
    out[..HEADER].copy_from_slice(&whole[..HEADER]);
    tail.write(&mut out[at..]);
    Ok(())
}

/// Length of a checkpoint that has, instead of the whole masks of `whole`, what changed in them since `base`, bytes. It can be
/// more than that of `whole`; devices refuse that.
///
/// # Errors
/// As [`write_changes`].
pub fn changes_len(graph: &Graph, whole: &[u8], base: &[u8], tail: Tail<'_>) -> Result<usize, CheckpointError> {
    let mut rest = check_base(graph, base)?;
    let mut length = CHANGES_HEADER + tail.len();
    for part in parts(graph, whole)? {
        let (old, after) = rest.split_at(part.mask.len());
        rest = after;
        if part.tensor.has_pattern() {
            let (old, new) = masks_of(&part, old)?;
            length += if tail.values.is_some() { 0 } else { mask_diff_len(old, new).map_err(no_change(&part))? };
        }
        length += tail.own(&part).len();
    }
    Ok(length)
}

/// Writes, from a checkpoint with whole masks, the one that has what changed in them since `base`: the masks of an earlier
/// round, of the same tensors, one after the other. `tail` is as for [`write_whole`]. Gives its length. For servers; costs a few passes
/// over both.
///
/// # Errors
/// [`CheckpointError::Length`] if `whole`, `base` or `out` (shorter than [`changes_len`]) has a wrong length;
/// [`CheckpointError::Padding`] if a mask has bits behind its last entry.
pub fn write_changes(
    graph: &Graph,
    whole: &[u8],
    base: &[u8],
    tail: Tail<'_>,
    out: &mut [u8],
) -> Result<usize, CheckpointError> {
    let mut rest = check_base(graph, base)?;
    let (length, got) = (changes_len(graph, whole, base, tail)?, out.len() as u32);
    let out = out.get_mut(..length).ok_or(CheckpointError::Length { expected: length as u32, got })?;
    let mut result = crate::wire::Checksum::new();
    checkpoint_masks(graph, whole)?.for_each(|mask| result.add(mask));
    out[..HEADER].copy_from_slice(&whole[..HEADER]);
    out[5] = CHANGES;
    out[16..20].copy_from_slice(&crate::wire::checksum(base).to_le_bytes());
    out[20..24].copy_from_slice(&result.get().to_le_bytes());
    let mut at = CHANGES_HEADER;
    for part in parts(graph, whole)? {
        let (old, after) = rest.split_at(part.mask.len());
        rest = after;
        if part.tensor.has_pattern() && tail.values.is_none() {
            let (old, new) = masks_of(&part, old)?;
            at += write_mask_diff(old, new, &mut out[at..]).map_err(no_change(&part))?;
        }
        let own = tail.own(&part);
        out[at..at + own.len()].copy_from_slice(own);
        at += own.len();
    }
    tail.write(&mut out[at..]);
    Ok(length)
}

fn check_base<'b>(graph: &Graph, base: &'b [u8]) -> Result<&'b [u8], CheckpointError> {
    let expected = masks_len(graph);
    if base.len() == expected {
        return Ok(base);
    }
    Err(CheckpointError::Length { expected: expected as u32, got: base.len() as u32 })
}
