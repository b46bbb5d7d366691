//! What the app allows over many rounds, and which profiles.

use super::Profile;
use core::fmt;

/// Bounds on all rounds of this device together. The [`Ledger`](crate::privacy::Ledger) knows those before this one; where a
/// bound is set, a session without a ledger is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    /// Least difference between the numbers of two rounds of a population in which the device takes part: the `b` of
    /// b-min-sep participation. 0 is no bound; 1 refuses the same round twice, and rounds before the last one.
    pub min_separation: u32,
    /// Least time between two participations in a population, ms; 0 is no bound.
    pub min_separation_ms: u64,
    /// Most participations in one population; `u32::MAX` is no bound.
    pub most_participations: u32,
    /// Most participations in all populations together; `u32::MAX` is no bound.
    pub most_participations_in_all: u32,
    /// Length of a period, ms. One begins with the first participation after the last one ended, so a span of this length
    /// that begins anywhere meets at most two of them. 0: each participation is a period of its own.
    pub period_ms: u64,
    /// Largest epsilon of one period, at `dp_delta`, over all populations; infinity is no bound.
    pub largest_epsilon_per_period: f64,
    /// Largest epsilon of all participations, at `dp_delta`, over all populations; infinity is no bound.
    pub largest_epsilon: f64,
    /// The probability at which both are stated, in (0, 1). Outside of it every epsilon is infinite.
    pub dp_delta: f64,
}

impl Limits {
    /// No bound at all.
    pub const NONE: Self = Self {
        min_separation: 0,
        min_separation_ms: 0,
        most_participations: u32::MAX,
        most_participations_in_all: u32::MAX,
        period_ms: 0,
        largest_epsilon_per_period: f64::INFINITY,
        largest_epsilon: f64::INFINITY,
        dp_delta: 1e-10,
    };

    /// True if any bound is set, so that there must be a ledger. A NaN is a bound, one that refuses everything.
    pub fn need_ledger(&self) -> bool {
        self.min_separation > 0
            || self.min_separation_ms > 0
            || self.most_participations < u32::MAX
            || self.most_participations_in_all < u32::MAX
            || self.largest_epsilon_per_period != f64::INFINITY
            || self.largest_epsilon != f64::INFINITY
    }
}

/// A set of profiles: who adds the noise, and so who must be trusted with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Profiles(u8);

impl Profiles {
    /// The server sees each clipped delta and adds the noise to the sum.
    pub const CENTRAL: Self = Self(1);
    /// Each device adds all of the noise: nobody is trusted.
    pub const LOCAL: Self = Self(2);
    /// Each device adds its share: the sum has what is promised, one report only its share.
    pub const DISTRIBUTED: Self = Self(4);
    /// Those with noise on the device.
    pub const ON_DEVICE: Self = Self(2 | 4);
    /// All of them.
    pub const ALL: Self = Self(1 | 2 | 4);

    /// The profiles of both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True if all of `other` are in it.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// One bit each: central 1, local 2, distributed 4.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of these bits; none if others are set too.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
    }

    /// The one of a plan.
    pub const fn of(profile: Profile) -> Self {
        match profile {
            Profile::Central => Self::CENTRAL,
            Profile::Local => Self::LOCAL,
            Profile::Distributed(_) => Self::DISTRIBUTED,
        }
    }
}

impl fmt::Display for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut empty = true;
        for (one, name) in [(Self::CENTRAL, "central"), (Self::LOCAL, "local"), (Self::DISTRIBUTED, "distributed")] {
            if self.has(one) {
                write!(f, "{}{name}", if empty { "" } else { ", " })?;
                empty = false;
            }
        }
        if empty { write!(f, "none") } else { Ok(()) }
    }
}
