//! A session from C: make it, poll it, end it.

use crate::callbacks::{Examples, siskin_examples};
use crate::config::{config_from, siskin_config};
use crate::guard::{Out, bytes_from, guard};
use crate::handle::{Inner, close, look_at, open, siskin_session, with_session};
use crate::outcome::siskin_next;
use crate::result::{Failure, siskin_result};
use core::ffi::c_void;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use siskin::session::Session;

/// Bytes of entropy that a session takes.
pub const SISKIN_ENTROPY_BYTES: usize = 32;

/// Makes a session that will check in.
///
/// `entropy` are `SISKIN_ENTROPY_BYTES` bytes from the operating system's generator (`getrandom`, `SecRandomCopyBytes`,
/// `SecureRandom`): the noise that protects the user comes from them, so never use a constant, a time or the same bytes
/// for two sessions. The library copies them; overwrite yours.
///
/// `arena` is the memory that the session works in, aligned to `SISKIN_ARENA_ALIGNMENT`. It is the library's, and must
/// neither be read nor written nor freed by the app, until `siskin_session_free` returned, which fills it with zeros. With
/// `arena` NULL the library allocates `arena_len` bytes and frees them with the session. Whether a plan fits is known when
/// the plan arrives: one that does not fit ends the session with `SISKIN_CAUSE_MEMORY` and both numbers before anything is
/// downloaded.
///
/// Any thread.
///
/// # Errors
/// `SISKIN_RESULT_ARENA_TOO_SMALL` below `siskin_arena_least_bytes`, `SISKIN_RESULT_ARENA_MISALIGNED`,
/// `SISKIN_RESULT_ENTROPY`, `SISKIN_RESULT_ARGUMENT` for the configuration, `SISKIN_RESULT_NO_MEMORY`.
///
/// # Safety
/// `config` is NULL or points to a filled `siskin_config`; `entropy` is NULL or points to `entropy_len` bytes; `arena` is
/// NULL or points to `arena_len` bytes that stay lent until the session is freed; `session` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_create(
    config: *const siskin_config,
    entropy: *const u8,
    entropy_len: usize,
    arena: *mut c_void,
    arena_len: usize,
    session: *mut *mut siskin_session,
) -> siskin_result {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(session, "session") }?;
        // SAFETY: the caller's promise.
        let config = unsafe { config_from(config) }?;
        if entropy.is_null() {
            return Err(Failure::null("entropy"));
        }
        // SAFETY: the caller's promise.
        let entropy = unsafe { bytes_from(entropy, entropy_len, "entropy") }?;
        let seed: [u8; SISKIN_ENTROPY_BYTES] = entropy.try_into().map_err(|_| {
            let text = format!("{entropy_len} bytes of entropy, {SISKIN_ENTROPY_BYTES} are needed");
            Failure::new(siskin_result::Entropy, text).with(SISKIN_ENTROPY_BYTES as f64, entropy_len as f64)
        })?;
        if seed.iter().all(|byte| *byte == seed[0]) {
            return Err(Failure::new(siskin_result::Entropy, "all bytes of the entropy are the same"));
        }
        let make = |memory, config| Ok(Session::new(memory, config, &mut ChaCha20Rng::from_seed(seed))?);
        // SAFETY: the caller's promise.
        out.write(unsafe { open(config, (arena, arena_len), make) }?);
        Ok(())
    })
}

/// Ends a session and gives the arena back, filled with zeros. NULL is allowed and does nothing. A session that is in use
/// is not freed (`SISKIN_RESULT_BUSY`); one that panicked is.
///
/// One thread at a time; the handle is invalid afterwards.
///
/// # Safety
/// `session` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_free(session: *mut siskin_session) -> siskin_result {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { close(session) }
    })
}

/// Does one small piece of work (a training step, a request, nothing) and says what to do next. `now_ms` is milliseconds of
/// any clock that does not run backwards while the session lives; a restored session may be given another one.
///
/// One thread at a time. The callbacks of `examples` are called on this thread.
///
/// # Safety
/// `session` is NULL or a live handle; `examples` is NULL or a filled table; `next` is NULL or points to a `siskin_next`
/// whose `struct_size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_poll(
    session: *mut siskin_session,
    now_ms: u64,
    examples: *const siskin_examples,
    next: *mut siskin_next,
) -> siskin_result {
    let poll = |inner: &mut Inner| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::versioned(next, "next") }?;
        // SAFETY: the caller's promise.
        let mut examples = unsafe { Examples::new(examples) }?;
        out.write(inner.poll(now_ms, &mut examples).into());
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { with_session(session, poll) }
}

/// The bytes to send after `SISKIN_ACTION_SEND`; `bytes_len` is 0 if there are none. They lie in the arena and stay valid
/// until the next call that takes the session without `const`.
///
/// One thread at a time.
///
/// # Safety
/// `session` is NULL or a live handle; `bytes` and `bytes_len` are NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_outgoing(
    session: *const siskin_session,
    bytes: *mut *const u8,
    bytes_len: *mut usize,
) -> siskin_result {
    let outgoing = |inner: &Inner| {
        // SAFETY: the caller's promise.
        let (start, length) = unsafe { (Out::new(bytes, "bytes")?, Out::new(bytes_len, "bytes_len")?) };
        let outgoing = inner.session.outgoing();
        start.write(outgoing.as_ptr());
        length.write(outgoing.len());
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { look_at(session, outgoing) }
}

/// Tells the session that all bytes of `siskin_session_outgoing` were sent, as far as the transport can tell.
///
/// One thread at a time.
///
/// # Errors
/// `SISKIN_RESULT_NOT_YET` if there was nothing to send.
///
/// # Safety
/// `session` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_sent(session: *mut siskin_session) -> siskin_result {
    let sent = |inner: &mut Inner| {
        if inner.session.outgoing().is_empty() {
            return Err(Failure::new(siskin_result::NotYet, "there was nothing to send"));
        }
        inner.sent();
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { with_session(session, sent) }
}

/// Takes bytes from the server, in pieces of any length. Damaged and stale frames are skipped, and so is what comes after
/// the end of the session. `bytes` may be NULL if `bytes_len` is 0.
///
/// One thread at a time.
///
/// # Safety
/// `session` is NULL or a live handle; `bytes` is NULL or points to `bytes_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_receive(
    session: *mut siskin_session,
    bytes: *const u8,
    bytes_len: usize,
) -> siskin_result {
    let receive = |inner: &mut Inner| {
        inner.arena.check_apart(bytes, bytes_len, "bytes")?;
        // SAFETY: the caller's promise.
        inner.session.receive(unsafe { bytes_from(bytes, bytes_len, "bytes") }?);
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { with_session(session, receive) }
}
