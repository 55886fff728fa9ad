//! Decides who calls. In: the registry, the issuers, the evidence, this resource, the time. Out: a `Principal`, or why there is none.
//! Never here: what the caller may do.

use crate::identity::AgentIndex;
use crate::identity::certificate::CertificateNames;
use crate::identity::claims::{ClaimValue, VerifiedToken};
use crate::identity::error::{IdentityError, TokenError};
use crate::identity::issuer::Issuers;
use crate::identity::jwt;
use crate::identity::registry::{Agent, CertificateMatch, Registry, Status};
use crate::identity::thumbprint::Thumbprint;
use crate::time::UnixMillis;
use std::net::IpAddr;
use std::sync::Arc;

/// What a request and its connection show about the caller.
#[derive(Clone, Copy)]
pub struct Evidence<'e> {
    /// The bearer token of the `Authorization` field, without its scheme.
    pub token: Option<&'e str>,
    /// The client certificate whose chain TLS has checked.
    pub certificate: Option<&'e CertificateNames>,
    /// The peer's address.
    pub source: IpAddr,
}

/// A caller that was proven. Only [`authenticate`] makes one, and nothing copies it.
#[derive(Debug)]
pub struct Principal {
    index: AgentIndex,
    agent: Arc<Agent>,
    token: Option<VerifiedToken>,
    certificate: Option<Thumbprint>,
    expires: Option<UnixMillis>,
}

impl Principal {
    /// The agent's position in the registry that proved it.
    pub fn agent_index(&self) -> AgentIndex {
        self.index
    }

    /// The agent's id.
    pub fn agent(&self) -> &str {
        &self.agent.id
    }

    /// The agent's record.
    pub fn record(&self) -> &Agent {
        &self.agent
    }

    /// The user the agent acts for.
    pub fn user(&self) -> Option<&str> {
        self.token.as_ref()?.user()
    }

    /// The account the token names, if it names exactly one; of several, the request must say which.
    pub fn account(&self) -> Option<&str> {
        match self.accounts() {
            [only] => Some(only),
            [] | [_, _, ..] => None,
        }
    }

    /// Every account the token names.
    pub fn accounts(&self) -> &[Box<str>] {
        self.token.as_ref().map_or(&[], |token| token.accounts())
    }

    /// The token's `scope`, member by member.
    pub fn scopes(&self) -> &[Box<str>] {
        self.token.as_ref().map_or(&[], |token| token.scopes())
    }

    /// The token's `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.token.as_ref()?.id()
    }

    /// The token's `client_id`.
    pub fn client_id(&self) -> Option<&str> {
        self.token.as_ref()?.client_id()
    }

    /// The configured name of the token's issuer.
    pub fn issuer(&self) -> Option<&str> {
        Some(self.token.as_ref()?.issuer())
    }

    /// The token's further claims, for policies.
    pub fn claims(&self) -> impl Iterator<Item = (&str, &ClaimValue)> {
        self.token.iter().flat_map(|token| token.claims())
    }

    /// The client certificate that was shown.
    pub fn certificate(&self) -> Option<Thumbprint> {
        self.certificate
    }

    /// From when on the proof no longer holds: the first of the token's end, the agent's cap on it, the certificate's end and the agent's own.
    pub fn expires(&self) -> Option<UnixMillis> {
        self.expires
    }
}

/// Decides who calls. Whatever is shown must hold: a certificate that names nobody is not made good by a token beside it.
pub fn authenticate(
    registry: &Registry,
    issuers: &Issuers,
    evidence: Evidence<'_>,
    resource: &str,
    now: UnixMillis,
) -> Result<Principal, IdentityError> {
    if evidence.token.is_none() && evidence.certificate.is_none() {
        return Err(IdentityError::NoCredentials);
    }
    let token = evidence.token.map(|token| jwt::verify(issuers, token, resource, now)).transpose()?;
    if let Some(token) = &token {
        check_binding(token, evidence.certificate)?;
    }
    let by_token = token.as_ref().map(|token| agent_of_token(registry, token)).transpose()?;
    let by_certificate = evidence.certificate.map(|names| agent_of_certificate(registry, names, now)).transpose()?;
    let index = match (by_token, by_certificate) {
        (Some(token), Some(certificate)) if token != certificate => return Err(IdentityError::AgentsDiffer),
        (Some(index), Some(_) | None) | (None, Some(index)) => index,
        (None, None) => return Err(IdentityError::NoCredentials),
    };
    let agent = Arc::clone(registry.agent(index).ok_or(IdentityError::TokenUnknown)?);
    check_agent(&agent, evidence.source, now)?;
    let token_end = token.as_ref().map(|token| token_end(token, &agent, now)).transpose()?;
    let certificate_end = evidence.certificate.map(CertificateNames::not_after);
    let expires = [token_end, certificate_end, agent.expires].into_iter().flatten().min();
    let certificate = evidence.certificate.map(CertificateNames::thumbprint);
    Ok(Principal { index, agent, token, certificate, expires })
}

/// RFC 8705 §3: "the protected resource … MUST verify that the certificate matches".
fn check_binding(token: &VerifiedToken, shown: Option<&CertificateNames>) -> Result<(), TokenError> {
    let Some(bound) = token.bound_to() else { return Ok(()) };
    let shown = shown.ok_or(TokenError::CertificateMissing)?;
    if shown.thumbprint() == bound { Ok(()) } else { Err(TokenError::CertificateOther) }
}

fn agent_of_token(registry: &Registry, token: &VerifiedToken) -> Result<AgentIndex, IdentityError> {
    let (claim, value) = token.agent();
    registry.by_token(token.issuer(), claim, value).ok_or(IdentityError::TokenUnknown)
}

fn agent_of_certificate(
    registry: &Registry,
    names: &CertificateNames,
    now: UnixMillis,
) -> Result<AgentIndex, IdentityError> {
    if now > names.not_after() {
        return Err(IdentityError::CertificateExpired);
    }
    match registry.by_certificate(names) {
        CertificateMatch::Agent(index) => Ok(index),
        CertificateMatch::Unknown => Err(IdentityError::CertificateUnknown),
        CertificateMatch::Ambiguous => Err(IdentityError::CertificateAmbiguous),
    }
}

fn check_agent(agent: &Agent, source: IpAddr, now: UnixMillis) -> Result<(), IdentityError> {
    match agent.status {
        Status::Active => {}
        Status::Suspended => return Err(IdentityError::AgentSuspended),
        Status::Retired => return Err(IdentityError::AgentRetired),
    }
    if agent.expires.is_some_and(|end| now >= end) {
        return Err(IdentityError::AgentExpired);
    }
    if agent.allows_source(source) { Ok(()) } else { Err(IdentityError::NetworkRefused) }
}

/// The token's own end, cut to the agent's cap on its age.
fn token_end(token: &VerifiedToken, agent: &Agent, now: UnixMillis) -> Result<UnixMillis, IdentityError> {
    let cap = token.issued().after(agent.token_lifetime_max);
    if now >= cap { Err(TokenError::TooOld.into()) } else { Ok(token.expires().min(cap)) }
}

#[cfg(test)]
mod tests;
