//! The ledger from C: its bytes are the app's to keep.

use crate::guard::{Out, bytes_from, guard};
use crate::handle::{Inner, look_at, siskin_session, with_session};
use crate::result::{Failure, siskin_result};
use core::ffi::c_char;
use core::num::NonZeroU32;
use siskin::privacy::{LEDGER_BYTES, Ledger, Rho, population_id};

/// Length of a ledger, always, bytes.
pub const SISKIN_LEDGER_BYTES: usize = 452;
const _: () = assert!(SISKIN_LEDGER_BYTES == LEDGER_BYTES);

/// What a ledger says.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct siskin_ledger_summary {
    /// `sizeof(siskin_ledger_summary)`, set by the caller.
    pub struct_size: u32,
    /// Participations in all populations.
    pub participations: u32,
    /// Changes since the device's first ledger. A ledger is stored over one that has one change less, or the same ledger.
    pub sequence: u64,
    /// Upper bound of the epsilon of all participations, at the `dp_delta` that was asked for; infinite if noise was not promised.
    pub epsilon: f64,
    /// The same of the period so far.
    pub epsilon_of_period: f64,
    /// How often the app reset it.
    pub resets: u32,
    /// The app's reason for the last time; 0 if there was none.
    pub reset_reason: u32,
    /// Participations that are counted no more since resets; `UINT64_MAX` if a ledger was reset that could not be read.
    pub forgotten: u64,
}

/// Writes the ledger of a device that never took part in anything: for the first start after installation, and only then. A device
/// that has lost its ledger is reset instead, so that this is remembered.
///
/// Any thread.
///
/// # Errors
/// `SISKIN_RESULT_BUFFER_TOO_SMALL` below `SISKIN_LEDGER_BYTES`.
///
/// # Safety
/// `ledger` is NULL or has room for `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_ledger_create(ledger: *mut u8, capacity: usize) -> siskin_result {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { write(&Ledger::new(), ledger, capacity) }
    })
}

/// Starts a ledger over in place, because the app decided so: what was spent is counted no more. `ledger` holds the bytes that
/// are reset, whole or damaged, `SISKIN_LEDGER_BYTES` of them; zeros if they are lost. `reason` is a number of the app's own,
/// not 0, which the ledger keeps, with `clock_ms` and how much is forgotten. A ledger of a later version is left alone.
///
/// Any thread.
///
/// # Errors
/// `SISKIN_RESULT_BUFFER_TOO_SMALL`, `SISKIN_RESULT_ARGUMENT` for the reason 0, `SISKIN_RESULT_LEDGER_VERSION`.
///
/// # Safety
/// `ledger` is NULL or points to `capacity` bytes that may be read and written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_ledger_reset(
    ledger: *mut u8,
    capacity: usize,
    reason: u32,
    clock_ms: u64,
) -> siskin_result {
    guard(|| {
        let reason = NonZeroU32::new(reason).ok_or_else(|| Failure::argument("`reason` is 0"))?;
        // SAFETY: the caller's promise.
        let bytes = unsafe { bytes_from(ledger, capacity.min(SISKIN_LEDGER_BYTES), "ledger") }?;
        let previous = Ledger::from_bytes(bytes);
        if let Err(e) = previous {
            let failure = Failure::from(e);
            if failure.result == siskin_result::LedgerVersion {
                return Err(failure);
            }
        }
        let after = Ledger::reset(previous.as_ref().map_err(|e| *e), reason, clock_ms);
        // SAFETY: the caller's promise; `bytes` is not used any more.
        unsafe { write(&after, ledger, capacity) }
    })
}

/// Reads a ledger for show; `dp_delta` is the probability at which its epsilons are stated.
///
/// Any thread.
///
/// # Errors
/// `SISKIN_RESULT_LEDGER_BYTES`, `SISKIN_RESULT_LEDGER_VERSION`.
///
/// # Safety
/// `ledger` is NULL or points to `ledger_len` bytes; `summary` is NULL or points to a `siskin_ledger_summary` whose
/// `struct_size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_ledger_read(
    ledger: *const u8,
    ledger_len: usize,
    dp_delta: f64,
    summary: *mut siskin_ledger_summary,
) -> siskin_result {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::versioned(summary, "summary") }?;
        // SAFETY: the caller's promise.
        let ledger = unsafe { read(ledger, ledger_len) }?;
        let (_, of_period): (u64, Rho) = ledger.period();
        let resets = ledger.resets();
        out.write(siskin_ledger_summary {
            struct_size: 0,
            participations: ledger.participations(),
            sequence: ledger.sequence(),
            epsilon: ledger.spent().epsilon(dp_delta),
            epsilon_of_period: of_period.epsilon(dp_delta),
            resets: resets.count,
            reset_reason: resets.reason,
            forgotten: resets.forgotten,
        });
        Ok(())
    })
}

/// The number under which a population stands in ledgers and logs.
///
/// Any thread.
///
/// # Safety
/// `population` is NULL or points to `population_len` bytes; `number` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_population_number(
    population: *const c_char,
    population_len: usize,
    number: *mut u64,
) -> siskin_result {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(number, "number") }?;
        // SAFETY: the caller's promise.
        let name = unsafe { bytes_from(population.cast(), population_len, "population") }?;
        let name = core::str::from_utf8(name).map_err(|_| Failure::argument("`population` is not UTF-8"))?;
        out.write(population_id(name));
        Ok(())
    })
}

/// Gives a session the device's ledger, as it is stored: after each `siskin_session_create` and `siskin_session_restore`, before
/// the first poll. `clock_ms` is the time on a clock that goes on through restarts, such as milliseconds since 1970; from then
/// on it moves with the clock of the polls. The library copies the bytes.
///
/// One session at a time should have a device's ledger. If the stored one changes all the same before
/// `SISKIN_ACTION_PERSIST`, which its `sequence` shows, give it to the session again instead of storing over it.
///
/// One thread at a time.
///
/// # Errors
/// `SISKIN_RESULT_LEDGER_BYTES`, `SISKIN_RESULT_LEDGER_VERSION`.
///
/// # Safety
/// `session` is NULL or a live handle; `ledger` is NULL or points to `ledger_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_use_ledger(
    session: *mut siskin_session,
    ledger: *const u8,
    ledger_len: usize,
    clock_ms: u64,
) -> siskin_result {
    let give = |inner: &mut Inner| {
        // SAFETY: the caller's promise.
        inner.session.use_ledger(unsafe { read(ledger, ledger_len) }?, clock_ms);
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { with_session(session, give) }
}

/// Writes the session's ledger: after `SISKIN_ACTION_PERSIST`, the one to store. Store it so that a crash leaves the old bytes or
/// the new, never neither: a new file, `fsync`, `rename` over the old one, `fsync` of the folder.
///
/// One thread at a time.
///
/// # Errors
/// `SISKIN_RESULT_NOT_YET` if the session was given none, `SISKIN_RESULT_BUFFER_TOO_SMALL` below `SISKIN_LEDGER_BYTES`.
///
/// # Safety
/// `session` is NULL or a live handle; `ledger` is NULL or has room for `capacity` bytes outside of the arena.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_ledger(
    session: *const siskin_session,
    ledger: *mut u8,
    capacity: usize,
) -> siskin_result {
    let get = |inner: &Inner| {
        let own = inner.session.ledger();
        let own = own.ok_or_else(|| Failure::new(siskin_result::NotYet, "the session has no ledger"))?;
        inner.arena.check_apart(ledger, capacity, "ledger")?;
        // SAFETY: the caller's promise.
        unsafe { write(own, ledger, capacity) }
    };
    // SAFETY: the caller's promise.
    unsafe { look_at(session, get) }
}

/// Tells the session that the bytes of `siskin_session_ledger` are stored durably. Nothing of the report leaves before.
///
/// One thread at a time.
///
/// # Errors
/// `SISKIN_RESULT_NOT_YET` if there was nothing to store.
///
/// # Safety
/// `session` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_persisted(session: *mut siskin_session) -> siskin_result {
    let persisted = |inner: &mut Inner| {
        if !inner.session.must_persist() {
            return Err(Failure::new(siskin_result::NotYet, "there was nothing to store"));
        }
        inner.session.persisted();
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { with_session(session, persisted) }
}

/// # Safety
/// `ledger` is NULL or points to `length` bytes.
unsafe fn read(ledger: *const u8, length: usize) -> Result<Ledger, Failure> {
    if ledger.is_null() {
        return Err(Failure::null("ledger"));
    }
    // SAFETY: the caller's promise.
    Ok(Ledger::from_bytes(unsafe { bytes_from(ledger, length, "ledger") }?)?)
}

/// # Safety
/// `place` is NULL or has room for `capacity` bytes.
unsafe fn write(ledger: &Ledger, place: *mut u8, capacity: usize) -> Result<(), Failure> {
    if place.is_null() {
        return Err(Failure::null("ledger"));
    }
    if capacity < LEDGER_BYTES {
        return Err(Failure::too_short("ledger", LEDGER_BYTES, capacity));
    }
    let bytes = ledger.to_bytes();
    // SAFETY: there is room for `LEDGER_BYTES <= capacity` bytes, and the ledger's are our own.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), place, LEDGER_BYTES) };
    Ok(())
}
