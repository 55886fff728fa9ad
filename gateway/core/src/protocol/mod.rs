//! Reads what is spoken: JSON-RPC, MCP, SSE. In: bytes. Out: borrowed views of them, or a named refusal. Never here: policy.

pub mod json;
pub mod span;
pub mod fold;
pub mod code;
pub mod revision;
pub mod method;
pub mod message;
pub mod subject;
pub mod header;
pub mod era;
pub mod param_header;
pub mod sse;
pub mod reply;
