//! The audit of the audit: broken variants of the mechanism, each of which it must catch, and honest ones, which it must pass.
//! And `siskin audit` as a user types it.

mod command;
mod mutants;
mod parts;
