//! User-level differential-privacy accounting for federated learning.
//!
//! Give a [`Ledger`] each round's [`Event`]; ask it for a [`Guarantee`] whenever you like. A guarantee is never a bare
//! epsilon: it carries its `dp_delta`, adjacency, unit, sampling assumption, mechanism and accountant, and its
//! `Display` says all of them in one line.
//!
//! ```
//! use siskin_accounting::{Adjacency, Enforcement, Event, Ledger};
//!
//! let mut ledger = Ledger::poisson(Adjacency::AddOrRemove, Enforcement::Enforced)?;
//! ledger.observe_many(Event::PoissonGaussian { noise_multiplier: 1.0, rate: 0.01 }, 1000)?;
//! assert_eq!(
//!     ledger.guarantee(1e-6)?.to_string(),
//!     "epsilon 2.13 at dp_delta 1e-6 (user-level, add/remove; Gaussian z=1.00 on Poisson-sampled rounds, q=0.01, \
//!      T=1000; tight PLD; sampling enforced by the server)"
//! );
//! # Ok::<(), siskin_accounting::Error>(())
//! ```
//!
//! Real devices cannot promise random sampling. Then claim none, and bound how often a user takes part instead:
//!
//! ```
//! # use siskin_accounting::{Adjacency, Event, Ledger};
//! let mut ledger = Ledger::unsampled(Adjacency::ZeroOut, 6)?;
//! ledger.observe_many(Event::Gaussian { noise_multiplier: 4.0 }, 2000)?;
//! assert_eq!(
//!     ledger.guarantee(1e-6)?.to_string(),
//!     "epsilon 2.82 at dp_delta 1e-6 (user-level, zero-out; Gaussian z=4.00, T=2000; exact analytic Gaussian; \
//!      no sampling assumed, at most 6 participations of a user)"
//! );
//! # Ok::<(), siskin_accounting::Error>(())
//! ```
//!
//! Anything else that is released, in any number, is a [`Composition`] of [`Release`]s; it is also what JSON event files
//! hold:
//!
//! ```
//! use siskin_accounting::{Adjacency, Composition, Release};
//!
//! let release = Release::Els { noise_multiplier: 4.0, rate: 0.01, group: 8 };
//! let account = Composition::of(Adjacency::AddOrRemove, release, 1000).account(1e-6)?;
//! assert_eq!(format!("{:.5} {:.5}", account.remove_epsilon, account.add_epsilon), "3.03002 2.90682");
//! # Ok::<(), siskin_accounting::Error>(())
//! ```
//!
//! What a mechanism must do for the numbers to hold: each user's delta is clipped to L2 norm C *before* the sum, the
//! noise has standard deviation `noise_multiplier` * C in every coordinate of the sum, and the sum is divided by a
//! fixed public number, never by the size of the cohort that came.
//!
//! Everything is computed in f64 with functions compiled from the `libm` crate, so a report's epsilon is the same on
//! every machine. Searches end on the side that claims less; floating-point rounding itself (some 1e-12 relative) is
//! not bounded rigorously, but [`pld`] widens its deltas by more.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod analytic;
pub mod calibrate;
mod composition;
pub mod correlated;
mod erfcx;
mod error;
mod event;
mod guarantee;
mod ledger;
pub mod pld;
mod prepared;
pub mod rdp;
mod release;

pub use composition::{Account, Composition, Counted, Method, Point};
pub use error::Error;
pub use event::{Adjacency, Enforcement, Event, Unit};
pub use guarantee::{Accountant, Guarantee, Mechanism, Range, SamplingAssumption};
pub use ledger::Ledger;
pub use prepared::Prepared;
pub use release::Release;
