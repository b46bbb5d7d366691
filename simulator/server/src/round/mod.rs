//! From one round to the next: pick a cohort, offer a plan and a checkpoint, collect reports, step, mask again, account.

mod adaptive;
mod collector;
mod form;
mod grid;
mod model;
mod offer;
mod promise;
mod pruning;
mod rate;
mod selection;
mod server;
mod settings;
mod substitute;
mod tail;
mod units;

pub use adaptive::{AdaptiveClip, bit_share};
pub use collector::{Collected, Collector, Counts, Tally};
pub use grid::{ModulusError, finest_step};
pub use model::{GlobalModel, ModelError, TensorView};
pub use offer::{Answer, Exchange, Offer, OfferError, RequestKind, Round};
pub use promise::{NoiseMechanism, Promise, Released};
pub use pruning::{Algorithm, Pruning};
pub use rate::{Budget, FIRST_BITS, Followed, Rate, SIGNS_UP_TO, SIZE_NOISE, StepSchedule};
pub use selection::{select, select_spaced};
pub use server::{Closed, Server, ServerError};
pub use settings::{Close, Optimizer, Selection, Settings, SettingsError};
pub use substitute::Substitute;
