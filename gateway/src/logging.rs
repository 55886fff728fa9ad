//! Starts the gateway's own log. In: format and level. Out: lines on standard error. Never here: the audit log, secrets.

use portcullis_core::config::settings::{Log, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Overrides the configured level while a fault is being looked for, in the syntax of `tracing`: `info,portcullis=debug`.
const FILTER_VARIABLE: &str = "PORTCULLIS_LOG";

/// Starts the log of this process; a second call changes nothing.
pub fn start(log: Log) {
    let filter = std::env::var(FILTER_VARIABLE).ok().and_then(|text| text.parse::<EnvFilter>().ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(log.level.as_str()));
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber is refused, which only tests can ask for.
    let _ = match face(log.format, colours) {
        Face::Human => lines.with_target(false).with_ansi(colours).try_init(),
        Face::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Face {
    Human,
    Json,
}

fn face(format: LogFormat, terminal: bool) -> Face {
    match (format, terminal) {
        (LogFormat::Human, _) | (LogFormat::Auto, true) => Face::Human,
        (LogFormat::Json, _) | (LogFormat::Auto, false) => Face::Json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_for_people_on_a_terminal_and_for_machines_elsewhere() {
        assert_eq!(face(LogFormat::Auto, true), Face::Human);
        assert_eq!(face(LogFormat::Auto, false), Face::Json);
        assert_eq!(face(LogFormat::Human, false), Face::Human);
        assert_eq!(face(LogFormat::Json, true), Face::Json);
    }
}
