//! Collects what a gateway is to be started with. In: parts, in any order. Out: the files of its folder. Never here: processes.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use portcullis_core::policy::catalogue::Catalogue;
use serde_json::Value;

use crate::secrets;
use crate::upstream::Upstream;

/// Rules that permit everything, for tests of something else.
pub const OPEN: &str = r#"@id("open") permit (principal, action, resource);"#;

/// What a gateway is started with.
#[derive(Clone, Default)]
pub struct Setup {
    top: String,
    listen: String,
    identity: String,
    audit: String,
    limits: String,
    timeouts: String,
    kernel: String,
    servers: String,
    tools: String,
    agents: String,
    secrets: String,
    policies: Vec<String>,
    calendars: Option<String>,
    catalogues: Vec<(String, String)>,
    /// Whether agents come in over TLS.
    pub tls: Tls,
    /// Another address than one of loopback.
    pub ip: Option<IpAddr>,
    /// What the gateway is started under.
    pub under: Vec<String>,
    /// Another folder for the log than one beside the configuration.
    pub audit_folder: Option<String>,
}

/// How agents come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// In the clear, on loopback.
    #[default]
    No,
    /// With a certificate, or without.
    Optional,
    /// With a certificate only.
    Required,
}

impl Setup {
    /// A gateway with the agents `reader` and `writer` (group `staff`), known by tokens, and nothing they may do.
    pub fn new() -> Self {
        Self::default().agent("reader", "groups = [\"support\"]").agent("writer", "groups = [\"staff\"]")
    }

    /// A gateway in front of one server `crm`, on which everybody may do everything.
    pub fn open(upstream: &Upstream) -> Self {
        Self::new().server("crm", upstream, "").policy(OPEN)
    }

    /// One more server with the usual tools in its catalogue; `extra` are further lines of its table.
    pub fn server(self, name: &str, upstream: &Upstream, extra: &str) -> Self {
        self.server_at(name, &upstream.url(), extra).catalogue(name, &crate::mcp::tools())
    }

    /// One more server somewhere, without a catalogue.
    pub fn server_at(mut self, name: &str, url: &str, extra: &str) -> Self {
        let _ = writeln!(self.servers, "[server.{name}]\nurl = {}\n{extra}\n", quoted(url));
        self
    }

    /// The reviewed tools of a server, in the place of the usual ones.
    pub fn catalogue(mut self, server: &str, tools: &[Value]) -> Self {
        let catalogue = Catalogue::learn(server, tools).unwrap_or_else(|findings| panic!("{findings:?}"));
        self.catalogues.retain(|(name, _)| name != server);
        self.catalogues.push((server.to_owned(), catalogue.to_text()));
        self
    }

    /// One more agent, known by tokens of the usual issuer; `extra` are further lines of its table.
    pub fn agent(self, id: &str, extra: &str) -> Self {
        let tokens = format!("tokens = [{{ issuer = \"idp\", client_id = \"{id}\" }}]\n{extra}");
        self.agent_table(id, &tokens)
    }

    /// One more agent with exactly these lines.
    pub fn agent_table(mut self, id: &str, lines: &str) -> Self {
        let _ = writeln!(self.agents, "[agent.{id}]\nowner = \"{id}@example.com\"\n{lines}\n");
        self
    }

    /// One more file of rules.
    pub fn policy(mut self, text: &str) -> Self {
        self.policies.push(text.to_owned());
        self
    }

    /// The calendars that rules can name.
    pub fn calendars(mut self, text: &str) -> Self {
        self.calendars = Some(text.to_owned());
        self
    }

    /// One more `[tool."server.name"]`.
    pub fn tool(mut self, name: &str, lines: &str) -> Self {
        let _ = writeln!(self.tools, "[tool.{}]\n{lines}\n", quoted(name));
        self
    }

    /// One more secret.
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        let _ = writeln!(self.secrets, "{name} = {}", quoted(value));
        self
    }

    /// Further lines at the top of the configuration.
    pub fn top(mut self, lines: &str) -> Self {
        let _ = writeln!(self.top, "{lines}");
        self
    }

    /// Further lines of `[listen]`.
    pub fn listen(mut self, lines: &str) -> Self {
        let _ = writeln!(self.listen, "{lines}");
        self
    }

    /// Further lines of the issuer's table.
    pub fn identity(mut self, lines: &str) -> Self {
        let _ = writeln!(self.identity, "{lines}");
        self
    }

    /// Further lines of `[audit]`.
    pub fn audit(mut self, lines: &str) -> Self {
        let _ = writeln!(self.audit, "{lines}");
        self
    }

    /// Further lines of `[limits]`.
    pub fn limits(mut self, lines: &str) -> Self {
        let _ = writeln!(self.limits, "{lines}");
        self
    }

    /// Further lines of `[timeouts]`.
    pub fn timeouts(mut self, lines: &str) -> Self {
        let _ = writeln!(self.timeouts, "{lines}");
        self
    }

    /// Further lines of `[kernel]`.
    pub fn kernel(mut self, lines: &str) -> Self {
        let _ = writeln!(self.kernel, "{lines}");
        self
    }

    /// On an address that is not loopback's.
    pub fn at(mut self, ip: IpAddr) -> Self {
        self.ip = Some(ip);
        self
    }

    /// Started by another program, which takes something away from it.
    pub fn under(mut self, words: &[&str]) -> Self {
        self.under = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// With TLS toward agents.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// With the log somewhere else.
    pub fn audit_folder(mut self, folder: &Path) -> Self {
        self.audit_folder = Some(folder.to_str().expect("a path in UTF-8").to_owned());
        self
    }

    /// Writes every file for a gateway at `address`.
    pub fn write(&self, folder: &Path, address: SocketAddr) {
        for name in ["policies", "catalogue"] {
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        put(folder, "portcullis.toml", &self.config(address));
        put(folder, "agents.toml", &self.agents);
        put(folder, "secrets.toml", &format!("[secrets]\n{}", self.secrets));
        put(folder, "idp.jwks.json", &secrets::key_set());
        for (number, text) in self.policies.iter().enumerate() {
            put(folder, &format!("policies/{number:02}.cedar"), text);
        }
        if let Some(text) = &self.calendars {
            put(folder, "calendars.toml", text);
        }
        for (server, text) in &self.catalogues {
            put(folder, &format!("catalogue/{server}.json"), text);
        }
        if self.tls != Tls::No {
            let authorities = secrets::authorities();
            put(folder, "edge.pem", &authorities.gateway.certificate);
            put(folder, "edge.key", &authorities.gateway.key);
            put(folder, "agents-ca.pem", &format!("{}{}", authorities.ours.pem(), secrets::odd_authority().pem()));
        }
    }

    fn config(&self, address: SocketAddr) -> String {
        let metrics = SocketAddr::from((address.ip(), METRICS_PORT));
        let certificate = match self.tls {
            Tls::No => None,
            Tls::Optional => Some("optional"),
            Tls::Required => Some("required"),
        };
        let tls = certificate.map(|certificate| {
            format!(
                "public_url = \"https://{name}:{port}\"\ntls = {{ certificate = \"edge.pem\", key = \"edge.key\", client_ca = \"agents-ca.pem\", client_certificate = \"{certificate}\" }}\n",
                name = secrets::GATEWAY_NAME,
                port = address.port(),
            )
        });
        let secrets = if self.secrets.is_empty() { "" } else { "secrets = \"secrets.toml\"\n" };
        let folder = self.audit_folder.as_deref().unwrap_or("audit");
        let mut out = String::new();
        let calendars = self.calendars.as_ref().map_or("", |_| "calendars = \"calendars.toml\"\n");
        let sections = [
            ("", format!("workers = 2\n{secrets}{}", self.top)),
            ("[listen]", format!("address = \"{address}\"\n{}{}", tls.unwrap_or_default(), self.listen)),
            (
                "[identity.idp]",
                format!("issuer = {}\nkeys = \"idp.jwks.json\"\n{}", quoted(secrets::ISSUER), self.identity),
            ),
            ("", format!("{}{}", self.servers, self.tools)),
            ("[policy]", calendars.to_owned()),
            ("[audit]", format!("folder = {}\n{}", quoted(folder), self.audit)),
            ("[control]", "socket = \"control.sock\"\n".to_owned()),
            ("[metrics]", format!("address = \"{metrics}\"\n")),
            ("[limits]", self.limits.clone()),
            ("[timeouts]", self.timeouts.clone()),
            ("[kernel]", self.kernel.clone()),
        ];
        for (head, lines) in sections {
            let _ = writeln!(out, "{head}\n{lines}");
        }
        out
    }
}

/// Where a gateway of a test serves metrics, on its own address.
pub const METRICS_PORT: u16 = 9464;

/// Where a gateway of a test takes agents, on its own address.
pub const PORT: u16 = 8080;

/// An address of loopback that no other gateway of this run has: ports could be taken by anybody's outgoing connection.
pub fn fresh_address() -> SocketAddr {
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(1);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let run = u8::try_from(std::process::id() % 120).unwrap_or(0) + 100;
        let ip = Ipv4Addr::new(127, run, (number >> 8) as u8, (number & 0xff) as u8);
        let address = SocketAddr::from((ip, PORT));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A TOML string.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Writes a file that only its owner may read.
pub fn put(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
}
