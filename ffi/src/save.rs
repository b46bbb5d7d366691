//! Saving and restoring a session from C.

use crate::config::{config_from, siskin_config};
use crate::guard::{Out, bytes_from, guard};
use crate::handle::{Inner, check_apart, look_at, open, siskin_session};
use crate::result::{Failure, siskin_result};
use core::ffi::c_void;
use siskin::session::{SaveError, Session};

/// Length of a buffer that `siskin_session_save` accepts, bytes. It grows once, when the plan arrives.
///
/// One thread at a time.
///
/// # Safety
/// `session` is NULL or a live handle; `bound` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_save_bound(session: *const siskin_session, bound: *mut usize) -> siskin_result {
    let save_bound = |inner: &Inner| {
        // SAFETY: the caller's promise.
        unsafe { Out::new(bound, "bound") }?.write(inner.session.save_bound());
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { look_at(session, save_bound) }
}

/// Writes everything that is needed to go on to `buffer`, and its length to `saved_len`. `capacity` must be at least
/// `siskin_session_save_bound`, also where less would do.
///
/// The bytes hold the seed of the session's noise and the model in training: keep them where only the app can read, and
/// remove them when the session has ended. It does no harm to go on from an older save: with the same examples the session
/// makes the same report again, and the server counts it once.
///
/// One thread at a time.
///
/// # Errors
/// `SISKIN_RESULT_BUFFER_TOO_SMALL` with both numbers; `SISKIN_RESULT_FINISHED` if the session is over.
///
/// # Safety
/// `session` is NULL or a live handle; `buffer` is NULL or has room for `capacity` bytes outside of the arena; `saved_len`
/// is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_save(
    session: *const siskin_session,
    buffer: *mut u8,
    capacity: usize,
    saved_len: *mut usize,
) -> siskin_result {
    let save = |inner: &Inner| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(saved_len, "saved_len") }?;
        if buffer.is_null() {
            return Err(Failure::null("buffer"));
        }
        let bound = inner.session.save_bound();
        if capacity < bound {
            return Err(Failure::too_short("buffer", bound, capacity));
        }
        inner.arena.check_apart(buffer, capacity, "buffer")?;
        // A session that is over is found out before the buffer is touched.
        if let Err(e @ SaveError::Finished) = inner.session.save(&mut []) {
            return Err(e.into());
        }
        // SAFETY: `bound <= capacity` bytes may be written (the caller's promise); they get a value before they are lent.
        let room = unsafe {
            buffer.write_bytes(0, bound);
            core::slice::from_raw_parts_mut(buffer, bound)
        };
        out.write(inner.session.save(room)?);
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { look_at(session, save) }
}

/// Goes on where `siskin_session_save` was called, in a new session. `config` must be the same as then, but for
/// the floor, which is checked again; `arena` is as for `siskin_session_create` (of any address, large enough for the
/// plan).
///
/// The contents of the arena are lost if the call fails.
///
/// Any thread.
///
/// # Errors
/// `SISKIN_RESULT_SAVED_BYTES` if the bytes are damaged or no saved session, `SISKIN_RESULT_SAVED_VERSION`,
/// `SISKIN_RESULT_POLICY` and `SISKIN_RESULT_ARENA_TOO_SMALL` with both numbers, and those of `siskin_session_create`.
///
/// # Safety
/// As `siskin_session_create`; `saved` is NULL or points to `saved_len` bytes outside of the arena.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_restore(
    config: *const siskin_config,
    saved: *const u8,
    saved_len: usize,
    arena: *mut c_void,
    arena_len: usize,
    session: *mut *mut siskin_session,
) -> siskin_result {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(session, "session") }?;
        // SAFETY: the caller's promise.
        let config = unsafe { config_from(config) }?;
        if saved.is_null() {
            return Err(Failure::null("saved"));
        }
        if !arena.is_null() {
            check_apart((arena.cast(), arena_len), (saved, saved_len), "saved")?;
        }
        // SAFETY: the caller's promise.
        let saved = unsafe { bytes_from(saved, saved_len, "saved") }?;
        let make = |memory, config| Ok(Session::restore(memory, config, saved)?);
        // SAFETY: the caller's promise.
        out.write(unsafe { open(config, (arena, arena_len), make) }?);
        Ok(())
    })
}
