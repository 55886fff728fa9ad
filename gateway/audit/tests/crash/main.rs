//! Crashes of logs, and what is left of them.

mod check;
mod blows;
mod disk;
mod records;
mod survivors;
mod world;
mod points;
mod real;
mod small;

use std::path::Path;
use std::process::Command;

use points::Plan;

#[test]
fn no_crash_loses_a_record_that_was_acknowledged_or_leaves_a_log_that_does_not_verify() {
    let plan = Plan { points: 500, seed: 1, jobs: 2 };
    match points::run(&plan, |_| {}) {
        Ok(summary) => println!("{summary}"),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn a_process_that_is_killed_at_any_moment_loses_nothing_it_acknowledged() {
    let child = |audit: &Path, seed: u64| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_process_that_writes", "--ignored", "--nocapture"]);
        command.env(AUDIT, audit).env(SEED, seed.to_string());
        command
    };
    match real::kill(40, 1, child) {
        Ok(summary) => println!("{summary}"),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
#[ignore = "it writes until it is killed by the test above, which starts it"]
fn a_process_that_writes() {
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    real::write_until_killed(Path::new(&std::env::var_os(AUDIT).unwrap()), seed).unwrap();
}

const AUDIT: &str = "CRASH_AUDIT";

const SEED: &str = "CRASH_SEED";

#[test]
fn a_full_disk_refuses_and_loses_nothing_and_goes_on_once_there_is_space() {
    match small::fill(1) {
        Ok(summary) => println!("{summary}"),
        Err(failure) => panic!("{failure}"),
    }
}
