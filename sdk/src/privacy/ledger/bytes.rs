//! The ledger as bytes, always [`LEDGER_BYTES`] of them, little-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4, 1, 1, 2 | `SKLG`, version 1, number of records, zero |
//! | 8 | 8, 8 | sequence, latest time (ms) |
//! | 24 | 8, 8 | start of the period (ms), its cost (2^-40) |
//! | 40 | 4, 4, 8, 8 | resets, reason of the last one, its time, participations forgotten |
//! | 64 | 8 times 48 | records: population 8, time 8, cost 8, session 8, round 4, count 4, report 4, zero 4; zero where none |
//! | 448 | 4 | XXH32 of all before |
//!
//! The checksum finds damage, not forgery: keep the bytes where only the app can write.

use super::{LEDGER_POPULATIONS, Ledger, PopulationRecord, ResetRecord};
use crate::privacy::Rho;
use crate::wire::{WireError, checksum};

/// Length of an encoded ledger.
pub const LEDGER_BYTES: usize = 64 + 48 * LEDGER_POPULATIONS + 4;

const MAGIC: [u8; 4] = *b"SKLG";
const VERSION: u8 = 1;
/// Sequences end here, so that one more is always a number. At one a millisecond that takes 290 million years.
const MAX_SEQUENCE: u64 = 1 << 63;

/// A ledger that cannot be read. It is refused, never replaced: see [`Ledger::reset`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LedgerError {
    /// The length is not that of a ledger.
    Length {
        /// That of a ledger, bytes.
        expected: usize,
        /// That of the bytes.
        got: usize,
    },
    /// Not a ledger, one of another version, or damaged.
    Wire(WireError),
}

impl core::fmt::Display for LedgerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Length { expected, got } => write!(f, "the ledger has {got} bytes instead of {expected}"),
            Self::Wire(e) => write!(f, "the ledger cannot be read: {e}"),
        }
    }
}

impl core::error::Error for LedgerError {}

impl From<WireError> for LedgerError {
    fn from(e: WireError) -> Self {
        Self::Wire(e)
    }
}

/// Writes numbers one after the other.
struct Numbers<'b>(&'b mut [u8]);

impl Numbers<'_> {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        let rest = core::mem::take(&mut self.0);
        let (here, rest) = rest.split_at_mut(N);
        here.copy_from_slice(&bytes);
        self.0 = rest;
    }
}

/// Reads them.
struct Taken<'b>(&'b [u8]);

impl Taken<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (here, rest) = self.0.split_first_chunk().ok_or(WireError::Malformed)?;
        self.0 = rest;
        Ok(*here)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.take().map(u64::from_le_bytes)
    }
}

impl Ledger {
    /// The ledger as bytes; the same ledger gives the same ones.
    pub fn to_bytes(&self) -> [u8; LEDGER_BYTES] {
        let mut out = [0; LEDGER_BYTES];
        let mut to = Numbers(&mut out);
        to.put(MAGIC);
        to.put([VERSION, self.records.len() as u8, 0, 0]);
        let ResetRecord { count, reason, time_ms, forgotten } = self.reset;
        for n in [self.sequence, self.clock_ms, self.period_start_ms, self.period_rho.0] {
            to.put(n.to_le_bytes());
        }
        to.put(count.to_le_bytes());
        to.put(reason.to_le_bytes());
        to.put(time_ms.to_le_bytes());
        to.put(forgotten.to_le_bytes());
        for r in &self.records {
            for n in [r.population, r.time_ms, r.rho.0, r.session] {
                to.put(n.to_le_bytes());
            }
            for n in [r.round, r.count, r.report, 0] {
                to.put(n.to_le_bytes());
            }
        }
        let content = LEDGER_BYTES - 4;
        let sum = checksum(&out[..content]);
        out[content..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads a ledger, and checks that its numbers can have come from one.
    ///
    /// # Errors
    /// [`LedgerError`] says what is wrong; what was read is never half used.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LedgerError> {
        let length = LedgerError::Length { expected: LEDGER_BYTES, got: bytes.len() };
        let bytes: &[u8; LEDGER_BYTES] = bytes.try_into().map_err(|_| length)?;
        let (content, sum) = bytes.split_at(LEDGER_BYTES - 4);
        // Magic and version first: damage anywhere else is named as such.
        if content[..4] != MAGIC {
            return Err(WireError::Magic.into());
        }
        if content[4] != VERSION {
            return Err(WireError::Version { known: VERSION, got: content[4] }.into());
        }
        if checksum(content).to_le_bytes() != *sum {
            return Err(WireError::Checksum.into());
        }
        let mut from = Taken(&content[5..]);
        let [records, zero, also] = from.take()?;
        let mut ledger = Self {
            sequence: from.u64()?,
            clock_ms: from.u64()?,
            period_start_ms: from.u64()?,
            period_rho: Rho(from.u64()?),
            reset: ResetRecord {
                count: from.u32()?,
                reason: from.u32()?,
                time_ms: from.u64()?,
                forgotten: from.u64()?,
            },
            records: heapless::Vec::new(),
        };
        for _ in 0..records {
            let (population, time_ms, rho, session) = (from.u64()?, from.u64()?, Rho(from.u64()?), from.u64()?);
            let (round, count, report, zero) = (from.u32()?, from.u32()?, from.u32()?, from.u32()?);
            let valid = zero == 0 && count > 0 && time_ms <= ledger.clock_ms && ledger.of(population).is_none();
            let record = PopulationRecord { population, time_ms, rho, session, round, count, report };
            if !valid || ledger.records.push(record).is_err() {
                return Err(WireError::Malformed.into());
            }
        }
        let unused = zero == 0 && also == 0 && from.0.iter().all(|byte| *byte == 0);
        let none = ResetRecord { count: 0, ..ResetRecord::default() };
        let reset = if ledger.reset.count == 0 { ledger.reset == none } else { ledger.reset.reason != 0 };
        let period = ledger.period_start_ms <= ledger.clock_ms && ledger.period_rho <= ledger.spent();
        if !(unused && reset && period && ledger.sequence < MAX_SEQUENCE) {
            return Err(WireError::Malformed.into());
        }
        Ok(ledger)
    }
}
