//! Speaks with upstream servers. In: one recorded, credentialled request. Out: one reply, whole or as a stream. Never here: decisions.
//!
//! Upstreams are not trusted: every answer is parsed as strictly as a request, and a connection is kept only after a reply that ended
//! exactly where its framing said.

pub mod connection;
pub mod pool;
pub mod request;

/// Why an upstream gave no usable reply. The agent learns the class, never the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// Its name does not resolve.
    NoAddress,
    /// It refused the connection or did not take it in time.
    Unreachable,
    /// TLS could not be agreed or its certificate is not trusted.
    Untrusted,
    /// It took the request and did not answer in time.
    TimedOut,
    /// It closed or reset the connection before its reply was whole.
    Broken,
    /// Its reply is no valid HTTP/1.1, or its encoding cannot be judged.
    Malformed,
    /// Its reply is longer than we hold.
    TooLarge,
    /// Its reply is no valid JSON-RPC answer to what was asked.
    NotAnAnswer,
    /// It answered with an HTTP error of its own.
    Refused(u16),
    /// It put one of our own secrets into its reply.
    LeakedSecret,
}

impl UpstreamFailure {
    /// Stable name for records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoAddress => "upstream_no_address",
            Self::Unreachable => "upstream_unreachable",
            Self::Untrusted => "upstream_untrusted",
            Self::TimedOut => "upstream_timed_out",
            Self::Broken => "upstream_broken",
            Self::Malformed => "upstream_malformed",
            Self::TooLarge => "upstream_too_large",
            Self::NotAnAnswer => "upstream_not_an_answer",
            Self::Refused(_) => "upstream_refused",
            Self::LeakedSecret => "upstream_leaked_secret",
        }
    }

    /// HTTP status toward the agent (RFC 9110 §15.6).
    pub fn status(self) -> u16 {
        match self {
            Self::TimedOut => 504,
            Self::NoAddress
            | Self::Unreachable
            | Self::Untrusted
            | Self::Broken
            | Self::Malformed
            | Self::TooLarge
            | Self::NotAnAnswer
            | Self::Refused(_)
            | Self::LeakedSecret => 502,
        }
    }
}
