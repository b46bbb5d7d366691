//! The reference server of siskin. Its stages mirror the client's:
//!
//! | module | what it does |
//! |---|---|
//! | [`aggregate`] | reports -> exact integer sums -> mean delta |
//! | [`optim`] | mean delta -> new params |
//! | [`privacy`] | the server's noise |
//! | [`round`] | plan and checkpoint out, reports in, and from one round to the next |
//!
//! It decodes reports with the sdk's own quantiser and range coder: there is one implementation of each format.
#![deny(missing_docs)]

pub mod aggregate;
pub mod optim;
pub mod privacy;
pub mod round;

/// The accountant that the server asks, whose types are in its settings.
pub use siskin_accounting as accounting;
