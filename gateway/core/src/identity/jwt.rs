//! Verifies a token. In: the issuers, the token's text, this resource, the time. Out: what it says, or the cause to refuse it. Never here: agents.
//!
//! A compact JWS with a JWT access token (RFC 7515, 7519, 9068), read by the rules of RFC 8725. Its issuer's own words choose nothing
//! but which key to try; keys, algorithms and types come from our configuration.

use crate::identity::claims::{self, VerifiedToken};
use crate::identity::error::TokenError;
use crate::identity::issuer::{ACCESS_TOKEN, Issuer, Issuers, WITHOUT_TYPE};
use crate::identity::keys::{Algorithm, KeyMiss};
use crate::identity::strict::{self, Json, Members, StrictError, member};
use crate::limits::{KEY_ID_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::time::UnixMillis;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Verifies `token` for the route whose resource URI is `resource`.
pub fn verify(issuers: &Issuers, token: &str, resource: &str, now: UnixMillis) -> Result<VerifiedToken, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLarge);
    }
    let parts = split(token)?;
    let header = Header::read(parts.header)?;
    // The claims are parsed here, once; until the signature holds, `iss` alone is looked at, and only to find the keys.
    let claims = strict::object(&decode(parts.claims)?).map_err(|fault| match fault {
        StrictError::Duplicate => TokenError::ClaimDuplicate,
        StrictError::Syntax { .. } | StrictError::TooDeep | StrictError::TooWide => TokenError::Claims,
    })?;
    let issuer = issuers.of(claims::required(&claims, "iss")?).ok_or(TokenError::IssuerUnknown)?;
    header.check(issuer)?;
    let key = issuer.keys.find(header.key_id.as_deref(), header.algorithm).map_err(|miss| match miss {
        KeyMiss::Unknown => TokenError::KeyUnknown,
        KeyMiss::Unnamed => TokenError::KeyIdMissing,
        KeyMiss::Algorithm => TokenError::AlgorithmMismatch,
    })?;
    if !key.signed(parts.signed.as_bytes(), &decode(parts.signature)?) {
        return Err(TokenError::Signature);
    }
    if !header.says_access() {
        claims::no_id_token(issuer, &claims)?;
    }
    claims::read(issuer, &claims, resource, now)
}

struct Parts<'t> {
    signed: &'t str,
    header: &'t str,
    claims: &'t str,
    signature: &'t str,
}

fn split(token: &str) -> Result<Parts<'_>, TokenError> {
    // RFC 7516 §9: a JWE has five parts, a JWS three.
    if token.bytes().filter(|byte| *byte == b'.').count() == 4 {
        return Err(TokenError::Encrypted);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    if claims.contains('.') {
        return Err(TokenError::Malformed);
    }
    Ok(Parts { signed, header, claims, signature })
}

/// Base64url without padding and with zero trailing bits, so that one token has one spelling.
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Base64)
}

struct Header {
    algorithm: Algorithm,
    key_id: Option<Box<str>>,
    kind: Option<Box<str>>,
}

impl Header {
    fn read(part: &str) -> Result<Self, TokenError> {
        let members = strict::object(&decode(part)?).map_err(|fault| match fault {
            StrictError::Duplicate => TokenError::HeaderDuplicate,
            StrictError::Syntax { .. } | StrictError::TooDeep | StrictError::TooWide => TokenError::Header,
        })?;
        // Other members are ignored, as RFC 7515 §4 says they must be; Entra sends `x5t`.
        for (name, _) in &members {
            match &**name {
                "crit" => return Err(TokenError::HeaderCritical),
                "jwk" | "jku" | "x5c" | "x5u" => return Err(TokenError::HeaderKey),
                "b64" => return Err(TokenError::HeaderUnencoded),
                "zip" => return Err(TokenError::HeaderCompressed),
                "enc" => return Err(TokenError::Encrypted),
                _ => {}
            }
        }
        let algorithm = text(&members, "alg", TokenError::Header)?;
        let algorithm = algorithm.and_then(Algorithm::parse).ok_or(TokenError::Algorithm)?;
        let key_id = text(&members, "kid", TokenError::KeyId)?;
        if key_id.is_some_and(|id| id.len() > KEY_ID_BYTES_MAX) {
            return Err(TokenError::KeyId);
        }
        let kind = text(&members, "typ", TokenError::Header)?;
        Ok(Self { algorithm, key_id: key_id.map(Into::into), kind: kind.map(Into::into) })
    }

    /// RFC 9068 §2.1: whoever writes this type says that the token is an access token, and no ID token has it.
    fn says_access(&self) -> bool {
        self.kind.as_deref().is_some_and(|kind| media_type(kind).eq_ignore_ascii_case(ACCESS_TOKEN))
    }

    fn check(&self, issuer: &Issuer) -> Result<(), TokenError> {
        let allowed = |kind: &str| issuer.token_types.iter().any(|own| media_type(own).eq_ignore_ascii_case(kind));
        let fits = match self.kind.as_deref().map(media_type) {
            Some(kind) => !kind.eq_ignore_ascii_case(WITHOUT_TYPE) && allowed(kind),
            None => allowed(WITHOUT_TYPE),
        };
        if !fits {
            return Err(TokenError::Type);
        }
        if !issuer.algorithms.contains(&self.algorithm) {
            return Err(TokenError::AlgorithmNotAllowed);
        }
        Ok(())
    }
}

/// RFC 7515 §4.1.9: "A recipient … MUST treat it as if "application/" were prepended"; media types know no case.
fn media_type(kind: &str) -> &str {
    match kind.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") && !rest.contains('/') => rest,
        Some(_) | None => kind,
    }
}

fn text<'j>(members: &'j Members, name: &str, wrong: TokenError) -> Result<Option<&'j str>, TokenError> {
    match member(members, name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(Json::Null | Json::Truth(_) | Json::Integer(_) | Json::Number | Json::List(_) | Json::Object(_)) => {
            Err(wrong)
        }
    }
}

#[cfg(test)]
mod tests;
