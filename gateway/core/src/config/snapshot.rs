//! Bundles all that a request is judged by. In: settings and the texts of every file. Out: one immutable value with one number, or every
//! finding of every stage at once. Never here: IO, clocks.
//!
//! A request reads it once and holds it to its end, so that no request is judged half by the old rules and half by the new.

mod gather;
mod inputs;
mod route;

use std::sync::Arc;

use ahash::AHashMap;
use aws_lc_rs::digest;

use self::gather::Gathered;
pub use self::gather::wanted;
pub use self::route::{METADATA_PATH, Route};
use super::settings::{Learn, Settings};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::identity::issuer::Issuers;
use crate::identity::registry::{Agent, Registry};
use crate::policy::catalogue::Catalogue;
use crate::policy::drift::Drift;
use crate::policy::engine::Engine;
use crate::policy::quarantine::Quarantine;
use crate::policy::spread::Spread;
use crate::policy::surface::ServerIndex;
use crate::protocol::json::JsonLimits;
use crate::time::UnixMillis;
use crate::token::credential::Lender;
use crate::token::scanner::Scanner;

/// One file: how the operator names it, and all of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// As the operator names it.
    pub file: String,
    /// All of it.
    pub text: String,
}

impl Text {
    /// Names all of it.
    fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.file.len() as u64).to_le_bytes());
        hasher.update(self.file.as_bytes());
        hasher.update(self.text.as_bytes());
        hasher.finalize()
    }
}

/// Everything a snapshot is made from.
#[derive(Clone)]
pub struct Texts {
    /// What the configuration means.
    pub settings: Settings,
    /// What reading it left to look at.
    pub warnings: Diagnostics,
    /// The registry of agents.
    pub agents: Text,
    /// The rules, in the order of their names.
    pub policies: Vec<Text>,
    /// The reviewed tools, one entry a server in the order of the settings; nothing where none were learned yet.
    pub catalogues: Vec<Option<Text>>,
    /// The calendars, where the settings name a file of them.
    pub calendars: Option<Text>,
    /// When the files were read, from where on calendars are laid out; no decision hangs on it.
    pub read_at: UnixMillis,
    /// The key sets, one an issuer in the order of the settings.
    pub keys: Vec<Text>,
    /// The upstream credentials; wiped once they are read.
    pub secrets: Option<Text>,
}

/// How the configuration file is called in findings that concern several files; the shell puts the operator's own name in its place.
pub const SETTINGS_FILE: &str = "portcullis.toml";

/// All that a request is judged by.
pub struct Snapshot {
    /// Its number, which every record carries.
    pub version: u64,
    /// `sha256:` over everything it was built from but the values of secrets.
    pub hash: Box<str>,
    /// What the configuration means.
    pub settings: Settings,
    /// Who is known.
    pub registry: Arc<Registry>,
    /// Whose tokens count.
    pub issuers: Arc<Issuers>,
    /// The rules.
    pub engine: Arc<Engine>,
    /// Whether decisions go by Cedar itself, since the tables of these rules were found wrong.
    pub quarantine: Arc<Quarantine>,
    /// The upstream credentials.
    pub lender: Arc<Lender>,
    /// Finds them in what comes back.
    pub scanner: Arc<Scanner>,
    /// What an operator should look at.
    pub warnings: Diagnostics,
    shape: Arc<Shape>,
    /// Names the file that the registry was read from.
    registry_of: blake3::Hash,
}

/// What follows from the servers alone.
struct Shape {
    routes: Vec<Route>,
    by_path: AHashMap<Box<str>, Vec<ServerIndex>>,
    hosts: Vec<Box<str>>,
    catalogues: Vec<Catalogue>,
    /// Name the files that these were read from.
    catalogues_of: Vec<Option<blake3::Hash>>,
    drifts: Vec<Arc<Drift>>,
    upstream_generation: u64,
}

impl Texts {
    /// `sha256:` over everything but the values of secrets and the findings; equal hashes mean equal decisions.
    pub fn hash(&self) -> Box<str> {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut part = |bytes: &[u8]| {
            // Lengths go in, so that no byte can wander from one file into its neighbour.
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        part(format!("{:?}", self.settings).as_bytes());
        let policies = self.policies.iter().map(Some);
        let texts =
            std::iter::once(Some(&self.agents)).chain(policies).chain(self.catalogues.iter().map(Option::as_ref));
        for text in texts.chain(std::iter::once(self.calendars.as_ref())).chain(self.keys.iter().map(Some)) {
            part(text.map_or(b"".as_slice(), |text| text.file.as_bytes()));
            part(text.map_or(b"".as_slice(), |text| text.text.as_bytes()));
        }
        let mut out = String::with_capacity(71);
        out.push_str("sha256:");
        for byte in context.finish().as_ref() {
            out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        out.into_boxed_str()
    }
}

impl Snapshot {
    /// Builds from nothing but texts.
    ///
    /// # Errors
    /// Every finding of every stage, warnings included, if one of them is an error.
    pub fn build(texts: Texts, version: u64) -> Result<Self, Diagnostics> {
        Self::build_after(texts, version, None, Spread::ALONE)
    }

    /// Builds the successor of `before`: a tool that drifted from its reviewed definition stays hidden across the change, and of the rules only
    /// what the change touches is compiled anew.
    ///
    /// # Errors
    /// As [`Snapshot::build`].
    pub fn build_after(texts: Texts, version: u64, before: Option<&Self>, spread: Spread) -> Result<Self, Diagnostics> {
        let hash = texts.hash();
        let registry_of = texts.agents.digest();
        let catalogues_of = texts.catalogues.iter().map(|text| text.as_ref().map(Text::digest)).collect();
        let Gathered {
            settings,
            registry,
            issuers,
            engine,
            lender,
            scanner,
            catalogues,
            learned,
            drifts,
            mut findings,
        } = gather::gather(texts, before, spread);
        let issuer_names: Vec<&str> = settings.issuers.iter().map(|issuer| &*issuer.issuer).collect();
        let routes: Vec<Route> = (settings.servers.iter().zip(catalogues.iter().zip(&learned)))
            .map(|(server, (catalogue, learned))| Route {
                learned: *learned,
                ..Route::new(&settings, server, catalogue, &issuer_names, &mut findings)
            })
            .collect();
        let by_path = by_path(&routes, &mut findings);
        let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
        let (Some(registry), Some(issuers), Some(engine), Some(lender), false) =
            (registry, issuers, engine, lender, refused)
        else {
            return Err(findings);
        };
        let own = settings.servers.iter().filter_map(|server| server.host.clone());
        let hosts = settings.listen.hosts.iter().cloned().chain(own).collect();
        let upstream_generation = upstream_generation(&settings);
        Ok(Self {
            version,
            hash,
            settings,
            registry,
            issuers: Arc::new(issuers),
            engine: Arc::new(engine),
            quarantine: Arc::default(),
            lender: Arc::new(lender),
            scanner: Arc::new(scanner),
            warnings: findings,
            shape: Arc::new(Shape { routes, by_path, hosts, catalogues, catalogues_of, drifts, upstream_generation }),
            registry_of,
        })
    }

    /// The same snapshot with another registry in which nothing but statuses and what else no rule reads differs: the rules need not be
    /// built anew, so that a suspension takes effect at once however many there are. Nothing where the rules might read what differs.
    ///
    /// # Errors
    /// What is wrong with the registry.
    pub fn with_agents(&self, agents: &Text, version: u64, hash: Box<str>) -> Result<Option<Self>, Diagnostics> {
        let mut findings = Diagnostics::new();
        let Some(registry) = gather::registry(agents, &self.settings, Some(self), &mut findings) else {
            return Err(findings);
        };
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(findings);
        }
        let read = |agent: &Agent| (agent.id.clone(), agent.groups.clone(), agent.accounts.clone());
        if !registry.agents().map(read).eq(self.registry.agents().map(read)) {
            return Ok(None);
        }
        let others = self.warnings.iter().filter(|finding| finding.file != agents.file).cloned();
        Ok(Some(Self {
            version,
            hash,
            settings: self.settings.clone(),
            registry,
            issuers: Arc::clone(&self.issuers),
            engine: Arc::clone(&self.engine),
            quarantine: Arc::clone(&self.quarantine),
            lender: Arc::clone(&self.lender),
            scanner: Arc::clone(&self.scanner),
            warnings: others.chain(findings).collect(),
            shape: Arc::clone(&self.shape),
            registry_of: agents.digest(),
        }))
    }

    /// The route of a server.
    pub fn server(&self, server: ServerIndex) -> Option<&Route> {
        self.shape.routes.get(usize::from(server.0))
    }

    /// The server that `path` leads to under this `Host`: the one restricted to that host, else the one open to any.
    pub fn route(&self, host: &str, path: &str) -> Option<ServerIndex> {
        let candidates = self.shape.by_path.get(path)?;
        let of = |server: &&ServerIndex| self.server(**server).map(|route| route.settings.host.as_deref());
        let named =
            candidates.iter().find(|server| of(server).flatten().is_some_and(|own| own.eq_ignore_ascii_case(host)));
        named.or_else(|| candidates.iter().find(|server| of(server) == Some(None))).copied()
    }

    /// Every route.
    pub fn routes(&self) -> impl Iterator<Item = (ServerIndex, &Route)> {
        (0..=u16::MAX).map(ServerIndex).zip(&self.shape.routes)
    }

    /// The reviewed tools of a server.
    pub fn catalogue(&self, server: ServerIndex) -> Option<&Catalogue> {
        self.shape.catalogues.get(usize::from(server.0))
    }

    /// The tools that were read from this very file.
    fn read_from(&self, text: &Text) -> Option<&Catalogue> {
        let digest = Some(text.digest());
        let position = self.shape.catalogues_of.iter().position(|known| *known == digest)?;
        self.shape.catalogues.get(position)
    }

    /// The servers whose tools nobody has listed yet although their first use may.
    pub fn unlearned(&self) -> impl Iterator<Item = &Route> {
        self.shape.routes.iter().filter(|route| route.settings.learn == Learn::FirstUse && !route.learned)
    }

    /// Changes only when servers or their TLS change, so that kept connections of another configuration are not used again.
    pub fn upstream_generation(&self) -> u64 {
        self.shape.upstream_generation
    }

    /// Bounds on request bodies.
    pub fn json_limits(&self) -> JsonLimits {
        JsonLimits { bytes_max: self.settings.limits.body_bytes_max, depth_max: self.settings.limits.json_depth_max }
    }

    /// Bounds on results of upstreams.
    pub fn result_limits(&self) -> JsonLimits {
        JsonLimits { bytes_max: self.settings.limits.result_bytes_max, depth_max: self.settings.limits.json_depth_max }
    }

    /// Whether this `Host` is ours. A page that rebinds its own name to our address sends its own name (MCP, DNS rebinding).
    pub fn host_allowed(&self, host: &str) -> bool {
        self.shape.hosts.iter().any(|own| **own == *host || own.eq_ignore_ascii_case(host))
    }

    /// Whether pages of this `Origin` may call.
    pub fn origin_allowed(&self, origin: &str) -> bool {
        self.settings.listen.origins.iter().any(|own| own.eq_ignore_ascii_case(origin))
    }
}

fn by_path(routes: &[Route], findings: &mut Diagnostics) -> AHashMap<Box<str>, Vec<ServerIndex>> {
    let mut by_path: AHashMap<Box<str>, Vec<ServerIndex>> = AHashMap::new();
    for (index, route) in (0..=u16::MAX).map(ServerIndex).zip(routes) {
        let here = by_path.entry(route.settings.path.clone()).or_default();
        let other = here.iter().filter_map(|other| routes.get(usize::from(other.0)));
        if let Some(other) = other.into_iter().find(|other| other.settings.host == route.settings.host) {
            let message = format!(
                "servers `{}` and `{}` have the same path `{}`",
                other.settings.name, route.settings.name, route.settings.path
            );
            findings.push(Diagnostic::error(SETTINGS_FILE, None, message).help("give one of them a `path` of its own"));
        }
        here.push(index);
    }
    by_path
}

fn upstream_generation(settings: &Settings) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for server in &settings.servers {
        hasher.update(format!("{:?}", (&server.name, &server.url, &server.ca)).as_bytes());
    }
    hasher.finalize().as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
