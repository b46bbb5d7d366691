//! The simulator.
pub mod data;
pub mod progress;
pub mod report;
