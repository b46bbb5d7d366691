//! A device and a server that talk, in one process: the public API of both, and nothing else.

mod device;
mod problem;
mod reference;
mod round;
