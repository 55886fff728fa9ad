//! Proves MCP conformance with the public suite. In: revisions, and whether a gateway stands in between. Out: a table,
//! `target/conformance/report.json`, and an error unless every scored scenario passed. Never here: scenarios of our own.

mod child;
mod clients;
mod gateway;
mod results;
mod runner;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use crate::conformance::child::Child;
use crate::conformance::gateway::start_gateway;
use crate::conformance::runner::Target;
use crate::tools;

/// What to prove.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Revisions to run, such as 2025-11-25
    #[arg(long, value_name = "REV", num_args = 1.., default_values = ["2025-11-25", "2026-07-28", "2025-06-18"])]
    pub spec: Vec<String>,
    /// Run against the upstream itself, without a gateway
    #[arg(long)]
    pub direct: bool,
    /// Run the remaining revisions after one that failed
    #[arg(long)]
    pub keep_going: bool,
    /// Walk the real SDK clients through as well
    #[arg(long)]
    pub clients: bool,
    /// A Cedar file that is loaded beside the policy of the run
    #[arg(long, value_name = "FILE")]
    pub policy_extra: Option<PathBuf>,
}

impl Args {
    /// What `cargo xtask test` proves: every revision and every SDK client, and no end before all were tried.
    pub fn proof() -> Self {
        let spec = ["2025-11-25", "2026-07-28", "2025-06-18"].map(str::to_owned).to_vec();
        Self { spec, direct: false, keep_going: true, clients: true, policy_extra: None }
    }
}

/// Runs the suite.
///
/// # Errors
/// When something cannot be installed, built or started, or a scored scenario did not pass.
pub fn run(args: &Args) -> Result<()> {
    let folder = tools::target()?.join("conformance");
    clear(&folder)?;
    eprintln!("preparing the runner and the upstream");
    tools::conformance_runner()?;
    let (upstream, upstream_url) = start_upstream(&folder)?;
    let (gateway, target) = if args.direct {
        (None, Target { url: upstream_url, token: None })
    } else {
        let gateway = start_gateway(&upstream_url, &folder, args.policy_extra.as_deref())?;
        let target = Target { url: gateway.url.clone(), token: Some(gateway.token.clone()) };
        (Some(gateway), target)
    };

    let mut failed = suite(args, &target, &folder)?;
    if args.clients && (failed.is_empty() || args.keep_going) {
        failed.extend(clients::walk_all(&target)?);
    }
    if let Some(gateway) = &gateway {
        token_stayed_here(&folder.join(UPSTREAM_RECORD), &gateway.token)?;
    }
    drop((gateway, upstream));
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

/// Runs the revisions, prints and writes their results; gives the words of each that failed.
fn suite(args: &Args, target: &Target, folder: &Path) -> Result<Vec<String>> {
    let mut report = Map::new();
    let mut failed = Vec::new();
    for revision in &args.spec {
        eprintln!("running {revision} against {}", target.url);
        let results = runner::run(target, revision, &folder.join(revision))?;
        println!("{}", results.table(revision));
        report.insert(revision.clone(), results.json());
        if let Some(words) = results.fault() {
            failed.push(format!("{revision}: {words}"));
            if !args.keep_going {
                break;
            }
        }
    }
    let file = folder.join("report.json");
    fs::write(&file, format!("{:#}\n", Value::Object(report)))?;
    println!("wrote {}", file.display());
    Ok(failed)
}

fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot clear `{}`", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))
}

fn start_upstream(folder: &Path) -> Result<(Child, String)> {
    let program = tools::build("portcullis-upstreams", "everything")?;
    let mut command = Command::new(program);
    command.arg("--record").arg(folder.join(UPSTREAM_RECORD));
    Child::start_announced("everything", &mut command, &folder.join("upstream.log"))
}

/// The agent's token is for the gateway alone; the upstream wrote down every byte it got.
fn token_stayed_here(record: &Path, token: &str) -> Result<()> {
    let received = fs::read_to_string(record).with_context(|| format!("cannot read `{}`", record.display()))?;
    ensure!(!received.is_empty(), "the upstream received nothing, so no scenario went through the gateway");
    ensure!(!received.contains(token), "the agent's token reached the upstream, see `{}`", record.display());
    println!("the agent's token reached the upstream in none of {} requests", received.lines().count());
    Ok(())
}

/// What the upstream received, one JSON line a request.
const UPSTREAM_RECORD: &str = "upstream.jsonl";

#[cfg(test)]
mod tests {
    use super::results::Results;

    #[test]
    fn a_run_without_scenarios_is_a_fault() {
        assert_eq!(Results::default().fault().as_deref(), Some("no scenario was scored"));
    }
}
