//! The report: what a device uploads, and the log of what left it.
//!
//! A report is the document `SKRP` version 2 (a postcard [`Header`]) followed by the coded symbols of all live
//! coordinates and, in the round before a mask moves, by the growth probe. It travels in pieces; the server says how much of it is there, so an upload that was cut off goes on
//! where it stopped.

mod egress;
mod egress_log;
mod growth;

pub use egress::EgressRecord;
pub use egress_log::{EGRESS_SLOT, EgressLog, EgressLogError};
pub use growth::{GrowthError, growth_bound};

use crate::checkin::{Path, Plan, Profile, parts};
use crate::model::{Graph, Parameters, Tensor};
use crate::privacy::{NoisedSymbols, rotated_len};
use crate::quantize::Carried;
use crate::range_coder::{CodeError, DecodeError, DecodeTensors, Decoder, EncodeTensors, Encoder, Start, Support};
use crate::wire::{Reader, WireError, checksum, encode_document};
use serde::{Deserialize, Serialize};

const MAGIC: [u8; 4] = *b"SKRP";
/// Version 1 knew no growth probe and was never released.
const VERSION: u8 = 2;

/// Longest encoded header, bytes.
pub const MAX_HEADER: usize = 64;

/// What a report says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Fingerprint of the plan that it answers.
    pub plan: u32,
    /// The round.
    pub round: u32,
    /// Aggregation weight.
    pub weight: u32,
    /// Number of symbols: the live coordinates, with the clip bit if the plan asks for it, or as many as their rotation has.
    pub live: u32,
    /// The grid's step.
    pub step: f32,
    /// Who adds the noise: part of the header so that a server cannot mix reports of different kinds unnoticed.
    pub profile: Profile,
    /// Bytes of coded symbols that follow.
    pub payload: u32,
    /// Bytes of growth probe that follow these.
    pub growth: u32,
    /// XXH32 of both.
    pub checksum: u32,
}

/// Why no report was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ReportError {
    /// The coded symbols do not fit.
    Code(CodeError),
    /// The report is larger than the plan allows.
    TooLarge {
        /// Largest size of the plan, bytes.
        limit: u32,
        /// Its size, bytes.
        got: u32,
    },
}

impl core::fmt::Display for ReportError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Code(e) => write!(f, "the report cannot be coded: {e}"),
            Self::TooLarge { limit, got } => write!(f, "the report has {got} bytes, the plan allows {limit}"),
        }
    }
}

impl core::error::Error for ReportError {}

/// The trained tensors of a graph as the coder sees them: a matrix each, with the entries that are live.
pub fn supports<'a>(
    graph: &'a Graph,
    row_ptrs: &'a [u32],
    columns: &'a [u16],
) -> impl Iterator<Item = (Support<'a>, usize)> {
    let trained = graph.tensors.iter().filter(|t| t.trained);
    trained.map(move |tensor| (support(tensor, row_ptrs, columns), tensor.live as usize))
}

/// One tensor as the coder sees it.
pub(crate) fn support<'a>(tensor: &Tensor, row_ptrs: &'a [u32], columns: &'a [u16]) -> Support<'a> {
    let pattern = tensor.pattern(row_ptrs, columns);
    let (row_ptr, cols, width) = (pattern.row_ptr, pattern.cols, tensor.cols);
    if tensor.path == Path::Block {
        Support::Blocks { row_ptr, cols, width, height: tensor.pattern_height() as u32 }
    } else if tensor.has_pattern() {
        Support::Csr { row_ptr, cols, width }
    } else {
        Support::Dense { rows: tensor.rows, cols: width }
    }
}

/// Most columns of the matrix as which the coder sees a rotated vector.
pub const ROTATED_COLUMNS: u32 = 256;

/// Columns of the matrix as which the coder sees a rotated vector of `len` symbols (a power of two; of none: 0).
pub(crate) fn rotated_columns(len: usize) -> u32 {
    len.min(ROTATED_COLUMNS as usize) as u32
}

/// A rotated vector as the coder sees it: rows of 256 coordinates, all of which live.
fn rotated_support(len: usize) -> Support<'static> {
    let cols = rotated_columns(len);
    Support::Dense { rows: (len / cols.max(1) as usize) as u32, cols }
}

/// The clip bit as the coder sees it, behind all tensors.
const BIT: Support<'static> = Support::Dense { rows: 1, cols: 1 };

impl NoisedSymbols<'_> {
    /// Codes the symbols and puts the header before them; returns the report's length. `fingerprint` is the plan's, `weight`
    /// what the report counts, `carried` what travels of the live coordinates, `start` what the coder begins with,
    /// `probe` the kept gradients of a growth probe.
    ///
    /// # Errors
    /// [`ReportError`] with both numbers if it does not fit `out` or the plan's limit.
    pub fn encode(
        &self,
        (plan, fingerprint): (&Plan, u32),
        (weight, carried, start): (u32, &Carried, Start<'_>),
        probe: &[u64],
        (graph, row_ptrs, columns): (&Graph, &[u32], &[u16]),
        scratch: &mut [u8],
        out: &mut [u8],
    ) -> Result<usize, ReportError> {
        let too_large = |got: usize| ReportError::TooLarge { limit: plan.upload.max_bytes, got: got as u32 };
        // So much is left for the probe behind the symbols, whatever they take.
        let kept = growth_bound(graph, plan.upload.probe);
        let capacity = out.len();
        let end = capacity.checked_sub(kept).ok_or(too_large(MAX_HEADER + kept))?;
        let room = out.get_mut(MAX_HEADER..end).ok_or(too_large(MAX_HEADER + kept))?;
        let payload = self.code(plan, (carried, start), supports(graph, row_ptrs, columns), scratch, room);
        let payload = payload.map_err(ReportError::Code)?;
        let behind = MAX_HEADER + payload;
        let growth = growth::encode(graph, plan.upload.probe, probe, &mut out[behind..]);
        let growth = growth.ok_or(too_large(capacity))?;
        let content = MAX_HEADER..behind + growth;
        let header = Header {
            plan: fingerprint,
            round: plan.round,
            weight,
            live: self.values.len() as u32,
            step: plan.quantization.step,
            profile: plan.privacy.profile,
            payload: payload as u32,
            growth: growth as u32,
            checksum: checksum(&out[content.clone()]),
        };
        let used =
            encode_document(MAGIC, VERSION, &header, &mut out[..MAX_HEADER]).map_err(|_| too_large(MAX_HEADER))?;
        let total = used + content.len();
        out.copy_within(content, used);
        if total > plan.upload.max_bytes as usize { Err(too_large(total)) } else { Ok(total) }
    }

    /// The symbols alone; gives their bytes.
    fn code<'a>(
        &self,
        plan: &Plan,
        (carried, start): (&Carried, Start<'a>),
        supports: impl Iterator<Item = (Support<'a>, usize)>,
        scratch: &mut [u8],
        out: &mut [u8],
    ) -> Result<usize, CodeError> {
        if let Carried::Rotated(rotated) = carried
            && parts::ROTATED.here
        {
            return rotated.encode(self.values, out);
        }
        let mut encoder = Encoder::begin(out, scratch)?;
        if plan.privacy.distributed().is_some() {
            encoder.tensor(&rotated_support(self.values.len()), self.values)?;
            return encoder.finish();
        }
        let mut encoder = if parts::STARTS.here { encoder.starting(start) } else { encoder };
        encoder.keep_only(carried.subset());
        let mut rest = &*self.values;
        for (support, live) in supports {
            let (tensor, after) = rest.split_at(live);
            encoder.tensor(&support, tensor)?;
            rest = after;
        }
        encoder.keep_only(None);
        if plan.privacy.bit_share().is_some() {
            encoder.tensor(&BIT, rest)?;
        }
        encoder.finish()
    }
}

/// A report that was received: header, coded symbols and growth probe, lengths and checksum verified.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report<'a> {
    /// What it says of itself.
    pub header: Header,
    /// The coded symbols.
    pub payload: &'a [u8],
    /// The coded growth probe.
    pub growth: &'a [u8],
}

impl<'a> Report<'a> {
    /// Reads a report from untrusted bytes.
    ///
    /// # Errors
    /// [`WireError`] if it is no report, has another length than it says or a wrong checksum.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (header, content): (Header, &[u8]) = Reader::prefix(MAGIC, VERSION, bytes)?;
        let stated = header.payload.saturating_add(header.growth);
        let parts = content.split_at_checked(header.payload as usize);
        let Some((payload, growth)) = parts.filter(|_| content.len() == stated as usize) else {
            return Err(WireError::TooLong { limit: content.len() as u32, got: stated });
        };
        if checksum(content) != header.checksum {
            return Err(WireError::Checksum);
        }
        Ok(Self { header, payload, growth })
    }

    /// Decodes the symbols, of what is `carried` of the live coordinates, by a coder that begins with `start`;
    /// `each` gets `(index, symbol)` of the non-zero ones,
    /// ascending: the index of a live coordinate, or in the rotated vector if the header's profile is [`Profile::Distributed`], or what
    /// is carried is rotated. The clip bit, if the header counts one, comes last.
    ///
    /// # Errors
    /// [`DecodeError`] says where the payload stops making sense; what `each` got before must then be dropped.
    pub fn symbols(
        &self,
        graph: &Graph,
        parameters: &Parameters<'_>,
        (carried, start): (&Carried, Start<'_>),
        scratch: &mut [u8],
        mut each: impl FnMut(usize, i32),
    ) -> Result<(), DecodeError> {
        if let Carried::Rotated(rotated) = carried {
            return rotated.decode(self.payload, each);
        }
        let mut decoder = Decoder::begin(self.payload, scratch)?.starting(start);
        if let Profile::Distributed(_) = self.header.profile {
            // Of the two lengths that are possible, as the header is not to be believed.
            let (without, with) = (rotated_len(graph.live), rotated_len(graph.live.saturating_add(1)));
            let length = if self.header.live as usize == with { with } else { without };
            decoder.tensor(&rotated_support(length), &mut each)?;
            return decoder.finish();
        }
        decoder.keep_only(carried.subset());
        for (support, _) in supports(graph, parameters.row_ptrs, parameters.columns) {
            decoder.tensor(&support, &mut each)?;
        }
        decoder.keep_only(None);
        if self.header.live as usize == graph.live.saturating_add(1) {
            decoder.tensor(&BIT, &mut each)?;
        }
        decoder.finish()
    }
}
