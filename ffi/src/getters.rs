//! What a session has to say.

use crate::guard::{Out, text_to};
use crate::handle::{Inner, look_at, siskin_session};
use crate::outcome::{outcome_text, siskin_egress, siskin_end, siskin_metrics};
use crate::result::{Failure, siskin_result};
use core::ffi::c_char;

/// Bytes of arena that the session needs: those of its plan once it has one, before that those of the check-in.
///
/// One thread at a time.
///
/// # Safety
/// `session` is NULL or a live handle; `required` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_required_bytes(
    session: *const siskin_session,
    required: *mut usize,
) -> siskin_result {
    let required_bytes = |inner: &Inner| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(required, "required") }?;
        out.write(inner.session.memory().map_or(inner.least, |memory| memory.total));
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { look_at(session, required_bytes) }
}

/// The report, from the moment when it is made to the end of its upload, so that the app can show or count what leaves.
/// The bytes lie in the arena and stay valid until the next call that takes the session without `const`.
///
/// One thread at a time.
///
/// # Errors
/// `SISKIN_RESULT_NOT_YET` before and after.
///
/// # Safety
/// `session` is NULL or a live handle; `bytes` and `bytes_len` are NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_report(
    session: *const siskin_session,
    bytes: *mut *const u8,
    bytes_len: *mut usize,
) -> siskin_result {
    let report = |inner: &Inner| {
        // SAFETY: the caller's promise.
        let (start, length) = unsafe { (Out::new(bytes, "bytes")?, Out::new(bytes_len, "bytes_len")?) };
        let report = inner.session.report().ok_or_else(|| not_yet("there is no report now"))?;
        start.write(report.as_ptr());
        length.write(report.len());
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { look_at(session, report) }
}

/// How the session ended, after `SISKIN_ACTION_FINISHED`.
///
/// One thread at a time.
///
/// # Errors
/// `SISKIN_RESULT_NOT_YET` before.
///
/// # Safety
/// `session` is NULL or a live handle; `end` is NULL or points to a `siskin_end` whose `struct_size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_outcome(session: *const siskin_session, end: *mut siskin_end) -> siskin_result {
    let get = |inner: &Inner| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::versioned(end, "end") }?;
        out.write(inner.outcome.ok_or_else(|| not_yet("the session is not over"))?.into());
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { look_at(session, get) }
}

/// How the session ended as an English sentence, for logs. With `text` NULL, only the length is asked for. `text_len`
/// receives the length with its final NUL, bytes.
///
/// One thread at a time.
///
/// # Errors
/// `SISKIN_RESULT_NOT_YET` before the end; `SISKIN_RESULT_BUFFER_TOO_SMALL` with both numbers.
///
/// # Safety
/// `session` is NULL or a live handle; `text` is NULL or has room for `capacity` bytes; `text_len` is NULL or may be
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_outcome_text(
    session: *const siskin_session,
    text: *mut c_char,
    capacity: usize,
    text_len: *mut usize,
) -> siskin_result {
    let get = |inner: &Inner| {
        let outcome = inner.outcome.ok_or_else(|| not_yet("the session is not over"))?;
        // SAFETY: the caller's promise.
        unsafe { text_to(&outcome_text(outcome), text, capacity, text_len) }
    };
    // SAFETY: the caller's promise.
    unsafe { look_at(session, get) }
}

/// Numbers of the local training so far.
///
/// One thread at a time.
///
/// # Safety
/// `session` is NULL or a live handle; `metrics` is NULL or points to a `siskin_metrics` whose `struct_size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_metrics(
    session: *const siskin_session,
    metrics: *mut siskin_metrics,
) -> siskin_result {
    let get = |inner: &Inner| {
        // SAFETY: the caller's promise.
        unsafe { Out::versioned(metrics, "metrics") }?.write(inner.session.metrics().into());
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { look_at(session, get) }
}

/// What left the device in this session.
///
/// One thread at a time.
///
/// # Errors
/// `SISKIN_RESULT_NOT_YET` as long as no byte of a report has left.
///
/// # Safety
/// `session` is NULL or a live handle; `egress` is NULL or points to a `siskin_egress` whose `struct_size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_egress(
    session: *const siskin_session,
    egress: *mut siskin_egress,
) -> siskin_result {
    let get = |inner: &Inner| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::versioned(egress, "egress") }?;
        out.write(inner.session.egress().ok_or_else(|| not_yet("nothing has left the device"))?.into());
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { look_at(session, get) }
}

fn not_yet(text: &str) -> Failure {
    Failure::new(siskin_result::NotYet, text)
}
