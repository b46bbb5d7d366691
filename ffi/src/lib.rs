//! The C ABI of siskin.
//!
//! `include/siskin.h` is generated from this crate and is the documentation of the ABI: what stands here in doc comments
//! stands there. The crate adds no behaviour to [`siskin::session::Session`]: it checks pointers and lengths, turns
//! results into stable numbers, lends the caller's memory to the session, and lets no panic out.
//!
//! | module | what it does |
//! |---|---|
//! | [`version`] | which library this is |
//! | [`result`] | result codes, and what exactly went wrong last on this thread |
//! | [`config`] | what the app decides: population, floor, frames |
//! | [`callbacks`] | tables of functions: the app's examples, the app's transport |
//! | [`outcome`] | what to do next, how a session ended, metrics, egress record |
//! | [`session`] | create, poll, receive, free |
//! | [`save`] | save, restore |
//! | [`getters`] | report, ending, metrics, egress record |
//! | [`handle`] | who may use a session when, and the memory under it |
//! | [`ledger`] | what the device took part in before: create, reset, give to a session, take back |
//! | [`log`] | what left the device, and its export |
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
pub mod ledger;
pub mod log;
pub mod outcome;
pub mod plan;
pub mod result;
pub mod save;
pub mod session;
pub mod step;
#[cfg(test)]
mod tests;
pub mod version;
