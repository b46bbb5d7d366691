//! From the delta to what may leave: clip, round to the grid within a bound, noise; and what left before, the ledger of
//! participations.
//!
//! ```text
//! Delta --clip--> ClippedDelta --[rotate]--quantize--> Symbols --noise--> NoisedSymbols --encode--> report
//!   f32             f32, norm <= C                integers, norm <= C / step     integers
//! ```
//! Each step consumes the last through private constructors, so that an upload that was not clipped and noised does not
//! compile, and the noise takes its sensitivity from the clip: there is one number for one fact. After the rounding everything
//! is integers: the bound is compared exactly ([`GridBound`]), and the noise is exact ([`sample`]).
//!
//! The bound is that of what is *sent*, rounding and all; where rounding would exceed it, the vector is shortened first
//! ([`quantize`](crate::quantize)). A plan that promises no noise has no sensitivity to keep: there the clip norm bounds the delta before it is
//! rounded, and what is sent has room for what rounding adds ([`GridBound`]), so that no grid, however coarse, shortens anything. Which
//! of both it is hangs on the plan alone, device and server compute it alike, and symbols that had the room take no noise. A delta that is not finite becomes the zero vector, which looks like any other report.
//!
//! Where the plan says so the delta has a bit beside it, whether it was clipped, within the same bound and noise: see
//! [`Clipping::Adaptive`](crate::checkin::Clipping::Adaptive).
//!
//! The plan's [`Profile`](crate::checkin::Profile) says who adds the noise, and the report's header repeats it, so that no server
//! mixes them unnoticed:
//!
//! | profile | the device | the server | trusted with single deltas |
//! |---|---|---|---|
//! | central | clips | clips again what it decoded, adds the noise to the sum | the server |
//! | local | clips, adds all the noise | sums | nobody |
//! | distributed | clips, rotates, adds a share of the noise, reduces modulo `2^bits` | sums modulo `2^bits`, rotates back | whoever sums: a single report has one share only; and `shares` devices add theirs |

mod bound;
mod clip;
mod cost;
pub mod ledger;
mod noise;
mod rotate;
pub mod sample;

pub use bound::{GridBound, GridBoundError, ratio_in_units};
pub use clip::ClippedDelta;
pub use cost::Rho;
pub use ledger::{
    Debit, LEDGER_BYTES, LEDGER_POPULATIONS, Ledger, LedgerError, LedgerStorage, Participation, PopulationRecord,
    ResetRecord, Slot, StorageError, load, overwrite, population_id, store,
};
pub use noise::{NoisedSymbols, centred};
pub use rotate::{rotate, rotate_back, rotated_len};

pub(crate) use bound::sum_of_squares;
pub(crate) use clip::norm;
pub(crate) use noise::{check, share};
pub(crate) use rotate::restore;
