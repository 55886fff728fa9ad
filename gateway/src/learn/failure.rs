//! Names why a server's tools could not be listed. In: what went wrong. Out: cause and cure for the operator. Never here: secrets.

use std::io;

/// Why no list was had.
#[derive(Debug)]
pub enum LearnFailure {
    /// Its name does not resolve.
    NoAddress(io::Error),
    /// It takes no connection.
    Unreachable(io::Error),
    /// TLS could not be agreed, or its certificate is not trusted.
    Untrusted(io::Error),
    /// It did not answer in time.
    TimedOut,
    /// It broke off, or speaks no HTTP/1.1.
    Broken(String),
    /// It wants another credential.
    Unauthorised(u16),
    /// It answered with this HTTP status.
    Status(u16),
    /// Its answer is longer than is read.
    TooLarge,
    /// Its answer is no JSON-RPC answer to what was asked.
    NotAnAnswer(&'static str),
    /// It answered with a JSON-RPC error.
    Refused {
        /// Its code.
        code: i64,
        /// Its words, shortened.
        message: String,
    },
    /// Its list has more pages or tools than are read.
    TooMany,
    /// The credential for it cannot be made.
    Credential(String),
}

impl LearnFailure {
    /// What happened: lower case, no full stop.
    pub fn cause(&self) -> String {
        match self {
            Self::NoAddress(error) => format!("its name does not resolve: {error}"),
            Self::Unreachable(error) => format!("it takes no connection: {error}"),
            Self::Untrusted(error) => format!("its TLS is not to be trusted: {error}"),
            Self::TimedOut => "it did not answer in time".into(),
            Self::Broken(why) => format!("it broke the exchange off: {why}"),
            Self::Unauthorised(status) => format!("it refuses our credential with HTTP status {status}"),
            Self::Status(status) => format!("it answers with HTTP status {status}"),
            Self::TooLarge => "its answer is larger than is read".into(),
            Self::NotAnAnswer(why) => format!("its answer is no MCP answer: {why}"),
            Self::Refused { code, message } => format!("it refuses with error {code}: `{message}`"),
            Self::TooMany => "its list does not end".into(),
            Self::Credential(why) => format!("its credential cannot be made: {why}"),
        }
    }

    /// What to do about it.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::NoAddress(_) => "correct the `url` of the server, or the name service",
            Self::Unreachable(_) => "start the server, or correct its `url`",
            Self::Untrusted(_) => "name the authority of its certificate in `ca`",
            Self::TimedOut | Self::Broken(_) => "look into the server's own log",
            Self::Unauthorised(_) => "correct the server's `credential` and the secrets file",
            Self::Status(_) | Self::NotAnAnswer(_) | Self::Refused { .. } => {
                "the `url` must be the Streamable HTTP endpoint of an MCP server, such as `http://127.0.0.1:9000/mcp`"
            }
            Self::TooLarge | Self::TooMany => "shorten the server's list of tools",
            Self::Credential(_) => "correct the server's `credential` and the secrets file",
        }
    }

    /// Whether an answer that only an older server gives, so that the older handshake is worth trying (MCP 2026-07-28, backward compatibility).
    pub(super) fn invites_legacy(&self) -> bool {
        match self {
            Self::Status(status) => (400..500).contains(status),
            Self::Refused { .. } | Self::NotAnAnswer(_) => true,
            Self::NoAddress(_)
            | Self::Unreachable(_)
            | Self::Untrusted(_)
            | Self::TimedOut
            | Self::Broken(_)
            | Self::Unauthorised(_)
            | Self::TooLarge
            | Self::TooMany
            | Self::Credential(_) => false,
        }
    }
}
