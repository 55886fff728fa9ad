//! Names the caller to the rules. In: an authenticated principal. Out: what rules may read of it. Never here: authentication.

/// The caller of one request.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    /// The agent, by its position in the registry.
    pub agent: AgentIndex,
    /// The user it acts for, `principal.user`.
    pub user: Option<&'a str>,
    /// The customer account of its token.
    pub account: Option<&'a str>,
    /// Its token's claims.
    pub claims: &'a [(Box<str>, ClaimValue)],
}

/// A position in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AgentIndex(pub u32);

/// A claim as rules may read it.
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
    /// Present, and of a shape no rule can read.
    Unreadable,
}
