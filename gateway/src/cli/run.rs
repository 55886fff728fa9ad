//! `portcullis run`: serves until told to stop. In: the configuration's path. Out: how it ended. Never here: how it serves.

use crate::cli::{self, End, Failure, Outcome, Ways, say};
use crate::control::answers;
use crate::startup::{self, StartFailure};
use serde_json::json;

/// Serves; a refusal of the files is exit code 1, a refusal of the system 2.
pub fn run(ways: &Ways) -> Outcome {
    match startup::run(&ways.config) {
        Ok(()) => Ok(End::Done),
        Err(StartFailure::Findings(findings)) => {
            match ways.json {
                true => say::json(
                    &json!({"error": "findings", "message": "the files do not load", "findings": answers::findings(&findings)}),
                ),
                false => cli::findings(&findings),
            }
            Ok(End::Refused)
        }
        Err(StartFailure::Kernel(cause, cure)) => Err(Failure::new(cause, cure)),
        Err(StartFailure::System(what, error, cure)) => Err(Failure::new(format!("{what}: {error}"), cure)),
        Err(StartFailure::Broken(why)) => Err(Failure::new(why, "look for the reason in the log")),
    }
}
