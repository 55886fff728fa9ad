//! Reads the claims of a verified token, once. In: their JSON, what the issuer promised, the time. Out: a strict struct. Never here: signatures.

use crate::identity::error::TokenError;
use crate::identity::issuer::{Audience, Issuer};
use crate::identity::strict::{Json, Members, member};
use crate::identity::thumbprint::Thumbprint;
use crate::time::UnixMillis;

/// Which kind of claim names the agent. Kept apart, so that a user who picks a client's id as the own `sub` gains nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentClaim {
    /// The OAuth client: `client_id`, `azp`, `appid`, `cid`, or whatever the issuer's configuration names.
    Client,
    /// The subject: `sub`.
    Subject,
}

/// A claim as policies may read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimValue {
    /// A string.
    Text(Box<str>),
    /// A whole number.
    Integer(i64),
    /// A truth value.
    Truth(bool),
    /// A list of strings.
    Texts(Vec<Box<str>>),
    /// Present, and of a shape no rule can read: reading it is an error, and so a denial.
    Unreadable,
}

/// What a verified token says. Only `jwt::verify` makes one.
#[derive(Debug)]
pub struct VerifiedToken {
    pub(super) issuer: Box<str>,
    pub(super) agent_claim: AgentClaim,
    pub(super) agent: Box<str>,
    pub(super) subject: Box<str>,
    pub(super) user: Option<Box<str>>,
    pub(super) accounts: Vec<Box<str>>,
    pub(super) scopes: Vec<Box<str>>,
    pub(super) id: Option<Box<str>>,
    pub(super) client_id: Option<Box<str>>,
    pub(super) issued: UnixMillis,
    pub(super) expires: UnixMillis,
    pub(super) bound_to: Option<Thumbprint>,
    pub(super) claims: Vec<(Box<str>, ClaimValue)>,
}

impl VerifiedToken {
    /// The configured name of the issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The agent as the issuer names it, and in which kind of claim.
    pub fn agent(&self) -> (AgentClaim, &str) {
        (self.agent_claim, &self.agent)
    }

    /// `sub`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The user the agent acts for.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The accounts named by the issuer's account claim.
    pub fn accounts(&self) -> &[Box<str>] {
        &self.accounts
    }

    /// The members of `scope` (RFC 6749 §3.3).
    pub fn scopes(&self) -> &[Box<str>] {
        &self.scopes
    }

    /// `jti`.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// `client_id`.
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// `iat`.
    pub fn issued(&self) -> UnixMillis {
        self.issued
    }

    /// `exp`, without any skew.
    pub fn expires(&self) -> UnixMillis {
        self.expires
    }

    /// The client certificate the token is bound to (`cnf.x5t#S256`).
    pub fn bound_to(&self) -> Option<Thumbprint> {
        self.bound_to
    }

    /// The claims beside the protocol's own, at most [`CLAIMS_MAX`].
    pub fn claims(&self) -> impl Iterator<Item = (&str, &ClaimValue)> {
        self.claims.iter().map(|(name, value)| (&**name, value))
    }
}

/// Claims kept for policies: Entra, Okta and Keycloak send 10 to 25.
pub const CLAIMS_MAX: usize = 32;

/// Bytes of the kept claims, names and values: half of the largest token.
pub const CLAIM_BYTES_MAX: usize = 4 * 1024;

/// 9999-12-31T23:59:59Z, the last second RFC 3339 can write.
const TIME_SECONDS_MAX: i64 = 253_402_300_799;

/// Claims of the protocol itself, which are checked here and not handed on.
const OWN_CLAIMS: [&str; 8] = ["iss", "aud", "exp", "nbf", "iat", "jti", "cnf", "scope"];

/// Judges and keeps the claims of a token whose signature holds.
pub(super) fn read(
    issuer: &Issuer,
    claims: &Members,
    resource: &str,
    now: UnixMillis,
) -> Result<VerifiedToken, TokenError> {
    let (issued, expires) = times(issuer, claims, now)?;
    audience(issuer, claims, resource)?;
    let subject = required(claims, "sub")?;
    let (agent_claim, agent) = agent(issuer, claims)?;
    let user = issuer.user_claim.as_deref().map_or(Ok(None), |name| optional(claims, name, "user"))?;
    let accounts = issuer.account_claim.as_deref().map_or(Ok(Vec::new()), |name| accounts(claims, name))?;
    let scopes = optional(claims, "scope", "scope")?.unwrap_or_default();
    Ok(VerifiedToken {
        issuer: issuer.name.clone(),
        agent_claim,
        agent: agent.into(),
        subject: subject.into(),
        user: user.map(Into::into),
        accounts,
        scopes: scopes.split(' ').filter(|scope| !scope.is_empty()).map(Into::into).collect(),
        id: optional(claims, "jti", "jti")?.map(Into::into),
        client_id: optional(claims, "client_id", "client_id")?.map(Into::into),
        issued,
        expires,
        bound_to: confirmation(claims)?,
        claims: others(claims)?,
    })
}

/// Refuses what is no access token by its claims, where its `typ` does not say that it is one. An issuer signs ID tokens with the same keys, and
/// every user's browser holds one; were it taken, whoever signs in could act as an agent.
pub(super) fn no_id_token(issuer: &Issuer, claims: &Members) -> Result<(), TokenError> {
    if NEVER_IN_ACCESS_TOKENS.iter().any(|name| member(claims, name).is_some()) {
        return Err(TokenError::IdToken);
    }
    // Keycloak and Cognito say in a claim what a token is.
    let says = |name: &str, words: &[&str]| match member(claims, name) {
        None => true,
        Some(Json::Text(word)) => words.iter().any(|own| word.eq_ignore_ascii_case(own)),
        Some(Json::Null | Json::Truth(_) | Json::Integer(_) | Json::Number | Json::List(_) | Json::Object(_)) => false,
    };
    if !says("typ", &["Bearer", "at+jwt"]) || !says("token_use", &["access"]) {
        return Err(TokenError::IdToken);
    }
    // OpenID Connect Core 1.0 §2: an ID token's audience is the client that asked for it; an access token's is somebody else.
    let own = |json: &Json| {
        issuer.agent_claims.iter().map(|name| &**name).chain(CLIENTS).any(|name| member(claims, name) == Some(json))
    };
    let to_itself = match member(claims, "aud") {
        Some(Json::List(list)) => list.iter().any(own),
        Some(one) => own(one),
        None => false,
    };
    if to_itself { Err(TokenError::IdToken) } else { Ok(()) }
}

/// Claims of ID tokens (OpenID Connect Core 1.0 §2, §3.3.2.11; FAPI 1.0 Part 2 §5.1.1) and of logout and event tokens (RFC 8417 §2.2).
const NEVER_IN_ACCESS_TOKENS: [&str; 5] = ["nonce", "at_hash", "c_hash", "s_hash", "events"];

/// Where issuers name the client.
const CLIENTS: [&str; 4] = ["client_id", "azp", "appid", "cid"];

/// `iat` and `exp`, after both and `nbf` were judged.
fn times(issuer: &Issuer, claims: &Members, now: UnixMillis) -> Result<(UnixMillis, UnixMillis), TokenError> {
    let missing = |name| move || TokenError::ClaimMissing(name);
    let expires = time(claims, "exp")?.ok_or_else(missing("exp"))?;
    let issued = time(claims, "iat")?.ok_or_else(missing("iat"))?;
    let not_before = time(claims, "nbf")?;
    let skew = issuer.skew();
    // RFC 7519 §4.1.4: "on or after which the JWT MUST NOT be accepted".
    if now >= expires.after(skew) {
        return Err(TokenError::Expired);
    }
    if not_before.is_some_and(|start| start > now.after(skew)) {
        return Err(TokenError::NotYetValid);
    }
    if issued > now.after(skew) {
        return Err(TokenError::IssuedInFuture);
    }
    Ok((issued, expires))
}

/// A NumericDate (RFC 7519 §2). The RFC allows fractions; no issuer we know writes one, and two readers may round it differently.
fn time(claims: &Members, name: &'static str) -> Result<Option<UnixMillis>, TokenError> {
    match member(claims, name) {
        None => Ok(None),
        Some(Json::Integer(seconds)) if (0..=TIME_SECONDS_MAX).contains(seconds) => {
            Ok(Some(UnixMillis::from_seconds(*seconds)))
        }
        Some(Json::Integer(_)) => Err(TokenError::ClaimTime(name)),
        Some(Json::Null | Json::Truth(_) | Json::Number | Json::Text(_) | Json::List(_) | Json::Object(_)) => {
            Err(TokenError::ClaimType(name))
        }
    }
}

fn audience(issuer: &Issuer, claims: &Members, resource: &str) -> Result<(), TokenError> {
    let expected = match &issuer.audience {
        Audience::RouteResource => resource,
        Audience::Fixed(value) => value,
    };
    let given = match member(claims, "aud").ok_or(TokenError::ClaimMissing("aud"))? {
        Json::Text(only) => only,
        Json::List(list) => match list.as_slice() {
            [Json::Text(only)] => only,
            [] => return Err(TokenError::Audience),
            [_] => return Err(TokenError::ClaimType("aud")),
            // A token for several resources lets each of them replay it at the others.
            [_, _, ..] => return Err(TokenError::AudienceSeveral),
        },
        Json::Null | Json::Truth(_) | Json::Integer(_) | Json::Number | Json::Object(_) => {
            return Err(TokenError::ClaimType("aud"));
        }
    };
    if **given == *expected { Ok(()) } else { Err(TokenError::Audience) }
}

fn agent<'j>(issuer: &Issuer, claims: &'j Members) -> Result<(AgentClaim, &'j str), TokenError> {
    for name in &issuer.agent_claims {
        if let Some(value) = optional(claims, name, "agent")? {
            let kind = if **name == *"sub" { AgentClaim::Subject } else { AgentClaim::Client };
            return Ok((kind, value));
        }
    }
    Err(TokenError::ClaimMissing("agent"))
}

fn accounts(claims: &Members, name: &str) -> Result<Vec<Box<str>>, TokenError> {
    match member(claims, name).map(value) {
        None => Ok(Vec::new()),
        Some(ClaimValue::Text(one)) => Ok(vec![one]),
        Some(ClaimValue::Texts(several)) => Ok(several),
        Some(ClaimValue::Integer(_) | ClaimValue::Truth(_) | ClaimValue::Unreadable) => {
            Err(TokenError::ClaimType("account"))
        }
    }
}

/// The confirmation method (RFC 7800 §3.1). What we cannot check is refused: a bound token that is taken unbound is a bearer token again.
fn confirmation(claims: &Members) -> Result<Option<Thumbprint>, TokenError> {
    let members = match member(claims, "cnf") {
        None => return Ok(None),
        Some(Json::Object(members)) => members,
        Some(Json::Null | Json::Truth(_) | Json::Integer(_) | Json::Number | Json::Text(_) | Json::List(_)) => {
            return Err(TokenError::ClaimType("cnf"));
        }
    };
    match members.as_slice() {
        [(name, Json::Text(text))] if **name == *"x5t#S256" => {
            Thumbprint::parse(text).map(Some).ok_or(TokenError::Confirmation)
        }
        [(name, _)] if **name == *"x5t#S256" => Err(TokenError::Confirmation),
        [] | [_] | [_, _, ..] => Err(TokenError::ConfirmationUnsupported),
    }
}

/// The claims for policies. One that is too much refuses the token instead of vanishing: a rule may forbid because of it.
fn others(claims: &Members) -> Result<Vec<(Box<str>, ClaimValue)>, TokenError> {
    let mut kept = Vec::new();
    let mut bytes = 0;
    for (name, json) in claims.iter().filter(|(name, _)| !OWN_CLAIMS.contains(&&**name)) {
        let value = value(json);
        bytes += name.len() + size(&value);
        if kept.len() == CLAIMS_MAX || bytes > CLAIM_BYTES_MAX {
            return Err(TokenError::ClaimsTooMany);
        }
        kept.push((name.clone(), value));
    }
    Ok(kept)
}

fn value(json: &Json) -> ClaimValue {
    match json {
        Json::Text(text) => ClaimValue::Text(text.clone()),
        Json::Integer(number) => ClaimValue::Integer(*number),
        Json::Truth(truth) => ClaimValue::Truth(*truth),
        Json::List(list) => {
            let texts = list.iter().map(|item| match item {
                Json::Text(text) => Some(text.clone()),
                Json::Null | Json::Truth(_) | Json::Integer(_) | Json::Number | Json::List(_) | Json::Object(_) => None,
            });
            texts.collect::<Option<Vec<_>>>().map_or(ClaimValue::Unreadable, ClaimValue::Texts)
        }
        Json::Null | Json::Number | Json::Object(_) => ClaimValue::Unreadable,
    }
}

fn size(value: &ClaimValue) -> usize {
    match value {
        ClaimValue::Text(text) => text.len(),
        ClaimValue::Texts(list) => list.iter().map(|text| text.len()).sum(),
        ClaimValue::Integer(_) | ClaimValue::Truth(_) | ClaimValue::Unreadable => 8,
    }
}

/// A required string.
pub(super) fn required<'j>(claims: &'j Members, name: &'static str) -> Result<&'j str, TokenError> {
    optional(claims, name, name)?.ok_or(TokenError::ClaimMissing(name))
}

/// A string that may be absent; `role` is what the operator is told, for the claim's own name may be configured.
fn optional<'j>(claims: &'j Members, name: &str, role: &'static str) -> Result<Option<&'j str>, TokenError> {
    match member(claims, name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(Json::Null | Json::Truth(_) | Json::Integer(_) | Json::Number | Json::List(_) | Json::Object(_)) => {
            Err(TokenError::ClaimType(role))
        }
    }
}
