//! How the growth probe travels: behind the coded symbols, for each pruned matrix that trains, in the order of the
//! checkpoint, the number of entries (varint), then each: how many places were passed over since the last (varint), and its
//! level (one byte), which is the absolute value of its gradient in 255ths of the largest of its matrix, rounded half to even.
//! Entries of level 0 do not travel.

use super::Report;
use crate::model::{Graph, Parameters, Tensor, mask};
use crate::optim::probe::{entry, probed};

/// Longest probe of a plan that asks for at most `most` entries a matrix, bytes.
pub fn growth_bound(graph: &Graph, most: u32) -> usize {
    let of = |(_, tensor, entries): (usize, &Tensor, usize)| {
        varint_len(entries).saturating_add(entries.saturating_mul(varint_len(tensor.size()) + 1))
    };
    probed(graph, most).map(of).fold(0, usize::saturating_add)
}

/// Bytes of a number.
fn varint_len(number: usize) -> usize {
    let bits = usize::BITS - number.leading_zeros();
    (bits as usize).div_ceil(7).max(1)
}

/// Writes what a probe kept; `None` if `out` is shorter than [`growth_bound`] and too short.
pub(super) fn encode(graph: &Graph, most: u32, kept: &[u64], out: &mut [u8]) -> Option<usize> {
    let mut end = 0;
    let mut at = 0;
    for (_, _, entries) in probed(graph, most) {
        let count = (*kept.get(at)?).min(entries as u64) as usize;
        let ranks = kept.get(at + 1..at + 1 + count)?;
        let largest = ranks.iter().map(|rank| entry(*rank).1).fold(0.0, f32::max);
        let level = |magnitude: f32| libm::rintf(255.0 * (magnitude / largest)) as u8;
        let seen = || ranks.iter().map(|rank| entry(*rank)).map(|(place, m)| (place, level(m))).filter(|e| e.1 > 0);
        put(out, &mut end, seen().count() as u32)?;
        let mut next = 0u32;
        for (place, level) in seen() {
            // What was kept ascends. A forged save may say otherwise; the server then refuses the report.
            put(out, &mut end, place.wrapping_sub(next))?;
            next = place.wrapping_add(1);
            *out.get_mut(end)? = level;
            end += 1;
        }
        at += 1 + entries;
    }
    Some(end)
}

fn put(out: &mut [u8], end: &mut usize, mut number: u32) -> Option<()> {
    loop {
        let more = number > 0x7f;
        *out.get_mut(*end)? = number as u8 & 0x7f | u8::from(more) << 7;
        *end += 1;
        number >>= 7;
        if !more {
            return Some(());
        }
    }
}

/// Why the bytes of a probe are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum GrowthError {
    /// They end in the middle, or a number in them is too long.
    Malformed,
    /// More entries than the plan asks for, or than do not live.
    Count {
        /// The most.
        limit: u32,
        /// What the bytes say.
        got: u32,
    },
    /// A place outside its matrix.
    Place {
        /// Entries of the matrix.
        limit: u32,
        /// What the bytes say.
        got: u64,
    },
    /// A place that lives.
    Live {
        /// The place.
        got: u32,
    },
    /// A level of 0, or none of 255 in a matrix with entries.
    Level,
    /// Bytes are left over.
    Trailing {
        /// How many.
        bytes: u32,
    },
}

impl core::fmt::Display for GrowthError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::Malformed => write!(f, "the growth probe does not decode"),
            Self::Count { limit, got } => write!(f, "{got} entries of a growth probe, {limit} at the most"),
            Self::Place { limit, got } => write!(f, "place {got} of a matrix with {limit} entries"),
            Self::Live { got } => write!(f, "place {got} lives already"),
            Self::Level => write!(f, "a level of 0, or no highest level"),
            Self::Trailing { bytes } => write!(f, "{bytes} bytes behind the growth probe"),
        }
    }
}

impl core::error::Error for GrowthError {}

impl Report<'_> {
    /// Reads the growth probe of a plan that asked for at most `most` entries a matrix; `each` gets `(tensor, place, level)`,
    /// ascending: an index into the graph's tensors, a row-major index into the tensor, 1 to 255.
    ///
    /// # Errors
    /// [`GrowthError`] says what is wrong; what `each` got before must then be dropped.
    pub fn growth(
        &self,
        graph: &Graph,
        parameters: &Parameters<'_>,
        most: u32,
        mut each: impl FnMut(usize, u32, u8),
    ) -> Result<(), GrowthError> {
        let mut rest = self.growth;
        for (index, tensor, entries) in probed(graph, most) {
            let count = take(&mut rest)?;
            if count as usize > entries {
                return Err(GrowthError::Count { limit: entries as u32, got: count });
            }
            let live = tensor.live(parameters.row_ptrs, parameters.columns);
            let (mut next, mut highest) = (0u64, 0);
            for _ in 0..count {
                let place = next + u64::from(take(&mut rest)?);
                if place >= tensor.size() as u64 {
                    return Err(GrowthError::Place { limit: tensor.size() as u32, got: place });
                }
                if mask::is_live(&live, tensor.cols as usize, place as usize) {
                    return Err(GrowthError::Live { got: place as u32 });
                }
                let (level, after) = rest.split_first().ok_or(GrowthError::Malformed)?;
                rest = after;
                if *level == 0 {
                    return Err(GrowthError::Level);
                }
                highest = highest.max(*level);
                each(index, place as u32, *level);
                next = place + 1;
            }
            if count > 0 && highest < 255 {
                return Err(GrowthError::Level);
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(GrowthError::Trailing { bytes: rest.len() as u32 }) }
    }
}

/// Reads a varint of at most 32 bits, the shortest that says the number.
fn take(bytes: &mut &[u8]) -> Result<u32, GrowthError> {
    let mut number = 0u64;
    for (i, byte) in bytes.iter().enumerate().take(5) {
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            if i > 0 && *byte == 0 {
                break;
            }
            *bytes = &bytes[i + 1..];
            return u32::try_from(number).map_err(|_| GrowthError::Malformed);
        }
    }
    Err(GrowthError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_way_to_be_written() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u32::MAX] {
            let (mut out, mut end) = ([0; 5], 0);
            put(&mut out, &mut end, number).unwrap();
            assert_eq!(end, varint_len(number as usize));
            let mut bytes = &out[..end];
            assert_eq!((take(&mut bytes), bytes.len()), (Ok(number), 0));
        }
        for mut bad in [&[][..], &[0x80], &[0x80, 0], &[0xff, 0xff, 0xff, 0xff, 0x1f], &[0xff; 6]] {
            assert_eq!(take(&mut bad), Err(GrowthError::Malformed));
        }
        assert_eq!(put(&mut [0], &mut 0, 128), None);
    }
}
