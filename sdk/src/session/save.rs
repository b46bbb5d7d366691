//! Saving and restoring a session: killed at any instruction, nothing is lost and nothing is counted twice.
//!
//! | bytes | what |
//! |---|---|
//! | 5 | `SKSS`, version 5 |
//! | | postcard: randomness, stage, metrics, task |
//! | 4 | length of what follows, little-endian |
//! | | the persistent memory of the stage; in a growth probe or training, where that is shorter, without the patterns, in place |
//! | | of which all masks stand before it, one bit per entry, as in a checkpoint |
//! | 4 | XXH32 of all before, little-endian |
//!
//! The bytes hold the seed of the session's noise and the model in training: keep them where only the app can read.

use super::{Config, Metrics, Session, Stage, Task, TaskNames};
use crate::arena::{ArenaError, Region};
use crate::checkin::{
    CheckpointError, CheckpointReader, KeptMask, Plan, PlanError, PolicyViolation, each_mask, restore_masks,
};
use crate::report::EgressRecord;
use crate::wire::{Reader, WireError, checksum, encode_document};
use serde::{Deserialize, Serialize};

const MAGIC: [u8; 4] = *b"SKSS";
const VERSION: u8 = 5;
/// Longest encoded state, without the memory.
const MAX_STATE: usize = 352 + 24 * crate::checkin::MAX_LAYERS;

#[derive(Serialize, Deserialize)]
struct State {
    id: u64,
    seed: [u8; 32],
    stage: SavedStage,
    metrics: Metrics,
    egress: Option<EgressRecord>,
    task: Option<SavedTask>,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
enum SavedStage {
    CheckIn,
    Download(CheckpointReader),
    Probe,
    Train { step: u32, loss: f32 },
    Upload { total: u32, received: u32 },
}

#[derive(Serialize, Deserialize)]
struct SavedTask {
    id: u64,
    checkpoint: u32,
    base: Option<u32>,
    fingerprint: u32,
    key: [u8; 32],
    plan: Plan,
}

/// A session cannot be saved or restored.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum SaveError {
    /// The session is over (or about to be): there is nothing to go on with.
    Finished,
    /// The buffer is too short.
    Capacity {
        /// Bytes needed.
        required: usize,
        /// Bytes given.
        got: usize,
    },
    /// The saved bytes are damaged or of another version.
    Wire(WireError),
    /// The saved plan is not valid.
    Plan(PlanError),
    /// The saved plan is for another population than the configuration.
    Population,
    /// The saved plan breaks the app's floor, which may have been raised since.
    Policy(PolicyViolation),
    /// The memory is not fit for the saved session.
    Memory(ArenaError),
    /// The download is of changes, and the masks that they change are not those that were given.
    Mask {
        /// Fingerprint of the masks that it takes.
        expected: u32,
        /// Of those that were given, if any were; the same, if they are the masks of another network.
        got: Option<u32>,
    },
}

impl core::fmt::Display for SaveError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Finished => write!(f, "the session is over, there is nothing to save"),
            Self::Capacity { required, got } => {
                write!(f, "a buffer of {got} bytes is too short, {required} are needed")
            }
            Self::Wire(e) => write!(f, "the saved session cannot be read: {e}"),
            Self::Plan(e) => write!(f, "the saved plan: {e}"),
            Self::Population => write!(f, "the saved plan is for another population"),
            Self::Policy(e) => write!(f, "refused by the app's policy: {e}"),
            Self::Memory(e) => write!(f, "{e}"),
            Self::Mask { expected, got: None } => {
                write!(f, "the download is of changes of the kept masks {expected:08x}, which were not given")
            }
            Self::Mask { expected, got: Some(got) } => {
                write!(f, "the download is of changes of the kept masks {expected:08x}, given were {got:08x}")
            }
        }
    }
}

impl core::error::Error for SaveError {}

impl From<WireError> for SaveError {
    fn from(e: WireError) -> Self {
        Self::Wire(e)
    }
}

/// Bytes of the masks before the memory, and the memory itself.
fn memory_of(stage: SavedStage, task: Option<&Task>) -> (usize, Region) {
    match (stage, task) {
        (SavedStage::Download(_), Some(task)) => (0, task.memory.persistent()),
        (SavedStage::Probe | SavedStage::Train { .. }, Some(task)) => task.memory.at_rest(&task.graph),
        (SavedStage::Upload { total, .. }, Some(task)) => (0, task.memory.report.part(0, total as usize)),
        _ => (0, Region::default()),
    }
}

impl<'a> Session<'a> {
    /// Length of a buffer that [`save`](Self::save) never finds too short, bytes; it does not change during a round.
    pub fn save_bound(&self) -> usize {
        MAX_STATE + 8 + self.task.as_ref().map_or(0, |t| t.memory.persistent().len())
    }

    /// Writes everything that is needed to go on, and returns how many bytes that is.
    ///
    /// # Errors
    /// [`SaveError::Capacity`] with both numbers; [`SaveError::Finished`] if the session is over. (One that
    /// found nobody who answered is not: saved and restored when there is a network, it sends what it has.)
    pub fn save(&self, out: &mut [u8]) -> Result<usize, SaveError> {
        let stage = match (self.stage, self.parked) {
            (Stage::Done(super::Outcome::Unreachable { .. }), Some(parked)) => parked,
            (stage, _) => stage,
        };
        let stage = match stage {
            Stage::CheckIn => SavedStage::CheckIn,
            Stage::Download(reader) => SavedStage::Download(reader),
            Stage::Probe => SavedStage::Probe,
            Stage::Train { step, loss } => SavedStage::Train { step, loss },
            Stage::Upload { total, received } => SavedStage::Upload { total, received },
            Stage::Abandon(_) | Stage::Done(_) => return Err(SaveError::Finished),
        };
        let task = self.task.as_ref().map(|t| SavedTask {
            id: t.names.id,
            checkpoint: t.names.checkpoint,
            base: t.names.base,
            fingerprint: t.names.fingerprint,
            key: t.names.key,
            plan: t.plan.clone(),
        });
        let state = State { id: self.id, seed: self.seed, stage, metrics: self.metrics, egress: self.egress, task };
        let capacity = SaveError::Capacity { required: self.save_bound(), got: out.len() };
        let state = encode_document(MAGIC, VERSION, &state, out).map_err(|_| capacity)?;
        let (masks, region) = memory_of(stage, self.task.as_ref());
        let length = masks + region.len();
        let end = state + 4 + length;
        let room = out.get_mut(state..end + 4).ok_or(capacity)?;
        room[..4].copy_from_slice(&(length as u32).to_le_bytes());
        let (bits, memory) = room[4..4 + length].split_at_mut(masks);
        if let Some(task) = self.task.as_ref().filter(|_| masks > 0) {
            let (row_ptrs, columns) = (self.arena.view(task.memory.row_ptrs), self.arena.view(task.memory.columns));
            let mut at = 0;
            each_mask(&task.graph, row_ptrs, columns, |piece| {
                bits[at..at + piece.len()].copy_from_slice(piece);
                at += piece.len();
            });
        }
        memory.copy_from_slice(self.arena.bytes(region));
        let sum = checksum(&out[..end]);
        out[end..end + 4].copy_from_slice(&sum.to_le_bytes());
        Ok(end + 4)
    }

    /// Goes on where [`save`](Self::save) was called. `config` must be the same as then; the policy is checked again. The
    /// ledger is not part of a save: give the session the stored one, with `use_ledger` (feature `ledger`).
    ///
    /// # Errors
    /// [`SaveError`] says what does not fit; the saved bytes are never half used. [`SaveError::Mask`] if the session had
    /// kept masks and was downloading their changes: that goes on with [`restore_with_mask`](Self::restore_with_mask).
    pub fn restore(memory: &'a mut [u8], config: Config, saved: &[u8]) -> Result<Self, SaveError> {
        Self::restored(memory, config, saved, None)
    }

    /// The same for a session that was made [`with_mask`](Self::with_mask): `kept` must be the same masks, as long as their
    /// changes are downloaded. Before and afterwards any do, or none.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub fn restore_with_mask(
        memory: &'a mut [u8],
        config: Config,
        saved: &[u8],
        kept: KeptMask<'a>,
    ) -> Result<Self, SaveError> {
        Self::restored(memory, config, saved, Some(kept))
    }

    fn restored(
        memory: &'a mut [u8],
        config: Config,
        saved: &[u8],
        kept: Option<KeptMask<'a>>,
    ) -> Result<Self, SaveError> {
        let (content, sum) = saved.split_last_chunk::<4>().ok_or(WireError::Malformed)?;
        if checksum(content).to_le_bytes() != *sum {
            return Err(WireError::Checksum.into());
        }
        let (state, rest): (State, _) = Reader::prefix(MAGIC, VERSION, content)?;
        let (length, bytes) = rest.split_first_chunk::<4>().ok_or(WireError::Malformed)?;
        let mut session = Self::with_seed(memory, config, state.seed, state.id).map_err(SaveError::Memory)?;
        session.metrics = state.metrics;
        session.egress = state.egress;
        session.kept = kept;
        if let Some(SavedTask { id, checkpoint, base, fingerprint, key, plan }) = state.task {
            plan.validate().map_err(SaveError::Plan)?;
            if plan.population != session.config.population {
                return Err(SaveError::Population);
            }
            session.config.policy.check(&plan).map_err(SaveError::Policy)?;
            session.config.policy.check_download(checkpoint).map_err(SaveError::Policy)?;
            let names = TaskNames { id, checkpoint, base, fingerprint, key };
            let max_frame = session.config.max_frame;
            let task = Task::put(&mut session.task, names);
            task.plan = plan;
            task.lay_out(max_frame).map_err(SaveError::Plan)?;
            session.arena.check(task.memory.total).map_err(SaveError::Memory)?;
        }
        session.stage = match (state.stage, &session.task) {
            (SavedStage::CheckIn, _) => Stage::CheckIn,
            (SavedStage::Download(reader), Some(task)) => {
                let from = task.download(kept).map_err(|e| match e {
                    CheckpointError::Base { kept: got, got: expected } => SaveError::Mask { expected, got },
                    _ => WireError::Malformed.into(),
                })?;
                if !reader.is_consistent(&from) {
                    return Err(WireError::Malformed.into());
                }
                Stage::Download(reader)
            }
            (SavedStage::Probe, Some(task)) if !task.memory.probe.is_empty() => Stage::Probe,
            (SavedStage::Train { step, loss }, Some(_)) => Stage::Train { step, loss },
            (SavedStage::Upload { total, received }, Some(task))
                if received <= total && total as usize <= task.memory.report.len() =>
            {
                Stage::Upload { total, received }
            }
            _ => return Err(WireError::Malformed.into()),
        };
        let (masks, region) = memory_of(state.stage, session.task.as_ref());
        let expected = masks + region.len();
        if bytes.len() != expected || u32::from_le_bytes(*length) as usize != expected {
            return Err(WireError::Malformed.into());
        }
        let (bits, bytes) = bytes.split_at(masks);
        session.arena.bytes_mut(region).copy_from_slice(bytes);
        if let Some(task) = session.task.as_ref().filter(|_| masks > 0) {
            restore_masks(&task.graph, &task.memory, bits, &mut session.arena).map_err(|_| WireError::Malformed)?;
        }
        if let (Stage::Probe | Stage::Train { .. }, Some(task)) = (session.stage, &session.task) {
            // The patterns came from outside, and the loops rely on them. (A download checks them when it is complete.)
            let (row_ptrs, columns) = (task.memory.row_ptrs, task.memory.columns);
            if !task.graph.patterns_are_valid(session.arena.view(row_ptrs), session.arena.view(columns)) {
                return Err(WireError::Malformed.into());
            }
            session.has_masks = true;
        }
        Ok(session)
    }
}
