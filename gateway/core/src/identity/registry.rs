//! Knows the agents. In: the text of `agents.toml`. Out: the agent of a certificate's or token's name. Never here: files, statuses that change.
//!
//! An agent that is not in it is refused, whatever it proves. The registry is part of a snapshot and never changes; a suspended agent
//! comes with the next snapshot.

mod file;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::identity::AgentIndex;
use crate::identity::certificate::CertificateNames;
use crate::identity::claims::AgentClaim;
use crate::identity::network::Network;
use crate::time::UnixMillis;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Whether an agent may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It may.
    Active,
    /// It may not for now.
    Suspended,
    /// It never will again; its record stays for the audit.
    Retired,
}

impl Status {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Retired => "retired",
        }
    }
}

/// One agent of the registry.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its id: lower-case letters, digits, `-` and `_`, at most [`AGENT_ID_BYTES_MAX`].
    pub id: Box<str>,
    /// Who answers for it.
    pub owner: Box<str>,
    /// Whether it may act.
    pub status: Status,
    /// The groups policies know it by.
    pub groups: Vec<Box<str>>,
    /// The accounts it may act on.
    pub accounts: Vec<Box<str>>,
    /// Where it may call from; anywhere if empty.
    pub networks: Vec<Network>,
    /// How long after `iat` a token of it is taken, whatever its `exp`.
    pub token_lifetime_max: Duration,
    /// When it was entered.
    pub created: Option<UnixMillis>,
    /// From when on it is refused.
    pub expires: Option<UnixMillis>,
    /// When someone last looked at it.
    pub last_reviewed: Option<UnixMillis>,
}

impl Agent {
    /// Whether it may call from `source`.
    pub fn allows_source(&self, source: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(source))
    }
}

/// An agent id: it stands in every audit record.
pub const AGENT_ID_BYTES_MAX: usize = 64;

/// The cap on a token's age where the agent names none: the longest life Okta lets an access token have.
pub const TOKEN_LIFETIME_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// What the names of a certificate lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateMatch {
    /// This agent.
    Agent(AgentIndex),
    /// Nobody.
    Unknown,
    /// Several agents.
    Ambiguous,
}

type Names = HashMap<Box<str>, AgentIndex, ahash::RandomState>;

/// Every agent, by id and by what it can prove.
pub struct Registry {
    agents: Vec<Arc<Agent>>,
    ids: Names,
    spiffe: Names,
    dns: Names,
    /// By issuer, then by the client's or subject's name there.
    tokens: HashMap<Box<str>, IssuerNames, ahash::RandomState>,
    warnings: Diagnostics,
}

struct IssuerNames {
    line: u32,
    clients: Names,
    subjects: Names,
}

impl Registry {
    /// Reads `agents.toml`. Every finding is reported, each with its line; one error refuses the whole file.
    pub fn parse(toml: &str, file: &str) -> Result<Self, Diagnostics> {
        file::read(toml, file)
    }

    /// What the operator should look at, though it loads.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// An error for each issuer that bindings name and that is not configured: such a binding could never match.
    pub fn unknown_issuers(&self, known: &[&str], file: &str) -> Diagnostics {
        let unknown = self.tokens.iter().filter(|(name, _)| !known.contains(&&***name));
        let mut found: Diagnostics = unknown
            .map(|(name, names)| {
                let finding = Diagnostic::error(file, Some(names.line), format!("unknown issuer `{name}`"));
                let near = crate::diagnostic::did_you_mean(name, known.iter().copied());
                finding.help(near.unwrap_or_else(|| format!("name it in the configuration as `[identity.{name}]`")))
            })
            .collect();
        found.sort_by_key(|finding| finding.line);
        found
    }

    /// Every agent, in the order of the file.
    pub fn agents(&self) -> impl ExactSizeIterator<Item = &Agent> {
        self.agents.iter().map(|agent| &**agent)
    }

    /// The agent at this index.
    pub fn agent(&self, index: AgentIndex) -> Option<&Arc<Agent>> {
        self.agents.get(index.0 as usize)
    }

    /// The agent of this id.
    pub fn find(&self, id: &str) -> Option<AgentIndex> {
        self.ids.get(id).copied()
    }

    /// The agent whom a token of this issuer (by its configured name) names.
    pub fn by_token(&self, issuer: &str, claim: AgentClaim, value: &str) -> Option<AgentIndex> {
        let names = self.tokens.get(issuer)?;
        match claim {
            AgentClaim::Client => names.clients.get(value),
            AgentClaim::Subject => names.subjects.get(value),
        }
        .copied()
    }

    /// The token bindings of an agent: issuer (by its configured name), kind of claim, value; sorted.
    pub fn bindings(&self, agent: AgentIndex) -> Vec<(&str, AgentClaim, &str)> {
        let mut found = Vec::new();
        for (issuer, names) in &self.tokens {
            for (claim, names) in [(AgentClaim::Client, &names.clients), (AgentClaim::Subject, &names.subjects)] {
                let own = names.iter().filter(|(_, index)| **index == agent);
                found.extend(own.map(|(value, _)| (&**issuer, claim, &**value)));
            }
        }
        found.sort_by_key(|(issuer, claim, value)| (*issuer, *claim == AgentClaim::Subject, *value));
        found
    }

    /// The agent to whom the names of a certificate are bound. Names that are bound to nobody do not count.
    pub fn by_certificate(&self, names: &CertificateNames) -> CertificateMatch {
        let spiffe = names.spiffe().and_then(|id| self.spiffe.get(id));
        let mut found = CertificateMatch::Unknown;
        for index in spiffe.into_iter().chain(names.dns().iter().filter_map(|name| self.dns.get(name))) {
            match found {
                CertificateMatch::Unknown => found = CertificateMatch::Agent(*index),
                CertificateMatch::Agent(other) if other == *index => {}
                CertificateMatch::Agent(_) | CertificateMatch::Ambiguous => return CertificateMatch::Ambiguous,
            }
        }
        found
    }

    fn empty() -> Self {
        Self {
            agents: Vec::new(),
            ids: names(),
            spiffe: names(),
            dns: names(),
            tokens: HashMap::with_hasher(hasher()),
            warnings: Vec::new(),
        }
    }
}

fn names() -> Names {
    HashMap::with_hasher(hasher())
}

/// Fixed seeds: only the operator fills these tables, and core takes no randomness of its own.
fn hasher() -> ahash::RandomState {
    ahash::RandomState::with_seeds(0x5045_4f50, 0x4c45, 0x4147_454e, 0x5453)
}

#[cfg(test)]
mod tests;
