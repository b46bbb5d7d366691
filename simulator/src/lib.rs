//! The simulator.
pub mod progress;
pub mod report;
