//! siskin-server
