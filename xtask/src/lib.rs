//! What the project's verbs are made of. The verbs stand last; what they share stands first.

pub mod told;
pub mod place;
pub mod progress;
pub mod process;
pub mod needs;
pub mod keys;
pub mod tools;

pub mod tidy;
pub mod conformance;
pub mod differential;
pub mod crash;
pub mod ebpf;
pub mod bench;
pub mod path;
pub mod instructions;
pub mod swaps;
pub mod demo;
pub mod test;
