//! Holds what was typed. In: TOML. Out: the same, each value with its place. Never here: defaults, meaning, checks beyond the shape.
//!
//! Everything is optional here: what must be given, and what holds in its absence, is said in `mean`. The doc comments are what the
//! published schema shows to the person who types.

pub mod audit;
pub mod control;
pub mod kernel;
pub mod sql;
pub mod witness;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::audit::{Audit, DurabilityText, IndexText};
use self::control::Control;
pub use self::kernel::{EbpfText, Kernel};
use self::sql::Sql;
use super::at::{At, Count, SizeText, SpanText};

/// The configuration of Portcullis. Relative paths start at the folder of this file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "portcullis.toml")]
pub struct Typed {
    /// The registry of agents. Default: `agents.toml`.
    pub agents: Option<At<String>>,
    /// The sealed upstream credentials; needed where a server has a credential.
    pub secrets: Option<At<String>>,
    /// Worker threads. Default: one a core.
    pub workers: Option<At<Count>>,
    /// What carries the bytes. Default: `uring`.
    pub io: Option<At<IoText>>,
    /// Where agents come in.
    pub listen: Option<At<Listen>>,
    /// Identity providers by a name of your choice.
    pub identity: BTreeMap<At<String>, Identity>,
    /// Upstream MCP servers by name; agents reach `crm` at `/mcp/crm`.
    pub server: BTreeMap<At<String>, Server>,
    /// What is special about single tools, by `server.tool`.
    pub tool: BTreeMap<At<String>, Tool>,
    /// Where the rules lie.
    pub policy: Option<Policy>,
    /// How and where calls are recorded.
    pub audit: Option<Audit>,
    /// The control socket.
    pub control: Option<Control>,
    /// Metrics; not served by default.
    pub metrics: Option<Metrics>,
    /// Bounds on what is held at once.
    pub limits: Option<Limits>,
    /// Bounds on how long it is held.
    pub timeouts: Option<Timeouts>,
    /// The gateway's own log (not the audit log).
    pub log: Option<Log>,
    /// The kernel layer.
    pub kernel: Option<Kernel>,
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum IoText {
    /// io_uring
    Uring,
}

/// Where agents come in.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Listen {
    /// IP address and port. Default: `127.0.0.1:8080`.
    #[schemars(extend("examples" = ["127.0.0.1:8080"]))]
    pub address: Option<At<String>>,
    /// The URL agents know this gateway by, without a path; tokens name it as their audience. Default: made from `address`.
    #[schemars(extend("examples" = ["https://edge.example.com:8443"]))]
    pub public_url: Option<At<String>>,
    /// TLS toward agents; may be left out on a loopback address.
    pub tls: Option<At<ListenTls>>,
    /// Lets plain HTTP leave this machine; only where you vouch for the network.
    pub plaintext: Option<At<PlaintextText>>,
    /// Further `Host` values to answer to, with port.
    pub hosts: Vec<At<String>>,
    /// Web origins whose pages may call, such as `https://app.example.com`.
    pub origins: Vec<At<String>>,
}

/// TLS toward agents.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct ListenTls {
    /// PEM file of the certificate chain, leaf first.
    #[schemars(required)]
    pub certificate: Option<At<String>>,
    /// PEM file of the private key.
    #[schemars(required)]
    pub key: Option<At<String>>,
    /// PEM file of the authorities that issue agents' certificates.
    pub client_ca: Option<At<String>>,
    /// Whether a connection needs a client certificate. Default: `required` where `client_ca` is set.
    pub client_certificate: Option<At<ClientCertificateText>>,
}

/// Whether a connection needs a client certificate.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ClientCertificateText {
    /// no certificate, no connection
    Required,
    /// a token may stand in for it
    Optional,
}

/// Where plain HTTP may go.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum PlaintextText {
    /// over a network you vouch for, such as the one behind a TLS proxy
    TrustedNetwork,
}

/// An identity provider whose tokens count.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Identity {
    /// The `iss` claim, byte for byte.
    #[schemars(required, extend("examples" = ["https://example.okta.com/oauth2/aus1"]))]
    pub issuer: Option<At<String>>,
    /// File of its JSON Web Key Set.
    #[schemars(required, extend("examples" = ["okta.jwks.json"]))]
    pub keys: Option<At<String>>,
    /// Signature algorithms to take. Default: all three.
    pub algorithms: Option<At<Vec<At<AlgorithmText>>>>,
    /// Expected `aud`. Default: the URL of the route, as MCP asks.
    pub audience: Option<At<String>>,
    /// The claim that names the agent: `cid` at Okta, `azp` or `appid` at Entra ID. Default: `client_id`, then `azp`, then, where `token_types` is `["at+jwt"]`, `sub`.
    pub agent_claim: Option<At<String>>,
    /// The claim that names the user the agent acts for.
    pub user_claim: Option<At<String>>,
    /// The claim that names the account acted on.
    pub account_claim: Option<At<String>>,
    /// Allowed `typ` headers; `none` stands for tokens without one. Default: `["at+jwt"]`. Okta writes none, Entra ID `JWT`: of such tokens what looks like an ID token is refused.
    #[schemars(extend("examples" = [["at+jwt", "JWT", "none"]]))]
    pub token_types: Option<At<Vec<At<String>>>>,
    /// How far its clock may be off ours. Default: `30s`.
    pub clock_skew: Option<At<SpanText>>,
}

/// Signature algorithms.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[schemars(inline)]
pub enum AlgorithmText {
    /// Ed25519
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA on P-256
    #[serde(rename = "ES256")]
    Es256,
    /// RSA with SHA-256
    #[serde(rename = "RS256")]
    Rs256,
}

/// An upstream MCP server.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Server {
    /// Its Streamable HTTP endpoint.
    #[schemars(required, extend("examples" = ["http://127.0.0.1:9000/mcp"]))]
    pub url: Option<At<String>>,
    /// Where agents reach it. Default: `/mcp/NAME`.
    #[schemars(extend("examples" = ["/mcp/crm"]))]
    pub path: Option<At<String>>,
    /// Restricts the route to this `Host` value.
    pub host: Option<At<String>>,
    /// PEM file of the authorities of its certificate. Default: the public ones.
    pub ca: Option<At<String>>,
    /// What is injected into permitted calls; agents never see it.
    pub credential: Option<At<Credential>>,
    /// Whether denials are enforced. Default: `enforce`.
    pub mode: Option<At<ModeText>>,
    /// How tools enter the catalogue. Default: `reviewed`.
    pub learn: Option<At<LearnText>>,
    /// The reviewed tool definitions. Default: `catalogue/NAME.json`.
    pub catalogue: Option<At<String>>,
    /// MCP revisions spoken. Default: all from 2025-03-26.
    pub revisions: Option<At<Vec<At<RevisionText>>>>,
    /// Request methods beyond the specification that rules may permit.
    #[serde(default)]
    pub extension_methods: Vec<At<String>>,
    /// Scopes that the route's metadata and challenges name.
    #[serde(default)]
    pub scopes: Vec<At<String>>,
}

/// An upstream credential.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Credential {
    /// The header that carries it.
    #[schemars(required, extend("examples" = ["authorization"]))]
    pub header: Option<At<String>>,
    /// Its value; `{secret:NAME}` is filled in from the secrets file.
    #[schemars(required, extend("examples" = ["Bearer {secret:crm}"]))]
    pub value: Option<At<String>>,
}

/// Whether denials are enforced.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ModeText {
    /// a denied call is refused
    Enforce,
    /// a denied call is recorded as one and passes
    Observe,
}

/// How tools enter the catalogue.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum LearnText {
    /// a person approves each definition
    Reviewed,
    /// the first definition seen is pinned
    FirstUse,
}

/// MCP revisions.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[schemars(inline)]
pub enum RevisionText {
    /// over Streamable HTTP only
    #[serde(rename = "2024-11-05")]
    V2024_11_05,
    /// with sessions
    #[serde(rename = "2025-03-26")]
    V2025_03_26,
    /// with sessions
    #[serde(rename = "2025-06-18")]
    V2025_06_18,
    /// with sessions
    #[serde(rename = "2025-11-25")]
    V2025_11_25,
    /// stateless
    #[serde(rename = "2026-07-28")]
    V2026_07_28,
}

/// What is special about one tool.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Tool {
    /// Action groups that rules can name.
    pub groups: Vec<At<String>>,
    /// What is kept of its calls, instead of what `[audit]` says.
    pub capture: Option<Capture>,
    /// Cedar types of arguments whose schema does not say, by JSON pointer.
    pub types: BTreeMap<At<String>, At<String>>,
    /// The same of members of results, which rules read as `context.output`.
    pub output_types: BTreeMap<At<String>, At<String>>,
    /// JSON pointer of the argument that names the account touched.
    #[schemars(extend("examples" = ["/account"]))]
    pub account: Option<At<String>>,
    /// How much of its results is read before the agent gets them. Default: `whole`.
    pub inspect: Option<At<InspectText>>,
    /// The argument that holds SQL; rules then read `context.sql`.
    pub sql: Option<At<Sql>>,
}

/// How much of a result is read.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum InspectText {
    /// all of it
    Whole,
    /// of results of 32 KiB and more only the beginning: that it is a result and answers this call. Given up for the rest: that it is sound
    /// JSON, that it holds none of our secrets, asks nothing of the agent and names no second id
    Envelope,
}

/// What is kept of a call.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Capture {
    /// Of the arguments. Default: `full`.
    pub arguments: Option<At<CaptureText>>,
    /// Of the result. Default: `full`.
    pub result: Option<At<CaptureText>>,
    /// JSON pointers of values that are never written; `*` stands for every element of an array.
    #[schemars(extend("examples" = [["/rows/*/ssn"]]))]
    pub redact: Vec<At<String>>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum CaptureText {
    /// the JSON itself while it is small, size and digest beyond
    Full,
    /// size and digest
    Digest,
    /// only how long it was
    Size,
    /// nothing
    None,
}

/// Where the rules lie.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Policy {
    /// Folder of `.cedar` files. Default: `policies`.
    pub folder: Option<At<String>>,
    /// File of the calendars that rules can name.
    #[schemars(extend("examples" = ["calendars.toml"]))]
    pub calendars: Option<At<String>>,
    /// Folder of snapshots that served before. Default: `history`.
    pub history: Option<At<String>>,
    /// How many of those are kept. Default: 64.
    pub keep: Option<At<Count>>,
}

/// Metrics.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Metrics {
    /// IP address and port.
    #[schemars(required, extend("examples" = ["127.0.0.1:9464"]))]
    pub address: Option<At<String>>,
}

/// Bounds on what is held at once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Limits {
    /// A request head. Default and ceiling: `16 KiB`.
    pub head: Option<At<SizeText>>,
    /// Fields of a request head. Default and ceiling: 64.
    pub headers: Option<At<Count>>,
    /// A request body. Default: `4 MiB`.
    pub body: Option<At<SizeText>>,
    /// Nesting of a body. Default and ceiling: 64.
    pub json_depth: Option<At<Count>>,
    /// Connections from agents. Default: 16384.
    pub connections: Option<At<Count>>,
    /// Calls of one agent at once. Default: 256.
    pub agent_concurrency: Option<At<Count>>,
    /// A whole result; it is read, judged and recorded before any of it is released. Default: `32 MiB`.
    pub result: Option<At<SizeText>>,
    /// One event of a stream. Default: `4 MiB`.
    pub event: Option<At<SizeText>>,
    /// Legacy sessions. Default: 65536.
    pub sessions: Option<At<Count>>,
    /// Remembered owners of tasks and server requests. Default: 65536.
    pub owners: Option<At<Count>>,
}

/// Bounds on how long it is held.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Timeouts {
    /// For a request head. Default: `10s`.
    pub head: Option<At<SpanText>>,
    /// For a request body. Default: `30s`.
    pub body: Option<At<SpanText>>,
    /// An idle connection of an agent. Default: `75s`.
    pub keep_alive: Option<At<SpanText>>,
    /// One write to an agent that does not read. Default: `30s`.
    pub write: Option<At<SpanText>>,
    /// A connection to an upstream. Default: `3s`.
    pub connect: Option<At<SpanText>>,
    /// The first byte of an upstream's answer. Default: `60s`.
    pub first_byte: Option<At<SpanText>>,
    /// A whole call. Default: `300s`.
    pub total: Option<At<SpanText>>,
    /// Upstream connections idle longer are not used again. Default: `4s`.
    pub upstream_idle: Option<At<SpanText>>,
    /// Upstream connections older are not used again. Default: `300s`.
    pub upstream_lifetime: Option<At<SpanText>>,
    /// Silence on a stream after which a comment is sent. Default: `15s`.
    pub stream_keep_alive: Option<At<SpanText>>,
    /// From the signal to stop until what still runs is cut. Default: `30s`.
    pub drain: Option<At<SpanText>>,
    /// A legacy session nobody used. Default: `30m`.
    pub session_idle: Option<At<SpanText>>,
}

/// The gateway's own log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Log {
    /// How a line looks. Default: `auto`.
    pub format: Option<At<LogFormatText>>,
    /// The least weight that is written. Default: `info`.
    pub level: Option<At<LogLevelText>>,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum LogFormatText {
    /// for people on a terminal, JSON elsewhere
    Auto,
    /// for people
    Human,
    /// one JSON object a line
    Json,
}

/// The weight of a line of the log.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum LogLevelText {
    /// something does not work
    Error,
    /// something should be looked at
    Warn,
    /// what an operator wants to know
    Info,
    /// what a developer wants to know
    Debug,
    /// everything
    Trace,
}
