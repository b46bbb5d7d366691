//! The simulator.
pub mod report;
