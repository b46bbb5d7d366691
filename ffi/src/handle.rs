//! The handle: who may use it when, and the memory under it.

use crate::callbacks::Examples;
use crate::guard::{Done, guard};
use crate::result::{Failure, siskin_result};
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};
use siskin::arena::{ALIGNMENT, ArenaError, MemoryPlan};
use siskin::session::{Config, Outcome, Poll, Session};
use std::alloc::{Layout, alloc_zeroed, dealloc};

/// Alignment that the arena must have, bytes.
pub const SISKIN_ARENA_ALIGNMENT: usize = 8;
const _: () = assert!(SISKIN_ARENA_ALIGNMENT == ALIGNMENT);

/// A device's part in one round. Opaque; made by `siskin_session_create` or `siskin_session_restore`, ended by
/// `siskin_session_free`.
///
/// A session may move between threads but is used by one at a time: a call that meets another one on the same session
/// returns `SISKIN_RESULT_BUSY`. Different sessions are independent.
pub struct siskin_session {
    busy: AtomicBool,
    poisoned: AtomicBool,
    inner: UnsafeCell<Inner>,
}

/// What a handle holds.
pub(crate) struct Inner {
    pub(crate) session: Session<'static>,
    pub(crate) arena: Lent,
    pub(crate) outcome: Option<Outcome>,
    /// Bytes of arena that a session needs to check in.
    pub(crate) least: usize,
    /// Bytes of the request that `siskin_session_step` has written.
    pub(crate) written: usize,
}

/// The arena's memory, the caller's or our own.
pub(crate) struct Lent {
    start: *mut u8,
    length: usize,
    own: bool,
}

impl Lent {
    /// Takes the caller's memory, or allocates if it is NULL. All of it becomes zero: what C's `malloc` returns may not be
    /// looked at in Rust.
    ///
    /// # Safety
    /// `start` is NULL or points to `length` bytes that nobody else uses until the session is freed.
    unsafe fn new(start: *mut u8, length: usize, required: usize) -> Result<Self, Failure> {
        if isize::try_from(length).is_err() {
            return Err(Failure::argument(format!("`arena_len` is {length}")));
        }
        let offset = start.addr() % ALIGNMENT;
        if offset != 0 {
            return Err(ArenaError::Misaligned { offset }.into());
        }
        if length < required {
            return Err(ArenaError::TooSmall { required, lent: length }.into());
        }
        if !start.is_null() {
            // SAFETY: the caller's promise.
            unsafe { start.write_bytes(0, length) };
            return Ok(Self { start, length, own: false });
        }
        let layout = Self::layout(length)?;
        // SAFETY: `length` is not zero, it was compared with `required`.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            let text = format!("an arena of {length} bytes cannot be allocated");
            return Err(Failure::new(siskin_result::NoMemory, text).with(length as f64, 0.0));
        }
        Ok(Self { start, length, own: true })
    }

    fn layout(length: usize) -> Result<Layout, Failure> {
        Layout::from_size_align(length, ALIGNMENT).map_err(|_| Failure::argument(format!("`arena_len` is {length}")))
    }

    /// # Safety
    /// Called once; the slice is gone before [`release`](Self::release).
    unsafe fn bytes(&self) -> &'static mut [u8] {
        // SAFETY: `new` made sure that all bytes are there and have a value; nobody else uses them (its caller's promise).
        unsafe { core::slice::from_raw_parts_mut(self.start, self.length) }
    }

    /// Overwrites the memory, which held a model trained on the user's data and the change without noise, and frees it if
    /// it is our own.
    ///
    /// # Safety
    /// The slice that [`bytes`](Self::bytes) gave is gone.
    unsafe fn release(self) {
        // SAFETY: the memory is still lent.
        unsafe { self.start.write_bytes(0, self.length) };
        // The compiler may not conclude that nobody looks at these zeros.
        core::hint::black_box(self.start);
        if let (true, Ok(layout)) = (self.own, Self::layout(self.length)) {
            // SAFETY: allocated by `new` with the same layout.
            unsafe { dealloc(self.start, layout) };
        }
    }

    pub(crate) fn check_apart(&self, start: *const u8, length: usize, name: &str) -> Done {
        check_apart((self.start, self.length), (start, length), name)
    }
}

/// A buffer of the caller must not lie in the arena, which is the session's alone.
pub(crate) fn check_apart(arena: (*const u8, usize), buffer: (*const u8, usize), name: &str) -> Done {
    let range = |(start, length): (*const u8, usize)| (start.addr(), start.addr().saturating_add(length));
    let ((a, a_end), (b, b_end)) = (range(arena), range(buffer));
    match a < b_end && b < a_end {
        true => Err(Failure::new(siskin_result::Overlap, format!("`{name}` lies in the session's arena"))),
        false => Ok(()),
    }
}

impl Inner {
    pub(crate) fn poll(&mut self, now_ms: u64, examples: &mut Examples) -> Poll {
        let poll = self.session.poll(now_ms, examples);
        if let Poll::Finished(outcome) = poll {
            self.outcome = Some(outcome);
        }
        poll
    }

    pub(crate) fn sent(&mut self) {
        self.written = 0;
        self.session.sent();
    }
}

/// One call's hold on a handle. A call that does not reach its end has panicked.
struct Entered<'h> {
    handle: &'h siskin_session,
    finished: bool,
}

impl siskin_session {
    fn enter(&self) -> Result<Entered<'_>, Failure> {
        if self.busy.swap(true, Ordering::Acquire) {
            return Err(Failure::new(siskin_result::Busy, "the session is in use by another call"));
        }
        if self.poisoned.load(Ordering::Relaxed) {
            self.busy.store(false, Ordering::Release);
            return Err(Failure::new(siskin_result::Poisoned, "an earlier call panicked: free the session"));
        }
        Ok(Entered { handle: self, finished: false })
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.handle.poisoned.store(true, Ordering::Relaxed);
        }
        self.handle.busy.store(false, Ordering::Release);
    }
}

/// Runs a call that changes the session.
///
/// # Safety
/// `session` is NULL or a live handle.
pub(crate) unsafe fn with_session(
    session: *const siskin_session,
    call: impl FnOnce(&mut Inner) -> Done,
) -> siskin_result {
    guard(|| {
        // SAFETY: the caller's promise.
        let handle = unsafe { session.as_ref() }.ok_or_else(|| Failure::null("session"))?;
        let mut entered = handle.enter()?;
        // SAFETY: `busy` was false and is true now, so no other reference exists until `entered` is dropped.
        let done = call(unsafe { &mut *handle.inner.get() });
        entered.finished = true;
        done
    })
}

/// Runs a call that only looks: pointers that were given out before stay valid.
///
/// # Safety
/// `session` is NULL or a live handle.
pub(crate) unsafe fn look_at(session: *const siskin_session, call: impl FnOnce(&Inner) -> Done) -> siskin_result {
    guard(|| {
        // SAFETY: the caller's promise.
        let handle = unsafe { session.as_ref() }.ok_or_else(|| Failure::null("session"))?;
        let mut entered = handle.enter()?;
        // SAFETY: `busy` was false and is true now, so no exclusive reference exists until `entered` is dropped.
        let done = call(unsafe { &*handle.inner.get() });
        entered.finished = true;
        done
    })
}

/// # Safety
/// As [`siskin_session_create`] for `arena`.
pub(crate) unsafe fn open(
    config: Config,
    (arena, length): (*mut c_void, usize),
    make: impl FnOnce(&'static mut [u8], Config) -> Result<Session<'static>, Failure>,
) -> Result<*mut siskin_session, Failure> {
    let least = MemoryPlan::before_plan(config.max_frame);
    // SAFETY: the caller's promise.
    let arena = unsafe { Lent::new(arena.cast(), length, least) }?;
    // SAFETY: the only call; the session that holds the slice is dropped before the arena is released.
    match make(unsafe { arena.bytes() }, config) {
        Ok(session) => {
            let inner = UnsafeCell::new(Inner { session, arena, outcome: None, least, written: 0 });
            let (busy, poisoned) = (AtomicBool::new(false), AtomicBool::new(false));
            Ok(Box::into_raw(Box::new(siskin_session { busy, poisoned, inner })))
        }
        Err(failure) => {
            // SAFETY: `make` used up the slice.
            unsafe { arena.release() };
            Err(failure)
        }
    }
}

/// # Safety
/// `session` is NULL or a live handle.
pub(crate) unsafe fn close(session: *mut siskin_session) -> Done {
    // SAFETY: the caller's promise.
    let Some(handle) = (unsafe { session.as_ref() }) else { return Ok(()) };
    if handle.busy.swap(true, Ordering::Acquire) {
        return Err(Failure::new(siskin_result::Busy, "the session is in use by another call"));
    }
    // SAFETY: made by `Box::into_raw` in `open`, and live; no other call is inside.
    let handle = unsafe { Box::from_raw(session) };
    let Inner { session, arena, .. } = handle.inner.into_inner();
    drop(session);
    // SAFETY: the session, which held the slice, is gone.
    unsafe { arena.release() };
    Ok(())
}
