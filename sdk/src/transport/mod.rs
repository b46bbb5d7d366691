//! Byte streams between a session and a server.
//!
//! A session needs no transport: it is sans-IO. This module has what most hosts want around it: [`drive`], which runs a
//! session over anything that implements [`embedded_io::Read`] and [`embedded_io::Write`]; [`Loopback`], two ends of a
//! stream in memory; and [`Faulty`], which loses, repeats, damages and swaps bytes on purpose.

mod drive;
mod faulty;
mod loopback;

pub use drive::{DriveError, drive};
pub use faulty::{Fault, Faulty};
pub use loopback::{End, Loopback};
