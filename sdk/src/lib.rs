//! siskin: the part of federated learning that runs on the device.
//!
//! A device checks in, downloads a plan and a pruned model, trains on its own examples, clips and noises the change,
//! compresses it and uploads it. This crate is that device: `no_std`, no allocation, one byte slice of memory, and the
//! same report to the bit on every target.
//!
//! The modules in the order in which the data flows:
//!
//! | module | what it does |
//! |---|---|
//! | [`arena`] | memory that the caller lends, and the exact plan of bytes |
//! | [`checkin`] | plan, checkpoint, rejection, the app's policy |
//! | [`data`] | the app's examples, shuffled and batched without memory |
//! | `flash` | what outlives a restart, in flash memory; with the feature `flash` |
//! | [`model`] | the sparse network: shapes, layers, kernels, masks |
//! | [`optim`] | local training, which leaves a [`Delta`](optim::Delta) |
//! | [`privacy`] | clip, and noise on the grid |
//! | [`quantize`] | reals to integers on the plan's grid, within the clip norm |
//! | [`range_coder`] | integers to bytes |
//! | [`report`] | the upload, and the log of what left |
//! | [`session`] | drives all of them, one poll at a time; saved and restored at any moment |
//! | [`transport`] | byte streams: loopback, faults, a blocking driver |
//! | [`wire`] | bytes and checked values |
//!
//! A whole round against a server is in `tests/host`; [`session::Session`] is where to start reading.
//!
//! # Features
//! None is on by default. `layered` is a quantiser whose error is Gaussian noise. `fisher` puts diagonals of the Fisher information on a logarithmic grid. `rdo` rounds so that error and bits together are least. `starts` lets the coder begin with probabilities that the server sends, `coded` reads models that come as coded integers. `flash` stores sessions and the ledger through `embedded-storage`. `defmt` and `log` emit events of the round through these crates; both may be on.
#![no_std]
#![deny(missing_docs)]
#![deny(unsafe_code)]
#![doc(test(attr(deny(warnings))))]

#[cfg(target_endian = "big")]
compile_error!("siskin moves little-endian values straight into memory; big-endian targets are not supported");

#[cfg(test)]
extern crate std;

mod event;
pub(crate) use event::event;

pub mod arena;
pub mod checkin;
pub mod data;
#[cfg(feature = "flash")]
pub mod flash;
pub mod model;
pub mod optim;
pub mod privacy;
pub mod quantize;
pub mod range_coder;
pub mod report;
pub mod session;
pub mod transport;
pub mod wire;
