//! The seam to io_uring. In: file descriptors and owned buffers. Out: futures of finished operations, deadlines, the
//! clock of one core. Never here: protocols, decisions, configuration.
//!
//! The engine behind the seam is tokio-uring, which is unmaintained, so no type of it appears in a signature. Three of
//! its habits would be holes in a gateway; each is closed here:
//!
//! * A dropped receive stays in flight and swallows the next bytes, which could hand one agent another's answer. Here the
//!   drop poisons the [`Socket`], and a poisoned socket is never used again ([`Socket::is_poisoned`]).
//! * A dropped stream with an operation in flight stays open. Here the last [`Socket`] to go shuts the connection down
//!   and cancels what is in flight, so that the descriptor is closed within the same turn of the loop.
//! * A dropped accept leaks the accepted descriptor. Here the operation goes back to its [`Listener`] and the next
//!   [`Listener::accept`] finishes it.
//!
//! To give up a receive without losing bytes: [`Socket::cancel`], then await the receive itself.
//!
//! This crate holds the only `unsafe` of user space.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::panic)
)]

mod probe;
mod engine;
mod operation;
mod loopback;
mod socket;
mod readiness;
mod pipe;
mod listener;
mod wheel;
mod file;
pub mod spare;
#[cfg(feature = "count-allocations")]
pub mod allocations;

pub use engine::{CoreConfig, Task, run, spawn};
pub use file::write_fd;
pub use listener::{Accept, Listener};
pub use operation::{Connect, Recv, SendAll, SendBoth};
pub use pipe::{Moved, Pipe};
pub use probe::{Unavailable, probe};
pub use readiness::Readiness;
pub use socket::{Quiet, Socket};
pub use wheel::{Deadline, TICK, Wait, Wheel};
