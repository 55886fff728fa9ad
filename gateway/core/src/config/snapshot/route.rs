//! Prepares one route. In: settings and reviewed tools of its server. Out: what every request on it needs, ready to send. Never here: requests.

use serde_json::{Map, Value, json};

use super::SETTINGS_FILE;
use crate::audit::capture::Capture;
use crate::config::settings::{Inspect, Server, Settings};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::catalogue::{Catalogue, Tool, ToolIndex};
use crate::protocol::param_header::ParamHeaders;

/// One route: what agents see of a server, and what is known of its tools.
#[derive(Clone, Debug)]
pub struct Route {
    /// What the configuration says of the server.
    pub settings: Server,
    /// The URI that agents know it by and that their tokens must name (RFC 8707).
    pub resource: Box<str>,
    /// Its protected resource metadata (RFC 9728 §2), JSON ready to send.
    pub metadata: Box<[u8]>,
    /// Where that is served (RFC 9728 §3.1); challenges name it.
    pub metadata_url: Box<str>,
    /// By tool: the headers that repeat arguments; nothing where it has none.
    pub param_headers: Vec<Option<ParamHeaders>>,
    /// By tool: what is kept of its calls.
    pub capture: Vec<Capture>,
    /// By tool: how much of its results is read.
    pub inspect: Vec<Inspect>,
    /// What is kept of everything else.
    pub default_capture: Capture,
    /// Whether its tools were ever listed.
    pub learned: bool,
}

/// Goes between authority and path (RFC 9728 §3).
pub const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

impl Route {
    pub(super) fn new(
        settings: &Settings,
        server: &Server,
        catalogue: &Catalogue,
        issuers: &[&str],
        findings: &mut Diagnostics,
    ) -> Self {
        let base = server.base(&settings.listen.public_url);
        let resource = server.resource(&settings.listen.public_url);
        let own = |tool: &Tool| {
            server.tools.get(&tool.name).map_or_else(|| settings.audit.capture.clone(), |own| own.capture.clone())
        };
        let inspect = |tool: &Tool| server.tools.get(&tool.name).map(|own| own.inspect).unwrap_or_default();
        Self {
            metadata: metadata(&resource, issuers, &server.scopes),
            metadata_url: format!("{base}{METADATA_PATH}{}", server.path).into(),
            resource: resource.into(),
            param_headers: catalogue.tools().iter().map(|tool| param_headers(server, tool, findings)).collect(),
            capture: catalogue.tools().iter().map(own).collect(),
            inspect: catalogue.tools().iter().map(inspect).collect(),
            default_capture: settings.audit.capture.clone(),
            learned: false,
            settings: server.clone(),
        }
    }

    /// What is kept of a call of this tool, or of what is no tool's.
    pub fn capture(&self, tool: Option<ToolIndex>) -> &Capture {
        tool.and_then(|tool| self.capture.get(tool.0 as usize)).unwrap_or(&self.default_capture)
    }

    /// How much of this tool's results is read.
    pub fn inspect(&self, tool: ToolIndex) -> Inspect {
        self.inspect.get(tool.0 as usize).copied().unwrap_or_default()
    }

    /// The headers that repeat this tool's arguments.
    pub fn param_headers(&self, tool: ToolIndex) -> Option<&ParamHeaders> {
        self.param_headers.get(tool.0 as usize)?.as_ref()
    }
}

/// RFC 9728 §2. MCP clients compare `resource` with the URL they use, so it is never anything else.
fn metadata(resource: &str, issuers: &[&str], scopes: &[Box<str>]) -> Box<[u8]> {
    let mut members = Map::new();
    members.insert("resource".into(), json!(resource));
    if !issuers.is_empty() {
        members.insert("authorization_servers".into(), json!(issuers));
    }
    if !scopes.is_empty() {
        members.insert("scopes_supported".into(), json!(scopes));
    }
    members.insert("bearer_methods_supported".into(), json!(["header"]));
    Value::Object(members).to_string().into_bytes().into()
}

/// The spec has clients drop a tool whose annotations are wrong, so it is only said, not refused.
fn param_headers(server: &Server, tool: &Tool, findings: &mut Diagnostics) -> Option<ParamHeaders> {
    match ParamHeaders::compile(tool.definition.get("inputSchema")?) {
        Ok(headers) => (!headers.is_empty()).then_some(headers),
        Err(wrong) => {
            for error in wrong {
                let message = format!("tool `{}` of server `{}`: {error}", tool.name, server.name);
                findings.push(
                    Diagnostic::warning(SETTINGS_FILE, None, message)
                        .help("clients will not offer this tool; have the server mend its schema"),
                );
            }
            None
        }
    }
}
