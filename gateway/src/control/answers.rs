//! Words the answers of the control socket. In: what came of a request. Out: status and JSON. Never here: what is done.

use crate::reload::{ChangeFailure, Changed};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use portcullis_core::diagnostic::{Diagnostic, Diagnostics};
use serde_json::{Value, json};

/// A request that was refused: status, cause, cure and, where files are at fault, every finding.
#[derive(Debug)]
pub struct Refused {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable name of the cause.
    pub name: &'static str,
    /// The cause: lower case, no full stop.
    pub message: String,
    /// The cure, where one is known.
    pub help: Option<String>,
    /// What is wrong with the files.
    pub findings: Diagnostics,
    /// The version that serves, where the caller was wrong about it.
    pub current: Option<u64>,
}

impl Refused {
    /// A refusal without findings.
    pub fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> Self {
        Self { status, name, message: message.into(), help: None, findings: Vec::new(), current: None }
    }

    /// The same with its cure.
    #[must_use]
    pub fn help(mut self, cure: impl Into<String>) -> Self {
        self.help = Some(cure.into());
        self
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut body = json!({"error": self.name, "message": self.message});
        if let Some(members) = body.as_object_mut() {
            members.extend(self.help.map(|help| ("help".to_owned(), json!(help))));
            members.extend(self.current.map(|current| ("current".to_owned(), json!(current))));
            if !self.findings.is_empty() {
                members.insert("findings".into(), findings(&self.findings));
            }
        }
        (self.status, Json(body)).into_response()
    }
}

/// Findings as JSON, in the order they were found.
pub fn findings(findings: &[Diagnostic]) -> Value {
    serde_json::to_value(findings).unwrap_or_default()
}

/// What a change came to.
pub fn changed(changed: &Changed) -> Value {
    json!({
        "version": changed.version,
        "previous": changed.previous,
        "changed": changed.version != changed.previous,
        "hash": changed.hash,
        "warnings": findings(&changed.warnings),
    })
}

impl From<ChangeFailure> for Refused {
    fn from(failure: ChangeFailure) -> Self {
        match failure {
            ChangeFailure::Conflict { expected, current } => {
                let message = format!("version {current} serves, not {expected}");
                let refused = Self::new(StatusCode::CONFLICT, "conflict", message)
                    .help("look at what changed with `portcullis policy history`, then try again");
                Self { current: Some(current), ..refused }
            }
            ChangeFailure::Findings(findings) => {
                let message = "the files do not load; what served before goes on serving";
                Self { findings, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "findings", message) }
            }
            ChangeFailure::UnknownVersion(version, kept) => {
                let kept: Vec<String> = kept.iter().map(u64::to_string).collect();
                let help = format!("kept are {}", if kept.is_empty() { "none".to_owned() } else { kept.join(", ") });
                Self::new(StatusCode::NOT_FOUND, "unknown_version", format!("version {version} is not kept")).help(help)
            }
            ChangeFailure::Agent(id, failure) => {
                let (message, help) = failure.words(&id);
                Self { help, ..Self::new(StatusCode::NOT_FOUND, "agent", message) }
            }
            ChangeFailure::Disk(path, error) => {
                let message = format!("`{}` cannot be read or written: {error}", path.display());
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "disk", message)
                    .help("make room, or let the gateway's user at it")
            }
            ChangeFailure::Journal(failure) => {
                let message = format!(
                    "the change could not be written to the audit log ({}), so it was not made",
                    failure.name()
                );
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "journal", message)
                    .help("make room on the disk of the audit folder")
            }
            ChangeFailure::Unwritten(id, failure) => {
                let why = Self::from(*failure);
                let message = format!("agent `{id}` is suspended from now on, but not in writing: {}", why.message);
                let cure = why.help.unwrap_or_else(|| "mend what is named here".to_owned());
                let help = format!("{cure}; until it is suspended again in writing, a restart may forget it");
                Self { findings: why.findings, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unwritten", message) }
                    .help(help)
            }
            ChangeFailure::Stopped => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "stopped",
                "the gateway is stopping, or broke while it built the change",
            ),
        }
    }
}
