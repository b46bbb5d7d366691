//! The forms of a round's checkpoint: whole masks for everybody, changes for devices that kept the masks of an earlier round.

use super::offer::payload_of;
use super::tail::Behind;
use siskin::checkin::{CheckpointError, Tail, changes_len, checkpoint_masks, write_changes};
use siskin::model::sparsity::{Bitmap, mask_diff_len};
use siskin::model::{Graph, Tensor};
use siskin::wire::{Response, checksum};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// The masks of one round, as devices keep them.
#[derive(Debug, PartialEq)]
pub(super) struct Mask {
    fingerprint: u32,
    /// Which tensors have one, and of how many entries.
    tensors: Vec<(usize, usize)>,
    bits: Vec<u8>,
}

impl Mask {
    /// The masks in a checkpoint that has them whole.
    pub(super) fn of(graph: &Graph, whole: &[u8]) -> Result<Self, CheckpointError> {
        let bits = checkpoint_masks(graph, whole)?.collect::<Vec<_>>().concat();
        let tensors = graph.tensors.iter().enumerate();
        let tensors = tensors.filter(|(_, t)| t.has_pattern()).map(|(i, t)| (i, t.size())).collect();
        Ok(Self { fingerprint: checksum(&bits), tensors, bits })
    }

    /// The tensors' own masks.
    fn parts(&self) -> impl Iterator<Item = Bitmap<'_>> {
        let mut rest = &self.bits[..];
        self.tensors.iter().filter_map(move |(_, size)| {
            let (bits, after) = rest.split_at_checked(size.div_ceil(8))?;
            rest = after;
            Bitmap::new(bits, *size).ok()
        })
    }
}

/// The last masks that differ, newest first. Each takes a bit a param that can be pruned.
#[derive(Debug, Default)]
pub(super) struct Masks(VecDeque<Arc<Mask>>);

impl Masks {
    /// Adds those of a round that is over; of all, `most` stay.
    pub(super) fn remember(&mut self, mask: Arc<Mask>, most: usize) {
        if !mask.bits.is_empty() {
            self.0.retain(|known| *known != mask);
            self.0.push_front(mask);
        }
        self.0.truncate(most);
    }
}

/// What a form of the checkpoint is sent as.
#[derive(Debug)]
pub(super) struct Form {
    /// Frames for devices with the longest frame that the server counts on: made once, sent to all of them.
    pub(super) frames: Vec<Vec<u8>>,
    /// Where its masks, or what changed in them, lie.
    masks: Vec<Range<usize>>,
}

impl Form {
    fn new(round: u32, base: Option<u32>, bytes: &[u8], masks: Vec<Range<usize>>, max_frame: usize) -> Self {
        let frame = |offset| {
            let mut out = Vec::new();
            piece(round, base, bytes, offset, max_frame, &mut out);
            out
        };
        Self { frames: (0..bytes.len()).step_by(payload_of(max_frame)).map(frame).collect(), masks }
    }

    /// The form with whole masks, which is in `bytes`.
    pub(super) fn whole(round: u32, graph: &Graph, bytes: &[u8], tail: Tail<'_>, max_frame: usize) -> Self {
        let coded = graph.tensors.iter().filter(|t| t.has_pattern()).map(|t| t.size().div_ceil(8));
        Self::new(round, None, bytes, ranges(graph, bytes.len(), tail, &coded.collect::<Vec<_>>()), max_frame)
    }

    /// Bytes of masks in the part of the checkpoint that a piece at `offset` brings.
    pub(super) fn mask_bytes(&self, offset: usize, max_frame: usize) -> usize {
        let end = offset + payload_of(max_frame);
        self.masks.iter().map(|part| part.end.min(end).saturating_sub(part.start.max(offset))).sum()
    }
}

/// Where the masks of a checkpoint of `length` bytes with this tail lie, of which `coded` says how many bytes each takes.
fn ranges(graph: &Graph, length: usize, tail: Tail<'_>, coded: &[usize]) -> Vec<Range<usize>> {
    let values_of = |t: &Tensor| if tail.values.is_some() { 0 } else { 4 * t.live as usize };
    let values: usize = graph.tensors.iter().map(values_of).sum();
    let mut at = length - tail.len() - values - coded.iter().sum::<usize>();
    let mut coded = coded.iter();
    let mut ranges = Vec::new();
    for tensor in &graph.tensors {
        if let Some(bytes) = coded.as_slice().first().filter(|_| tensor.has_pattern()) {
            coded.next();
            ranges.push(at..at + bytes);
            at += bytes;
        }
        at += values_of(tensor);
    }
    ranges
}

/// The checkpoint of one round as what changed since an earlier one. Made for the first device that kept its masks.
#[derive(Debug)]
pub(super) struct Changes {
    base: Arc<Mask>,
    /// Nothing, if whole masks are not longer.
    made: OnceLock<Option<(Vec<u8>, Form)>>,
}

impl Changes {
    /// Those of the known masks that are of the same tensors.
    pub(super) fn of(masks: &Masks, now: &Mask) -> Vec<Self> {
        let same = masks.0.iter().filter(|known| known.tensors == now.tensors);
        same.map(|base| Self { base: Arc::clone(base), made: OnceLock::new() }).collect()
    }

    /// Fingerprint of the masks that it is for.
    pub(super) fn base(&self) -> u32 {
        self.base.fingerprint
    }

    /// The checkpoint and its frames, if they are shorter than that. `whole` has all tensors as they are; `tail` makes of the masks that
    /// change what comes behind the tensors and, if these changes are coded in it, how many bytes they take.
    pub(super) fn get(
        &self,
        (round, graph): (u32, &Graph),
        (whole, shorter_than): (&[u8], usize),
        tail: impl FnOnce(&[u8]) -> Option<(Behind, Option<usize>)>,
        now: &Mask,
        max_frame: usize,
    ) -> Option<(&[u8], &Form)> {
        let make = || {
            let base = &self.base.bits;
            let (behind, coded) = tail(base)?;
            let tail = behind.tail();
            let length = changes_len(graph, whole, base, tail).ok().filter(|length| *length < shorter_than)?;
            let mut bytes = vec![0; length];
            write_changes(graph, whole, base, tail, &mut bytes).ok()?;
            let masks = match coded {
                None => {
                    let both = self.base.parts().zip(now.parts());
                    let lengths: Option<Vec<usize>> = both.map(|(old, new)| mask_diff_len(old, new).ok()).collect();
                    ranges(graph, length, tail, &lengths?)
                }
                Some(changes) => {
                    let first = length - tail.len() + tail.start.len();
                    [(first, first + changes)].map(|(from, to)| from..to).to_vec()
                }
            };
            let form = Form::new(round, Some(self.base.fingerprint), &bytes, masks, max_frame);
            Some((bytes, form))
        };
        self.made.get_or_init(make).as_ref().map(|(bytes, form)| (&bytes[..], form))
    }
}

/// Writes the frame of a piece.
pub(super) fn piece(
    round: u32,
    base: Option<u32>,
    checkpoint: &[u8],
    offset: usize,
    max_frame: usize,
    out: &mut Vec<u8>,
) {
    let end = (offset + payload_of(max_frame)).min(checkpoint.len());
    let response = Response::Piece { round, base, offset: offset as u32 };
    super::offer::encode(&response, &checkpoint[offset..end], out);
}
