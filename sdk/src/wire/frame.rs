//! Frames: how a message travels over a byte stream that may lose, repeat or damage bytes.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 2 | `53 4B` |
//! | 2 | 2 | protocol version, little-endian |
//! | 4 | 4 | length of the body, little-endian |
//! | 8 | 4 | XXH32 of the body, seeded with `(bytes 0..4 as u32) xor rotate_left(length, 16)`, little-endian |
//! | 12 | length | body |
//!
//! A receiver that meets anything else skips one byte and looks again, so it finds the next whole frame after damage.

use super::WireError;

/// Bytes that a frame adds to its body.
pub const FRAME_OVERHEAD: usize = 12;

const MAGIC: [u8; 2] = *b"SK";

fn seed(head: &[u8; 8]) -> u32 {
    let [a, b, c, d, e, f, g, h] = *head;
    u32::from_le_bytes([a, b, c, d]) ^ u32::from_le_bytes([e, f, g, h]).rotate_left(16)
}

fn header(body: &[u8], version: u16) -> [u8; FRAME_OVERHEAD] {
    let mut out = [0; FRAME_OVERHEAD];
    let (head, sum) = out.split_at_mut(8);
    head[..2].copy_from_slice(&MAGIC);
    head[2..4].copy_from_slice(&version.to_le_bytes());
    head[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(head);
    sum.copy_from_slice(&twox_hash::XxHash32::oneshot(seed(&first), body).to_le_bytes());
    out
}

/// Turns `out[FRAME_OVERHEAD..FRAME_OVERHEAD + body_len]` into a frame by writing the header before it; returns the
/// frame's length.
///
/// # Errors
/// [`WireError::Capacity`] if `out` is shorter than the frame.
pub fn encode_frame(out: &mut [u8], body_len: usize) -> Result<usize, WireError> {
    let end = FRAME_OVERHEAD + body_len;
    let capacity = out.len() as u32;
    let frame = out.get_mut(..end).ok_or(WireError::Capacity { capacity })?;
    let (head, body) = frame.split_at_mut(FRAME_OVERHEAD);
    head.copy_from_slice(&header(body, super::PROTOCOL_VERSION));
    Ok(end)
}

/// What the first bytes of a stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole frame: its body, the peer's protocol version, and the frame's length.
    Whole {
        /// The body.
        body: &'a [u8],
        /// Protocol version of the sender.
        version: u16,
        /// Bytes of the stream that the frame takes.
        length: usize,
    },
    /// So far it looks like a frame; at least this many bytes in all are needed to tell more.
    Incomplete {
        /// Bytes needed, counted from the start.
        needed: usize,
    },
    /// Not a frame: skip this many bytes (at least 1) and look again.
    Damaged {
        /// Bytes to skip.
        skip: usize,
    },
}

impl<'a> Frame<'a> {
    /// Looks at the start of `bytes`. A frame longer than `limit` bytes counts as damaged.
    pub fn parse(bytes: &'a [u8], limit: usize) -> Self {
        let Some((head, rest)) = bytes.split_first_chunk::<FRAME_OVERHEAD>() else {
            return match starts_like_a_frame(bytes) {
                true => Self::Incomplete { needed: FRAME_OVERHEAD },
                false => Self::Damaged { skip: next_candidate(bytes) },
            };
        };
        if head[..2] != MAGIC {
            return Self::Damaged { skip: next_candidate(bytes) };
        }
        let body_len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let Some(length) = body_len.checked_add(FRAME_OVERHEAD).filter(|&n| n <= limit) else {
            return Self::Damaged { skip: next_candidate(bytes) };
        };
        let Some(body) = rest.get(..body_len) else {
            return Self::Incomplete { needed: length };
        };
        let mut first = [0; 8];
        first.copy_from_slice(&head[..8]);
        let sum = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if twox_hash::XxHash32::oneshot(seed(&first), body) != sum {
            return Self::Damaged { skip: next_candidate(bytes) };
        }
        Self::Whole { body, version: u16::from_le_bytes([head[2], head[3]]), length }
    }
}

fn starts_like_a_frame(bytes: &[u8]) -> bool {
    let n = bytes.len().min(2);
    bytes[..n] == MAGIC[..n]
}

/// Distance to the next place where a frame could begin, at least 1.
fn next_candidate(bytes: &[u8]) -> usize {
    (1..bytes.len()).find(|&i| starts_like_a_frame(&bytes[i..])).unwrap_or(bytes.len().max(1))
}

/// Collects the bytes of a stream until a frame is whole, in a buffer that the caller lends at every call.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameAssembler {
    filled: usize,
}

impl FrameAssembler {
    /// Starts empty.
    pub const fn new() -> Self {
        Self { filled: 0 }
    }

    /// Takes from `input` until a frame is whole or the input is used up. Returns the bytes taken and whether
    /// [`frame`](Self::frame) now has a whole frame (which [`advance`](Self::advance) must drop before the next call). Behind it
    /// there may be another one already: call again, with what is left of the input, until there is none.
    pub fn push(&mut self, buffer: &mut [u8], input: &[u8]) -> (usize, bool) {
        let mut taken = 0;
        loop {
            match Frame::parse(&buffer[..self.filled], buffer.len()) {
                Frame::Whole { .. } => return (taken, true),
                Frame::Damaged { skip } if self.filled > 0 => {
                    let skip = skip.min(self.filled);
                    buffer.copy_within(skip..self.filled, 0);
                    self.filled -= skip;
                }
                Frame::Damaged { .. } | Frame::Incomplete { .. } => {
                    // Never past the end of the frame that seems to begin here: what follows belongs to the next one.
                    let needed = match Frame::parse(&buffer[..self.filled], buffer.len()) {
                        Frame::Incomplete { needed } => needed,
                        _ => FRAME_OVERHEAD,
                    };
                    let n = (input.len() - taken).min(needed - self.filled);
                    if n == 0 {
                        return (taken, false);
                    }
                    buffer[self.filled..self.filled + n].copy_from_slice(&input[taken..taken + n]);
                    self.filled += n;
                    taken += n;
                }
            }
        }
    }

    /// The whole frame's body.
    pub fn frame<'b>(&self, buffer: &'b [u8]) -> Option<(&'b [u8], u16)> {
        match Frame::parse(&buffer[..self.filled], buffer.len()) {
            Frame::Whole { body, version, .. } => Some((body, version)),
            _ => None,
        }
    }

    /// True if no byte is held.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Drops the whole frame and keeps what was collected behind it: after a damaged frame that claimed to be longer than it
    /// was, that can be more frames.
    pub fn advance(&mut self, buffer: &mut [u8]) {
        match Frame::parse(&buffer[..self.filled], buffer.len()) {
            Frame::Whole { length, .. } => {
                buffer.copy_within(length..self.filled, 0);
                self.filled -= length;
            }
            _ => self.filled = 0,
        }
    }

    /// Drops all that is held.
    pub fn clear(&mut self) {
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut out = std::vec![0; body.len() + FRAME_OVERHEAD];
        out[FRAME_OVERHEAD..].copy_from_slice(body);
        assert_eq!(encode_frame(&mut out, body.len()), Ok(out.len()));
        out
    }

    fn collect(stream: &[u8], piece: usize, buffer: &mut [u8]) -> Vec<Vec<u8>> {
        let mut assembler = FrameAssembler::new();
        let mut found = Vec::new();
        for chunk in stream.chunks(piece) {
            let mut at = 0;
            loop {
                let (n, whole) = assembler.push(buffer, &chunk[at..]);
                at += n;
                if !whole {
                    break;
                }
                found.push(assembler.frame(buffer).unwrap().0.to_vec());
                assembler.advance(buffer);
            }
            assert_eq!(at, chunk.len(), "every byte is taken");
        }
        found
    }

    #[test]
    fn the_header_is_as_documented() {
        let frame = framed(b"abc");
        assert_eq!(&frame[..8], b"SK\x01\x00\x03\x00\x00\x00");
        let seed = u32::from_le_bytes(*b"SK\x01\x00") ^ 3u32.rotate_left(16);
        assert_eq!(frame[8..12], twox_hash::XxHash32::oneshot(seed, b"abc").to_le_bytes());
    }

    #[test]
    fn frames_that_a_damaged_one_swallowed_all_come_out() {
        let mut stream = framed(b"damaged");
        stream[4] = 70; // it claims to be 82 bytes long, which is all that follows
        for body in [&b"first"[..], b"second", b"third", b"fourth of them"] {
            stream.extend(framed(body));
        }
        assert!(stream.len() > 82);
        for piece in [1, 7, 40, 200] {
            let found = collect(&stream, piece, &mut [0; 100]);
            assert_eq!(found, [&b"first"[..], b"second", b"third", b"fourth of them"], "pieces of {piece}");
        }
    }

    proptest! {
        #[test]
        fn frames_survive_noise_between_them(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..5),
            noise in proptest::collection::vec(any::<u8>(), 0..40),
            piece in 1usize..50,
        ) {
            let mut stream = Vec::new();
            for body in &bodies {
                stream.extend(noise.iter().map(|b| if *b == b'S' { 0 } else { *b }));
                stream.extend(framed(body));
            }
            let mut buffer = [0; 100];
            prop_assert_eq!(collect(&stream, piece, &mut buffer), bodies);
        }

        #[test]
        fn one_wrong_byte_never_gives_a_wrong_frame(
            body in proptest::collection::vec(any::<u8>(), 0..60), at in any::<usize>(), flip in 1u8..,
        ) {
            let mut stream = framed(&body);
            let at = at % stream.len();
            stream[at] ^= flip;
            // The second frame must come through whatever the first one claims.
            stream.extend(std::vec![0; 128]);
            stream.extend(framed(b"next"));
            let mut buffer = [0; 100];
            let found = collect(&stream, 7, &mut buffer);
            // A changed version field is the one change that a checksum over it also sees.
            prop_assert_eq!(found, [b"next".to_vec()]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1usize..50) {
            let mut buffer = [0; 64];
            collect(&bytes, piece, &mut buffer);
        }
    }
}
