//! Lists the error codes. In: nothing. Out: every JSON-RPC code the gateway sends or looks for, with its source.

/// The body is not JSON (JSON-RPC 2.0 §5.1).
pub const PARSE_ERROR: i64 = -32700;

/// Not a single request, notification or response (JSON-RPC 2.0 §5.1).
pub const INVALID_REQUEST: i64 = -32600;

/// The method does not exist or is not offered in this revision (JSON-RPC 2.0 §5.1; HTTP 404 in MCP 2026-07-28).
pub const METHOD_NOT_FOUND: i64 = -32601;

/// Wrong parameters; in MCP also an unknown tool, prompt, cursor or task (JSON-RPC 2.0 §5.1).
pub const INVALID_PARAMS: i64 = -32602;

/// A fault of ours (JSON-RPC 2.0 §5.1).
pub const INTERNAL_ERROR: i64 = -32603;

/// An unknown resource in MCP ≤ 2025-11-25; must not be sent in 2026-07-28.
pub const RESOURCE_NOT_FOUND: i64 = -32002;

/// The upstream wants the user to visit a URL first; MCP 2025-11-25 alone.
pub const URL_ELICITATION_REQUIRED: i64 = -32042;

/// A header is missing, malformed or says something else than the body (MCP 2026-07-28, `HeaderMismatch`).
pub const HEADER_MISMATCH: i64 = -32020;

/// The client did not declare a capability (MCP 2026-07-28, `MissingRequiredClientCapability`).
pub const MISSING_CAPABILITY: i64 = -32021;

/// The revision is not offered (MCP 2026-07-28, `UnsupportedProtocolVersion`).
pub const UNSUPPORTED_VERSION: i64 = -32022;

/// Convention of the TypeScript SDK: the session is not known.
pub const SESSION_NOT_FOUND: i64 = -32001;

// Our own. MCP reserves -32768…-32000, so they lie outside; the last three digits are the HTTP status they resemble.

/// The policy does not permit it.
pub const DENIED: i64 = -33403;

/// A rate or a budget is used up.
pub const RATE_LIMITED: i64 = -33429;

/// The upstream could not be reached, or its answer could not be read.
pub const UPSTREAM_FAILED: i64 = -33502;

/// The gateway cannot serve now, for example because it cannot write its audit records.
pub const UNAVAILABLE: i64 = -33503;

/// The upstream did not answer in time.
pub const UPSTREAM_TIMED_OUT: i64 = -33504;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_codes_lie_outside_the_reserved_range() {
        for code in [DENIED, RATE_LIMITED, UPSTREAM_FAILED, UNAVAILABLE, UPSTREAM_TIMED_OUT] {
            assert!(!(-32768..=-32000).contains(&code), "{code}");
        }
    }
}
