//! Runs the suite once. In: an endpoint, a revision, an empty folder. Out: what its files say about every scenario.
//! Read are the files it writes and the frozen list of what is scored, never its prose.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::conformance::results::{Requirements, Results};
use crate::tools;

/// What is tested.
pub struct Target {
    /// The MCP endpoint; its host must be a loopback one, as the scenario against DNS rebinding demands.
    pub url: String,
    /// The bearer token of the agent, if it needs one.
    pub token: Option<String>,
}

/// Runs everything that `revision` requires of a server.
pub fn run(target: &Target, revision: &str, folder: &Path) -> Result<Results> {
    fs::create_dir_all(folder)?;
    let frozen = tools::conformance_package()?.join("requirements").join(format!("{revision}.yaml"));
    let requirements = match fs::read_to_string(&frozen) {
        Ok(yaml) => Requirements::frozen(&yaml),
        // Older revisions have no frozen list: the suite decides what applies to them.
        Err(_) => Requirements::suite(revision)?,
    };
    let mut command = tools::conformance_runner()?;
    command.args(["server", "--url", &target.url, "-o"]).arg(folder);
    match &requirements {
        Requirements::Frozen { .. } => command.args(["--requirements", revision]),
        Requirements::Suite { .. } => command.args(["--suite", "all", "--spec-version", revision]),
    };
    let headers = match &target.token {
        Some(token) => json!({"authorization": format!("Bearer {token}")}),
        None => json!({}),
    };
    command.env("MCP_TEST_HEADERS", headers.to_string());
    let log = folder.join("runner.log");
    let output = File::create(&log)?;
    let mut runner = command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output).spawn()?;

    let start = Instant::now();
    let status = loop {
        if let Some(status) = runner.try_wait()? {
            break status;
        }
        if start.elapsed() > RUN_MAX {
            runner.kill()?;
            runner.wait()?;
            bail!("the runner did not end within {} s, see `{}`", RUN_MAX.as_secs(), log.display());
        }
        thread::sleep(WAIT_STEP);
    };
    let results = Results::read(folder, &requirements).with_context(|| format!("see `{}`", log.display()))?;
    Ok(results.judged_by_runner(status.success()))
}

/// A full run takes about 10 s; on a loaded machine, and when every scenario runs into its own limit, a few minutes.
const RUN_MAX: Duration = Duration::from_secs(600);

/// How often a wait looks again.
const WAIT_STEP: Duration = Duration::from_millis(50);
