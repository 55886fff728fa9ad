//! Has the log witnessed, and witnesses others'. In: checkpoints. Out: cosignatures. Never here: what entries say, the way of a request.
//!
//! Two sides of C2SP tlog-witness. `ask`, `client` and `paper` belong to the gateway: its log asks witnesses on other hosts and keeps what they
//! answer beside its checkpoint. `service`, `store` and `door` are `portcullis witness`, which runs on such a host.

pub mod ask;
pub mod client;
pub mod paper;
pub mod door;
pub mod service;
pub mod store;

#[cfg(test)]
mod tests;
