//! `portcullis reload`: has the gateway read its files again. In: nothing. Out: which version serves. Never here: how.

use crate::cli::{Outcome, Ways, client, policy};

/// Exit code 1 if the files do not load; what served before goes on serving.
pub fn reload(ways: &Ways) -> Outcome {
    Ok(policy::changed(client::post(ways, "/v1/reload", None)?, ways))
}
