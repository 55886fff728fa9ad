//! Says how and where calls are recorded. In: nothing. Out: a folder, promises, bounds. Never here: recording.

use std::path::PathBuf;

use super::Capture;
use super::witness::Witness;

/// How and where it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Folder of the log.
    pub folder: PathBuf,
    /// When a record counts as written.
    pub durability: Durability,
    /// What is kept of a call where its tool does not say otherwise.
    pub capture: Capture,
    /// A journal is closed and a new one begun beyond this size.
    pub segment_bytes_max: u64,
    /// Calls are refused while a journal holds more that is not signed.
    pub backlog_bytes_max: u64,
    /// Who keeps the index up that questions are answered from.
    pub index: Indexing,
    /// Who is asked to cosign the log's checkpoints.
    pub witnesses: Vec<Witness>,
}

/// When a record counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the kernel before forwarding; on the disk within 100 ms. A crash of the process loses nothing.
    Batched,
    /// On the disk before forwarding. A power cut loses nothing.
    Strict,
    /// A failing log does not stop calls. Asked for by name only.
    BestEffort,
}

/// Who keeps the index of the log up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexing {
    /// A thread of the gateway, behind everything else.
    Auto,
    /// Nobody; it is made when somebody asks.
    Off,
}
