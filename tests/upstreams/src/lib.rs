//! Serves and calls real MCP for the tests and the demo.
//! In: command lines. Out: servers on loopback, and a scripted client. Never here: checks of the gateway.

pub mod crm;
pub mod everything;
pub mod serve;
pub mod shape;
