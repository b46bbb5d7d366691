//! Reals to symbols and back.
