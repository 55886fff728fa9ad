//! Sets the scene. In: built programs. Out: files in `target/demo` and, running, the server, the gateway in front of it, and two agents.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::demo::agents::Agents;
use crate::demo::lines::{Face, Tone};
use crate::demo::log::Log;
use crate::demo::programs::Programs;
use crate::keys::{Ca, TokenSigner};
use crate::place;
use crate::process::Running;

/// Everything that runs, and where it lies. Dropping it ends all of it, agents first.
pub struct Scene {
    /// The agents' client.
    pub agents: Agents,
    /// The audit log.
    pub log: Log,
    /// The tokens of the tour.
    pub tokens: Tokens,
    /// The credential that only the gateway holds.
    pub credential: String,
    /// Where agents reach the server through the gateway.
    pub url: String,
    /// Where the server itself listens.
    pub crm_url: String,
    /// `target/demo`.
    pub folder: PathBuf,
    /// The gateway's program.
    pub portcullis: PathBuf,
    /// The stand-alone verifier of its log.
    pub verifier: PathBuf,
    /// When rules let agents write (UTC).
    hours: (u64, u64),
    gateway: Running,
    crm: Running,
}

/// Access tokens, signed by the demo as an identity provider would.
pub struct Tokens {
    /// `support-bot`'s, good for twelve hours.
    pub support: String,
    /// `support-bot`'s of yesterday.
    pub expired: String,
    /// Of the same provider, for a client that is not in `agents.toml`.
    pub stranger: String,
}

impl Scene {
    /// Writes every file anew and starts everything.
    pub fn set(folder: &Path, programs: Programs) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("`{}` cannot be cleared", folder.display()))?;
        }
        fs::create_dir_all(folder.join("policies"))?;
        let credential = format!("crm-{:032x}", chance()?);
        let (crm, crm_url) = start_crm(&programs.crm, folder, &credential)?;
        let address = address()?;
        let url = format!("https://{address}/mcp/crm");
        let hours = hours_that_are_not_now()?;
        let blanks = [
            ("@PORT@", address.port().to_string()),
            ("@UPSTREAM@", crm_url.clone()),
            ("@URL@", url.clone()),
            ("@FROM@", hours.0.to_string()),
            ("@UNTIL@", hours.1.to_string()),
        ];
        write_assets(folder, &blanks)?;
        write_private(&folder.join("secrets.toml"), &format!("[secrets]\ncrm = \"{credential}\"\n"))?;
        write_certificates(folder)?;
        let tokens = write_tokens(folder, &url)?;
        let gateway = start_gateway(&programs.portcullis, folder)?;
        let agents =
            Agents::start(&programs.tour, &folder.join("ca.pem"), &url, File::create(folder.join("tour.log"))?)?;
        Ok(Self {
            agents,
            log: Log::new(&programs.portcullis, folder.join(CONFIGURATION)),
            tokens,
            credential,
            url,
            crm_url,
            folder: folder.to_owned(),
            portcullis: programs.portcullis,
            verifier: programs.verifier,
            hours,
            gateway,
            crm,
        })
    }

    /// Says who is who.
    pub fn introduce(&self, face: &Face) {
        println!("\n{}", face.paint(Tone::Head, "The scene"));
        let rows = [
            ("crm", format!("an MCP server with a SQLite database, {}", self.crm_url)),
            ("portcullis", format!("in front of it, {}", self.url)),
            ("support-bot", "an agent with a bearer token, speaking MCP 2026-07-28".to_owned()),
            ("finance-bot", "an agent with a client certificate and no token, speaking MCP 2025-11-25".to_owned()),
            (
                "rules",
                format!(
                    "{}: support reads customers and orders, finance reads everything,",
                    shown(&self.folder.join("policies/*.cedar"))
                ),
            ),
            (
                "",
                format!(
                    "nobody writes but from {:02}:00 to {:02}:00 UTC, and nothing else is permitted",
                    self.hours.0, self.hours.1
                ),
            ),
        ];
        for (name, words) in rows {
            println!("  {name:<11}  {words}");
        }
    }

    /// The gateway's configuration.
    pub fn configuration(&self) -> PathBuf {
        self.folder.join(CONFIGURATION)
    }

    /// Runs a verb of the gateway's command line as an operator would.
    pub fn operate(&self, verb: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.portcullis);
        command.args(verb).arg("--config").arg(CONFIGURATION).current_dir(&self.folder).stdin(Stdio::null());
        command.output().context("`portcullis` cannot be started")
    }

    /// The command line of a verb, to be typed where the demo was started.
    pub fn typed(&self, verb: &str) -> String {
        format!("{} {verb} --config {}", shown(&self.portcullis), shown(&self.folder.join(CONFIGURATION)))
    }

    /// Fails if the server or the gateway has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        for (name, log, running) in
            [("portcullis", "gateway.log", &mut self.gateway), ("crm", "crm.log", &mut self.crm)]
        {
            if let Some(status) = running.ended()? {
                bail!("`{name}` ended: {status}; see `{}`", shown(&self.folder.join(log)));
            }
        }
        Ok(())
    }
}

/// A path as short as it can be typed from here.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

fn start_crm(program: &Path, folder: &Path, credential: &str) -> Result<(Running, String)> {
    let announced = folder.join("crm.out");
    let mut command = Command::new(program);
    command
        .arg("--database")
        .arg(folder.join("crm.sqlite"))
        .arg("--require-header")
        .arg(format!("authorization=Bearer {credential}"))
        .arg("--record")
        .arg(folder.join("crm-requests.jsonl"))
        .stdin(Stdio::null())
        .stdout(File::create(&announced)?)
        .stderr(File::create(folder.join("crm.log"))?);
    let mut running = Running::start("crm", &mut command)?;
    let mut url = None;
    running.wait_until(START_MAX, || {
        let said = fs::read_to_string(&announced).unwrap_or_default();
        url = said.strip_prefix("listening on ").and_then(|rest| rest.split_once('\n')).map(|(url, _)| url.to_owned());
        url.is_some()
    })?;
    Ok((running, url.context("`crm` did not say where it listens")?))
}

/// Configuration, registry, rules and the script, with their blanks filled in.
fn write_assets(folder: &Path, blanks: &[(&str, String)]) -> Result<()> {
    let assets = place::root()?.join("tests/demo");
    for (asset, name) in ASSETS {
        let file = assets.join(asset);
        let text = fs::read_to_string(&file).with_context(|| format!("`{}` cannot be read", file.display()))?;
        let text = blanks.iter().fold(text, |text, (blank, value)| text.replace(blank, value));
        fs::write(folder.join(name), text)?;
    }
    fs::set_permissions(folder.join("call"), fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn write_certificates(folder: &Path) -> Result<()> {
    let ca = Ca::new("demo of portcullis")?;
    fs::write(folder.join("ca.pem"), ca.pem())?;
    let edge = ca.server(&["127.0.0.1", "localhost"])?;
    fs::write(folder.join("edge.pem"), edge.certificate)?;
    write_private(&folder.join("edge.key"), &edge.key)?;
    let finance = ca.client("spiffe://demo.example/agent/finance-bot")?;
    write_private(&folder.join("finance-bot.pem"), &format!("{}{}", finance.certificate, finance.key))
}

fn write_tokens(folder: &Path, url: &str) -> Result<Tokens> {
    let signer = TokenSigner::new_eddsa()?;
    fs::write(folder.join("idp.jwks.json"), signer.jwks_json())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let token = |client: &str, issued: u64, expires: u64| {
        signer.sign(&json!({
            "iss": "https://idp.demo.example", "aud": url, "sub": client, "client_id": client,
            "iat": issued, "exp": expires, "jti": format!("{:016x}", chance()?),
        }))
    };
    let tokens = Tokens {
        support: token("support-bot", now, now + 12 * HOUR)?,
        expired: token("support-bot", now - 24 * HOUR, now - 12 * HOUR)?,
        stranger: token("stranger", now, now + HOUR)?,
    };
    write_private(&folder.join("support-bot.token"), &tokens.support)?;
    let header = format!("Bearer {}", tokens.support);
    let server = json!({"type": "http", "url": url, "headers": {"Authorization": header}});
    let client = serde_json::to_string_pretty(&json!({"mcpServers": {"crm": server}}))?;
    write_private(&folder.join("mcp.json"), &format!("{client}\n"))?;
    Ok(tokens)
}

fn start_gateway(program: &Path, folder: &Path) -> Result<Running> {
    let log = File::create(folder.join("gateway.log"))?;
    let mut command = Command::new(program);
    // Relative, so that the socket's path fits its bound of 107 bytes.
    command.args(["run", "--config", CONFIGURATION]).current_dir(folder);
    let mut running =
        Running::start("portcullis run", command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log))?;
    let mut last = String::new();
    running
        .wait_until(START_MAX, || {
            last = status(program, folder);
            last == "serving"
        })
        .with_context(|| {
            format!(
                "the gateway does not serve; its words:\n{}",
                fs::read_to_string(folder.join("gateway.log")).unwrap_or_default()
            )
        })?;
    Ok(running)
}

/// `state` of `portcullis status`, empty while nobody answers.
fn status(program: &Path, folder: &Path) -> String {
    let mut command = Command::new(program);
    command.args(["status", "--json", "--config", CONFIGURATION]).current_dir(folder).stdin(Stdio::null());
    let said = command.output().map(|output| output.stdout).unwrap_or_default();
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap_or_default();
    said.get("state").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

/// Eight hours of the day (UTC) that neither hold the present one nor begin within the next two.
fn hours_that_are_not_now() -> Result<(u64, u64)> {
    let hour = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / HOUR % 24;
    Ok(if hour < 12 { (14, 22) } else { (2, 10) })
}

/// The port that people will remember, or a free one where it is taken.
fn address() -> Result<SocketAddr> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    Ok(bound.context("no free port")?.local_addr()?)
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    let mut private = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    private.write_all(text.as_bytes()).with_context(|| format!("`{}` cannot be written", file.display()))
}

/// Enough for a credential that lives as long as the demo.
fn chance() -> Result<u128> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("the system gives no randomness")?;
    Ok(u128::from_ne_bytes(bytes))
}

/// What is written where; the left lies in `tests/demo`.
const ASSETS: [(&str, &str); 7] = [
    ("portcullis.toml.in", CONFIGURATION),
    ("agents.toml", "agents.toml"),
    ("policies/support.cedar", "policies/support.cedar"),
    ("policies/finance.cedar", "policies/finance.cedar"),
    ("policies/hours.cedar.in", "policies/hours.cedar"),
    ("policies/tests.toml", "policies/tests.toml"),
    ("call.in", "call"),
];

const CONFIGURATION: &str = "portcullis.toml";

const PORT: u16 = 8443;

const HOUR: u64 = 3600;

/// The gateway asks the server for its tools before it serves; all in all a fraction of a second.
const START_MAX: Duration = Duration::from_secs(20);
