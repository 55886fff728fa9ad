//! Holds the starter configuration. In: nothing. Out: the text that `portcullis init` writes. Never here: a setting that needs explaining elsewhere.

/// A commented `portcullis.toml` for one server and one identity provider; it parses without a finding.
pub const STARTER: &str = include_str!("starter.toml");
