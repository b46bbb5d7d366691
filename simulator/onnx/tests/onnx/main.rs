//! Files in, networks out, and back: against tract, against PyTorch's recordings, and against files that want to do harm.

mod golden;
mod net;
mod shared;
