//! Compares our policy engine with Cedar on worlds made by chance. In: how many cases. Out: a report, and failure where one case differs.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use portcullis_differential::run::{self, Run};
use portcullis_differential::tally::{Length, Tally};
use serde_json::json;

/// What to compare.
#[derive(Parser)]
struct Args {
    /// Questions in all
    #[arg(long, default_value_t = 1_000_000)]
    cases: u64,
    /// The seed of the first world
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; as many as there are cores where none are named
    #[arg(long)]
    jobs: Option<usize>,
    /// Questions of one world; more amortise its making
    #[arg(long)]
    per_world: Option<u64>,
    /// Where the report goes
    #[arg(long)]
    report: Option<PathBuf>,
    /// Succeed only where a mismatch is found: the engine is broken on purpose
    #[arg(long)]
    broken: bool,
}

/// Up to this many cases worlds are many and short.
const SHORT_CASES_MAX: u64 = 1_000_000;

/// A run from this many cases on must have met every kind of expression and decision.
const WHOLE_CASES_MIN: u64 = 500_000;

fn main() -> ExitCode {
    let args = Args::parse();
    let per_world = args.per_world.unwrap_or(if args.cases <= SHORT_CASES_MAX { 500 } else { 5_000 }).max(1);
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let run = Run { cases: args.cases, seed: args.seed, jobs: args.jobs.unwrap_or_else(cores), per_world };
    let start = Instant::now();
    let mut shown = Duration::ZERO;
    let terminal = std::io::stderr().is_terminal();
    let tally = run::run(&run, |tally, elapsed| {
        if terminal {
            eprint!("\r{}", line(tally, elapsed, run.cases));
        } else if elapsed >= shown + Duration::from_secs(10) {
            shown = elapsed;
            eprintln!("{}", line(tally, elapsed, run.cases));
        }
    });
    if terminal {
        eprintln!();
    }
    let took = start.elapsed();
    println!("{}", line(&tally, took, run.cases));
    if let Some(file) = &args.report {
        let mut report = tally.json();
        report["run"] = json!({
            "seed": run.seed, "per_world": per_world, "jobs": run.jobs, "seconds": took.as_secs_f64(),
            "cases_per_second": (tally.cases as f64 / took.as_secs_f64()).round(),
            "microseconds_per_case_and_thread": took.as_secs_f64() * 1e6 * run.jobs as f64 / tally.cases.max(1) as f64,
        });
        if let Err(error) = std::fs::write(file, format!("{report:#}\n")) {
            eprintln!("error: cannot write `{}`: {error}", file.display());
            return ExitCode::FAILURE;
        }
        println!("wrote {}", file.display());
    }
    if args.broken {
        found(&tally)
    } else {
        judged(&tally, if tally.cases >= WHOLE_CASES_MIN { Length::Whole } else { Length::Short })
    }
}

fn line(tally: &Tally, took: Duration, cases: u64) -> String {
    format!(
        "{} of {cases} cases in {} worlds, {} mismatches, {:.0} cases/s, {} s",
        tally.cases,
        tally.worlds,
        tally.mismatches.len(),
        tally.cases as f64 / took.as_secs_f64().max(0.001),
        took.as_secs()
    )
}

fn judged(tally: &Tally, length: Length) -> ExitCode {
    for mismatch in &tally.mismatches {
        println!("\nMISMATCH\n{mismatch}");
    }
    let gaps = tally.gaps(length);
    for gap in &gaps {
        println!("error: {gap}");
    }
    if tally.mismatches.is_empty() && gaps.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn found(tally: &Tally) -> ExitCode {
    match tally.mismatches.first() {
        Some(mismatch) => {
            println!("\nthe broken engine was found out:\n{mismatch}");
            ExitCode::SUCCESS
        }
        None => {
            println!("error: the engine is broken on purpose and {} cases did not show it", tally.cases);
            ExitCode::FAILURE
        }
    }
}
