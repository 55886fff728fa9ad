//! Says why a caller is not believed. In: the cause. Out: a name for the record, a challenge for the peer. Never here: values of a token.

use std::fmt;

/// Why a token is refused; one variant a cause. Where a variant carries a word, it is the name of a member, never its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Longer than `limits::TOKEN_BYTES_MAX`.
    TooLarge,
    /// Not three parts joined by dots (RFC 7515 §3.1).
    Malformed,
    /// A JWE: five parts, or a header with `enc`. What cannot be read cannot be judged.
    Encrypted,
    /// A part is not unpadded base64url (RFC 7515 §2).
    Base64,
    /// The header is not a strict JSON object, or a member of it has the wrong type.
    Header,
    /// The header names a member twice.
    HeaderDuplicate,
    /// The header has `crit`; we know no extension, and one that is not understood must be refused (RFC 7515 §4.1.11).
    HeaderCritical,
    /// The header brings or points to a key: `jwk`, `jku`, `x5c`, `x5u` (RFC 8725 §3.10). Keys come from our configuration alone.
    HeaderKey,
    /// The header has `b64`, under which other bytes are signed (RFC 7797).
    HeaderUnencoded,
    /// The header has `zip`; nothing is decompressed before it is trusted.
    HeaderCompressed,
    /// `typ` is missing or none the issuer writes, as when an ID token is sent (RFC 8725 §3.11, RFC 9068 §4).
    Type,
    /// `typ` does not say that it is an access token, and its claims say that it is none (OpenID Connect Core 1.0 §2).
    IdToken,
    /// `alg` is missing, `none`, symmetric or unknown.
    Algorithm,
    /// `alg` is not one this issuer may use.
    AlgorithmNotAllowed,
    /// `alg` is not the one the key is bound to (RFC 8725 §3.1).
    AlgorithmMismatch,
    /// `kid` is not a string of at most 128 bytes.
    KeyId,
    /// There is no `kid`, and not exactly one key fits.
    KeyIdMissing,
    /// No key of the issuer has this `kid`; a fresher key set might.
    KeyUnknown,
    /// The claims are not a strict JSON object.
    Claims,
    /// A claim occurs twice.
    ClaimDuplicate,
    /// A required claim is missing.
    ClaimMissing(&'static str),
    /// A claim has the wrong JSON type (CVE-2026-25537 is what came of letting `"exp":"never"` count as absent).
    ClaimType(&'static str),
    /// A time is negative or beyond the year 9999.
    ClaimTime(&'static str),
    /// More claims than policies are given, or longer ones. None is dropped, for a `forbid` may read it.
    ClaimsTooMany,
    /// No configured issuer has this `iss`.
    IssuerUnknown,
    /// The signature is not the key's.
    Signature,
    /// `exp` has passed.
    Expired,
    /// The agent's own cap on the lifetime of tokens has passed.
    TooOld,
    /// `nbf` is still to come.
    NotYetValid,
    /// `iat` is still to come.
    IssuedInFuture,
    /// `aud` names several audiences (RFC 8707 §2: a token is for one).
    AudienceSeveral,
    /// `aud` is not this resource.
    Audience,
    /// `cnf` binds the token in a way we cannot check, such as `jkt`. Ignoring it would unbind the token.
    ConfirmationUnsupported,
    /// `cnf.x5t#S256` is not a thumbprint.
    Confirmation,
    /// The token is bound to a client certificate, and the connection has none (RFC 8705 §3).
    CertificateMissing,
    /// The token is bound to another client certificate.
    CertificateOther,
}

impl TokenError {
    /// The stable name in records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "token_too_large",
            Self::Malformed => "token_malformed",
            Self::Encrypted => "token_encrypted",
            Self::Base64 => "token_base64",
            Self::Header => "token_header",
            Self::HeaderDuplicate => "token_header_duplicate",
            Self::HeaderCritical => "token_header_critical",
            Self::HeaderKey => "token_header_key",
            Self::HeaderUnencoded => "token_header_unencoded",
            Self::HeaderCompressed => "token_header_compressed",
            Self::Type => "token_type",
            Self::IdToken => "token_is_no_access_token",
            Self::Algorithm => "token_algorithm",
            Self::AlgorithmNotAllowed => "token_algorithm_not_allowed",
            Self::AlgorithmMismatch => "token_algorithm_mismatch",
            Self::KeyId => "token_key_id",
            Self::KeyIdMissing => "token_key_id_missing",
            Self::KeyUnknown => "token_key_unknown",
            Self::Claims => "token_claims",
            Self::ClaimDuplicate => "token_claim_duplicate",
            Self::ClaimMissing(_) => "token_claim_missing",
            Self::ClaimType(_) => "token_claim_type",
            Self::ClaimTime(_) => "token_claim_time",
            Self::ClaimsTooMany => "token_claims_too_many",
            Self::IssuerUnknown => "token_issuer_unknown",
            Self::Signature => "token_signature",
            Self::Expired => "token_expired",
            Self::TooOld => "token_too_old",
            Self::NotYetValid => "token_not_yet_valid",
            Self::IssuedInFuture => "token_issued_in_future",
            Self::AudienceSeveral => "token_audience_several",
            Self::Audience => "token_audience",
            Self::ConfirmationUnsupported => "token_confirmation_unsupported",
            Self::Confirmation => "token_confirmation",
            Self::CertificateMissing => "token_certificate_missing",
            Self::CertificateOther => "token_certificate_other",
        }
    }

    /// What the peer may hear: enough to mend an honest mistake, nothing about keys, issuers or claims.
    pub fn outward(self) -> &'static str {
        match self {
            Self::Expired | Self::TooOld => "the access token expired",
            Self::Audience | Self::AudienceSeveral => "the access token is not for this resource",
            Self::CertificateMissing | Self::CertificateOther => {
                "the access token is bound to another client certificate"
            }
            Self::TooLarge
            | Self::Malformed
            | Self::Encrypted
            | Self::Base64
            | Self::Header
            | Self::HeaderDuplicate
            | Self::HeaderCritical
            | Self::HeaderKey
            | Self::HeaderUnencoded
            | Self::HeaderCompressed
            | Self::Type
            | Self::IdToken
            | Self::Algorithm
            | Self::AlgorithmNotAllowed
            | Self::AlgorithmMismatch
            | Self::KeyId
            | Self::KeyIdMissing
            | Self::KeyUnknown
            | Self::Claims
            | Self::ClaimDuplicate
            | Self::ClaimMissing(_)
            | Self::ClaimType(_)
            | Self::ClaimTime(_)
            | Self::ClaimsTooMany
            | Self::IssuerUnknown
            | Self::Signature
            | Self::NotYetValid
            | Self::IssuedInFuture
            | Self::ConfirmationUnsupported
            | Self::Confirmation => "the access token is not valid",
        }
    }
}

/// For the operator: the cause, and the member it lies in.
impl fmt::Display for TokenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::ClaimMissing(claim) = self {
            write!(out, "claim `{claim}` is missing")
        } else if let Self::ClaimType(claim) = self {
            write!(out, "claim `{claim}` has the wrong type")
        } else if let Self::ClaimTime(claim) = self {
            write!(out, "claim `{claim}` is out of range")
        } else {
            out.write_str(self.name())
        }
    }
}

/// Why a caller is no principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// Neither token nor certificate.
    NoCredentials,
    /// The token is refused.
    Token(TokenError),
    /// The token is valid, and no agent is bound to it.
    TokenUnknown,
    /// The certificate's names are bound to no agent.
    CertificateUnknown,
    /// The certificate's names are bound to several agents.
    CertificateAmbiguous,
    /// The certificate's time is over; TLS looked only when the connection began.
    CertificateExpired,
    /// Token and certificate are bound to different agents.
    AgentsDiffer,
    /// The agent is suspended.
    AgentSuspended,
    /// The agent is retired.
    AgentRetired,
    /// The agent's `expires` has passed.
    AgentExpired,
    /// The source address is in none of the agent's networks.
    NetworkRefused,
}

impl IdentityError {
    /// The stable name in records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::Token(error) => error.name(),
            Self::TokenUnknown => "token_agent_unknown",
            Self::CertificateUnknown => "certificate_agent_unknown",
            Self::CertificateAmbiguous => "certificate_ambiguous",
            Self::CertificateExpired => "certificate_expired",
            Self::AgentsDiffer => "agents_differ",
            Self::AgentSuspended => "agent_suspended",
            Self::AgentRetired => "agent_retired",
            Self::AgentExpired => "agent_expired",
            Self::NetworkRefused => "network_refused",
        }
    }
}

impl From<TokenError> for IdentityError {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Token(error) = self { error.fmt(out) } else { out.write_str(self.name()) }
    }
}

/// The `error` of a challenge (RFC 6750 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeError {
    /// Another token may help.
    InvalidToken,
    /// A token with more scope may help.
    InsufficientScope,
}

impl ChallengeError {
    /// The code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

/// What a refused peer is told; `resource_metadata` and `scope` of the `WWW-Authenticate` field are the route's to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// 401 where another token may help, else 403: a client retries a 401 with a fresh token, which would loop.
    pub status: u16,
    /// Absent where no token was sent (RFC 6750 §3.1) and where no token would help.
    pub error: Option<ChallengeError>,
    /// Words for people. No value of the request or of our configuration is in them.
    pub description: &'static str,
}

/// The challenge for a refused identity.
pub fn challenge(error: &IdentityError) -> Challenge {
    let (status, error, description) = match error {
        IdentityError::NoCredentials => (401, None, "an access token is required"),
        IdentityError::Token(cause) => (401, Some(ChallengeError::InvalidToken), cause.outward()),
        IdentityError::CertificateExpired => (401, None, "the client certificate expired"),
        // Which of these it was stays ours: the peer cannot mend it, and must not learn which agents exist.
        IdentityError::TokenUnknown
        | IdentityError::CertificateUnknown
        | IdentityError::CertificateAmbiguous
        | IdentityError::AgentsDiffer
        | IdentityError::AgentSuspended
        | IdentityError::AgentRetired
        | IdentityError::AgentExpired
        | IdentityError::NetworkRefused => (403, None, "this caller may not call here at present"),
    };
    Challenge { status, error, description }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: IdentityError, status: u16, code: Option<&str>) {
        let given = challenge(&error);
        assert_eq!((given.status, given.error.map(ChallengeError::as_str)), (status, code), "{error}");
    }

    #[test]
    fn a_challenge_offers_a_retry_only_where_a_token_would_help() {
        check(IdentityError::NoCredentials, 401, None);
        check(IdentityError::Token(TokenError::Signature), 401, Some("invalid_token"));
        check(IdentityError::CertificateExpired, 401, None);
        for error in [
            IdentityError::TokenUnknown,
            IdentityError::CertificateUnknown,
            IdentityError::CertificateAmbiguous,
            IdentityError::AgentsDiffer,
            IdentityError::AgentSuspended,
            IdentityError::AgentRetired,
            IdentityError::AgentExpired,
            IdentityError::NetworkRefused,
        ] {
            check(error, 403, None);
            assert_eq!(challenge(&error).description, "this caller may not call here at present", "{error}");
        }
        assert_eq!(ChallengeError::InsufficientScope.as_str(), "insufficient_scope");
        assert_eq!(TokenError::ClaimType("exp").to_string(), "claim `exp` has the wrong type");
        assert_eq!(
            challenge(&TokenError::KeyUnknown.into()).description,
            challenge(&TokenError::Signature.into()).description
        );
    }
}
