//! Crashes the audit log by the thousand. In: how many times, from which seed. Out: a count of what was survived, and an error where a record is lost or a
//! log does not verify. Never here: what a crash is; `gateway/audit/tests/crash` knows.

use std::process::Command;

use anyhow::Result;

use crate::{place, process};

/// What to crash.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Crashes on the simulated disk: kills, power cuts, no space, syncs and reads that fail
    #[arg(long, default_value_t = POINTS)]
    pub points: u64,
    /// The seed of the first log; what fails names the one that repeats it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Threads
    #[arg(long, default_value_t = 2)]
    pub jobs: u64,
    /// Real processes that are killed while they write to a real disk; a small one is filled as well where there are any
    #[arg(long, default_value_t = KILLS)]
    pub kills: u64,
}

const POINTS: u64 = 10_000;

const KILLS: u64 = 300;

/// What crashes.
const PROGRAM: &str = "crash";

/// Optimised, but linked fast.
const PROFILE: &str = "differential";

/// Builds and crashes.
///
/// # Errors
/// When it does not build, or a crash was not survived.
pub fn run(args: &Args) -> Result<()> {
    eprintln!("building {PROGRAM}");
    let mut build = Command::new(place::cargo());
    build.current_dir(place::root()?).args(["build", "--quiet", "--workspace", "--locked"]);
    process::run("cargo build", build.args(["--example", PROGRAM, "--profile", PROFILE]))?;
    let mut crash = Command::new(place::target()?.join(PROFILE).join("examples").join(PROGRAM));
    for (option, value) in
        [("--points", args.points), ("--seed", args.seed), ("--jobs", args.jobs), ("--kills", args.kills)]
    {
        crash.args([option, &value.to_string()]);
    }
    process::run(PROGRAM, &mut crash)
}
