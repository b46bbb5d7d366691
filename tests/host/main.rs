//! A device and a server that talk, in one process: the public API of both, and nothing else.

mod bits;
mod device;
mod faults;
mod golden;
mod kill;
mod memory;
mod order;
mod portable;
mod problem;
mod reference;
mod round;
mod untrusted;
