//! The edge: one guard around every call, and the checks of pointers that come from C.

use crate::result::{Failure, remember, siskin_result};
use core::ffi::c_char;
use core::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a call does inside the guard.
pub(crate) type Done = Result<(), Failure>;

/// Runs a call; a failure and a panic become a result code and the thread's last failure.
pub(crate) fn guard(call: impl FnOnce() -> Done) -> siskin_result {
    match caught(call) {
        Ok(()) => siskin_result::Ok,
        Err(failure) => {
            let result = failure.result;
            remember(failure);
            result
        }
    }
}

/// As [`guard`] for calls that ask for the last failure, which must not replace it.
pub(crate) fn guard_quietly(call: impl FnOnce() -> Done) -> siskin_result {
    caught(call).map_or_else(|failure| failure.result, |()| siskin_result::Ok)
}

fn caught(call: impl FnOnce() -> Done) -> Done {
    // What a panic leaves half done is a session, and that one is marked as poisoned by `Entered`.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        let text = format!("the library panicked: {}", said.unwrap_or("no message"));
        // Dropping an unknown payload could panic once more, outside of this guard.
        core::mem::forget(panic);
        Err(Failure::new(siskin_result::Panicked, text))
    })
}

/// A struct that begins with `struct_size: u32`, so that fields can be appended.
///
/// # Safety
/// The type is `repr(C)`, its first field is `struct_size: u32`, and all bytes zero are a valid value of it. Types that
/// are read from C accept any bytes.
pub(crate) unsafe trait Versioned: Copy {
    /// Size of the first version that was published; callers that were compiled with it must go on working.
    const FIRST: usize = size_of::<Self>();
}

// SAFETY: see each type's definition: `repr(C)`, `struct_size` first, numbers and enums that have a zero only.
unsafe impl Versioned for crate::result::siskin_failure {}
// SAFETY: as above.
unsafe impl Versioned for crate::outcome::siskin_next {}
// SAFETY: as above.
unsafe impl Versioned for crate::outcome::siskin_end {}
// SAFETY: as above.
unsafe impl Versioned for crate::outcome::siskin_metrics {}
// SAFETY: as above.
unsafe impl Versioned for crate::outcome::siskin_egress {}
// SAFETY: as above.
unsafe impl Versioned for crate::ledger::siskin_ledger_summary {}
// SAFETY: as above; numbers and raw pointers: any bytes are valid.
unsafe impl Versioned for crate::config::siskin_config {}
// SAFETY: as above; the function pointers are `Option`s, so NULL is valid, and others are the caller's promise.
unsafe impl Versioned for crate::callbacks::siskin_examples {}
// SAFETY: as above.
unsafe impl Versioned for crate::callbacks::siskin_transport {}

/// The size that the caller's struct says it has, if it can be used.
///
/// # Safety
/// `pointer` is NULL or points to a `T` whose `struct_size` is set.
unsafe fn size_of_versioned<T: Versioned>(pointer: *const T, name: &str) -> Result<usize, Failure> {
    if pointer.is_null() {
        return Err(Failure::null(name));
    }
    if !pointer.is_aligned() {
        return Err(Failure::argument(format!("`{name}` is misaligned")));
    }
    // SAFETY: not NULL, aligned for `T` and so for its first field, a `u32` (`Versioned`).
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    // An absurd size is a field that was never set.
    if size < T::FIRST || size > T::FIRST + 4096 {
        let text = format!("`{name}.struct_size` is {size}, this library knows {}", size_of::<T>());
        return Err(Failure::new(siskin_result::StructSize, text).with(size_of::<T>() as f64, size as f64));
    }
    Ok(size)
}

/// Copies a struct from the caller. Fields that the caller does not know are zero; fields that this library does not
/// know must be zero, so that no rule of an app is passed over.
///
/// # Safety
/// `pointer` is NULL or points to a `T` with `struct_size` set and that many readable bytes.
pub(crate) unsafe fn read_versioned<T: Versioned>(pointer: *const T, name: &str) -> Result<T, Failure> {
    // SAFETY: the caller's promise.
    let size = unsafe { size_of_versioned(pointer, name) }?;
    let known = size.min(size_of::<T>());
    // SAFETY: `size` bytes are readable (the caller's promise), `known <= size`.
    let unknown = unsafe { core::slice::from_raw_parts(pointer.cast::<u8>().add(known), size - known) };
    if unknown.iter().any(|byte| *byte != 0) {
        let text = format!("`{name}` has fields that this library does not know");
        return Err(Failure::new(siskin_result::StructSize, text).with(size_of::<T>() as f64, size as f64));
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `known` bytes are readable there and fit here; the two do not overlap.
    unsafe { core::ptr::copy_nonoverlapping(pointer.cast::<u8>(), value.as_mut_ptr().cast(), known) };
    // SAFETY: zero bytes and the caller's bytes are a valid `T` (`Versioned`).
    Ok(unsafe { value.assume_init() })
}

/// A place to write a result to, checked before the work is done, so that a failed call writes nothing.
pub(crate) struct Out<T> {
    place: *mut T,
    bytes: usize,
    /// Bytes at the start that stay the caller's: `struct_size`.
    keep: usize,
}

impl<T: Copy> Out<T> {
    /// # Safety
    /// `place` is NULL or valid for writing a `T` until this value is gone.
    pub(crate) unsafe fn new(place: *mut T, name: &str) -> Result<Self, Failure> {
        if place.is_null() {
            return Err(Failure::null(name));
        }
        if !place.is_aligned() {
            return Err(Failure::argument(format!("`{name}` is misaligned")));
        }
        Ok(Self { place, bytes: size_of::<T>(), keep: 0 })
    }

    /// # Safety
    /// As [`new`](Self::new), and `struct_size` is set and says how many bytes may be written.
    pub(crate) unsafe fn versioned(place: *mut T, name: &str) -> Result<Self, Failure>
    where
        T: Versioned,
    {
        // SAFETY: the caller's promise.
        let size = unsafe { size_of_versioned(place, name) }?;
        Ok(Self { place, bytes: size.min(size_of::<T>()), keep: size_of::<u32>() })
    }

    pub(crate) fn write(self, value: T) {
        let from = (&raw const value).cast::<u8>();
        // SAFETY: `bytes` may be written (the constructors' promise) and `value` has at least as many.
        unsafe {
            core::ptr::copy_nonoverlapping(
                from.add(self.keep),
                self.place.cast::<u8>().add(self.keep),
                self.bytes - self.keep,
            );
        };
    }
}

/// Bytes of the caller; NULL stands for no bytes.
///
/// # Safety
/// `bytes` is NULL or points to `length` readable bytes that nobody writes for as long as the slice is used.
pub(crate) unsafe fn bytes_from<'b>(bytes: *const u8, length: usize, name: &str) -> Result<&'b [u8], Failure> {
    match (bytes.is_null(), length) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Failure::null(name)),
        (false, _) if isize::try_from(length).is_err() => {
            Err(Failure::argument(format!("`{name}` has {length} bytes")))
        }
        // SAFETY: not NULL, of a possible length, and readable by the caller's promise.
        (false, _) => Ok(unsafe { core::slice::from_raw_parts(bytes, length) }),
    }
}

/// Gives a text to the caller, or, if `place` is NULL, only its length.
///
/// # Safety
/// `place` is NULL or has room for `capacity` bytes; `length` is NULL or may be written.
pub(crate) unsafe fn text_to(text: &str, place: *mut c_char, capacity: usize, length: *mut usize) -> Done {
    // SAFETY: the caller's promise.
    let out = unsafe { Out::new(length, "text_len") }?;
    let needed = text.len() + 1;
    if !place.is_null() {
        if capacity < needed {
            return Err(Failure::too_short("text", needed, capacity));
        }
        // SAFETY: there is room for `needed <= capacity` bytes, and the text is not the caller's memory.
        unsafe {
            core::ptr::copy_nonoverlapping(text.as_ptr(), place.cast(), text.len());
            place.cast::<u8>().add(text.len()).write(0);
        }
    }
    out.write(needed);
    Ok(())
}
