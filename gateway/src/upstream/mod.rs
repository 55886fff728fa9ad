//! Speaks with upstream servers. In: one recorded, credentialled request. Out: one reply, whole or as a stream. Never here: decisions.
//!
//! Upstreams are not trusted: every answer is parsed as strictly as a request, and a connection is kept only after a reply that ended
//! exactly where its framing said.

pub mod connection;
pub mod decline;
pub mod forward;
pub mod pool;
pub mod request;
