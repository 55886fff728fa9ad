//! Sets the stage. In: who will be measured. Out: everything built, the stub upstream running. What cannot be built is named and left out.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use portcullis_loadtest::plan::{Kind, Plan};

use super::LOAD_CPU;
use super::launch::{self, Answers, Setting};
use super::papers::Papers;
use super::subject::{self, Family, Proxy, Subject};
use super::third::ThirdParty;
use crate::place;
use crate::process::{self, Running};

/// How what is measured is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Build {
    /// As it is shipped.
    Release,
    /// Linked fast, each crate for itself: for the guard, whose bound is wide.
    Differential,
}

impl Build {
    /// The profile of cargo, and the folder below the target folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Differential => "differential",
        }
    }
}

/// All that rounds need, whatever the plan.
pub struct Stage {
    /// Where everything is written.
    pub folder: PathBuf,
    /// Where the stub listens.
    pub upstream: SocketAddr,
    /// The stub, for its CPU time.
    pub stub: Running,
    /// The load generator.
    pub load: PathBuf,
    /// Programs of the subjects that can run.
    programs: BTreeMap<Subject, PathBuf>,
    /// A gateway that runs already.
    pub third: Option<ThirdParty>,
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

impl Stage {
    /// Builds everything that `wanted` needs and starts the stub on `port`; 0 takes a free one.
    ///
    /// # Errors
    /// When stub or load cannot be built or started.
    pub fn set(folder: &Path, wanted: &[Subject], port: u16, how: Build, third: Option<ThirdParty>) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let place = build("portcullis-loadtest", &["--bin", "load", "--bin", "stub"], how)?;
        let mut stub = Command::new(place.join("stub"));
        stub.args(["--cpu", &LOAD_CPU.to_string(), "--port", &port.to_string()]);
        let (stub, upstream) = start_stub(&mut stub)?;
        let (mut programs, mut built) = (BTreeMap::new(), BTreeMap::new());
        for subject in wanted {
            programs.extend(program(*subject, how, &mut built).map(|program| (*subject, program)));
        }
        if programs.is_empty() {
            bail!("no subject is left to measure");
        }
        Ok(Self { folder: folder.to_owned(), upstream, stub, load: place.join("load"), programs, third })
    }

    /// Whether a subject can run.
    pub fn has(&self, subject: Subject) -> bool {
        self.programs.contains_key(&subject)
    }

    /// Starts a subject as a plan wants it; gives it back once it listens.
    ///
    /// # Errors
    /// When it does not start, or is not there.
    pub fn start(&self, subject: Subject, plan: &Plan, papers: &Papers) -> Result<Proxy> {
        match subject.family() {
            Family::Direct => return Ok(Proxy::direct(self.upstream, papers.token.clone())),
            Family::ThirdParty => {
                let third = self.third.as_ref().context("no third party was named")?;
                return Ok(third.proxy(&papers.token));
            }
            Family::Portcullis | Family::Nginx | Family::Haproxy => {}
        }
        let program = self.programs.get(&subject).with_context(|| format!("`{}` is not there", subject.name()))?;
        let answers = match plan.kind {
            Kind::Streams => Answers::Streams,
            Kind::Calls | Kind::Handshakes | Kind::Idle => Answers::Whole,
        };
        let folder = &self.folder;
        let setting = Setting { folder, upstream: self.upstream, transport: plan.transport, answers, papers };
        launch::start(subject, launch::pinned(subject, program), &setting)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What stays takes room and nothing else; the next run removes it.
        let _removed = fs::remove_dir_all(self.folder.join(launch::SPENT));
    }
}

/// The program of a subject, built where it is ours. What cannot be built is skipped in clear words, never silently.
fn program(subject: Subject, how: Build, built: &mut BTreeMap<&'static str, Option<PathBuf>>) -> Option<PathBuf> {
    let (name, args): (_, &[&str]) = match subject.family() {
        Family::Nginx | Family::Haproxy => return Some(subject::program(subject.name())),
        Family::Direct | Family::ThirdParty => return Some(PathBuf::new()),
        // The same folder: all but our own crate is compiled already, and the binary has a name of its own.
        Family::Portcullis if subject == Subject::PortcullisPass => {
            ("portcullis-pass", &["--features", "portcullis/bench-pass", "--bin", "portcullis-pass"])
        }
        Family::Portcullis => ("portcullis", &["--bin", "portcullis"]),
    };
    let place = built.entry(name).or_insert_with(|| match build("portcullis", args, how) {
        Ok(place) => Some(place),
        Err(cause) => {
            eprintln!("skipping all that runs `{name}`: it cannot be built ({cause:#})");
            None
        }
    });
    place.as_ref().map(|place| place.join(name))
}

/// Builds, and says where the programs are.
fn build(package: &str, args: &[&str], how: Build) -> Result<PathBuf> {
    let target = place::target()?;
    let mut cargo = Command::new(place::cargo());
    cargo.args(["build", "--profile", how.name(), "--locked", "--target-dir"]).arg(&target).current_dir(place::root()?);
    match how {
        Build::Release => cargo.args(["--package", package]),
        // As a part of the workspace, like what else is built with this profile: alone, what it depends on would be built once more.
        Build::Differential => cargo.arg("--workspace"),
    };
    process::run(&format!("cargo build {}", args.join(" ")), cargo.args(args))?;
    Ok(target.join(how.name()))
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
