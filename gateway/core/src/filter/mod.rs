//! Narrows what upstreams send. In: their bytes and what was read in them. Out: the same bytes with ranges spliced. Never here: decisions.

pub mod splice;
pub mod list;
pub mod cache;
pub mod capabilities;
pub mod server_message;
pub mod judged;
pub mod place;
pub mod redact;
pub mod envelope;
