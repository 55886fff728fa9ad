//! Loads the gateway. In: a scene and a call. Out: a load that is warm and waits for its word, then how many calls it made. Every answer is a result, or
//! it is an error here: a path that refuses is not the one to be measured.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::scene::Scene;
use crate::bench::prepare::HEADERS;
use crate::place;
use crate::process::Running;

/// Connections kept open; enough for a loop turn to serve several.
const CONNECTIONS: &str = "16";

/// A call of one tool of the bench's catalogue, and the file that holds it.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The tool.
    pub tool: &'static str,
    /// The body, below `loadtest/configs`.
    pub body: &'static str,
}

/// Permitted whatever its arguments are.
pub const PLAIN: Call = Call { tool: "bench_plain", body: "call_plain.json" };

/// Permitted by a rule that reads an argument.
pub const JUDGED: Call = Call { tool: "bench_echo", body: "call.json" };

/// A load that has made calls for a while and waits.
pub struct Warm {
    running: Running,
    output: BufReader<ChildStdout>,
}

#[derive(Debug, Deserialize)]
struct Report {
    requests: u64,
    errors: u64,
}

impl Warm {
    /// Calls for `warm_seconds`, then waits.
    ///
    /// # Errors
    /// When the load does not run.
    pub fn up(scene: &Scene, call: Call, (warm_seconds, seconds): (&str, &str)) -> Result<Self> {
        let mut command = Command::new(&scene.load);
        command.args(["--address", &scene.gateway.address.to_string(), "--path", &scene.gateway.path, "--gate"]);
        command.arg("--body").arg(place::root()?.join("loadtest/configs").join(call.body));
        for header in HEADERS.iter().filter(|header| !header.starts_with("Mcp-Name:")) {
            command.args(["--header", header]);
        }
        command.args(["--header", &format!("Mcp-Name: {}", call.tool)]);
        command.args(["--header", &format!("Authorization: Bearer {}", scene.gateway.token)]);
        command.args(["--connections", CONNECTIONS, "--warm-seconds", warm_seconds, "--seconds", seconds]);
        let mut running = Running::start("load", command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let mut output = BufReader::new(running.stdout().context("the load's output is not piped")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        if line.trim() != "warm" {
            bail!("the load did not get warm");
        }
        Ok(Self { running, output })
    }

    /// Goes on calling to the end; how many calls that were.
    ///
    /// # Errors
    /// When one of them was not answered with a result.
    pub fn go(mut self) -> Result<u64> {
        self.running.stdin().context("the load's input is not piped")?.write_all(b"\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let report: Report = serde_json::from_str(&line).context("the load ended without a report")?;
        if report.requests == 0 || report.errors > 0 {
            bail!("{} calls, {} of them not answered with a result: {}", report.requests, report.errors, line.trim());
        }
        Ok(report.requests)
    }
}
