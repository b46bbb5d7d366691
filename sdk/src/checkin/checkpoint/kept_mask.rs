//! The masks of a round, kept by the app for the next one.

use crate::model::Graph;
use crate::wire::{WireError, checksum};

const MAGIC: [u8; 4] = *b"SKMK";
const VERSION: u8 = 1;

/// Length of the part before the bits, bytes.
pub(crate) const KEPT_MASK_HEADER: usize = 12;

/// The masks of a round that this device took part in, checked, over the bytes that
/// [`keep_mask`](crate::session::Session::keep_mask) wrote: with them a later round brings only what changed.
///
/// | bytes | what |
/// |---|---|
/// | 4 | `53 4B 4D 4B` |
/// | 1 | version, 1 |
/// | 3 | zero |
/// | 4 | fingerprint, little-endian: XXH32 (seed 0) of what follows |
/// | per tensor that has a mask | one bit per entry, as in the checkpoint |
///
/// The bytes say nothing of the device's examples: the server made the masks, and they are the same for all devices of a
/// round. But a device that gives them to a session says at check-in **which** masks it has, so the server learns in which
/// span of rounds (those between two changes of the mask) this device last took part. All devices of these rounds say the
/// same, and nothing else is remembered from session to session; an app that does not want to say as much does not keep masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptMask<'a> {
    fingerprint: u32,
    bits: &'a [u8],
}

impl<'a> KeptMask<'a> {
    /// Checks that `bytes` are kept masks, whole and undamaged. What is damaged is of no use: throw it away and check in
    /// without. Costs a pass over the bytes.
    ///
    /// # Errors
    /// [`WireError`]: another kind of document or version, cut off, damaged.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (header, bits) = bytes.split_first_chunk::<KEPT_MASK_HEADER>().ok_or(WireError::Magic)?;
        let [a, b, c, d, version, zeros @ .., e, f, g, h] = *header;
        if [a, b, c, d] != MAGIC {
            return Err(WireError::Magic);
        }
        if version != VERSION {
            return Err(WireError::Version { known: VERSION, got: version });
        }
        if zeros != [0; 3] {
            return Err(WireError::Malformed);
        }
        let fingerprint = u32::from_le_bytes([e, f, g, h]);
        if checksum(bits) != fingerprint {
            return Err(WireError::Checksum);
        }
        Ok(Self { fingerprint, bits })
    }

    /// What the server is told at check-in.
    pub fn fingerprint(&self) -> u32 {
        self.fingerprint
    }

    /// The masks of all tensors that have one, one after the other.
    pub(crate) fn bits(&self) -> &'a [u8] {
        self.bits
    }

    /// True if they can be the masks of this network.
    pub(crate) fn fits(&self, graph: &Graph) -> bool {
        self.bits.len() == super::masks_len(graph)
    }
}

/// Writes the document; `each` is called with a function that takes the bits, in pieces.
pub(crate) fn write_kept_mask(out: &mut [u8], each: impl FnOnce(&mut dyn FnMut(&[u8]))) {
    let (header, bits) = out.split_at_mut(KEPT_MASK_HEADER);
    let mut at = 0;
    each(&mut |piece| {
        bits[at..at + piece.len()].copy_from_slice(piece);
        at += piece.len();
    });
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&[VERSION, 0, 0, 0]);
    header[8..].copy_from_slice(&checksum(bits).to_le_bytes());
}
