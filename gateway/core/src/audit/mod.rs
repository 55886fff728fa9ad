//! Records what happened. In: facts of a request. Out: chained JSON lines, and what they say read back. Never here: files, clocks, secrets.
//!
//! One JSON object a line. Each line ends with the SHA-256 of the line before it, so that a shard's file is one chain; what an agent or an
//! upstream wrote stands in it only as an escaped string or as JSON that was checked to be one value.

pub mod line;
pub mod capture;
pub mod record;
pub mod chain;
pub mod view;
