//! Holds what was typed of the control socket. In: TOML. Out: the same, each value with its place. Never here: defaults, meaning.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::at::At;

/// The control socket.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Control {
    /// A Unix socket. Default: `/run/portcullis/control.sock`.
    pub socket: Option<At<String>>,
}
