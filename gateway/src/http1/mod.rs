//! Reads and writes HTTP/1 messages (RFC 9112). In: bytes. Out: heads as ranges of those bytes, bodies without their
//! framing, and the bytes of heads of ours. Never here: IO, routing, decisions.
//!
//! Whoever reads a message's end differently from us can smuggle a request past the checks (RFC 9112 §11.2), so whatever
//! two readers could read in two ways is refused rather than mended, from clients and from upstreams alike.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::panic)
)]

pub mod error;
pub mod field;
pub mod head;
pub mod request;
pub mod response;
pub mod chunked;
pub mod last;
pub mod write;
