//! The egress log from C: its bytes are the app's to keep.

use crate::guard::{bytes_from, guard, text_to};
use crate::handle::{Inner, look_at, siskin_session};
use crate::result::{Failure, siskin_result};
use core::ffi::c_char;
use siskin::report::{EGRESS_SLOT, EgressLog};
use std::fmt::Write;

/// Bytes of a log without records.
pub const SISKIN_LOG_HEAD_BYTES: usize = 8;
/// Bytes that each record adds to it.
pub const SISKIN_LOG_RECORD_BYTES: usize = 68;
const _: () = assert!(SISKIN_LOG_RECORD_BYTES == EGRESS_SLOT);

/// Makes an empty log of what leaves the device, for as many records as fit: `SISKIN_LOG_HEAD_BYTES` and
/// `SISKIN_LOG_RECORD_BYTES` for each. The app stores the bytes and shows them to the user who asks.
///
/// Any thread.
///
/// # Errors
/// `SISKIN_RESULT_BUFFER_TOO_SMALL` if not one fits.
///
/// # Safety
/// `log` is NULL or has room for `log_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_log_create(log: *mut u8, log_len: usize) -> siskin_result {
    guard(|| {
        let required = SISKIN_LOG_HEAD_BYTES + SISKIN_LOG_RECORD_BYTES;
        if !log.is_null() && (required..=isize::MAX as usize).contains(&log_len) {
            // What C's `malloc` returns may not be looked at in Rust.
            // SAFETY: not NULL, and there is room for that many bytes.
            unsafe { log.write_bytes(0, log_len) };
        }
        // SAFETY: the caller's promise; a buffer of a length that is not refused has values now.
        EgressLog::create(unsafe { writable(log, log_len) }?)?;
        Ok(())
    })
}

/// Adds what left in this session to a log, in the place of the oldest record if it is full; a report that is there already is not
/// added again. Call it when the session is over, at `SISKIN_ACTION_PERSIST`, and before a session that may not come back is
/// freed.
///
/// One thread at a time.
///
/// # Errors
/// `SISKIN_RESULT_NOT_YET` as long as no byte of a report has left or is about to, `SISKIN_RESULT_LOG_BYTES`.
///
/// # Safety
/// `session` is NULL or a live handle; `log` is NULL or points to `log_len` bytes outside of the arena that may be read and written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_log(
    session: *const siskin_session,
    log: *mut u8,
    log_len: usize,
) -> siskin_result {
    let append = |inner: &Inner| {
        inner.arena.check_apart(log, log_len, "log")?;
        let record = inner.session.egress();
        let record = record.ok_or_else(|| Failure::new(siskin_result::NotYet, "nothing has left the device"))?;
        // SAFETY: the caller's promise.
        EgressLog::open(unsafe { writable(log, log_len) }?)?.append(record);
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { look_at(session, append) }
}

/// The records of a log, oldest first, a line of JSON each, UTF-8: `time_ms`, `population` (its number, 16 hexadecimal
/// digits), `plan`, `round`, `report`, `bytes`, `growth_bytes`, `profile`, `clip_norm`, `noise_multiplier`, `shares`. The
/// last line is `{"records":N,"missing":M}`: M older ones were overwritten or damaged. With `text` NULL, only the
/// length is asked for. `text_len` receives the length with its final NUL, bytes.
///
/// Any thread.
///
/// # Errors
/// `SISKIN_RESULT_LOG_BYTES`; `SISKIN_RESULT_BUFFER_TOO_SMALL` with both numbers.
///
/// # Safety
/// `log` is NULL or points to `log_len` bytes; `text` is NULL or has room for `capacity` bytes; `text_len` is NULL or may be
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_log_json(
    log: *const u8,
    log_len: usize,
    text: *mut c_char,
    capacity: usize,
    text_len: *mut usize,
) -> siskin_result {
    guard(|| {
        if log.is_null() {
            return Err(Failure::null("log"));
        }
        // SAFETY: the caller's promise.
        let log = EgressLog::open(unsafe { bytes_from(log, log_len, "log") }?)?;
        let (mut lines, mut count) = (String::new(), 0);
        for (_, record) in log.records() {
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{record}");
            count += 1;
        }
        let _ = writeln!(lines, "{{\"records\":{count},\"missing\":{}}}", log.missing());
        // SAFETY: the caller's promise.
        unsafe { text_to(&lines, text, capacity, text_len) }
    })
}

/// # Safety
/// `bytes` is NULL or points to `length` bytes that may be written and that nobody else uses for as long as the slice is.
unsafe fn writable<'b>(bytes: *mut u8, length: usize) -> Result<&'b mut [u8], Failure> {
    if bytes.is_null() {
        return Err(Failure::null("log"));
    }
    if isize::try_from(length).is_err() {
        return Err(Failure::argument(format!("`log` has {length} bytes")));
    }
    // What C's `malloc` returns may not be looked at in Rust; a log that is only opened has values already.
    // SAFETY: not NULL, of a possible length, and writable by the caller's promise.
    Ok(unsafe { core::slice::from_raw_parts_mut(bytes, length) })
}
