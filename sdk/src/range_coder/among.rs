//! Entries of a mask that change: coded among those that lived, or among those that did not, as if no others were there.

use super::Support;
use super::binary::Bins;
use super::blocks::{Keeps, Kept, Source, Stop, Unknown, walk};
use super::row_column::{Decoder, Encoder};
use super::{CodeError, DecodeError};

/// The entries `[rows, cols]` of a mask, row by row, that live, or that do not. Where rows come in groups that live together, the first
/// of each group stands for it.
#[derive(Clone, Copy)]
pub(crate) struct Among<'m> {
    /// A bit an entry, least significant first.
    bits: &'m [u8],
    rows: usize,
    cols: usize,
    /// Rows of a group.
    height: usize,
    lives: bool,
}

impl<'m> Among<'m> {
    /// Those of `rows` groups of `height` rows each whose bits are `lives`. Bits that are not there are 0.
    pub(crate) fn new(bits: &'m [u8], [rows, cols]: [usize; 2], height: usize, lives: bool) -> Self {
        Self { bits, rows, cols, height, lives }
    }

    /// The others.
    pub(crate) fn others(self) -> Self {
        Self { lives: !self.lives, ..self }
    }

    /// The bit of an entry of `bits`.
    #[inline(always)]
    pub(crate) fn bit(&self, bits: &[u8], index: usize) -> bool {
        let at =
            if self.height == 1 { index } else { index / self.cols * (self.height * self.cols) + index % self.cols };
        bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }

    fn is_empty(&self) -> bool {
        !(0..self.rows * self.cols).any(|index| self.keeps(index))
    }

    fn support(&self) -> Support<'static> {
        Support::Dense { rows: self.rows as u32, cols: self.cols as u32 }
    }
}

impl Keeps for Among<'_> {
    #[inline(always)]
    fn keeps(&self, index: usize) -> bool {
        self.bit(self.bits, index) == self.lives
    }
}

/// 1 where the bit differs from the one of the mask before, else 0.
struct Changed<'m> {
    among: Among<'m>,
    new: &'m [u8],
}

impl Source for Changed<'_> {
    #[inline(always)]
    fn block(&self, at: usize, len: usize) -> [i32; super::model::BLOCK] {
        let mut block = [0; super::model::BLOCK];
        for (i, symbol) in block[..len].iter_mut().enumerate() {
            *symbol = i32::from(self.among.bit(self.new, at + i) != self.among.lives);
        }
        block
    }
}

impl Encoder<'_> {
    /// Appends which of the entries change, so that their bits are those of `new`.
    pub(crate) fn changes(&mut self, among: Among<'_>, new: &[u8]) -> Result<(), CodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if let Some((expected, got)) = self.state.too_narrow(among.cols as u32) {
            return Err(CodeError::Scratch { expected, got });
        }
        if among.is_empty() {
            return Ok(());
        }
        (self.begun, self.fresh) = (true, false);
        let source = Changed { among, new };
        let walked = walk(&mut self.bins, &mut self.state, &among.support(), source, Kept(among), |_, _| ());
        if walked.is_err() || self.bins.over() {
            self.failed = Some(CodeError::Full { capacity: self.capacity });
        }
        self.failed.map_or(Ok(()), Err)
    }

    /// Goes on as at the beginning of the stream.
    pub(crate) fn forget(&mut self) {
        self.state.model.reset();
        self.fresh = true;
    }

    /// Bytes so far, give or take the two of the end.
    pub(crate) fn position(&self) -> usize {
        self.bins.state().position()
    }
}

impl Decoder<'_> {
    /// Reads which of the entries change and calls `each` with their indices, rising. One copy for whatever is called: it is large.
    #[inline(never)]
    pub(crate) fn changes(&mut self, among: Among<'_>, each: &mut dyn FnMut(usize)) -> Result<(), DecodeError> {
        if let Some((expected, got)) = self.state.too_narrow(among.cols as u32) {
            return Err(DecodeError::Scratch { expected, got });
        }
        if among.is_empty() {
            return Ok(());
        }
        (self.begun, self.fresh) = (true, false);
        let mut strange = None;
        let each = |index, symbol| {
            if symbol == 1 {
                each(index);
            } else {
                strange = strange.or(Some(index));
            }
        };
        let walked = walk(&mut self.bins, &mut self.state, &among.support(), Unknown, Kept(among), each);
        let symbol = |index| DecodeError::Symbol { index, position: self.bins.position() };
        match (walked, strange) {
            (Err(Stop::Range(index)), _) | (_, Some(index)) => Err(symbol(index)),
            (Err(Stop::Over), None) => Err(DecodeError::Truncated { position: self.length }),
            (Ok(()), None) if self.bins.over() => Err(DecodeError::Truncated { position: self.length }),
            (Ok(()), None) => Ok(()),
        }
    }

    /// As [`Encoder::forget`].
    pub(crate) fn forget(&mut self) {
        self.state.model.reset();
        self.fresh = true;
    }
}
