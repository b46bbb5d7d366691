//! The network on the device.
pub mod kernel;
