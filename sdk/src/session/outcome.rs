//! What a poll and a session come to.

use crate::arena::ArenaError;
use crate::checkin::{CheckpointError, PlanError, PolicyViolation, Reason};
use crate::data::StoreError;
use crate::report::ReportError;
use serde::{Deserialize, Serialize};

/// What the host should do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Poll {
    /// Send [`outgoing`](super::Session::outgoing), call [`sent`](super::Session::sent), poll again.
    Send,
    /// Give what the transport brings to [`receive`](super::Session::receive); poll again then or at this time.
    Receive {
        /// On the clock that was given to `poll`, ms.
        until_ms: u64,
    },
    /// A piece of work is done, call again when there is time for more. A good moment to save.
    Working {
        /// Steps of local training done.
        done: u32,
        /// Steps in all; 0 if that is not known.
        of: u32,
    },
    /// Store [`ledger`](super::Session::ledger) durably, call [`persisted`](super::Session::persisted), poll again: the report is
    /// debited, and nothing of it leaves before that is stored. Only for sessions that were given a ledger. A host that
    /// cannot store it lets the session go; a good moment also to log [`egress`](super::Session::egress).
    Persist,
    /// The session is over.
    Finished(Outcome),
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The report was counted.
    Accepted,
    /// The report had been counted before this session sent it again; it counts once.
    Duplicate,
    /// The report came after the round had closed; this is normal, not an error.
    Late,
    /// The server could not use the report.
    Refused,
    /// There was no work.
    Rejected {
        /// Why.
        reason: Reason,
        /// Wait this long before the next check-in, ms; drawn from the server's window.
        retry_ms: u32,
    },
    /// The device gave the task back.
    Abandoned {
        /// Why.
        cause: Abandoned,
        /// Wait this long before the next check-in, ms.
        retry_ms: u32,
    },
    /// The server did not answer, or no longer knows the task. If it did not answer, the session can still be
    /// [saved](super::Session::save): restored later, it goes on where it stood.
    Unreachable {
        /// Wait this long before the next check-in, ms.
        retry_ms: u32,
    },
}

/// Why a device gave a task back.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Abandoned {
    /// The plan is not valid.
    Plan(PlanError),
    /// The plan is for another population.
    Population,
    /// The plan breaks the app's floor.
    Policy(PolicyViolation),
    /// The plan does not fit the memory.
    Memory(ArenaError),
    /// The checkpoint is not valid.
    Checkpoint(CheckpointError),
    /// There is nothing to train on.
    NoExamples,
    /// An example could not be used.
    Store(StoreError),
    /// No report could be made.
    Report(ReportError),
    /// A session in a state that it cannot be in, for example after a forged save.
    Internal,
}

impl Abandoned {
    /// The number that the server is told; it says nothing of the data.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Plan(_) => 1,
            Self::Population => 2,
            Self::Policy(_) => 3,
            Self::Memory(_) => 4,
            Self::Checkpoint(_) => 5,
            Self::NoExamples => 6,
            Self::Store(_) => 7,
            Self::Report(_) => 8,
            Self::Internal => 9,
        }
    }
}

impl core::fmt::Display for Abandoned {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Plan(e) => write!(f, "{e}"),
            Self::Population => write!(f, "the plan is for another population"),
            Self::Policy(e) => write!(f, "refused by the app's policy: {e}"),
            Self::Memory(e) => write!(f, "{e}"),
            Self::Checkpoint(e) => write!(f, "{e}"),
            Self::NoExamples => write!(f, "the example store is empty"),
            Self::Store(e) => write!(f, "{e}"),
            Self::Report(e) => write!(f, "{e}"),
            Self::Internal => write!(f, "the session is in a state that it cannot be in"),
        }
    }
}

impl core::error::Error for Abandoned {}

/// There are no masks to [keep](super::Session::keep_mask).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum KeepError {
    /// The session has no masks: see [`kept_mask_len`](super::Session::kept_mask_len).
    NoMask,
    /// The buffer is too short.
    Capacity {
        /// Bytes needed.
        required: usize,
        /// Bytes given.
        got: usize,
    },
}

impl core::fmt::Display for KeepError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoMask => write!(f, "the session has no masks now"),
            Self::Capacity { required, got } => {
                write!(f, "a buffer of {got} bytes is too short for masks of {required}")
            }
        }
    }
}

impl core::error::Error for KeepError {}

/// Numbers of the local training. They are not part of the report and must not leave the device with it: they are
/// computed from the data without noise.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean of the batch losses, nats.
    pub loss: f32,
    /// Examples used in each epoch.
    pub examples: u32,
    /// L2 norm of the delta before clipping.
    pub norm: f32,
    /// True if it was above the clip norm.
    pub clipped: bool,
    /// Coordinates that were too large for the grid.
    pub saturated: u32,
}

impl Metrics {
    /// Perplexity, `exp(loss)`, for a display: `micromath`'s approximation, within 1 % of the true value for losses up to
    /// 12 nats (measured by this module's test); nothing is computed from it.
    pub fn perplexity(&self) -> f32 {
        micromath::F32(self.loss).exp().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perplexity_is_within_its_stated_error() {
        for i in 0..1200 {
            let loss = i as f32 / 100.0;
            let got = f64::from(Metrics { loss, ..Metrics::default() }.perplexity());
            let exact = libm::exp(f64::from(loss));
            assert!((got / exact - 1.0).abs() < 0.01, "loss {loss}: {got} for {exact}");
        }
    }
}
