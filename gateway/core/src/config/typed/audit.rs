//! Holds what was typed of the log. In: TOML. Out: the same, each value with its place. Never here: defaults, meaning.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Capture;
use super::witness::Witness;
use crate::config::at::{At, SizeText};

/// How and where calls are recorded.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Audit {
    /// Folder of the log. Default: `audit`.
    pub folder: Option<At<String>>,
    /// When a record counts as written. Default: `batched`.
    pub durability: Option<At<DurabilityText>>,
    /// What is kept of a call where its tool does not say otherwise.
    pub capture: Option<Capture>,
    /// A journal is closed beyond this size, and destroyed once all of it is in the signed log. Default: `64 MiB`.
    pub segment: Option<At<SizeText>>,
    /// Calls are refused while a journal holds more than this that is not in the signed log yet. Default: `1 GiB`.
    pub backlog: Option<At<SizeText>>,
    /// Who keeps the index up that questions are answered from. Default: `auto`.
    pub index: Option<At<IndexText>>,
    /// Who is asked to cosign the log's checkpoints, on other hosts. Default: nobody.
    pub witnesses: Option<Vec<Witness>>,
}

/// When a record counts as written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum DurabilityText {
    /// a crash of the process loses nothing
    Batched,
    /// a power cut loses nothing
    Strict,
    /// a failing log does not stop calls
    BestEffort,
}

/// Who keeps the index of the log up.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum IndexText {
    /// a thread of the gateway, behind everything else
    Auto,
    /// nobody; it is made when somebody asks
    Off,
}
