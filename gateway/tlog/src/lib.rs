//! Proves what was logged. In: the bytes of log entries, keys. Out: tiles, checkpoints, proofs, cosignatures, and what is wrong with a log. Never here: clocks,
//! randomness, the gateway itself.
//!
//! C2SP tlog-tiles over RFC 6962, so that any tool that knows those can check a log of ours. Pure but for the stand-alone verifier,
//! `portcullis-verify`, which reads files. It depends on a hash, a signature and base64, so that whoever must trust it can read it whole.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::panic)
)]

pub mod tree;
pub mod tile;
pub mod proof;
pub mod note;
pub mod checkpoint;
pub mod evidence;
pub mod growth;
pub mod record;
pub mod chain;
pub mod policy;
pub mod fault;
pub mod verify;
pub mod logs;
pub mod witness;
#[cfg(test)]
mod sample;
