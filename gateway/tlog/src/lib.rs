//! Proves what was logged. In: the bytes of log entries. Out: hashes of an RFC 6962 Merkle tree. Never here: files, clocks, the gateway itself.
//!
//! The transparency log will be C2SP tlog-tiles with signed checkpoints, and the stand-alone verifier will need this package and nothing else
//! of the gateway, so it depends on a hash function only. Today it holds the hashing that all of that rests on.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::panic)
)]

pub mod tree;
