//! Drives the load generator and asks the stub. In: a plan's file, a proxy. Out: a load that is ready and waits for its word, then what it counted.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use portcullis_loadtest::plan::Transport;
use serde::Deserialize;

use super::LOAD_CPU;
use super::papers::Papers;
use super::prepare::Stage;
use super::subject::{Proxy, Subject};
use crate::process::Running;

/// What is asked of the load, beside the plan.
pub struct Order<'o> {
    /// The plan's file.
    pub plan: PathBuf,
    /// What the connections run over.
    pub transport: Transport,
    /// What the load shows.
    pub papers: &'o Papers,
    /// Calls a second, whatever the answers do.
    pub rate: Option<f64>,
    /// How long.
    pub length: Duration,
    /// How long before.
    pub warm: Duration,
}

/// A load that is ready and waits for its word.
pub struct Ready {
    running: Running,
    output: BufReader<ChildStdout>,
    name: &'static str,
}

/// What the load reports.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Loaded {
    /// Answers.
    pub requests: u64,
    /// Of them, refused as the plan expects.
    pub refused: u64,
    /// Calls that the rule forbids.
    pub forbidden: u64,
    /// Calls that were due and could not be sent; errors, as the load counts.
    pub unsent: u64,
    /// Full handshakes made.
    pub handshakes: u64,
    /// All kinds of failure together.
    pub errors: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Answers a second.
    pub rps: f64,
    /// Half came within this.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1000.
    pub p999_us: f64,
    /// Percentile and time.
    pub percentiles: Vec<(f64, f64)>,
    /// CPU time of the generator itself.
    pub own_cpu_us: u64,
}

/// What the stub reports.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Stats {
    /// Accepted so far.
    pub connections: u64,
    /// Answered so far.
    pub requests: u64,
}

impl Ready {
    /// Starts the load against `proxy`; gives it back when it says `word`, `warm` or `held`.
    ///
    /// # Errors
    /// When it does not get that far; its own words are on standard error.
    pub fn up(stage: &Stage, proxy: &Proxy, order: &Order<'_>, word: &str) -> Result<Self> {
        let mut command = Command::new(&stage.load);
        let third = stage.third.as_ref().filter(|_| proxy.subject == Subject::ThirdParty);
        let tokens = third.and_then(|third| third.tokens.as_ref()).unwrap_or(&order.papers.tokens);
        command.arg("--plan").arg(&order.plan).args(["--address", &proxy.address.to_string(), "--path", &proxy.path]);
        command.arg("--token-file").arg(tokens).args(["--cpu", &LOAD_CPU.to_string(), "--gate"]);
        command.args(["--seconds", &order.length.as_secs_f64().to_string()]);
        command.args(["--warm-seconds", &order.warm.as_secs_f64().to_string()]);
        if let Some(rate) = order.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        if order.transport == Transport::Mtls {
            command.arg("--ca").arg(&order.papers.ca).arg("--certificate").arg(&order.papers.client_certificate);
            command.arg("--key").arg(&order.papers.client_key);
        }
        let mut running = Running::start("load", command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let mut output = BufReader::new(running.stdout().context("the load's output is not piped")?);
        let (mut line, name) = (String::new(), proxy.subject.name());
        output.read_line(&mut line)?;
        if line.split_whitespace().next() != Some(word) {
            bail!("the load against {name} said `{}` instead of `{word}`", line.trim());
        }
        Ok(Self { running, output, name })
    }

    /// Lets it go and waits for what it counted.
    ///
    /// # Errors
    /// When it ends without a report.
    pub fn go(mut self) -> Result<Loaded> {
        self.running.stdin().context("the load's input is not piped")?.write_all(b"\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the load against {} ended without a report", self.name))
    }
}

/// Asks the stub for its counts over a connection of its own.
///
/// # Errors
/// When it does not answer.
pub fn stats(upstream: SocketAddr) -> Result<Stats> {
    let mut stream = TcpStream::connect(upstream).context("the stub is gone")?;
    stream.write_all(b"GET /stats HTTP/1.1\r\nHost: stub\r\n\r\n")?;
    let mut text = Vec::new();
    let mut chunk = [0_u8; 512];
    loop {
        let count = stream.read(&mut chunk)?;
        text.extend_from_slice(chunk.get(..count).unwrap_or_default());
        // The counts are one flat object and the last bytes of the answer.
        if text.ends_with(b"}") || count == 0 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let (_, body) = text.split_once("\r\n\r\n").context("the stub answered no counts")?;
    serde_json::from_str(body).context("the stub answered no counts")
}
