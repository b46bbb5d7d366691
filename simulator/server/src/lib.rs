//! siskin-server
pub mod aggregate;
pub mod optim;
pub mod privacy;
