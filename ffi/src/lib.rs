//! The C ABI of siskin.
//!
//! `include/siskin.h` is generated from this crate and is the documentation of the ABI: what stands here in doc comments
//! stands there. The crate adds no behaviour to [`siskin::session::Session`]: it checks pointers and lengths, turns
//! results into stable numbers, lends the caller's memory to the session, and lets no panic out.
//!
//! | module | what it does |
//! |---|---|
//! | [`result`] | result codes, and what exactly went wrong last on this thread |
//! | [`config`] | what the app decides: population, floor, frames |
//! | [`callbacks`] | tables of functions: the app's examples, the app's transport |
//! | [`outcome`] | what to do next, how a session ended, metrics, egress record |
//! | [`session`] | create, poll, receive, free |
//! | [`save`] | save, restore |
//! | [`getters`] | report, ending, metrics, egress record |
//! | [`handle`] | who may use a session when, and the memory under it |
//! | [`step`] | drives a session with callbacks, one piece of work a call |
//! | [`plan`] | questions about a plan |
//!
//! Every function goes through one guard (module `guard`): it catches panics, remembers failures and refuses a handle that
//! is in use or that panicked before. `panic = "unwind"` is assumed; with `abort` a panic ends the process.
//!
//! The names are C's, in Rust too, so that one name can be searched for in the header, here, in Kotlin and in Swift.
#![deny(missing_docs)]
#![allow(non_camel_case_types)]

pub mod callbacks;
pub mod config;
pub mod getters;
mod guard;
pub mod handle;
pub mod outcome;
pub mod plan;
pub mod result;
pub mod save;
pub mod session;
pub mod step;
#[cfg(test)]
mod tests;

/// Number of this ABI. It grows when something is removed or changes its meaning; what is only appended does not change it.
pub const SISKIN_ABI_VERSION: u32 = 1;

/// Number of the ABI of the library that is linked. Compare it with `SISKIN_ABI_VERSION` of the header once, at start.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn siskin_abi_version() -> u32 {
    SISKIN_ABI_VERSION
}

/// Version of the library for people, as `"0.1.0"`: a static, NUL-terminated text.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn siskin_version_text() -> *const core::ffi::c_char {
    const TEXT: &core::ffi::CStr =
        match core::ffi::CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(text) => text,
            Err(_) => c"",
        };
    TEXT.as_ptr()
}
