//! Keeps the audit log. In: what cores write down. Out: one log that a third party can verify; answers, reports and exports from it. Never here:
//! the way of a request, decisions.
//!
//! Cores write journals (`wal`). One thread, the sequencer, brings them into one order, parts the values from the records, and lets the C2SP
//! log grow by them. Whatever else there is (the index, exports) is derived from that log and can be made again.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::panic)
)]

pub mod disk;
pub mod keys;
pub mod wal;
mod erasing;
pub mod payloads;
pub mod order;
pub mod sequencer;
pub mod recovery;
pub mod log;
pub mod logs;
pub mod reader;
pub mod calls;
pub mod keeping;
pub mod index;
pub mod report;
pub mod export;
