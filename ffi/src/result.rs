//! Result codes, and the details of the last failure.

use crate::guard::{Out, guard_quietly, text_to};
use core::ffi::c_char;
use siskin::arena::ArenaError;
use siskin::checkin::PlanError;
use siskin::privacy::LedgerError;
use siskin::report::EgressLogError;
use siskin::session::SaveError;
use siskin::wire::WireError;
use std::cell::RefCell;

/// What came of a call. The numbers are stable; a newer library may return numbers that this header does not name.
///
/// Unless a function says otherwise, a call that does not return `SISKIN_RESULT_OK` has written nothing and changed nothing.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum siskin_result {
    /// Done.
    Ok = 0,

    /// A pointer that must not be NULL is NULL.
    NullPointer = 10,
    /// `struct_size` of a struct is not set, is smaller than that of the first version, or the struct has fields that this
    /// library does not know and that are not zero.
    StructSize = 11,
    /// An argument is outside its range or a pointer is misaligned for its type; `siskin_failure_text` names it.
    Argument = 12,
    /// A buffer is too short: `limit` of the failure is the length needed, `got` the length given.
    BufferTooSmall = 13,
    /// A buffer lies in the arena that was lent to the session.
    Overlap = 14,
    /// The entropy is missing, or all bytes are the same: no generator returned that.
    Entropy = 15,

    /// The arena does not start at a multiple of `SISKIN_ARENA_ALIGNMENT`; `got` is the remainder.
    ArenaMisaligned = 20,
    /// The arena is too small: `limit` is the number of bytes needed, `got` the number lent.
    ArenaTooSmall = 21,
    /// The library was asked to allocate the arena and could not; `limit` is the number of bytes.
    NoMemory = 22,

    /// The session is in use: by another thread, or by the call that is calling back.
    Busy = 30,
    /// This call panicked: a defect of the library. The session can only be freed.
    Panicked = 31,
    /// An earlier call panicked. The session can only be freed.
    Poisoned = 32,

    /// There is nothing to give yet: the session has not come so far.
    NotYet = 40,
    /// The session is over.
    Finished = 41,

    /// The saved bytes are damaged.
    SavedBytes = 50,
    /// The saved bytes are of a version that this library does not know: `limit` is the newest known, `got` the version.
    SavedVersion = 51,
    /// The plan is not valid.
    Plan = 55,
    /// The saved session's plan breaks the app's floor, or belongs to another population: `limit` is what the app allows,
    /// `got` what the plan says. Start a new session.
    Policy = 56,

    /// A ledger's bytes are damaged, or are none. The library never starts over by itself: see `siskin_ledger_reset`.
    LedgerBytes = 57,
    /// The ledger is of a version that this library does not know: `limit` is the one known, `got` the version.
    LedgerVersion = 58,
    /// The bytes are no egress log.
    LogBytes = 59,

    /// The app's transport failed; `code` is the app's own number. The session is intact.
    Transport = 60,

    /// The library met an error that it has no number for.
    Internal = 90,
}

/// A short English text for a result code, static and NUL-terminated; never NULL, also for a number that is no code.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn siskin_result_text(result: i32) -> *const c_char {
    const CODES: [siskin_result; 24] = [
        siskin_result::Ok,
        siskin_result::NullPointer,
        siskin_result::StructSize,
        siskin_result::Argument,
        siskin_result::BufferTooSmall,
        siskin_result::Overlap,
        siskin_result::Entropy,
        siskin_result::ArenaMisaligned,
        siskin_result::ArenaTooSmall,
        siskin_result::NoMemory,
        siskin_result::Busy,
        siskin_result::Panicked,
        siskin_result::Poisoned,
        siskin_result::NotYet,
        siskin_result::Finished,
        siskin_result::SavedBytes,
        siskin_result::SavedVersion,
        siskin_result::Plan,
        siskin_result::Policy,
        siskin_result::LedgerBytes,
        siskin_result::LedgerVersion,
        siskin_result::LogBytes,
        siskin_result::Transport,
        siskin_result::Internal,
    ];
    let known = CODES.iter().find(|code| **code as i32 == result);
    known.map_or(c"unknown result code", |code| code.text()).as_ptr()
}

impl siskin_result {
    /// A short English text.
    pub fn text(self) -> &'static core::ffi::CStr {
        match self {
            Self::Ok => c"done",
            Self::NullPointer => c"a pointer is NULL",
            Self::StructSize => c"struct_size does not fit this library",
            Self::Argument => c"an argument is outside its range",
            Self::BufferTooSmall => c"a buffer is too short",
            Self::Overlap => c"a buffer lies in the arena",
            Self::Entropy => c"there is no entropy",
            Self::ArenaMisaligned => c"the arena is misaligned",
            Self::ArenaTooSmall => c"the arena is too small",
            Self::NoMemory => c"out of memory",
            Self::Busy => c"the session is in use",
            Self::Panicked => c"the library panicked",
            Self::Poisoned => c"the session is unusable after a panic",
            Self::NotYet => c"there is nothing to give yet",
            Self::Finished => c"the session is over",
            Self::SavedBytes => c"the saved session is damaged",
            Self::SavedVersion => c"the saved session is of an unknown version",
            Self::Plan => c"the plan is not valid",
            Self::Policy => c"the app's floor forbids the plan",
            Self::LedgerBytes => c"the ledger is damaged",
            Self::LedgerVersion => c"the ledger is of an unknown version",
            Self::LogBytes => c"the bytes are no egress log",
            Self::Transport => c"the transport failed",
            Self::Internal => c"internal error",
        }
    }
}

/// The last failure on this thread.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct siskin_failure {
    /// `sizeof(siskin_failure)`, set by the caller.
    pub struct_size: u32,
    /// The code that was returned.
    pub result: siskin_result,
    /// The app's own number, if a callback failed; else 0.
    pub code: i32,
    /// Zero.
    pub reserved: u32,
    /// What was needed, allowed or expected. Lengths are bytes, exact below 2^53; 0 if the failure has no numbers.
    pub limit: f64,
    /// What was there.
    pub got: f64,
}

/// Reads the last failure on this thread. A success does not erase it, and neither does a failure of this function or of
/// `siskin_failure_text`. With no failure so far, `result` is
/// `SISKIN_RESULT_OK`.
///
/// Any thread; each has its own.
///
/// # Safety
/// `failure` is NULL or points to a `siskin_failure` whose `struct_size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_failure_get(failure: *mut siskin_failure) -> siskin_result {
    let last = last();
    guard_quietly(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::versioned(failure, "failure") }?;
        let (result, code, limit, got) =
            last.as_ref().map_or((siskin_result::Ok, 0, 0.0, 0.0), |f| (f.result, f.code, f.limit, f.got));
        out.write(siskin_failure { struct_size: 0, result, code, reserved: 0, limit, got });
        Ok(())
    })
}

/// The last failure on this thread as an English sentence, for logs.
///
/// With `text` NULL, only the length is asked for. `text_len` receives the length with its final NUL, bytes.
///
/// Any thread; each has its own.
///
/// # Safety
/// `text` is NULL or has room for `capacity` bytes; `text_len` is NULL or points to a `size_t`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_failure_text(
    text: *mut c_char,
    capacity: usize,
    text_len: *mut usize,
) -> siskin_result {
    let last = last();
    guard_quietly(|| {
        let sentence = last.as_ref().map_or("no failure", |f| &f.text);
        // SAFETY: the caller's promise.
        unsafe { text_to(sentence, text, capacity, text_len) }
    })
}

/// A failed call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) result: siskin_result,
    pub(crate) code: i32,
    pub(crate) limit: f64,
    pub(crate) got: f64,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(result: siskin_result, text: impl Into<String>) -> Self {
        Self { result, code: 0, limit: 0.0, got: 0.0, text: text.into() }
    }

    pub(crate) fn null(name: &str) -> Self {
        Self::new(siskin_result::NullPointer, format!("`{name}` is NULL"))
    }

    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Self::new(siskin_result::Argument, text)
    }

    pub(crate) fn with(mut self, limit: f64, got: f64) -> Self {
        (self.limit, self.got) = (limit, got);
        self
    }

    pub(crate) fn too_short(name: &str, needed: usize, given: usize) -> Self {
        let text = format!("`{name}` has {given} bytes, {needed} are needed");
        Self::new(siskin_result::BufferTooSmall, text).with(needed as f64, given as f64)
    }
}

impl From<ArenaError> for Failure {
    fn from(e: ArenaError) -> Self {
        let (result, limit, got) = match e {
            ArenaError::TooSmall { required, lent } => (siskin_result::ArenaTooSmall, required, lent),
            ArenaError::Misaligned { offset } => (siskin_result::ArenaMisaligned, 0, offset),
            _ => (siskin_result::Internal, 0, 0),
        };
        Self::new(result, e.to_string()).with(limit as f64, got as f64)
    }
}

impl From<PlanError> for Failure {
    fn from(e: PlanError) -> Self {
        let (limit, got) = crate::outcome::plan_numbers(e);
        Self::new(siskin_result::Plan, e.to_string()).with(limit, got)
    }
}

impl From<SaveError> for Failure {
    fn from(e: SaveError) -> Self {
        match e {
            SaveError::Finished => Self::new(siskin_result::Finished, e.to_string()),
            SaveError::Capacity { required, got } => Self::too_short("buffer", required, got),
            SaveError::Wire(WireError::Version { known, got }) => {
                Self::new(siskin_result::SavedVersion, e.to_string()).with(known.into(), got.into())
            }
            SaveError::Wire(_) => Self::new(siskin_result::SavedBytes, e.to_string()),
            SaveError::Plan(e) => e.into(),
            SaveError::Population => Self::new(siskin_result::Policy, e.to_string()),
            SaveError::Policy(violation) => {
                let (limit, got) = crate::outcome::policy_numbers(violation);
                Self::new(siskin_result::Policy, e.to_string()).with(limit, got)
            }
            SaveError::Memory(e) => e.into(),
            _ => Self::new(siskin_result::Internal, e.to_string()),
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(e: LedgerError) -> Self {
        let (result, limit, got) = match e {
            LedgerError::Length { expected, got } => (siskin_result::LedgerBytes, expected as f64, got as f64),
            LedgerError::Wire(WireError::Version { known, got }) => {
                (siskin_result::LedgerVersion, known.into(), got.into())
            }
            _ => (siskin_result::LedgerBytes, 0.0, 0.0),
        };
        Self::new(result, e.to_string()).with(limit, got)
    }
}

impl From<EgressLogError> for Failure {
    fn from(e: EgressLogError) -> Self {
        match e {
            EgressLogError::Capacity { required, got } => Self::too_short("log", required, got),
            _ => Self::new(siskin_result::LogBytes, e.to_string()),
        }
    }
}

thread_local! {
    static LAST: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// A thread that is ending has no place for failures any more; the code is returned all the same.
pub(crate) fn remember(failure: Failure) {
    let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = Some(failure)));
}

fn last() -> Option<Failure> {
    LAST.try_with(|last| last.try_borrow().ok().and_then(|last| last.clone())).ok().flatten()
}
