//! Rows for the whole way from text to settings. Refusals first.

use super::*;
use crate::config::settings::*;
use crate::diagnostic::Severity;

mod accepted;
mod refused;
mod refused_parties;

/// The findings of `text`, one line each.
fn findings(text: &str) -> Vec<String> {
    let found = match parse(text, "p.toml", Path::new("/etc/portcullis")) {
        Ok((_, warnings)) => {
            assert!(warnings.iter().all(|finding| finding.severity == Severity::Warning));
            warnings
        }
        Err(findings) => {
            assert!(findings.iter().any(|finding| finding.severity == Severity::Error));
            findings
        }
    };
    found.iter().map(ToString::to_string).collect()
}

/// Settings of `text`, which must parse.
fn settings(text: &str) -> Settings {
    match parse(text, "p.toml", Path::new("/etc/portcullis")) {
        Ok((settings, _)) => settings,
        Err(found) => panic!("{}", found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

/// `extra` after the least that parses without a finding; its first line is line 8.
fn with(extra: &str) -> String {
    format!("{LEAST}{extra}")
}

/// `extra` after the least that parses gives exactly these findings; its first line is line 8.
#[track_caller]
fn check(extra: &str, expected: &[&str]) {
    assert_eq!(findings(&with(extra)), expected, "given {extra}");
}

const LEAST: &str = "\
[server.crm]
url = \"http://127.0.0.1:9000/mcp\"

[identity.okta]
issuer = \"https://idp.example.com\"
keys = \"okta.jwks.json\"

";
