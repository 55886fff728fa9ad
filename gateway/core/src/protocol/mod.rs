//! Reads what is spoken: JSON-RPC, MCP, SSE. In: bytes. Out: borrowed views of them, or a named refusal. Never here: policy.

pub mod json;
pub mod span;
