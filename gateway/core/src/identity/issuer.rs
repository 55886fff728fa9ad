//! Says whose tokens are believed, and how. In: what the operator configured. Out: the issuer of an `iss` value. Never here: claims.

use crate::identity::keys::{Algorithm, KeySet};
use std::time::Duration;

/// One identity provider whose tokens are believed.
pub struct Issuer {
    /// The operator's word for it, as agents' `tokens` name it.
    pub name: Box<str>,
    /// The `iss` value, compared byte for byte (RFC 7519 §4.1.1).
    pub issuer: Box<str>,
    /// The keys it signs with.
    pub keys: KeySet,
    /// The algorithms it may sign with; a key of another is not used.
    pub algorithms: Vec<Algorithm>,
    /// The one audience its tokens must name.
    pub audience: Audience,
    /// Where the agent is named: the first of these claims that a token has.
    pub agent_claims: Vec<Box<str>>,
    /// Where the user the agent acts for is named, if anywhere.
    pub user_claim: Option<Box<str>>,
    /// Where the account or accounts are named, if anywhere.
    pub account_claim: Option<Box<str>>,
    /// The `typ` values it writes, such as `at+jwt` (RFC 9068 §2.1); [`WITHOUT_TYPE`] where it may leave the member out.
    pub token_types: Vec<Box<str>>,
    /// How far its clock may be off; at most [`CLOCK_SKEW_MAX`] is granted.
    pub clock_skew: Duration,
}

impl Issuer {
    /// The skew that is granted.
    pub fn skew(&self) -> Duration {
        self.clock_skew.min(CLOCK_SKEW_MAX)
    }
}

/// The `typ` of an access token (RFC 9068 §2.1). Any other says nothing of what the token is for, so more is asked of it.
pub const ACCESS_TOKEN: &str = "at+jwt";

/// Among an issuer's types: tokens without any. A token whose `typ` is this very word is refused.
pub const WITHOUT_TYPE: &str = "none";

/// Clocks that are further apart are broken, and every second of skew is a second more for a stolen token.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// What a token's `aud` must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The resource URI of the route that was called (RFC 8707).
    RouteResource,
    /// This value on every route, for providers that know no resource URIs.
    Fixed(Box<str>),
}

/// Every issuer that is believed.
pub struct Issuers(Vec<Issuer>);

/// Two configured issuers have one `iss` value, so which one is meant would be a guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SameIssuer {
    /// The name of the one that stands first.
    pub first: Box<str>,
    /// The name of the other.
    pub second: Box<str>,
}

impl Issuers {
    /// Takes the issuers in; none is fine where agents come with certificates alone.
    pub fn new(issuers: Vec<Issuer>) -> Result<Self, SameIssuer> {
        for (index, later) in issuers.iter().enumerate() {
            if let Some(first) = issuers.iter().take(index).find(|other| other.issuer == later.issuer) {
                return Err(SameIssuer { first: first.name.clone(), second: later.name.clone() });
            }
        }
        Ok(Self(issuers))
    }

    /// The issuer of this `iss` value.
    pub fn of(&self, iss: &str) -> Option<&Issuer> {
        self.0.iter().find(|issuer| *issuer.issuer == *iss)
    }

    /// All of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Issuer> {
        self.0.iter()
    }
}
