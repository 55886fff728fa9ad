//! Names the caller to the rules. In: an authenticated principal. Out: what rules may read of it. Never here: authentication.

use crate::identity::AgentIndex;
use crate::identity::claims::ClaimValue;
use crate::identity::principal::Principal;

/// The caller of one request.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    /// The agent's position in the registry that the engine was built with.
    pub agent: AgentIndex,
    /// The agent's id; a position that means another agent in the engine's registry is refused.
    pub id: &'a str,
    /// The user it acts for, `principal.user`.
    pub user: Option<&'a str>,
    /// The customer account of its token.
    pub account: Option<&'a str>,
    /// Its token's claims.
    pub claims: Claims<'a>,
}

/// Where the claims are found; they are looked at only where a rule reads them.
#[derive(Clone, Copy)]
pub enum Claims<'a> {
    /// In the token of a principal.
    Principal(&'a Principal),
    /// In a list, for a rule that is tried out or explained.
    Listed(&'a [(Box<str>, ClaimValue)]),
}

impl<'a> From<&'a Principal> for Who<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self {
            agent: principal.agent_index(),
            id: principal.agent(),
            user: principal.user(),
            account: principal.account(),
            claims: Claims::Principal(principal),
        }
    }
}

impl<'a> Claims<'a> {
    /// Calls `each` for every claim until it fails.
    pub fn try_each<E>(self, mut each: impl FnMut(&'a str, &'a ClaimValue) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Principal(principal) => principal.claims().try_for_each(|(name, value)| each(name, value)),
            Self::Listed(claims) => claims.iter().try_for_each(|(name, value)| each(name, value)),
        }
    }
}
