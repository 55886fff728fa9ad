//! Who is measured. In: a folder, ports. Out: running proxies, pinned, each with its own way to be asked and counted.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::PROXY_CPU;
use crate::needs::{self, Need};
use crate::process::{self, Running};
use crate::{keys, place};

/// A proxy must listen within this time; a cold start with checks takes a fraction of a second.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Subject {
    /// Portcullis with everything on
    Portcullis,
    /// Portcullis without its checks
    #[value(name = "portcullis_pass")]
    PortcullisPass,
    /// nginx as a plain pass-through
    Nginx,
    /// haproxy as a plain pass-through
    Haproxy,
    /// No proxy at all
    Direct,
}

/// A subject that runs, or the stub itself.
pub struct Proxy {
    /// Which one.
    pub subject: Subject,
    /// Where the load goes.
    pub address: SocketAddr,
    /// What the load asks there.
    pub path: &'static str,
    /// The bearer token the load shows; the proxies that check nothing pass it on.
    pub token: String,
    running: Option<Running>,
}

impl Proxy {
    /// The stub itself, reached without a proxy.
    pub fn direct(address: SocketAddr, token: String) -> Self {
        Self { subject: Subject::Direct, address, path: "/mcp", token, running: None }
    }

    /// The pid whose family is counted; none without a proxy.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Running::pid)
    }

    /// Whether a thread is on the path of the request.
    pub fn on_path(&self, pid: u32, thread: &str) -> bool {
        match self.subject {
            Subject::Portcullis | Subject::PortcullisPass => thread.starts_with("worker-"),
            // The master only waits; its worker does the work.
            Subject::Nginx => Some(pid) != self.pid(),
            Subject::Haproxy => true,
            Subject::Direct => false,
        }
    }
}

impl Subject {
    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portcullis => "portcullis",
            Self::PortcullisPass => "portcullis_pass",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Direct => "direct",
        }
    }

    /// What must be installed for it.
    pub fn need(self) -> Option<Need> {
        match self {
            Self::Nginx => Some(Need { program: "nginx", probe: &[], package: "nginx-light" }),
            Self::Haproxy => Some(Need { program: "haproxy", probe: &[], package: "haproxy" }),
            Self::Portcullis | Self::PortcullisPass | Self::Direct => None,
        }
    }

    /// Its version in its own words.
    pub fn version(self) -> Option<String> {
        match self {
            Self::Nginx => process::first_line(&program("nginx").to_string_lossy(), &["-v"]).ok(),
            Self::Haproxy => process::first_line(&program("haproxy").to_string_lossy(), &["-v"]).ok(),
            Self::Portcullis | Self::PortcullisPass | Self::Direct => None,
        }
    }

    /// Writes its configuration into `folder` and starts it on [`PROXY_CPU`]; gives it back once it listens.
    ///
    /// # Errors
    /// When it does not start. Its own words stand in `FOLDER/log`.
    pub fn start(self, folder: &Path, binary: &Path, upstream: SocketAddr) -> Result<Proxy> {
        self.start_with(folder, pinned(binary), upstream)
    }

    /// The same, with a command that runs it in another way.
    ///
    /// # Errors
    /// As [`Subject::start`].
    pub fn start_with(self, folder: &Path, mut command: Command, upstream: SocketAddr) -> Result<Proxy> {
        let folder = folder.join(self.name());
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let address = free_address()?;
        let template = Template { folder: &folder, address, upstream };
        let token = match self {
            Self::Nginx => {
                let file = template.write("nginx.conf.in", "nginx.conf")?;
                command.arg("-e").arg(folder.join("error.log")).arg("-p").arg(&folder).arg("-c").arg(file);
                String::new()
            }
            Self::Haproxy => {
                command.arg("-db").arg("-f").arg(template.write("haproxy.cfg.in", "haproxy.cfg")?);
                String::new()
            }
            Self::Portcullis | Self::PortcullisPass => {
                command.arg("run").arg("--config").arg(template.write("portcullis.toml.in", "portcullis.toml")?);
                portcullis_files(&template)?
            }
            Self::Direct => String::new(),
        };
        let log = File::create(folder.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(&folder);
        let mut running = Running::start(self.name(), &mut command)?;
        running
            .wait_until(START_LIMIT, || TcpStream::connect(address).is_ok())
            .with_context(|| format!("its words are in `{}`", folder.join("log").display()))?;
        Ok(Proxy { subject: self, address, path: "/mcp/bench", token, running: Some(running) })
    }
}

/// What the configurations are filled in with.
struct Template<'a> {
    folder: &'a Path,
    address: SocketAddr,
    upstream: SocketAddr,
}

impl Template<'_> {
    /// Fills in a file of `loadtest/configs` and writes it into the folder.
    fn write(&self, from: &str, to: &str) -> Result<PathBuf> {
        let source = place::root()?.join("loadtest/configs").join(from);
        let text = fs::read_to_string(&source).with_context(|| format!("`{}` cannot be read", source.display()))?;
        let text = text
            .replace("@FOLDER@", &self.folder.display().to_string())
            .replace("@PORT@", &self.address.port().to_string())
            .replace("@UPSTREAM@", &self.upstream.to_string());
        let target = self.folder.join(to);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, text).with_context(|| format!("`{}` cannot be written", target.display()))?;
        Ok(target)
    }
}

/// Registry, catalogue, rule and keys beside the configuration; gives back a token for the agent they name.
fn portcullis_files(template: &Template<'_>) -> Result<String> {
    template.write("agents.toml", "agents.toml")?;
    template.write("catalogue.json", "catalogue.json")?;
    template.write("bench.cedar", "policies/bench.cedar")?;
    let signer = keys::TokenSigner::new_eddsa()?;
    fs::write(template.folder.join("keys.json"), signer.jwks_json())?;
    sign(&signer, template.address)
}

/// An access token of about 400 bytes, as identity providers make them (RFC 9068 §2.2), good for a day.
pub fn sign(signer: &keys::TokenSigner, address: SocketAddr) -> Result<String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    signer.sign(&serde_json::json!({
        "iss": "https://issuer.bench.example",
        "aud": format!("http://{address}/mcp/bench"),
        "sub": "bench-agent",
        "client_id": "bench-agent",
        "iat": now,
        "exp": now + 24 * 3600,
        "jti": "b1",
    }))
}

/// `program`, bound to the proxy's CPU before its first thread starts.
fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(PROXY_CPU.to_string()).arg(program);
    command
}

/// Where a program lies; its bare name when it is not found, so that the error names it.
pub fn program(name: &str) -> PathBuf {
    needs::find(name).unwrap_or_else(|| name.into())
}

/// A loopback address that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?)
}
