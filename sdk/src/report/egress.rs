//! What left the device.

use crate::checkin::{Distributed, Profile, Profiles};
use core::fmt;
use serde::{Deserialize, Serialize};

/// One report that left, or is about to leave, this device. The app keeps them in an [`EgressLog`](super::EgressLog). Its
/// `Display` is one line of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EgressRecord {
    /// The population, as its [`population_id`](crate::privacy::population_id).
    pub population: u64,
    /// Fingerprint of the plan.
    pub plan: u32,
    /// The round.
    pub round: u32,
    /// Bytes of the report.
    pub bytes: u32,
    /// XXH32 of the report.
    pub report: u32,
    /// Bytes of it that are a growth probe: where gradients were largest, neither clipped nor noised.
    pub growth: u32,
    /// The L2 bound of what it says.
    pub clip_norm: f32,
    /// Noise multiplier that the plan promises for the sum.
    pub noise_multiplier: f32,
    /// Who adds the noise.
    pub profile: Profile,
    /// The clock just before the first byte left, ms: that of the ledger if the session has one, else that of the polls.
    pub time_ms: u64,
}

impl EgressRecord {
    /// True if both tell of the same report, sent again after a restart.
    pub fn is_same_report(&self, other: &Self) -> bool {
        let key = |r: &Self| (r.population, r.plan, r.round, r.bytes, r.report);
        key(self) == key(other)
    }
}

/// `{"time_ms":…,"population":"16 hex digits","plan":"8 hex digits","round":…,"report":"8 hex digits","bytes":…,
/// "growth_bytes":…,"profile":"central","clip_norm":…,"noise_multiplier":…,"shares":…}`; `shares` is 1 where no share is meant.
impl fmt::Display for EgressRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = if let Profile::Distributed(Distributed { shares, .. }) = self.profile { shares } else { 1 };
        let profile = Profiles::of(self.profile);
        write!(f, "{{\"time_ms\":{},\"population\":\"{:016x}\",", self.time_ms, self.population)?;
        write!(f, "\"plan\":\"{:08x}\",\"round\":{},\"report\":\"{:08x}\",", self.plan, self.round, self.report)?;
        write!(f, "\"bytes\":{},\"growth_bytes\":{},\"profile\":\"{}\",", self.bytes, self.growth, profile)?;
        write!(f, "\"clip_norm\":{},", Number(self.clip_norm))?;
        write!(f, "\"noise_multiplier\":{},\"shares\":{shares}}}", Number(self.noise_multiplier))
    }
}

/// JSON has no numbers that are not finite.
struct Number(f32);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_finite() { write!(f, "{}", self.0) } else { write!(f, "null") }
    }
}
