//! From the delta to what may leave: clip, noise; and what left before, the ledger of participations.
//!
//! Each step consumes the last through private constructors, so that an upload that was not clipped does not compile,
//! and the noise takes its sensitivity from the clip: there is one number for one fact.

mod clip;
mod cost;
pub mod ledger;
mod noise;

pub use clip::ClippedDelta;
pub use cost::Rho;
pub use ledger::{
    Debit, LEDGER_BYTES, LEDGER_POPULATIONS, Ledger, LedgerError, LedgerStorage, Participation, PopulationRecord,
    ResetRecord, Slot, StorageError, load, overwrite, population_id, store,
};
pub use noise::NoisedDelta;
