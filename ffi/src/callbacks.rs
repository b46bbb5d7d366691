//! Tables of functions that the app provides.

use crate::guard::read_versioned;
use crate::result::{Failure, siskin_result};
use core::ffi::c_void;
use siskin::data::{ExampleStore, StoreError};

/// The app's examples. The table is copied by the call that it is given to; `user_data` is passed through.
///
/// The functions are called on the thread that called the library, during that call. They must return normally (no
/// `longjmp`, no C++ or Objective-C exception) and may not use the session that is calling: it answers
/// `SISKIN_RESULT_BUSY`. Number, order and content of the examples must stay the same until the session ends, also after
/// it was restored; otherwise the report is not the one that an uninterrupted session would have made.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct siskin_examples {
    /// `sizeof(siskin_examples)`, set by the caller.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// The first argument of each function.
    pub user_data: *mut c_void,
    /// Returns the number of examples. Called once at the start of each poll or step.
    pub count: Option<unsafe extern "C" fn(user_data: *mut c_void) -> u32>,
    /// Writes the `features_len` features of example `index`, counted from 0, in the order `[channel][row][column]` of the
    /// plan's input, and its label, counted from 0. All features must be finite.
    /// Returns 0, or a number of the app's own if the example cannot be read: the session then gives the task back.
    pub read: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            index: u32,
            features: *mut f32,
            features_len: usize,
            label: *mut u32,
        ) -> i32,
    >,
}

/// The app's connection to the server. What is said of `siskin_examples` holds here too.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct siskin_transport {
    /// `sizeof(siskin_transport)`, set by the caller.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// The first argument of each function.
    pub user_data: *mut c_void,
    /// Reads up to `capacity` bytes from the server into `bytes` and sets `length` to their number: 0 if there is nothing
    /// to read now (a function that waits should wait no longer than `until_ms` of the last `siskin_next`).
    /// Returns 0, or a number of the app's own if the connection failed.
    pub read: Option<
        unsafe extern "C" fn(user_data: *mut c_void, bytes: *mut u8, capacity: usize, length: *mut usize) -> i32,
    >,
    /// Sends up to `length` bytes and sets `written` to their number: 0 if none can be sent now.
    /// Returns 0, or a number of the app's own if the connection failed.
    pub write: Option<
        unsafe extern "C" fn(user_data: *mut c_void, bytes: *const u8, length: usize, written: *mut usize) -> i32,
    >,
}

/// The app's examples as the session sees them.
pub(crate) struct Examples {
    table: siskin_examples,
    /// Asked for once a call.
    count: u32,
}

impl Examples {
    /// # Safety
    /// `table` is NULL or points to a filled table whose functions keep what [`siskin_examples`] says.
    pub(crate) unsafe fn new(table: *const siskin_examples) -> Result<Self, Failure> {
        // SAFETY: the caller's promise.
        let table = unsafe { read_versioned(table, "examples") }?;
        let (Some(count), Some(_)) = (table.count, table.read) else {
            return Err(Failure::null(if table.count.is_none() { "examples.count" } else { "examples.read" }));
        };
        // SAFETY: the function is the caller's, and so is its argument.
        let count = unsafe { count(table.user_data) };
        Ok(Self { table, count })
    }
}

impl ExampleStore for Examples {
    fn len(&self) -> u32 {
        self.count
    }

    fn read(&mut self, index: u32, features: &mut [f32]) -> Result<u32, StoreError> {
        let Some(read) = self.table.read else { return Err(StoreError::Read { index, code: 0 }) };
        // What the app forgets to write is refused: a feature that is NaN, a label that is no class.
        features.fill(f32::NAN);
        let mut label = u32::MAX;
        // SAFETY: the function is the caller's; the pointers are valid for the stated lengths during the call.
        let code = unsafe { read(self.table.user_data, index, features.as_mut_ptr(), features.len(), &mut label) };
        if code == 0 { Ok(label) } else { Err(StoreError::Read { index, code }) }
    }
}

/// The app's connection.
pub(crate) struct Transport {
    table: siskin_transport,
}

impl Transport {
    /// # Safety
    /// `table` is NULL or points to a filled table whose functions keep what [`siskin_transport`] says.
    pub(crate) unsafe fn new(table: *const siskin_transport) -> Result<Self, Failure> {
        // SAFETY: the caller's promise.
        let table = unsafe { read_versioned(table, "transport") }?;
        match (table.read, table.write) {
            (None, _) => Err(Failure::null("transport.read")),
            (_, None) => Err(Failure::null("transport.write")),
            _ => Ok(Self { table }),
        }
    }

    pub(crate) fn read(&self, bytes: &mut [u8]) -> Result<usize, Failure> {
        let Some(read) = self.table.read else { return Err(Failure::null("transport.read")) };
        let mut length = 0;
        // SAFETY: the function is the caller's; the pointers are valid for the stated lengths during the call.
        let code = unsafe { read(self.table.user_data, bytes.as_mut_ptr(), bytes.len(), &mut length) };
        Self::checked("read", code, length, bytes.len())
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Failure> {
        let Some(write) = self.table.write else { return Err(Failure::null("transport.write")) };
        let mut written = 0;
        // SAFETY: the function is the caller's; the pointers are valid for the stated lengths during the call.
        let code = unsafe { write(self.table.user_data, bytes.as_ptr(), bytes.len(), &mut written) };
        Self::checked("write", code, written, bytes.len())
    }

    fn checked(name: &str, code: i32, moved: usize, possible: usize) -> Result<usize, Failure> {
        let failed = |text| Failure { code, ..Failure::new(siskin_result::Transport, text) };
        if code != 0 {
            return Err(failed(format!("the transport's {name} failed (code {code})")));
        }
        if moved > possible {
            let text = format!("the transport's {name} says that it moved {moved} bytes of {possible}");
            return Err(failed(text).with(possible as f64, moved as f64));
        }
        Ok(moved)
    }
}
