//! Drives the real gateway for tests. In: what a test wants configured, sent and answered. Out: what really came over the wire and stands
//! in the log. Never here: code of the gateway's own way; the binary is what is tested.
//!
//! Nothing here waits for time to pass. A test waits for the event itself (a byte, a close, a record), and [`CEILING`] only bounds how long
//! a broken gateway can hold it up.

pub mod wire;
pub mod mcp;
pub mod secrets;
pub mod setup;
pub mod small_disk;
pub mod net;
pub mod gateway;
pub mod crm;
pub mod upstream;
pub mod front;
pub mod client;
pub mod stream;
pub mod audit;
pub mod signed;

use std::time::Duration;

/// How long an event may take before a test fails. Far beyond anything that works: two cores run all tests at once.
pub const CEILING: Duration = Duration::from_secs(30);
