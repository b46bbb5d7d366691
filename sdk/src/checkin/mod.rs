//! Check-in: what a device is asked to do (task, plan, checkpoint), or why not (rejection).

mod checkpoint;
mod layer;
mod limits;
pub(crate) mod parts;
mod plan;
mod policy;
mod privacy;

pub use checkpoint::{
    CheckpointError, KeptMask, Tail, changes_len, checkpoint_len, checkpoint_masks, code_values, masks_len, whole_len,
    write_changes, write_checkpoint, write_whole,
};
pub(crate) use checkpoint::{CheckpointReader, Download, KEPT_MASK_HEADER, each_mask, restore_masks, write_kept_mask};
pub use layer::{Layer, LayerSpec, Loss, MAX_LAYERS, ModelSpec, Path, Storage, Train, Window};
pub use limits::{Limits, Profiles};
pub use plan::{
    ClientOptimizer, MAX_PROBE, Plan, PlanError, Quantization, RateSchedule, Rounding, Training, Upload, Values,
    Weighting,
};
pub use policy::{Policy, PolicyViolation};
pub use privacy::{
    Clipping, Distributed, LEAST_SHARE_DEVIATION, MAX_BIT_SHARE, MAX_SHARE_STEPS, Privacy, Profile, ShareNoise,
};

use heapless::String;

/// Name of a learning problem, at most this many bytes of UTF-8.
pub const MAX_POPULATION: usize = 48;

/// The name of a population.
pub type Population = String<MAX_POPULATION>;

/// When a device that was turned away should ask again, milliseconds from now.
///
/// The device picks a point in the window uniformly at random once, when the window arrives, so that devices that were
/// turned away together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RetryWindow {
    /// Earliest, ms.
    pub min_ms: u32,
    /// Latest, ms.
    pub max_ms: u32,
}

impl RetryWindow {
    /// Used when the server could not be reached: 15 minutes, plus or minus a fifth.
    pub const TRANSIENT: Self = Self { min_ms: 720_000, max_ms: 1_080_000 };
    /// Used when asking again cannot help soon (unknown population, refused plan): 4 hours, plus or minus a fifth.
    pub const PERMANENT: Self = Self { min_ms: 11_520_000, max_ms: 17_280_000 };

    /// The point in the window that `random` selects.
    ///
    /// ```
    /// # use siskin::checkin::RetryWindow;
    /// let window = RetryWindow { min_ms: 100, max_ms: 200 };
    /// assert_eq!(window.pick(0), 100);
    /// assert_eq!(window.pick(u32::MAX), 200);
    /// ```
    pub fn pick(self, random: u32) -> u32 {
        let span = u64::from(self.max_ms.saturating_sub(self.min_ms)) + 1;
        self.min_ms + ((span * u64::from(random)) >> 32) as u32
    }
}

/// Why the server has no work for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Reason {
    /// The cohort of this round is complete, or this device was not picked.
    NotSelected,
    /// No population of that name.
    UnknownPopulation,
    /// The device and the server share no protocol version or lack a capability that the plan needs.
    Unsupported,
    /// No round is open.
    NoRound,
}

/// The server's answer when it has no work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// When to ask again.
    pub retry: RetryWindow,
}
