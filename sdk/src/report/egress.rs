//! The log of what left the device.

use crate::checkin::NoiseSource;
use serde::{Deserialize, Serialize};

/// One report that left, or began to leave, this device. The app may keep and show these.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EgressRecord {
    /// Fingerprint of the plan.
    pub plan: u32,
    /// The round.
    pub round: u32,
    /// Bytes of the report.
    pub bytes: u32,
    /// Bytes of it that are a growth probe: where gradients were largest, neither clipped nor noised.
    pub growth: u32,
    /// The L2 bound of what it says.
    pub clip_norm: f32,
    /// Noise multiplier that the plan promises for the sum.
    pub noise_multiplier: f32,
    /// Who adds the noise.
    pub source: NoiseSource,
    /// The device's clock when the first byte left, ms.
    pub time_ms: u64,
}
