//! Holds what was typed of the log's witnesses. In: TOML. Out: the same, each value with its place. Never here: defaults, meaning.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::at::At;

/// Who is asked to cosign the log's checkpoints (C2SP tlog-witness).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Witness {
    /// What it is called here.
    #[schemars(required, extend("examples" = ["north"]))]
    pub name: Option<At<String>>,
    /// Its submission prefix: `/add-checkpoint` is added.
    #[schemars(required, extend("examples" = ["https://witness.example.com"]))]
    pub url: Option<At<String>>,
    /// Its verifier key, as `portcullis witness` tells it.
    #[schemars(required, extend("examples" = ["witness.example.com+1a2b3c4d+BKx0…"]))]
    pub key: Option<At<String>>,
}
