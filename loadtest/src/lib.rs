//! Loads a proxy from both sides: a stub upstream behind it and a generator in front. Each is one thread with one epoll, so that
//! both together cost less than any proxy between them.

pub mod plan;
pub mod poll;
pub mod http;
pub mod rpc;
pub mod stub;
pub mod connection;
pub mod schedule;
pub mod load;
