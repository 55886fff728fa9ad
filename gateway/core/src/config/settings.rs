//! Says what the configuration means. In: nothing. Out: the types every stage is built from. Never here: text as it was typed, IO, defaults.
//!
//! `config::parse` alone makes a `Settings`; whatever is in one has been checked, every path is resolved against the folder of the
//! configuration file, and every bound lies below its ceiling.

pub mod audit;
pub mod control;
pub mod kernel;
pub mod witness;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

pub use self::audit::{Audit, Durability, Indexing};
use self::control::Control;
pub use self::kernel::{Ebpf, Kernel};
use crate::policy::sql::SqlRules;
use crate::protocol::revision::Revision;

// What is kept of a message is applied where records are written, so these two are defined there.
pub use crate::audit::capture::{Capture, CaptureRule};

/// All of `portcullis.toml`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where agents come in.
    pub listen: Listen,
    /// The upstream servers, sorted by name.
    pub servers: Vec<Server>,
    /// The identity providers whose tokens count, sorted by name.
    pub issuers: Vec<Issuer>,
    /// Where the rules lie.
    pub policy: Policy,
    /// The registry of agents.
    pub agents_file: PathBuf,
    /// The sealed upstream credentials; always present where a server has a credential.
    pub secrets_file: Option<PathBuf>,
    /// How and where it is recorded.
    pub audit: Audit,
    /// The control socket.
    pub control: Control,
    /// Where metrics are served; not at all by default.
    pub metrics: Option<SocketAddr>,
    /// Bounds on what is held at once.
    pub limits: Limits,
    /// Bounds on how long it is held.
    pub timeouts: Timeouts,
    /// Worker threads; one a core where absent.
    pub workers: Option<NonZeroU16>,
    /// What carries the bytes.
    pub io: IoEngine,
    /// The gateway's own log (not the audit log).
    pub log: Log,
    /// The kernel layer.
    pub kernel: Kernel,
}

/// Where agents come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address every worker binds.
    pub address: SocketAddr,
    /// Scheme and authority under which agents know this gateway; `public_url` + path is a route's resource URI (RFC 8707, RFC 9728).
    pub public_url: PublicUrl,
    /// Certificate and key; absent only on loopback or where `plaintext` says so.
    pub tls: Option<ListenTls>,
    /// Whether plain HTTP may leave this machine.
    pub plaintext: Plaintext,
    /// Allowed `Host` values with port, lower-case; the own authority is always in it. Guards against DNS rebinding.
    pub hosts: Vec<Box<str>>,
    /// Allowed `Origin` values, lower-case; the own origins are always in it. A request without `Origin` is no browser's and passes.
    pub origins: Vec<Box<str>>,
}

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in a URL, without `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port a URL may leave out (RFC 9110 §4.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme and authority, lower-case, without path and without the scheme's default port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    scheme: Scheme,
    text: Box<str>,
}

impl PublicUrl {
    /// From a scheme and a checked authority (`host` or `host:port`).
    pub fn new(scheme: Scheme, authority: &str) -> Self {
        let mut text = format!("{}://{authority}", scheme.as_str());
        text.make_ascii_lowercase();
        Self { scheme, text: text.into_boxed_str() }
    }

    /// `https://edge.example.com:8443`, no slash at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// `edge.example.com:8443`.
    pub fn authority(&self) -> &str {
        self.text.split_once("://").map_or("", |(_, authority)| authority)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// TLS toward agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenTls {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM private key of the leaf.
    pub key: PathBuf,
    /// PEM roots for agents' certificates; without it no certificate is asked for.
    pub client_ca: Option<PathBuf>,
    /// Whether a connection without a client certificate is taken; `Optional` means nothing without `client_ca`.
    pub client_certificate: ClientCertificate,
}

/// Whether an agent must show a certificate to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// No certificate, no connection.
    Required,
    /// A token may stand in for it.
    Optional,
}

/// Whether plain HTTP may leave this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// Only on a loopback address.
    LoopbackOnly,
    /// The operator vouches for the network between the agents (or a TLS proxy) and this gateway.
    TrustedNetwork,
}

/// One upstream server and the route that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `[a-z0-9-]{1,32}`; what rules call it.
    pub name: Box<str>,
    /// The route agents post to, such as `/mcp/crm`; starts with a slash, never ends with one.
    pub path: Box<str>,
    /// Restricts the route to this `Host` value, lower-case, with port unless it is the scheme's default.
    pub host: Option<Box<str>>,
    /// The upstream's endpoint.
    pub url: UpstreamUrl,
    /// PEM roots for this upstream instead of the public ones.
    pub ca: Option<PathBuf>,
    /// What is injected after the decision.
    pub credential: Option<CredentialSettings>,
    /// Whether denials are enforced.
    pub mode: Mode,
    /// How tools enter the catalogue.
    pub learn: Learn,
    /// The reviewed tool definitions.
    pub catalogue: PathBuf,
    /// Revisions spoken on this route, oldest first, never empty.
    pub revisions: Vec<Revision>,
    /// Request methods beyond the specification that rules may permit; none shadows a known one.
    pub extension_methods: Vec<Box<str>>,
    /// Settings of single tools by name; a tool that is not here has the defaults.
    pub tools: BTreeMap<Box<str>, ToolSettings>,
    /// `scopes_supported` of the route's metadata and the `scope` of its challenges.
    pub scopes: Vec<Box<str>>,
}

impl Server {
    /// Scheme and authority of the route, without a path: the gateway's own, or the route's `host`.
    pub fn base(&self, public_url: &PublicUrl) -> String {
        match &self.host {
            Some(host) => format!("{}://{host}", public_url.scheme().as_str()),
            None => public_url.as_str().to_owned(),
        }
    }

    /// The route's resource URI, which tokens for it name as their audience (RFC 8707 §2).
    pub fn resource(&self, public_url: &PublicUrl) -> String {
        format!("{}{}", self.base(public_url), self.path)
    }
}

/// An upstream endpoint, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// Plain or TLS.
    pub tls: UpstreamTls,
    /// Name or address to connect to, lower-case, without brackets.
    pub host: Box<str>,
    /// Port to connect to.
    pub port: u16,
    /// Path of the endpoint, at least `/`.
    pub path: Box<str>,
    /// `Host` value to send: brackets for IPv6, no default port.
    pub authority: Box<str>,
}

/// How an upstream is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamTls {
    /// `http://`
    Plain,
    /// `https://`
    Tls,
}

/// A static upstream credential, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSettings {
    /// Lower-case field name.
    pub header: Box<str>,
    /// Field value in which each `{secret:NAME}` is filled in from the secrets file.
    pub template: Box<str>,
}

/// Whether denials are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A denied call is refused.
    Enforce,
    /// A denied call is recorded as one and passes; `portcullis status` shows it in red.
    Observe,
}

/// How tools enter the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learn {
    /// A person approves each definition.
    Reviewed,
    /// The first definition seen is pinned.
    FirstUse,
}

/// What is special about one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolSettings {
    /// Action groups that rules can name.
    pub groups: Vec<Box<str>>,
    /// What is kept of its calls; the defaults of `[audit]` already merged in.
    pub capture: Capture,
    /// Cedar types of arguments whose schema does not say, by JSON pointer (RFC 6901).
    pub types: BTreeMap<Box<str>, Box<str>>,
    /// The same of members of results.
    pub output_types: BTreeMap<Box<str>, Box<str>>,
    /// JSON pointer of the argument that names the account touched.
    pub account: Option<Box<str>>,
    /// The argument that holds SQL, and how it is read.
    pub sql: Option<SqlRules>,
    /// How much of its results is read before they pass.
    pub inspect: Inspect,
}

/// How much of a result is read before it passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inspect {
    /// All of it.
    #[default]
    Whole,
    /// Of a long one its beginning alone, where nothing else needs the rest.
    Envelope,
}

/// An identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// What the operator calls it.
    pub name: Box<str>,
    /// The `iss` claim, byte for byte (RFC 7519 §4.1.1).
    pub issuer: Box<str>,
    /// Its JSON Web Key Set (RFC 7517).
    pub keys: PathBuf,
    /// Signature algorithms taken from it; the token's own header never widens this. Never empty.
    pub algorithms: Vec<Algorithm>,
    /// Expected `aud` instead of the route's resource URI.
    pub audience: Option<Box<str>>,
    /// The claim that names the agent.
    pub agent_claim: Box<str>,
    /// Tried in order where a token lacks `agent_claim`; empty where the operator named the claim.
    pub agent_claim_fallbacks: Vec<Box<str>>,
    /// The claim that names the user the agent acts for.
    pub user_claim: Option<Box<str>>,
    /// The claim that names the account acted on.
    pub account_claim: Option<Box<str>>,
    /// Allowed `typ` headers, lower-case, without `application/` (RFC 9068 §4); `none` stands for tokens without one. Never empty.
    pub token_types: Vec<Box<str>>,
    /// How far its clock may be off ours.
    pub clock_skew: Duration,
}

/// Signature algorithms of RFC 7518 and RFC 8037 that are taken. Shared secrets (HS*) and `none` are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

/// Where the rules lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Folder of `.cedar` files.
    pub folder: PathBuf,
    /// File of the calendars that rules can name.
    pub calendars: Option<PathBuf>,
    /// Folder of snapshots that served before.
    pub history: PathBuf,
    /// How many of those are kept.
    pub keep: u16,
}

/// Bounds on what is held at once. Beyond each of them requests are refused, never queued without end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A request head; 431 beyond.
    pub head_bytes_max: usize,
    /// Fields of a request head; 431 beyond.
    pub headers_max: usize,
    /// A request body; 413 beyond.
    pub body_bytes_max: usize,
    /// Nesting of a body.
    pub json_depth_max: usize,
    /// Connections from agents, over all workers.
    pub connections_max: usize,
    /// Calls of one agent at once; 429 beyond.
    pub agent_concurrency_max: u32,
    /// One event of a stream; the stream ends beyond.
    pub event_bytes_max: usize,
    /// A whole result, which is recorded before any of it is released; streams are bracketed by `result.begun` and `result.ended`.
    pub result_bytes_max: usize,
    /// Legacy sessions.
    pub sessions_max: usize,
    /// Remembered owners of tasks, of server requests and of request states.
    pub owners_max: usize,
}

/// Bounds on how long it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request head to its last.
    pub head: Duration,
    /// For a request body.
    pub body: Duration,
    /// An idle connection of an agent.
    pub keep_alive: Duration,
    /// One write to an agent that does not read.
    pub write: Duration,
    /// A connection to an upstream, TLS included.
    pub connect: Duration,
    /// From the request to the first byte of the upstream's answer.
    pub first_byte: Duration,
    /// A whole call; streams that an agent opened to listen are bounded by its token instead.
    pub total: Duration,
    /// Upstream connections idle longer are not used again: Node and uvicorn close at 5 s, and a POST cannot be retried.
    pub upstream_idle: Duration,
    /// Upstream connections older are not used again.
    pub upstream_lifetime: Duration,
    /// Silence on a stream after which a comment is sent.
    pub stream_keep_alive: Duration,
    /// From the signal to stop until what still runs is cut.
    pub drain: Duration,
    /// A legacy session nobody used.
    pub session_idle: Duration,
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoEngine {
    /// io_uring.
    Uring,
}

/// The gateway's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// The least weight that is written.
    pub level: LogLevel,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The weight of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Something should be looked at.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Lower-case, as typed and as filters take it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
