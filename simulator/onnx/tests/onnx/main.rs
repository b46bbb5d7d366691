//! Files in, networks out, and back: against tract, against PyTorch's recordings, and against files that want to do harm.

mod agreement;
mod allocations;
mod exported;
mod files;
mod golden;
mod hostile;
mod made;
mod mutated;
mod net;
mod operators;
mod sequences;
mod shared;
