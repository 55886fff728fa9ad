//! The shell of Portcullis. It may do IO; it must not decide.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::panic)
)]

pub mod disk;
mod logging;
pub mod meters;
pub mod transport;
pub mod tls;
pub mod http1;
pub mod counters;
#[cfg(feature = "count-allocations")]
pub mod allocations;
pub mod journal;
pub mod kept;
pub mod session;
pub mod beside;
pub mod kernel;
pub mod shared;
pub mod worker;
pub mod unproven;
pub mod servings;
pub mod connection;
pub mod downstream;
pub mod case;
pub mod transaction;
pub mod own;
pub mod identify;
pub mod headers;
pub mod judge;
pub mod ownership;
pub mod upstream;
pub mod watch;
pub mod relay;
pub mod screen;
pub mod digest;
pub mod stream;
pub mod long;
pub mod bodyless;
pub mod refuse;
pub mod records;
#[cfg(feature = "bench-pass")]
pub mod pass;
pub mod resolve;
pub mod asked;
pub mod explained;
pub mod compared;
pub mod sources;
pub mod spread;
pub mod secure;
pub mod learn;
pub mod witness;
pub mod history;
pub mod reload;
pub mod logged;
pub mod control;
pub mod startup;
pub mod prove;
pub mod cli;
