//! Knows who calls. In: a token, a certificate, a source address. Out: a `Principal`, or why there is none. Never here: sockets, files, clocks.
//!
//! The modules stand in the order evidence meets them.

pub mod thumbprint;
mod strict;
pub mod keys;
pub mod issuer;
pub mod error;
pub mod claims;
pub mod jwt;
pub mod certificate;
pub mod network;
pub mod registry;
pub mod principal;
pub mod cache;

#[cfg(test)]
pub(crate) mod fixture;

/// The position of an agent in the registry of one snapshot; it means nothing beside another snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentIndex(pub u32);
