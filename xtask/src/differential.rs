//! Compares our policy engine with Cedar's own evaluator on worlds made by chance. In: how many cases, from which seed. Out:
//! `target/differential/report.json`, and an error unless every decision and every determining rule agree. Never here: worlds.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{place, process};

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Questions in all; 100000000 take about ten minutes of two idle cores
    #[arg(long, default_value_t = CASES_PROOF)]
    pub cases: u64,
    /// The seed of the first world; a mismatch names the one that repeats it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Threads; one a core where none are named
    #[arg(long)]
    pub jobs: Option<usize>,
    /// Questions of one world; more amortise its making
    #[arg(long)]
    pub per_world: Option<u64>,
    /// Build an engine with one broken instruction, and demand that 10,000 cases find it out
    #[arg(long)]
    pub broken: bool,
}

/// What `cargo xtask test` compares.
const CASES_PROOF: u64 = 1_000_000;

/// A broken engine must be found out within this many cases.
const CASES_BROKEN: u64 = 10_000;

/// What compares.
const PROGRAM: &str = "differential";

/// Optimised, but linked fast.
const PROFILE: &str = "differential";

impl Args {
    /// What `cargo xtask test` proves.
    pub fn proof() -> Self {
        Self { cases: CASES_PROOF, seed: 1, jobs: None, per_world: None, broken: false }
    }
}

/// Builds and compares.
///
/// # Errors
/// When it does not build, a case differs, or a run that is long enough did not meet every kind of expression and decision.
pub fn run(args: &Args) -> Result<()> {
    let mut build = Command::new(place::cargo());
    build.current_dir(place::root()?).args(["build", "--quiet", "--workspace", "--bin", PROGRAM, "--profile", PROFILE]);
    if args.broken {
        build.args(["--features", "portcullis-core/broken-instruction"]);
    }
    eprintln!("building {PROGRAM}");
    process::run("cargo build", &mut build)?;
    let folder = place::target()?.join(PROFILE);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    process::run(PROGRAM, command(args, &folder).args(["--revision", &revision()]))
}

/// The commit that is compared, with `-dirty` where files differ from it; in its place why it is not known.
fn revision() -> String {
    let described = || -> Result<String> {
        let mut git = Command::new("git");
        git.current_dir(place::root()?).args(["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]);
        let output = git.output().context("git does not run")?;
        ensure!(output.status.success(), "git says: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    described().unwrap_or_else(|error| format!("unknown: {error:#}"))
}

fn command(args: &Args, folder: &std::path::Path) -> Command {
    let mut command = Command::new(folder.join(PROGRAM));
    let cases = if args.broken { args.cases.min(CASES_BROKEN) } else { args.cases };
    command.args(["--cases", &cases.to_string(), "--seed", &args.seed.to_string()]);
    for (option, value) in [("--jobs", args.jobs.map(|jobs| jobs as u64)), ("--per-world", args.per_world)] {
        if let Some(value) = value {
            command.args([option, &value.to_string()]);
        }
    }
    if args.broken {
        command.arg("--broken");
    } else {
        command.arg("--report").arg(folder.join("report.json"));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &Args, expected: &str) {
        let command = command(args, std::path::Path::new("/t"));
        let told: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        assert_eq!(told.join(" "), expected);
    }

    #[test]
    fn a_broken_engine_is_never_given_more_than_ten_thousand_cases_and_leaves_no_report() {
        check(&Args { broken: true, ..Args::proof() }, "--cases 10000 --seed 1 --broken");
        check(
            &Args { seed: 7, jobs: Some(2), per_world: Some(9), ..Args::proof() },
            "--cases 1000000 --seed 7 --jobs 2 --per-world 9 --report /t/report.json",
        );
    }
}
