//! Symbols to bytes and back.
