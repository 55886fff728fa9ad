//! Portcullis decides here. In: bytes, time and answers. Out: decisions. Never here: IO, clocks, async, unsafe.
//!
//! The modules stand in the order a request meets them; a module imports only from those listed above it.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::panic)
)]

pub mod limits;
pub mod time;
pub mod secret;
pub mod diagnostic;
pub mod protocol;
pub mod identity;
pub mod policy;
pub mod token;
pub mod filter;
pub mod audit;
pub mod refusal;
pub mod config;
