//! Holds what was typed of the kernel layer. In: TOML. Out: the same, each value with its place. Never here: defaults, meaning.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::at::{At, Count, SizeText, SpanText};

/// The kernel layer: eBPF programs in front of the listeners, and what a connection may do before it has proven an agent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Kernel {
    /// Whether eBPF programs are loaded. Default: `auto`.
    pub ebpf: Option<At<EbpfText>>,
    /// The network interfaces that agents come in by, such as `["eth0"]`. Default: none.
    pub interfaces: Option<Vec<At<String>>>,
    /// A connection has to prove an agent within this time. Default: `30s`.
    pub deadline: Option<At<SpanText>>,
    /// Or within so many bytes. Default: `256 KiB`.
    pub budget: Option<At<SizeText>>,
    /// Connections that one source may open in a second; in the kernel alone. Default: `1000`.
    pub connects: Option<At<Count>>,
    /// Load balancers and NATs, as networks: never limited, never banned. Default: none.
    pub trusted: Option<Vec<At<String>>>,
    /// The folder in a bpf file system in which programs and bans outlive a restart. Default: `/sys/fs/bpf/portcullis`.
    pub pins: Option<At<String>>,
}

/// Whether eBPF programs are loaded.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum EbpfText {
    /// where the kernel and our privileges allow
    Auto,
    /// never
    Off,
    /// start only with them
    Require,
}
