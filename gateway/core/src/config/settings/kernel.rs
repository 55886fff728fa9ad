//! Says what the kernel layer is to do. In: nothing. Out: checked values. Never here: what the kernel can.

use std::path::PathBuf;
use std::time::Duration;

use crate::identity::network::Network;

/// The kernel layer, and what a connection may do before it has proven an agent, wherever that is enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Whether eBPF programs are loaded.
    pub ebpf: Ebpf,
    /// The interfaces they are attached to.
    pub interfaces: Vec<Box<str>>,
    /// A connection has to prove an agent within this time.
    pub deadline: Duration,
    /// Or within so many bytes.
    pub budget_bytes: u64,
    /// Connections that one source may open in a second, and twice as many at once.
    pub connects_per_second: u64,
    /// Sources that are never limited.
    pub trusted: Vec<Network>,
    /// Where links and maps are pinned.
    pub pins: PathBuf,
}

/// Whether eBPF programs are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ebpf {
    /// Where the kernel and our privileges allow; `portcullis kernel status` says which.
    Auto,
    /// Never.
    Off,
    /// Start only with them.
    Require,
}

impl Ebpf {
    /// As typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Require => "require",
        }
    }
}
