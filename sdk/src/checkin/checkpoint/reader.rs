//! The device's side of the checkpoint: a stream in pieces of any size, into the arena.

use super::coded::{decode_changes, decode_values};
use super::pattern::PatternWriter;
use super::{
    CHANGES, CHANGES_HEADER, CheckpointError, HEADER, KeptMask, MAGIC, VERSION, WHOLE, checkpoint_len, mask_bytes,
};
use crate::arena::{Arena, MemoryPlan, cast};
use crate::checkin::{Path, Values, parts};
use crate::model::sparsity::MaskDiffReader;
use crate::model::{Graph, Tensor, mask};
use crate::range_coder::{DecodeTensors, Decoder, Start};
use serde::{Deserialize, Serialize};

/// What is known of a checkpoint before its first byte.
#[derive(Clone, Copy)]
pub(crate) struct Download<'d> {
    pub(crate) round: u32,
    /// Its length as the task says it, bytes.
    pub(crate) length: u32,
    /// The masks that it changes; whole masks come without.
    pub(crate) base: Option<KeptMask<'d>>,
    /// How its values come.
    pub(crate) values: Values,
    pub(crate) graph: &'d Graph,
    pub(crate) memory: &'d MemoryPlan,
}

impl Download<'_> {
    const fn header(&self) -> usize {
        if self.base.is_some() { CHANGES_HEADER } else { HEADER }
    }

    /// True if what changed in masks comes with the tensors: else it is coded, and comes behind them.
    fn has_changes(&self, tensor: &Tensor) -> bool {
        self.base.is_some() && self.coded().is_none() && tensor.has_pattern()
    }

    /// Bytes of a tensor of which the number is known before.
    const fn fixed(&self, tensor: &Tensor) -> usize {
        let mask = if self.base.is_some() { 0 } else { mask_bytes(tensor) };
        if self.coded().is_some() { mask } else { mask + 4 * tensor.live as usize }
    }

    /// The step of values that come coded.
    const fn coded(&self) -> Option<f32> {
        match self.values {
            Values::Coded { step } if parts::CODED.here => Some(step),
            _ => None,
        }
    }

    /// What is coded that there is room for, bytes.
    const fn room(&self) -> usize {
        self.memory.report.len()
    }

    /// Checks the length that the task says: with whole masks and floats there is one; changes are shorter, and have at least a byte a
    /// mask; what is coded has at least a byte, and at most what there is room for.
    pub(crate) fn check_length(&self) -> Result<(), CheckpointError> {
        let (start, got) = (self.memory.start.len(), self.length);
        let coded = self.coded().is_some();
        let whole = checkpoint_len(self.graph) - if coded { 4 * self.graph.values } else { 0 } + start;
        let most = whole + if coded { self.room() } else { 0 };
        let (least, most) = match self.base {
            None => (whole + usize::from(coded), most),
            Some(_) => (self.least(0, CHANGES_HEADER), most - 1),
        };
        let (least, most) = (least as u32, most as u32);
        if got < least {
            return Err(CheckpointError::Length { expected: least, got });
        }
        if got > most {
            return Err(CheckpointError::Length { expected: most, got });
        }
        Ok(())
    }

    /// The least length of a checkpoint of which `offset` bytes are read when `tensor`, or what is behind all of them, begins.
    fn least(&self, tensor: usize, offset: usize) -> usize {
        let rest = self.graph.tensors.iter().skip(tensor);
        let tail = self.memory.start.len() + usize::from(self.coded().is_some());
        offset + tail + rest.map(|t| self.fixed(t) + usize::from(self.has_changes(t))).sum::<usize>()
    }
}

/// Where the stream stands. A small value, so that a download that was cut off can be saved and go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CheckpointReader {
    /// Bytes taken so far.
    offset: u32,
    /// The tensor that is being read; as many as there are, if it is what comes behind them.
    tensor: u8,
    /// Bytes of its mask and values, or of what comes behind the tensors, taken so far; bytes of changes are not counted in it.
    within: u32,
    /// Live entries seen in its mask.
    live: u32,
    /// The changes of its mask; at rest where masks come whole.
    change: MaskDiffReader,
    /// Fingerprint that the masks must have in the end; zero where they come whole.
    result: u32,
}

impl CheckpointReader {
    /// Bytes taken so far.
    pub(crate) fn offset(&self) -> u32 {
        self.offset
    }

    /// True if a reader that comes from a saved session stands at a possible place.
    pub(crate) fn is_consistent(&self, from: &Download<'_>) -> bool {
        let graph = from.graph;
        let index = usize::from(self.tensor);
        let Some(before) = graph.tensors.get(..index) else { return false };
        let fresh = self.change == MaskDiffReader::new();
        if (self.offset as usize) < from.header() {
            return index == 0 && self.within == 0 && self.live == 0 && fresh;
        }
        let tail = from.memory.start.len() + if from.coded().is_some() { from.room() } else { 0 };
        // One more, as what comes behind all tensors may be there to the last byte.
        let (fixed, live) = graph.tensors.get(index).map_or((tail + 1, 0), |t| (from.fixed(t), t.live));
        if (self.within != 0 && self.within as usize >= fixed) || self.live > live {
            return false;
        }
        if from.base.is_none() {
            let start = HEADER + before.iter().map(|t| from.fixed(t)).sum::<usize>();
            // `within` is bounded above before it is added, which matters where a `usize` has 32 bits.
            return self.offset as usize == start + self.within as usize && fresh && self.result == 0;
        }
        // How long the changes before were, nobody knows any more. What counts is that nothing is written outside.
        let possible = match graph.tensors.get(index).filter(|t| from.has_changes(t)) {
            // Coded ones are read when all is there.
            None if from.coded().is_some() => fresh && self.live == 0 && index == graph.tensors.len(),
            None => fresh && self.live == 0,
            Some(tensor) if self.change.is_done() => {
                self.change.is_consistent(tensor.size() as u32) && self.live == live && live > 0
            }
            Some(tensor) => self.change.is_consistent(tensor.size() as u32) && self.within == 0,
        };
        possible && self.offset <= from.length
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        from: &Download<'_>,
        arena: &mut Arena<'_>,
    ) -> Result<(), CheckpointError> {
        if bytes.len() > from.length.saturating_sub(self.offset) as usize {
            let got = self.offset.saturating_add(bytes.len() as u32);
            return Err(CheckpointError::Length { expected: from.length, got });
        }
        while let Some(byte) = bytes.first().filter(|_| (self.offset as usize) < from.header()) {
            self.header_byte(*byte, from)?;
            bytes = &bytes[1..];
            self.offset += 1;
        }
        if self.offset as usize >= from.header() {
            self.pass_complete(from);
        }
        while !bytes.is_empty() {
            let used = match from.graph.tensors.get(usize::from(self.tensor)) {
                None => self.tail(bytes, from, arena)?,
                Some(tensor) => match from.base.filter(|_| tensor.has_pattern()) {
                    Some(base) if !self.change.is_done() => self.changes(bytes, tensor, base, from, arena)?,
                    _ => self.mask_or_values(bytes, tensor, from, arena)?,
                },
            };
            self.offset += used as u32;
            bytes = &bytes[used..];
            self.pass_complete(from);
        }
        Ok(())
    }

    /// Goes on to the next tensor of which bytes are to come: those without a mask have none where values are coded.
    fn pass_complete(&mut self, from: &Download<'_>) {
        while let Some(tensor) = from.graph.tensors.get(usize::from(self.tensor)) {
            let settled = !from.has_changes(tensor) || self.change.is_done();
            if !settled || (self.within as usize) < from.fixed(tensor) {
                return;
            }
            *self = Self { offset: self.offset, tensor: self.tensor + 1, result: self.result, ..Self::default() };
        }
    }

    /// Takes bytes of what comes behind the tensors; gives their number.
    fn tail(&mut self, bytes: &[u8], from: &Download<'_>, arena: &mut Arena<'_>) -> Result<usize, CheckpointError> {
        let (within, start) = (self.within as usize, from.memory.start);
        let used = if within < start.len() {
            let now = &bytes[..bytes.len().min(start.len() - within)];
            arena.bytes_mut(start.part(within, now.len())).copy_from_slice(now);
            now.len()
        } else {
            let (at, room) = (within - start.len(), if from.coded().is_some() { from.room() } else { 0 });
            if bytes.len() > room - at {
                let expected = self.offset + (room - at) as u32;
                return Err(CheckpointError::Length { expected, got: from.length });
            }
            arena.bytes_mut(from.memory.report.part(at, bytes.len())).copy_from_slice(bytes);
            bytes.len()
        };
        self.within += used as u32;
        Ok(used)
    }

    fn header_byte(&mut self, byte: u8, from: &Download<'_>) -> Result<(), CheckpointError> {
        let base = from.base.map(|kept| kept.fingerprint());
        let mut header = [0; CHANGES_HEADER];
        header[..4].copy_from_slice(&MAGIC);
        header[4] = VERSION;
        header[5] = if base.is_some() { CHANGES } else { WHOLE };
        header[8..12].copy_from_slice(&from.round.to_le_bytes());
        header[12..16].copy_from_slice(&(from.graph.values as u32).to_le_bytes());
        header[16..20].copy_from_slice(&base.unwrap_or(0).to_le_bytes());
        let at = self.offset as usize;
        if at >= 20 {
            self.result |= u32::from(byte) << (8 * (at - 20));
            return Ok(());
        }
        if header[at] == byte {
            return Ok(());
        }
        // As far as it is known: the bytes before were right.
        let wrong = |start: usize, number: u32| number ^ (u32::from(header[at] ^ byte) << (8 * (at - start)));
        Err(match at {
            8..12 => CheckpointError::Round { expected: from.round, got: wrong(8, from.round) },
            12..16 => {
                let expected = from.graph.values as u32;
                CheckpointError::Length { expected, got: u32::from(byte) << (8 * (at - 12)) }
            }
            16.. => CheckpointError::Base { kept: base, got: wrong(16, base.unwrap_or(0)) },
            _ => CheckpointError::Header,
        })
    }

    /// Takes bytes of a whole mask, or of values; gives their number.
    fn mask_or_values(
        &mut self,
        bytes: &[u8],
        tensor: &Tensor,
        from: &Download<'_>,
        arena: &mut Arena<'_>,
    ) -> Result<usize, CheckpointError> {
        let mask = if from.base.is_some() { 0 } else { mask_bytes(tensor) };
        let within = self.within as usize;
        let limit = if within < mask { mask } else { from.fixed(tensor) };
        let now = &bytes[..bytes.len().min(limit - within)];
        if within < mask {
            self.mask(now, tensor, from.memory, arena)?;
        } else if tensor.path == Path::Block {
            self.values_of_blocks(now, within - mask, tensor, from.memory, arena);
        } else {
            let at = 4 * tensor.at as usize + within - mask;
            arena.bytes_mut(from.memory.local.part(at, now.len())).copy_from_slice(now);
        }
        self.within += now.len() as u32;
        Ok(now.len())
    }

    /// Brings values, which come row by row, to their places in blocks; `from` bytes of them came before.
    fn values_of_blocks(
        &self,
        mut bytes: &[u8],
        mut from: usize,
        tensor: &Tensor,
        memory: &MemoryPlan,
        arena: &mut Arena<'_>,
    ) {
        let [row_ptrs, columns, local] = arena.split([memory.row_ptrs, memory.columns, memory.local]);
        let live = tensor.live(cast(row_ptrs), cast(columns));
        let values = &mut local[4 * tensor.at as usize..][..4 * tensor.stored()];
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(4 - from % 4));
            // A pattern from a forged save may say any place.
            let value = values.chunks_exact_mut(4).nth(live.stored_at(from / 4));
            if let Some(to) = value.and_then(|value| value[from % 4..].get_mut(..now.len())) {
                to.copy_from_slice(now);
            }
            (bytes, from) = (rest, from + now.len());
        }
    }

    /// Turns bits into row pointers and columns.
    fn mask(
        &mut self,
        bytes: &[u8],
        tensor: &Tensor,
        memory: &MemoryPlan,
        arena: &mut Arena<'_>,
    ) -> Result<(), CheckpointError> {
        let (mut position, size) = (8 * self.within as usize, tensor.size());
        let mut pattern = PatternWriter::new(tensor, self.tensor, position, self.live, memory, arena);
        for byte in bytes {
            let used = (size - position).min(8);
            for bit in 0..used {
                pattern.push(byte >> bit & 1 == 1)?;
            }
            if used < 8 && byte >> used != 0 {
                return Err(CheckpointError::Padding { tensor: self.tensor });
            }
            position += used;
        }
        self.live = pattern.live;
        if position == size { self.check_live(tensor) } else { Ok(()) }
    }

    /// Takes bytes of the changes of a mask and turns the mask that they make into row pointers and columns; gives their
    /// number.
    fn changes(
        &mut self,
        bytes: &[u8],
        tensor: &Tensor,
        base: KeptMask<'_>,
        from: &Download<'_>,
        arena: &mut Arena<'_>,
    ) -> Result<usize, CheckpointError> {
        let size = tensor.size();
        let start = from.graph.tensors.iter().take(self.tensor.into()).map(mask_bytes).sum::<usize>();
        let Some(old) = base.bits().get(start..).and_then(|bits| bits.get(..mask_bytes(tensor))) else {
            // Other masks than those that the session was made with; it compared them.
            return Err(CheckpointError::Base { kept: Some(base.fingerprint()), got: base.fingerprint() });
        };
        let lived = |place: usize| old[place / 8] >> (place % 8) & 1 == 1;
        let settled = self.change.settled() as usize;
        let mut pattern = PatternWriter::new(tensor, self.tensor, settled, self.live, from.memory, arena);
        for (i, byte) in bytes.iter().enumerate() {
            let settled = self.change.settled() as usize;
            let change = self.change.push(*byte, size as u32);
            let change = change.map_err(|source| CheckpointError::Change { tensor: self.tensor, source })?;
            if let Some(place) = change {
                (settled..place as usize).try_for_each(|place| pattern.push(lived(place)))?;
                pattern.push(!lived(place as usize))?;
            }
            if self.change.is_done() {
                (self.change.settled() as usize..size).try_for_each(|place| pattern.push(lived(place)))?;
                self.live = pattern.live;
                self.check_live(tensor)?;
                return Ok(i + 1);
            }
        }
        self.live = pattern.live;
        Ok(bytes.len())
    }

    fn check_live(&self, tensor: &Tensor) -> Result<(), CheckpointError> {
        if self.live == tensor.live {
            return Ok(());
        }
        Err(CheckpointError::Live { tensor: self.tensor, expected: tensor.live, got: self.live })
    }

    /// Checks that everything is there, spreads masked tensors over their dense arrays and copies the parameters.
    pub(crate) fn finish(self, from: &Download<'_>, arena: &mut Arena<'_>) -> Result<(), CheckpointError> {
        let (graph, memory) = (from.graph, from.memory);
        if self.offset != from.length {
            return Err(CheckpointError::Length { expected: from.length, got: self.offset });
        }
        let complete = usize::from(self.tensor) == graph.tensors.len() && self.within as usize >= memory.start.len();
        if !complete {
            let least = from.least(self.tensor.into(), self.offset as usize) - self.within as usize;
            return Err(CheckpointError::Length { expected: least as u32, got: self.offset });
        }
        if parts::STARTS.here {
            Start::new(arena.bytes(memory.start)).map_err(CheckpointError::Start)?;
        }
        let [row_ptrs, columns, local, coded, scratch] =
            arena.split([memory.row_ptrs, memory.columns, memory.local, memory.report, memory.coder]);
        let (row_ptrs, columns, local): (&mut [u32], &mut [u16], &mut [f32]) =
            (cast(row_ptrs), cast(columns), cast(local));
        let mut decoder = None;
        if from.coded().is_some() {
            let coded = &coded[..self.within as usize - memory.start.len()];
            let decoder = decoder.insert(Decoder::begin(coded, scratch).map_err(CheckpointError::Coded)?);
            if let Some(base) = from.base {
                decode_changes(decoder, graph, base.bits(), (row_ptrs, columns))?;
                decoder.forget();
            }
        }
        if !graph.patterns_are_valid(row_ptrs, columns) {
            return Err(CheckpointError::Header);
        }
        if from.base.is_some() {
            let (expected, mut sum) = (self.result, crate::wire::Checksum::new());
            each_mask(graph, row_ptrs, columns, |bits| sum.add(bits));
            if sum.get() != expected {
                return Err(CheckpointError::Fingerprint { expected, got: sum.get() });
            }
        }
        if let (Some(step), Some(mut decoder)) = (from.coded(), decoder) {
            let read = decode_values(&mut decoder, graph, (row_ptrs, columns), step, local);
            read.and_then(|()| decoder.finish()).map_err(CheckpointError::Coded)?;
        }
        let mut seen = 0;
        for tensor in &graph.tensors {
            let values = &mut local[tensor.range()];
            let came = &values[..tensor.live as usize];
            if !came.iter().fold(true, |all, v| all & v.is_finite()) {
                let live = tensor.live(row_ptrs, columns);
                let index = (0..came.len()).position(|i| !came[live.stored_at(i)].is_finite()).unwrap_or(0);
                return Err(CheckpointError::NotFinite { index: (seen + index) as u32 });
            }
            seen += came.len();
            if tensor.is_masked() {
                mask::expand(&tensor.pattern(row_ptrs, columns), tensor.cols as usize, values);
            }
        }
        let [local, global] = arena.split([memory.local, memory.global]);
        global.copy_from_slice(&local[..4 * graph.trained]);
        Ok(())
    }
}

/// Calls `each` with the masks of all tensors that have one, in pieces, from patterns that are valid.
pub(crate) fn each_mask(graph: &Graph, row_ptrs: &[u32], columns: &[u16], mut each: impl FnMut(&[u8])) {
    for tensor in graph.tensors.iter().filter(|t| t.has_pattern()) {
        mask::each_bits(&tensor.live(row_ptrs, columns), tensor.cols as usize, tensor.size(), &mut each);
    }
}

/// Makes patterns of the masks that [`each_mask`] gave.
pub(crate) fn restore_masks(
    graph: &Graph,
    memory: &MemoryPlan,
    mut bits: &[u8],
    arena: &mut Arena<'_>,
) -> Result<(), CheckpointError> {
    for (index, tensor) in graph.tensors.iter().enumerate().filter(|(_, t)| t.has_pattern()) {
        let (expected, got) = (mask_bytes(tensor), bits.len());
        let length = CheckpointError::Length { expected: expected as u32, got: got as u32 };
        let (own, behind) = bits.split_at_checked(expected).ok_or(length)?;
        CheckpointReader { tensor: index as u8, ..CheckpointReader::default() }.mask(own, tensor, memory, arena)?;
        bits = behind;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
