//! Measurements that a command prints.

pub mod a1;
pub mod sparse;
mod usage;

pub use usage::{cpu_time, peak_rss};
