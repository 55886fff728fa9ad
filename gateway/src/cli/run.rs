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
        Err(other) => Err(failure(other)),
    }
}

/// Why a gateway, or whoever takes up its log, does not start.
pub fn failure(failure: StartFailure) -> Failure {
    match failure {
        StartFailure::Findings(findings) => cli::first(findings),
        StartFailure::Kernel(cause, cure) => Failure::new(cause, cure),
        StartFailure::System(what, error, cure) => Failure::new(format!("{what}: {error}"), cure),
        StartFailure::Broken(why) => Failure::new(why, "look for the reason in the log"),
    }
}
