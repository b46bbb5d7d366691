//! siskin: the part of federated learning that runs on the device.
#![no_std]
#![deny(missing_docs)]
#![deny(unsafe_code)]
#![doc(test(attr(deny(warnings))))]

#[cfg(test)]
extern crate std;

pub mod model;
pub mod quantize;
pub mod range_coder;
