//! A device and a server that talk, in one process: the public API of both, and nothing else.

mod ask;
mod bits;
mod blocks;
mod device;
mod faults;
mod golden;
mod gradients;
mod growth;
mod hostile;
mod kept;
mod kill;
mod memory;
mod moved;
mod order;
mod outcomes;
mod participation;
mod portable;
mod problem;
mod pruning;
mod reference;
mod round;
mod seeds;
mod spaced;
mod statistics;
mod untrusted;
