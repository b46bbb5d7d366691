//! siskin-accounting
