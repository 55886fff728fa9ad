//! Loads a proxy from both sides: a stub upstream behind it and a generator in front. Each is one thread with one epoll, so that
//! both together cost less than any proxy between them.

pub mod plan;
pub mod poll;
pub mod socket;
pub mod http;
pub mod body;
pub mod rpc;
pub mod answer;
pub mod stub;
pub mod tls;
pub mod wire;
pub mod events;
pub mod reply;
pub mod connection;
pub mod message;
pub mod schedule;
pub mod report;
pub mod load;
pub mod held;
pub mod play;
#[cfg(test)]
mod scene;
