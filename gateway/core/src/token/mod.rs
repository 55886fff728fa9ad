//! Lends upstream credentials. In: secrets and templates at load, a destination per call. Out: one header field for one call. Never here: files, sockets.

pub mod secrets;
pub mod template;
pub mod scanner;
pub mod credential;
