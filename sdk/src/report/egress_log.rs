//! The log of what left the device, in a buffer of the app's that is stored as it is.
//!
//! The bytes: `SKEL`, version 1, three zero bytes, then slots of [`EGRESS_SLOT`] bytes, the record of number n in slot n modulo
//! their count. A slot, little-endian: number u64 plus 1 (0: nothing here yet), time u64, population u64, plan, round,
//! report, bytes, growth bytes u32, clip norm, noise multiplier f32, profile (u8 0 central, 1 local, 2 distributed; u8 bits; u8
//! noise of a share, 0 discrete Gaussian, 1 Skellam; 0), shares, rotation u32 (0 unless distributed), XXH32 of these. Only the
//! slot of the oldest record changes when one is added, so a crash in the middle of a write loses that one at most, and it is
//! counted.

use super::EgressRecord;
use crate::checkin::{Distributed, Profile, ShareNoise};
use crate::wire::{WireError, checksum};

/// Bytes that one record takes.
pub const EGRESS_SLOT: usize = 68;
const HEAD: usize = 8;
const MAGIC: [u8; 4] = *b"SKEL";
const VERSION: u8 = 1;

/// A buffer is no log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EgressLogError {
    /// It is too short for one record.
    Capacity {
        /// Shortest length, bytes.
        required: usize,
        /// Its length, bytes.
        got: usize,
    },
    /// It is not a log, or one of another version.
    Wire(WireError),
}

impl core::fmt::Display for EgressLogError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Capacity { required, got } => write!(f, "{got} bytes are too few for a log, {required} are needed"),
            Self::Wire(e) => write!(f, "the log cannot be read: {e}"),
        }
    }
}

impl core::error::Error for EgressLogError {}

/// The newest records, as many as fit, and how many older ones there were.
///
/// ```
/// use siskin::report::{EGRESS_SLOT, EgressLog};
/// let mut buffer = [0; 8 + 100 * EGRESS_SLOT]; // 100 records
/// let log = EgressLog::create(&mut buffer[..])?;
/// assert_eq!((log.records().count(), log.missing()), (0, 0));
/// # Ok::<(), siskin::report::EgressLogError>(())
/// ```
#[derive(Debug)]
pub struct EgressLog<B> {
    bytes: B,
    /// Number of the next record.
    next: u64,
}

impl<B: AsRef<[u8]>> EgressLog<B> {
    /// Reads a log that was stored. Slots whose checksum is wrong are [missing](Self::missing).
    ///
    /// # Errors
    /// [`EgressLogError`] if it is none.
    pub fn open(bytes: B) -> Result<Self, EgressLogError> {
        let all = bytes.as_ref();
        long_enough(all)?;
        if all[..4] != MAGIC {
            return Err(EgressLogError::Wire(WireError::Magic));
        }
        if all[4] != VERSION {
            return Err(EgressLogError::Wire(WireError::Version { known: VERSION, got: all[4] }));
        }
        let next = slots(all).filter_map(read).map(|(number, _)| number + 1).max().unwrap_or(0);
        Ok(Self { bytes, next })
    }

    /// The records that are there, with their numbers, oldest first. Numbers count from 0 since the log was made.
    pub fn records(&self) -> impl Iterator<Item = (u64, EgressRecord)> {
        let all = self.bytes.as_ref();
        let kept = slots(all).len() as u64;
        (self.next.saturating_sub(kept)..self.next).filter_map(move |number| {
            let slot = slots(all).nth((number % kept) as usize)?;
            read(slot).filter(|(got, _)| *got == number)
        })
    }

    /// Records that are not there any more, overwritten by newer ones or damaged.
    pub fn missing(&self) -> u64 {
        self.next - self.records().count() as u64
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> EgressLog<B> {
    /// An empty log; all of the buffer is used.
    ///
    /// # Errors
    /// [`EgressLogError::Capacity`] with both numbers.
    pub fn create(mut bytes: B) -> Result<Self, EgressLogError> {
        let all = bytes.as_mut();
        long_enough(all)?;
        all.fill(0);
        all[..4].copy_from_slice(&MAGIC);
        all[4] = VERSION;
        Ok(Self { bytes, next: 0 })
    }

    /// Adds a record in the place of the oldest. A report that is there already, sent again after a restart, is not added
    /// again: false then.
    pub fn append(&mut self, record: &EgressRecord) -> bool {
        if self.records().any(|(_, known)| known.is_same_report(record)) {
            return false;
        }
        let number = self.next;
        let all = &mut self.bytes.as_mut()[HEAD..];
        let kept = (all.len() / EGRESS_SLOT) as u64;
        let at = (number % kept) as usize * EGRESS_SLOT;
        write(number, record, &mut all[at..at + EGRESS_SLOT]);
        self.next = number + 1;
        true
    }
}

fn long_enough(bytes: &[u8]) -> Result<(), EgressLogError> {
    let required = HEAD + EGRESS_SLOT;
    if bytes.len() < required { Err(EgressLogError::Capacity { required, got: bytes.len() }) } else { Ok(()) }
}

fn slots(bytes: &[u8]) -> core::slice::ChunksExact<'_, u8> {
    bytes[HEAD..].chunks_exact(EGRESS_SLOT)
}

fn write(number: u64, record: &EgressRecord, slot: &mut [u8]) {
    let [form, shares, rotation] = profile_numbers(record.profile);
    for (place, n) in slot.chunks_exact_mut(8).zip([number + 1, record.time_ms, record.population]) {
        place.copy_from_slice(&n.to_le_bytes());
    }
    let EgressRecord { plan, round, report, bytes, growth, clip_norm, noise_multiplier, .. } = *record;
    let (clip_norm, noise_multiplier) = (clip_norm.to_bits(), noise_multiplier.to_bits());
    let numbers = [plan, round, report, bytes, growth, clip_norm, noise_multiplier, form, shares, rotation];
    for (place, n) in slot[24..].chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&n.to_le_bytes());
    }
    let sum = checksum(&slot[..EGRESS_SLOT - 4]);
    slot[EGRESS_SLOT - 4..].copy_from_slice(&sum.to_le_bytes());
}

fn profile_numbers(profile: Profile) -> [u32; 3] {
    match profile {
        Profile::Central => [0; 3],
        Profile::Local => [1, 0, 0],
        Profile::Distributed(Distributed { shares, bits, noise, rotation }) => {
            let noise = u8::from(noise == ShareNoise::Skellam);
            [u32::from_le_bytes([2, bits, noise, 0]), shares, rotation]
        }
    }
}

fn profile_of([form, shares, rotation]: [u32; 3]) -> Option<Profile> {
    Some(match form.to_le_bytes() {
        [0, 0, 0, 0] => Profile::Central,
        [1, 0, 0, 0] => Profile::Local,
        [2, bits, noise @ 0..=1, 0] => {
            let noise = if noise == 1 { ShareNoise::Skellam } else { ShareNoise::DiscreteGaussian };
            Profile::Distributed(Distributed { shares, bits, noise, rotation })
        }
        _ => return None,
    })
}

/// The record in a slot and its number; none if there is none, or a damaged one.
fn read(slot: &[u8]) -> Option<(u64, EgressRecord)> {
    let (content, sum) = slot.split_last_chunk::<4>()?;
    if checksum(content).to_le_bytes() != *sum {
        return None;
    }
    let long = |at: usize| Some(u64::from_le_bytes(*content.get(at..)?.first_chunk()?));
    let short = |at: usize| Some(u32::from_le_bytes(*content.get(24 + 4 * at..)?.first_chunk()?));
    // A number whose successor is none was not written by a log.
    let number = long(0)?.checked_sub(1).filter(|n| *n < u64::MAX - 1)?;
    let record = EgressRecord {
        time_ms: long(8)?,
        population: long(16)?,
        plan: short(0)?,
        round: short(1)?,
        report: short(2)?,
        bytes: short(3)?,
        growth: short(4)?,
        clip_norm: f32::from_bits(short(5)?),
        noise_multiplier: f32::from_bits(short(6)?),
        profile: profile_of([short(7)?, short(8)?, short(9)?])?,
    };
    Some((number, record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn record(round: u32) -> EgressRecord {
        EgressRecord {
            population: 0xabc,
            plan: 7,
            round,
            bytes: 900,
            report: round ^ 0x55,
            growth: 0,
            clip_norm: 0.5,
            noise_multiplier: 1.25,
            profile: match round % 3 {
                0 => Profile::Central,
                1 => {
                    Profile::Distributed(Distributed { shares: 40, bits: 16, noise: ShareNoise::Skellam, rotation: 9 })
                }
                _ => Profile::Local,
            },
            time_ms: 1000 + u64::from(round),
        }
    }

    #[test]
    fn the_newest_records_stay_and_the_others_are_counted() {
        let mut buffer = [0xa5; HEAD + 3 * EGRESS_SLOT + 11];
        let mut log = EgressLog::create(&mut buffer[..]).unwrap();
        for round in 0..8 {
            assert!(log.append(&record(round)));
            // Sent again after a restart, when the clock was another.
            assert!(!log.append(&EgressRecord { time_ms: 5, ..record(round) }));
            let expected: Vec<_> = (0..=round).map(|n| (u64::from(n), record(n))).collect();
            let kept = expected.len().min(3);
            assert_eq!(log.records().collect::<Vec<_>>(), expected[expected.len() - kept..]);
            assert_eq!(log.missing(), (expected.len() - kept) as u64);
        }
        let again = EgressLog::open(&buffer[..]).unwrap();
        assert_eq!(again.records().map(|(n, _)| n).collect::<Vec<_>>(), [5, 6, 7]);
        assert_eq!(again.missing(), 5);
    }

    #[test]
    fn a_record_is_a_line_of_json() {
        let line = record(4).to_string();
        assert_eq!(
            line,
            "{\"time_ms\":1004,\"population\":\"0000000000000abc\",\"plan\":\"00000007\",\"round\":4,\
             \"report\":\"00000051\",\"bytes\":900,\"growth_bytes\":0,\"profile\":\"distributed\",\"clip_norm\":0.5,\
             \"noise_multiplier\":1.25,\"shares\":40}"
        );
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["shares"], 40);
        let odd = EgressRecord { clip_norm: f32::NAN, noise_multiplier: f32::INFINITY, ..record(3) }.to_string();
        let value: serde_json::Value = serde_json::from_str(&odd).unwrap();
        assert!(value["clip_norm"].is_null() && value["profile"] == "central");
    }

    /// A write that is cut off at any byte loses the oldest record at most, and says that one is missing.
    #[test]
    fn a_torn_write_is_counted() {
        let mut before = [0; HEAD + 3 * EGRESS_SLOT];
        let mut log = EgressLog::create(&mut before[..]).unwrap();
        (0..4).for_each(|round| assert!(log.append(&record(round))));
        let mut after = before;
        assert!(EgressLog::open(&mut after[..]).unwrap().append(&record(4)));
        for cut in 0..=before.len() {
            let torn = [&after[..cut], &before[cut..]].concat();
            let log = EgressLog::open(&torn[..]).unwrap();
            let numbers: Vec<u64> = log.records().map(|(n, _)| n).collect();
            assert!(matches!(numbers[..], [1, 2, 3] | [2, 3] | [2, 3, 4]), "{cut}: {numbers:?}");
            assert_eq!(log.missing() + numbers.len() as u64, numbers[numbers.len() - 1] + 1);
        }
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let required = HEAD + EGRESS_SLOT;
        let e = EgressLog::create(std::vec![0; required - 1]).unwrap_err();
        assert_eq!(e, EgressLogError::Capacity { required, got: required - 1 });
        let zero = EgressLog::open(std::vec![0; required]).unwrap_err();
        assert_eq!(zero, EgressLogError::Wire(WireError::Magic));
        let mut bytes = std::vec![0; required];
        EgressLog::create(&mut bytes[..]).unwrap();
        bytes[4] = 9;
        let e = EgressLog::open(bytes).unwrap_err();
        assert_eq!(e, EgressLogError::Wire(WireError::Version { known: 1, got: 9 }));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read_and_written_to(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), seal in any::<bool>()) {
            if bytes.len() > HEAD + EGRESS_SLOT {
                bytes[..5].copy_from_slice(&[b'S', b'K', b'E', b'L', VERSION]);
                if seal {
                    let end = HEAD + EGRESS_SLOT;
                    let sum = checksum(&bytes[HEAD..end - 4]);
                    bytes[end - 4..end].copy_from_slice(&sum.to_le_bytes());
                }
            }
            if let Ok(mut log) = EgressLog::open(&mut bytes[..]) {
                let (missing, count) = (log.missing(), log.records().count() as u64);
                prop_assert!(log.append(&record(1)));
                prop_assert!(log.missing() + log.records().count() as u64 == missing + count + 1);
            }
        }
    }
}
