//! Binary decisions to bytes: a 32-bit range coder after Martin (1979) with the carry handling of Schindler's and LZMA's
//! coders. Integer only; multiplication 16 x 16 bits.

/// What the model drives: an encoder writes the bit that it is given and returns it, a decoder ignores it and returns the
/// bit of the stream. One walk over the symbols serves both, so the two cannot disagree about contexts.
pub(super) trait Bins {
    /// One decision whose probability of being `true` is `p / 65536`, `0 < p < 65536`.
    fn bin(&mut self, p: u32, bit: bool) -> bool;
    /// `count <= 8` equiprobable bits.
    fn plain(&mut self, bits: u32, count: u32) -> u32;
    /// Which cells were asked for a decision, and what it was; for who counts them.
    #[inline(always)]
    fn saw(&mut self, _: &[usize], _: bool) {}
    /// True when going on is pointless: the encoder's slice is full, or the decoder is past the end.
    fn over(&self) -> bool;
}

/// Below this the range is multiplied by 256 and a byte leaves.
const BOTTOM: u32 = 1 << 24;

/// Range coder into a slice.
pub(super) struct ByteEncoder<'a> {
    out: &'a mut [u8],
    state: EncoderState,
}

/// All of the encoder but the bytes; bytes before `written` are final, so a copy of this is a point to go back to.
#[derive(Clone, Copy)]
pub(super) struct EncoderState {
    /// Lower end of the interval, relative to the bytes shifted out; below `2^33`, bit 32 is the carry.
    low: u64,
    /// Width of the interval; at least `BOTTOM` between decisions.
    range: u32,
    /// Last byte shifted out, which a carry may still raise; none at first.
    held: Option<u8>,
    /// Bytes 0xff shifted out after `held`, which a carry would turn to 0x00.
    pending: usize,
    /// Bytes that are final, whether they fitted or not.
    written: usize,
}

impl EncoderState {
    /// Bytes of the stream if it ended here, give or take the two of the end.
    pub(super) fn position(&self) -> usize {
        self.written + self.pending + usize::from(self.held.is_some())
    }

    /// Bits of the stream so far, in 1/16, to compare two ways to write it.
    pub(super) fn bits(&self) -> usize {
        let zeros = self.range.leading_zeros();
        // The digits below the highest one are nearly the fraction of the logarithm.
        let below = (self.range << zeros) >> 27 & 15;
        128 * self.position() + 16 * (zeros as usize + 1) - below as usize
    }
}

impl<'a> ByteEncoder<'a> {
    pub(super) fn new(out: &'a mut [u8]) -> Self {
        Self { out, state: EncoderState { low: 0, range: u32::MAX, held: None, pending: 0, written: 0 } }
    }

    pub(super) fn state(&self) -> EncoderState {
        self.state
    }

    pub(super) fn rewind(&mut self, state: EncoderState) {
        self.state = state;
    }

    fn put(&mut self, byte: u8) {
        if let Some(slot) = self.out.get_mut(self.state.written) {
            *slot = byte;
        }
        self.state.written += 1;
    }

    #[cold]
    fn shift(&mut self) {
        let carry = (self.state.low >> 32) as u8;
        let top = (self.state.low >> 24) as u8;
        if carry == 1 || top != 0xff {
            if let Some(held) = self.state.held {
                self.put(held.wrapping_add(carry)); // never 0xff + 1: 0xff is pending, not held
                while self.state.pending > 0 {
                    self.put(0xffu8.wrapping_add(carry));
                    self.state.pending -= 1;
                }
            }
            self.state.held = Some(top);
        } else if self.state.held.is_none() {
            // First byte of the stream: no carry can reach it, so it may be held although it is 0xff.
            self.state.held = Some(top);
        } else {
            self.state.pending += 1;
        }
        self.state.low = (self.state.low & 0x00ff_ffff) << 8;
    }

    #[inline(always)]
    fn normalise(&mut self) {
        while self.state.range < BOTTOM {
            self.state.range <<= 8;
            self.shift();
        }
    }

    /// Writes the shortest bytes (one or two) such that whatever would follow them lies inside the interval, and returns
    /// the length of the stream, which exceeds the slice if it did not fit.
    pub(super) fn finish(mut self) -> usize {
        let (end, count) = last_bytes(self.state.low, self.state.range);
        self.state.low = end;
        for _ in 0..count {
            self.shift();
        }
        // What is held is now final.
        if let Some(held) = self.state.held {
            self.put(held);
        }
        for _ in 0..self.state.pending {
            self.put(0xff);
        }
        self.state.written
    }
}

/// Lowest multiple `v >= low` of `2^24` or, if there is none, of `2^16` with `v + its unit <= low + range`, and how many
/// bytes are left of the unit. `range >= 2^24`, so the second always exists. Codewords therefore are disjoint intervals:
/// none is the beginning of another one.
fn last_bytes(low: u64, range: u32) -> (u64, usize) {
    let end = low + u64::from(range);
    let coarse = low.next_multiple_of(1 << 24);
    if coarse + (1 << 24) <= end { (coarse, 1) } else { (low.next_multiple_of(1 << 16), 2) }
}

impl Bins for ByteEncoder<'_> {
    #[inline(always)]
    fn bin(&mut self, p: u32, bit: bool) -> bool {
        let bound = (self.state.range >> 16) * p;
        if bit {
            self.state.range = bound;
        } else {
            self.state.low += u64::from(bound);
            self.state.range -= bound;
        }
        self.normalise();
        bit
    }

    fn plain(&mut self, bits: u32, count: u32) -> u32 {
        self.state.range >>= count;
        self.state.low += u64::from(self.state.range) * u64::from(bits);
        self.normalise();
        bits
    }

    fn over(&self) -> bool {
        self.state.written > self.out.len()
    }
}

/// Range decoder from a slice.
pub(super) struct ByteDecoder<'a> {
    bytes: &'a [u8],
    /// Distance of the stream's number from the lower end of the interval; below `range`.
    code: u32,
    range: u32,
    /// Bytes taken in, those past the end (which read as zero) too; 4 more than the encoder has shifted out.
    taken: usize,
    /// The number fell into the remainder that equiprobable bits leave unused: no encoder writes that.
    damaged: bool,
}

/// Why a stream ends wrongly, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndError {
    Missing { position: usize },
    Trailing { position: usize },
    Different { position: usize },
}

impl<'a> ByteDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { bytes, code: 0, range: u32::MAX, taken: 0, damaged: false };
        for _ in 0..4 {
            decoder.take();
        }
        decoder
    }

    fn take(&mut self) {
        self.code = self.code << 8 | u32::from(self.bytes.get(self.taken).copied().unwrap_or(0));
        self.taken += 1;
    }

    #[inline(always)]
    fn normalise(&mut self) {
        while self.range < BOTTOM {
            self.range <<= 8;
            self.take();
        }
    }

    /// Byte that decoding has reached: that of the encoder when it was here.
    pub(super) fn position(&self) -> usize {
        (self.taken - 4).min(self.bytes.len())
    }

    /// Checks that the stream ends here and with exactly the bytes that the encoder writes.
    pub(super) fn finish(self) -> Result<(), EndError> {
        let shifted = self.taken - 4;
        let window = (0..4).fold(0u32, |w, i| w << 8 | u32::from(self.bytes.get(shifted + i).copied().unwrap_or(0)));
        // The lower end of the encoder's interval modulo 2^32: what a carry left of it matters no more.
        let low = window.wrapping_sub(self.code);
        let (end, count) = last_bytes(u64::from(low), self.range);
        let expected = shifted + count;
        if self.bytes.len() < expected {
            Err(EndError::Missing { position: self.bytes.len() })
        } else if self.bytes.len() > expected {
            Err(EndError::Trailing { position: expected })
        } else if self.damaged || end as u32 != window {
            Err(EndError::Different { position: shifted })
        } else {
            Ok(())
        }
    }
}

impl Bins for ByteDecoder<'_> {
    #[inline(always)]
    fn bin(&mut self, p: u32, _: bool) -> bool {
        let bound = (self.range >> 16) * p;
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        self.normalise();
        bit
    }

    fn plain(&mut self, _: u32, count: u32) -> u32 {
        self.range >>= count;
        let (bits, last) = (self.code / self.range, (1 << count) - 1);
        self.damaged |= bits > last;
        let bits = bits.min(last);
        self.code = (self.code - bits * self.range).min(self.range - 1);
        self.normalise();
        bits
    }

    fn over(&self) -> bool {
        // Four bytes are taken in advance, of which an intact stream has one or two.
        self.damaged || self.taken > self.bytes.len() + 4
    }
}
