//! Puts a gateway in front of the upstream, as an operator would: tokens required, product policy, audit on.
//! In: the upstream's URL. Out: the URL agents use, a token of a known agent, the running gateway.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::json;

use crate::conformance::child::Child;
use crate::tools;

/// A gateway in front of one upstream; dropping it ends the process.
pub struct Gateway {
    /// Where agents reach the upstream.
    pub url: String,
    /// The bearer token of an agent that may do everything there.
    pub token: String,
    child: Child,
}

/// Starts the gateway and waits until it says that it is ready.
pub fn start_gateway(upstream_url: &str, folder: &Path, policy_extra: Option<&Path>) -> Result<Gateway> {
    let program = tools::build("portcullis", "portcullis")?;
    let folder = folder.join("gateway");
    let policies = folder.join("policies");
    fs::create_dir_all(&policies)?;
    fs::write(policies.join("conformance.cedar"), POLICY)?;
    if let Some(extra) = policy_extra {
        fs::copy(extra, policies.join("extra.cedar")).with_context(|| format!("cannot read `{}`", extra.display()))?;
    }
    // The audience of the token is the URL, so the port must be known before the gateway listens.
    let address = free_address()?;
    let url = format!("http://{address}/mcp/everything");
    let key = SigningKey::new()?;
    fs::write(folder.join("jwks.json"), key.key_set())?;
    fs::write(folder.join("agents.toml"), AGENTS)?;
    let config = folder.join("portcullis.toml");
    fs::write(&config, configuration(address, upstream_url))?;

    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(&config).current_dir(&folder);
    let child = Child::start("portcullis run", &mut command, &folder.join("gateway.log"))?;
    let mut gateway = Gateway { token: key.token(&url)?, url, child };
    gateway.wait_until_ready(address, &folder)?;
    Ok(gateway)
}

impl Gateway {
    fn wait_until_ready(&mut self, address: SocketAddr, folder: &Path) -> Result<()> {
        let start = Instant::now();
        while !ready(address) {
            self.child.check().with_context(|| format!("see `{}`", folder.join("gateway.log").display()))?;
            if start.elapsed() > READY_WITHIN {
                bail!("the gateway was not ready within {} s", READY_WITHIN.as_secs());
            }
            thread::sleep(WAIT_STEP);
        }
        Ok(())
    }
}

fn configuration(address: SocketAddr, upstream_url: &str) -> String {
    format!(
        r#"agents = "agents.toml"

[listen]
address = "{address}"

[identity.test]
issuer = "{ISSUER}"
keys = "jwks.json"

[server.everything]
url = "{upstream_url}"
learn = "first-use"

[policy]
folder = "policies"
history = "history"

[audit]
folder = "audit"

[control]
socket = "control.sock"
"#
    )
}

/// Whether `GET /readyz` answers 200 (RFC 9112 §4: the status line comes first).
fn ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<[u8; 12]> {
        let mut stream = TcpStream::connect_timeout(&address, PROBE_MAX)?;
        stream.set_read_timeout(Some(PROBE_MAX))?;
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status)
    };
    ask().is_ok_and(|status| &status == b"HTTP/1.1 200")
}

/// A loopback address that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The identity provider of the run: an Ed25519 key (RFC 8037) that nobody keeps.
struct SigningKey {
    pair: KeyPair,
}

impl SigningKey {
    fn new() -> Result<Self> {
        Ok(Self { pair: KeyPair::generate_for(&PKCS_ED25519)? })
    }

    fn key_set(&self) -> String {
        let public = URL_SAFE_NO_PAD.encode(self.pair.public_key_raw());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": KEY_ID, "x": public}]})
            .to_string()
    }

    /// An access token (RFC 9068 §2) for the agent of the run.
    fn token(&self, audience: &str) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let claims = json!({
            "iss": ISSUER, "aud": audience, "sub": AGENT, "client_id": AGENT, "jti": format!("run-{}", now.as_nanos()),
            "iat": now.as_secs(), "exp": now.as_secs() + TOKEN_SECONDS,
        });
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(KEY_ID.to_owned());
        let key = EncodingKey::from_ed_der(&self.pair.serialize_der());
        jsonwebtoken::encode(&header, &claims, &key).context("the token cannot be signed")
    }
}

/// The suite exercises everything a server offers, so its agent may do everything on this one route. What a narrower
/// policy does is proven elsewhere: here a denial would look like a fault of the protocol.
const POLICY: &str = r#"permit (principal == Agent::"conformance", action, resource == Server::"everything");
"#;

const AGENTS: &str = r#"[agent.conformance]
owner = "tests@example.com"
tokens = [{ issuer = "test", client_id = "conformance" }]
"#;

const ISSUER: &str = "https://idp.example.com";
const AGENT: &str = "conformance";
const KEY_ID: &str = "conformance-run";

/// Longer than the longest run: three revisions of ten minutes at most.
const TOKEN_SECONDS: u64 = 3600;

/// A debug build that learns its catalogue from the upstream is ready in a second or two.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// One probe on loopback.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// How often a wait looks again.
const WAIT_STEP: Duration = Duration::from_millis(20);
