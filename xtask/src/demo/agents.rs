//! Drives the agents' MCP client. In: what an agent is to do. Out: what it saw. Never here: tokens on a command line.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::process::Running;

/// One thing an agent does; the client's own words are in `tests/upstreams/src/bin/tour.rs`.
#[derive(Debug, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Step<'s> {
    /// Opens MCP.
    Open { agent: &'s str, era: Era, token: Option<&'s str>, certificate: Option<&'s Path> },
    /// Asks for every tool.
    List { agent: &'s str },
    /// Calls a tool.
    Call { agent: &'s str, tool: &'s str, arguments: Value },
}

/// The handshake of an agent.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    /// MCP 2025-11-25 and older: `initialize`, then a session.
    Legacy,
    /// MCP 2026-07-28: every request stands alone.
    Modern,
}

/// What an agent saw.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "saw", rename_all = "snake_case")]
pub enum Saw {
    /// MCP is open in this revision.
    Open { revision: String },
    /// These tools, sorted.
    Tools { names: Vec<String> },
    /// An answer of the tool.
    Answer { content: Value, error: bool },
    /// A JSON-RPC error.
    Refused { code: i64, message: String },
    /// HTTP 401 with this challenge.
    Unauthorized { challenge: String },
    /// HTTP 403.
    Forbidden { challenge: String },
    /// Neither.
    Broken { words: String },
}

/// The running client. Dropping it closes every session.
pub struct Agents {
    input: Option<ChildStdin>,
    output: Receiver<String>,
    /// All that any agent ever saw.
    pub seen: String,
    running: Running,
}

impl Agents {
    /// Starts the client for the agents of `url`, which trust `ca` alone.
    pub fn start(program: &Path, ca: &Path, url: &str, log: File) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("--ca").arg(ca).arg(url);
        let mut running =
            Running::start("tour", command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::from(log)))?;
        let output = BufReader::new(running.stdout().context("standard output is not piped")?);
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let input = running.stdin();
        Ok(Self { input, output: receiver, seen: String::new(), running })
    }

    /// Does one step.
    pub fn act(&mut self, step: &Step<'_>) -> Result<Saw> {
        let input = self.input.as_mut().context("standard input is not piped")?;
        writeln!(input, "{}", serde_json::to_string(step)?).context("the client ended; see `tour.log`")?;
        let Ok(line) = self.output.recv_timeout(ANSWER_MAX) else {
            bail!("the client gave no answer; see `tour.log`");
        };
        self.seen.push_str(&line);
        serde_json::from_str(&line).with_context(|| format!("the client said `{line}`"))
    }

    /// Closes every session; nothing can be asked afterwards.
    pub fn close(&mut self) {
        // The end of its input tells the client to leave. One that does not is ended when this is dropped.
        drop(self.input.take());
        let _left_or_late = self.running.wait_until(CLOSE_MAX, || false);
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.close();
    }
}

/// The client itself gives up after 15 s.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Closing two sessions takes milliseconds.
const CLOSE_MAX: Duration = Duration::from_secs(3);
