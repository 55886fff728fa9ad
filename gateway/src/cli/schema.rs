//! `portcullis schema`: prints the JSON schema of the configuration. In: nothing. Out: the schema, for editors. Never here: the configuration.

use crate::cli::{End, Outcome, say};
use portcullis_core::config::schema::json_schema;

/// On standard output.
pub fn schema() -> Outcome {
    say::json(&json_schema());
    Ok(End::Done)
}
