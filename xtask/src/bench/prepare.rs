//! Sets the scene. In: the subjects wanted. Out: everything built and running: stub, proxies, the request. What cannot be built is
//! named and left out.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::LOAD_CPU;
use super::subject::{self, Proxy, Subject};
use crate::keys::TokenSigner;
use crate::place;
use crate::process::{self, Running};

/// All that a round needs.
pub struct Scene {
    /// The subjects, running.
    pub proxies: Vec<Proxy>,
    /// Where the stub listens.
    pub upstream: SocketAddr,
    /// The stub, for its CPU time.
    pub stub: Running,
    /// The load generator.
    pub load: PathBuf,
    /// The body of the request.
    pub body: PathBuf,
}

/// What the load sends beside the token (MCP 2026-07-28: headers that mirror the body).
pub const HEADERS: [&str; 6] = [
    "Content-Type: application/json",
    "Accept: application/json, text/event-stream",
    "MCP-Protocol-Version: 2026-07-28",
    "Mcp-Method: tools/call",
    "Mcp-Name: bench_echo",
    "User-Agent: portcullis-load/1",
];

/// Builds and starts everything.
///
/// # Errors
/// When stub or load cannot be built, or a proxy that is there does not start.
pub fn scene(folder: &Path, wanted: &[Subject], connections: u32) -> Result<Scene> {
    if connections > 500 {
        bail!("{connections} connections are more than the proxies' pools of 512 are set for");
    }
    fs::create_dir_all(folder)?;
    let target = place::target()?;
    build(&["-p", "portcullis-loadtest"], &target)?;
    let (stub, upstream) =
        start_stub(Command::new(target.join("release/stub")).args(["--cpu", &LOAD_CPU.to_string()]))?;
    // Proxies that check nothing are shown a token of the same length, so that all read the same head.
    let plain = subject::sign(&TokenSigner::new_eddsa()?, upstream)?;
    let mut proxies = Vec::new();
    for subject in wanted {
        let Some(binary) = binary(*subject, &target)? else { continue };
        let mut proxy = match subject {
            Subject::Direct => Proxy::direct(upstream, plain.clone()),
            Subject::Portcullis | Subject::PortcullisPass | Subject::Nginx | Subject::Haproxy => {
                subject.start(folder, &binary, upstream)?
            }
        };
        if proxy.token.is_empty() {
            proxy.token.clone_from(&plain);
        }
        proxies.push(proxy);
    }
    if proxies.is_empty() {
        bail!("no subject is left to measure");
    }
    let body = place::root()?.join("loadtest/configs/call.json");
    Ok(Scene { proxies, upstream, stub, load: target.join("release/load"), body })
}

/// The program of a subject, built where it is ours. What cannot be built is skipped in clear words, never silently.
fn binary(subject: Subject, target: &Path) -> Result<Option<PathBuf>> {
    let (built, path) = match subject {
        Subject::Nginx | Subject::Haproxy => return Ok(Some(subject::program(subject.name()))),
        Subject::Direct => return Ok(Some(PathBuf::new())),
        Subject::Portcullis => {
            (build(&["-p", "portcullis", "--bin", "portcullis"], target), target.join("release/portcullis"))
        }
        Subject::PortcullisPass => {
            // The same folder: all but our own crate is compiled already, and the binary has a name of its own.
            let args = ["-p", "portcullis", "--features", "bench-pass", "--bin", "portcullis-pass"];
            (build(&args, target), target.join("release/portcullis-pass"))
        }
    };
    match built {
        Ok(()) => Ok(Some(path)),
        Err(cause) => {
            eprintln!("skipping {}: it cannot be built ({cause:#})", subject.name());
            Ok(None)
        }
    }
}

fn build(args: &[&str], target: &Path) -> Result<()> {
    let mut cargo = Command::new(place::cargo());
    cargo.args(["build", "--release", "--locked", "--target-dir"]).arg(target).args(args).current_dir(place::root()?);
    process::run(&format!("cargo build {}", args.join(" ")), &mut cargo)
}

/// Starts the stub upstream; where it listens.
///
/// # Errors
/// When it does not start.
pub fn start_stub(command: &mut Command) -> Result<(Running, SocketAddr)> {
    let mut stub = Running::start("stub", command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let mut line = String::new();
    BufReader::new(stub.stdout().context("the stub's output is not piped")?).read_line(&mut line)?;
    let address = line.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
    let address = address.with_context(|| format!("the stub said `{}` instead of where it listens", line.trim()))?;
    Ok((stub, address))
}
