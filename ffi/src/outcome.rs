//! What to do next, and how a session ended.

use siskin::arena::ArenaError;
use siskin::checkin::{CheckpointError, PlanError, PolicyViolation, Profile, Reason};
use siskin::data::StoreError;
use siskin::report::{EgressRecord, ReportError};
use siskin::session::{Abandoned, Metrics, Outcome, Poll};

/// What the app should do next.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum siskin_action {
    /// Nothing was polled yet; the library does not return this.
    None = 0,
    /// After `siskin_session_poll`: send the bytes of `siskin_session_outgoing`, call `siskin_session_sent`, poll again.
    /// After `siskin_session_step`: the transport took no more bytes; call again when it does.
    Send = 1,
    /// Give what the server sends to `siskin_session_receive` (or step again when there is something to read), at the
    /// latest at `until_ms`.
    Receive = 2,
    /// A piece of work is done; call again when there is time for more. A good moment to save, or to stop for now.
    Work = 3,
    /// The session is over: see `siskin_session_outcome`.
    Finished = 4,
    /// Store the bytes of `siskin_session_ledger` durably, call `siskin_session_persisted`, go on: the report is debited, and
    /// nothing of it leaves before that is stored. Only for sessions that were given a ledger.
    Persist = 5,
}

/// What the app should do next, in detail.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct siskin_next {
    /// `sizeof(siskin_next)`, set by the caller.
    pub struct_size: u32,
    /// What to do.
    pub action: siskin_action,
    /// Steps of local training done, for `SISKIN_ACTION_WORK`; else 0.
    pub done: u32,
    /// Steps in all; 0 if that is not known.
    pub of: u32,
    /// For `SISKIN_ACTION_RECEIVE`: when to call again if nothing came, milliseconds on the clock that is given to the
    /// library; else 0.
    pub until_ms: u64,
}

impl From<Poll> for siskin_next {
    fn from(poll: Poll) -> Self {
        let next = |action| Self { struct_size: 0, action, done: 0, of: 0, until_ms: 0 };
        match poll {
            Poll::Send => next(siskin_action::Send),
            Poll::Receive { until_ms } => Self { until_ms, ..next(siskin_action::Receive) },
            Poll::Working { done, of } => Self { done, of, ..next(siskin_action::Work) },
            Poll::Persist => next(siskin_action::Persist),
            Poll::Finished(_) => next(siskin_action::Finished),
        }
    }
}

/// How a session ended.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum siskin_outcome {
    /// It has not ended; the library does not return this.
    None = 0,
    /// The report was counted.
    Accepted = 1,
    /// The report had been counted before this session sent it again; it counts once.
    Duplicate = 2,
    /// The report came after the round had closed. This is normal, not an error.
    Late = 3,
    /// The server could not use the report.
    Refused = 4,
    /// The server had no work: see `reason` and `retry_ms`.
    Rejected = 5,
    /// The device gave the task back: see `cause` and `retry_ms`.
    Abandoned = 6,
    /// The server did not answer, or no longer knows the task: see `retry_ms`.
    Unreachable = 7,
    /// A kind of ending that this library has no number for.
    Other = 90,
}

/// Why the server had no work.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum siskin_reason {
    /// The session did not end in a rejection.
    None = 0,
    /// The cohort is complete, or this device was not picked.
    NotSelected = 1,
    /// There is no population of that name.
    UnknownPopulation = 2,
    /// Device and server share no protocol version, or the device lacks what the plan needs.
    Unsupported = 3,
    /// No round is open.
    NoRound = 4,
    /// A reason that this library has no number for.
    Other = 90,
}

/// Why the device gave a task back. The server is told this number and nothing else.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum siskin_cause {
    /// The device did not give the task back.
    None = 0,
    /// The plan is not valid.
    Plan = 1,
    /// The plan is for another population.
    Population = 2,
    /// The plan breaks the app's floor: `limit` is what the app allows, `got` what the plan says or what would come of it.
    Policy = 3,
    /// The plan does not fit the arena: `limit` is the number of bytes needed, `got` the number lent.
    Memory = 4,
    /// The checkpoint is not valid.
    Checkpoint = 5,
    /// There are no examples.
    NoExamples = 6,
    /// An example could not be used.
    Store = 7,
    /// No report could be made, for example because it is larger than the plan allows.
    Report = 8,
    /// The session was in a state that it cannot be in.
    Internal = 9,
    /// A cause that this library has no number for.
    Other = 90,
}

/// How a session ended, in detail.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct siskin_end {
    /// `sizeof(siskin_end)`, set by the caller.
    pub struct_size: u32,
    /// How it ended.
    pub outcome: siskin_outcome,
    /// Why the server had no work, for `SISKIN_OUTCOME_REJECTED`.
    pub reason: siskin_reason,
    /// Why the device gave the task back, for `SISKIN_OUTCOME_ABANDONED`.
    pub cause: siskin_cause,
    /// The app's own number, if its examples could not be read; else 0.
    pub code: i32,
    /// Wait this long before the next session, milliseconds; it was drawn once from the server's window. 0 if the report
    /// was handed in: the app's own schedule holds.
    pub retry_ms: u32,
    /// What `cause` needed, allowed or expected; 0 if it has no numbers.
    pub limit: f64,
    /// What `cause` met.
    pub got: f64,
}

impl From<Outcome> for siskin_end {
    fn from(outcome: Outcome) -> Self {
        let end = |outcome, retry_ms| Self {
            struct_size: 0,
            outcome,
            reason: siskin_reason::None,
            cause: siskin_cause::None,
            code: 0,
            retry_ms,
            limit: 0.0,
            got: 0.0,
        };
        match outcome {
            Outcome::Accepted => end(siskin_outcome::Accepted, 0),
            Outcome::Duplicate => end(siskin_outcome::Duplicate, 0),
            Outcome::Late => end(siskin_outcome::Late, 0),
            Outcome::Refused => end(siskin_outcome::Refused, 0),
            Outcome::Rejected { reason, retry_ms } => {
                let reason = match reason {
                    Reason::NotSelected => siskin_reason::NotSelected,
                    Reason::UnknownPopulation => siskin_reason::UnknownPopulation,
                    Reason::Unsupported => siskin_reason::Unsupported,
                    Reason::NoRound => siskin_reason::NoRound,
                    _ => siskin_reason::Other,
                };
                Self { reason, ..end(siskin_outcome::Rejected, retry_ms) }
            }
            Outcome::Abandoned { cause, retry_ms } => {
                let (limit, got) = numbers(cause);
                let code = if let Abandoned::Store(StoreError::Read { code, .. }) = cause { code } else { 0 };
                Self { cause: cause.into(), code, limit, got, ..end(siskin_outcome::Abandoned, retry_ms) }
            }
            Outcome::Unreachable { retry_ms } => end(siskin_outcome::Unreachable, retry_ms),
            _ => end(siskin_outcome::Other, 0),
        }
    }
}

/// The outcome as a sentence.
pub(crate) fn outcome_text(outcome: Outcome) -> String {
    match outcome {
        Outcome::Accepted => "the report was counted".into(),
        Outcome::Duplicate => "the report had been counted before".into(),
        Outcome::Late => "the report came after the round had closed".into(),
        Outcome::Refused => "the server could not use the report".into(),
        Outcome::Rejected { reason, retry_ms } => {
            format!("the server had no work ({reason:?}), retry in {retry_ms} ms")
        }
        Outcome::Abandoned { cause, retry_ms } => format!("the task was given back: {cause}; retry in {retry_ms} ms"),
        Outcome::Unreachable { retry_ms } => format!("the server did not answer, retry in {retry_ms} ms"),
        other => format!("{other:?}"),
    }
}

impl From<Abandoned> for siskin_cause {
    fn from(cause: Abandoned) -> Self {
        match cause {
            Abandoned::Plan(_) => Self::Plan,
            Abandoned::Population => Self::Population,
            Abandoned::Policy(_) => Self::Policy,
            Abandoned::Memory(_) => Self::Memory,
            Abandoned::Checkpoint(_) => Self::Checkpoint,
            Abandoned::NoExamples => Self::NoExamples,
            Abandoned::Store(_) => Self::Store,
            Abandoned::Report(_) => Self::Report,
            Abandoned::Internal => Self::Internal,
            _ => Self::Other,
        }
    }
}

/// `(limit, got)` of a cause.
fn numbers(cause: Abandoned) -> (f64, f64) {
    match cause {
        Abandoned::Plan(e) => plan_numbers(e),
        Abandoned::Policy(e) => policy_numbers(e),
        Abandoned::Memory(ArenaError::TooSmall { required, lent }) => (required as f64, lent as f64),
        Abandoned::Memory(ArenaError::Misaligned { offset }) => (0.0, offset as f64),
        Abandoned::Checkpoint(
            CheckpointError::Round { expected, got }
            | CheckpointError::Length { expected, got }
            | CheckpointError::Live { expected, got, .. }
            | CheckpointError::Block { expected, got, .. },
        ) => (expected.into(), got.into()),
        Abandoned::Store(StoreError::Shape { expected, got }) => (expected.into(), got.into()),
        Abandoned::Store(StoreError::Label { label, classes, .. }) => (classes.into(), label.into()),
        Abandoned::Report(ReportError::TooLarge { limit, got }) => (limit.into(), got.into()),
        _ => (0.0, 0.0),
    }
}

/// `(limit, got)` of a plan that breaks the floor.
pub(crate) fn policy_numbers(e: PolicyViolation) -> (f64, f64) {
    match e {
        PolicyViolation::ClipNorm { allowed, plan } => (allowed.into(), plan.into()),
        PolicyViolation::Noise { least, plan } => (least.into(), plan.into()),
        PolicyViolation::Upload { allowed, plan } | PolicyViolation::Download { allowed, plan } => {
            (allowed.into(), plan.into())
        }
        PolicyViolation::Profile { allowed, plan } => (allowed.bits().into(), plan.bits().into()),
        PolicyViolation::LedgerFull { populations } => (populations.into(), f64::from(populations) + 1.0),
        PolicyViolation::Separation { least, last, plan } => (least.into(), f64::from(plan) - f64::from(last)),
        PolicyViolation::SeparationTime { least_ms, passed_ms } => (least_ms as f64, passed_ms as f64),
        PolicyViolation::Participations { most, would_be }
        | PolicyViolation::ParticipationsInAll { most, would_be } => (most.into(), would_be.into()),
        PolicyViolation::EpsilonOfPeriod { largest, would_be } | PolicyViolation::Epsilon { largest, would_be } => {
            (largest, would_be)
        }
        _ => (0.0, 0.0),
    }
}

/// `(limit, got)` of what is wrong with a plan.
pub(crate) fn plan_numbers(e: PlanError) -> (f64, f64) {
    match e {
        PlanError::OutOfRange { got, .. } => (0.0, got.into()),
        PlanError::ProbeWithNoise { entries, .. } => (0.0, entries.into()),
        PlanError::Grid(e) => (e.step.into(), e.clip_norm.into()),
        PlanError::Deviation(e) => (e.limit, e.got),
        PlanError::Layer { expected, got, .. } => (expected.into(), got.into()),
        // `Feature` has none: its text names the part; this library is built with all of them.
        _ => (0.0, 0.0),
    }
}

/// Numbers of the local training. They are computed from the data without noise: show them on the device if you like, but
/// do not send them anywhere.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct siskin_metrics {
    /// `sizeof(siskin_metrics)`, set by the caller.
    pub struct_size: u32,
    /// Examples used in each epoch; 0 until training is over.
    pub examples: u32,
    /// Mean of the batch losses so far, nats.
    pub loss: f32,
    /// L2 norm of the change before clipping; 0 until training is over.
    pub norm: f32,
    /// 1 if it was above the clip norm, else 0.
    pub clipped: u32,
    /// Coordinates that were too large for the plan's grid.
    pub saturated: u32,
}

impl From<&Metrics> for siskin_metrics {
    fn from(m: &Metrics) -> Self {
        Self {
            struct_size: 0,
            examples: m.examples,
            loss: m.loss,
            norm: m.norm,
            clipped: m.clipped.into(),
            saturated: m.saturated,
        }
    }
}

/// Who adds the noise.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum siskin_noise_source {
    /// The server, to the sum: it sees each clipped change.
    Server = 0,
    /// Each device, its share.
    Device = 1,
}

/// What left the device. The app should keep one record a session, where the user can see it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct siskin_egress {
    /// `sizeof(siskin_egress)`, set by the caller.
    pub struct_size: u32,
    /// Fingerprint of the plan.
    pub plan: u32,
    /// Number of the round.
    pub round: u32,
    /// Length of the report, bytes.
    pub bytes: u32,
    /// L2 bound of what the report says.
    pub clip_norm: f32,
    /// Noise multiplier that the plan promises for the sum of the cohort; 0 is no noise.
    pub noise_multiplier: f32,
    /// Who adds the noise.
    pub noise_source: siskin_noise_source,
    /// If devices add it: the number of reports over which it is spread; else 0.
    pub shares: u32,
    /// Just before the first byte left, milliseconds: on the clock of the ledger if there is one, else on that of the polls.
    pub time_ms: u64,
    /// Bytes of the report that are a growth probe, neither clipped nor noised: 0 unless the app allows it.
    pub growth: u32,
    /// XXH32 of the report.
    pub report: u32,
    /// Number of the population: see `siskin_population_number`.
    pub population: u64,
    /// The profile: one of `SISKIN_PROFILE_CENTRAL`, `SISKIN_PROFILE_LOCAL`, `SISKIN_PROFILE_DISTRIBUTED`.
    pub profile: u32,
    /// Always 0.
    pub reserved: u32,
}

impl From<&EgressRecord> for siskin_egress {
    fn from(e: &EgressRecord) -> Self {
        let (noise_source, shares) = match e.profile {
            Profile::Central => (siskin_noise_source::Server, 0),
            Profile::Local => (siskin_noise_source::Device, 1),
            Profile::Distributed(distributed) => (siskin_noise_source::Device, distributed.shares),
        };
        Self {
            struct_size: 0,
            plan: e.plan,
            round: e.round,
            bytes: e.bytes,
            clip_norm: e.clip_norm,
            noise_multiplier: e.noise_multiplier,
            noise_source,
            shares,
            time_ms: e.time_ms,
            growth: e.growth,
            report: e.report,
            population: e.population,
            profile: siskin::checkin::Profiles::of(e.profile).bits().into(),
            reserved: 0,
        }
    }
}
