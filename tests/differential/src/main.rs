//! Compares our policy engine with Cedar on worlds made by chance. In: how many cases. Out: a report, and failure where one case differs.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use portcullis_differential::pace::{Pace, clock};
use portcullis_differential::run::{self, Run};
use portcullis_differential::tally::{Length, Tally};
use serde_json::{Value, json};

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
    /// The git revision that the report names
    #[arg(long)]
    revision: Option<String>,
    /// Succeed only where a mismatch is found: the engine is broken on purpose
    #[arg(long)]
    broken: bool,
}

/// Worlds that a run makes at least, where its cases suffice: many short worlds find more than few long ones.
const WORLDS: u64 = 2_000;

/// A run of this many cases, in this many worlds, must have met every kind of expression and decision.
const WHOLE_MIN: (u64, u64) = (500_000, 1_000);

/// How often a run that no terminal shows says how far it is.
const SHOWN_EVERY: Duration = Duration::from_secs(10);

/// How often a long run writes its report while it runs.
const WRITTEN_EVERY: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let args = Args::parse();
    let per_world = args.per_world.unwrap_or((args.cases / WORLDS).clamp(500, 5_000)).max(1);
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let run = Run { cases: args.cases, seed: args.seed, jobs: args.jobs.unwrap_or_else(cores), per_world };
    let (mut shown, mut written) = (Duration::ZERO, Duration::ZERO);
    let terminal = std::io::stderr().is_terminal();
    let (tally, pace) = run::run(&run, |tally, pace| {
        if terminal {
            eprint!("\r\x1b[K{}", line(tally, pace, run.cases));
        } else if pace.running >= shown + SHOWN_EVERY {
            shown = pace.running;
            eprintln!("{}", line(tally, pace, run.cases));
        }
        if pace.running >= written + WRITTEN_EVERY {
            written = pace.running;
            // Whether it can be written is told at the end.
            let _ = write(&args, &report(&args, &run, tally, pace));
        }
    });
    if terminal {
        eprintln!();
    }
    println!("{}", line(&tally, &pace, run.cases));
    match write(&args, &report(&args, &run, &tally, &pace)) {
        Ok(None) => {}
        Ok(Some(file)) => println!("wrote {}", file.display()),
        Err(words) => {
            eprintln!("error: {words}");
            return ExitCode::FAILURE;
        }
    }
    if args.broken { found(&tally) } else { judged(&tally, length(&tally)) }
}

fn length(tally: &Tally) -> Length {
    if tally.cases >= WHOLE_MIN.0 && tally.worlds >= WHOLE_MIN.1 { Length::Whole } else { Length::Short }
}

fn report(args: &Args, run: &Run, tally: &Tally, pace: &Pace) -> Value {
    let mut report = tally.json();
    let finished = tally.cases == run.cases;
    report["run"] = json!({
        "revision": args.revision, "seed": run.seed, "of_cases": run.cases, "finished": finished,
        "per_world": run.per_world, "jobs": run.jobs,
        "seconds": pace.running.as_secs_f64(), "seconds_stopped": pace.stopped.as_secs_f64(),
        "cases_per_second": pace.rate(tally.cases).round(),
        "microseconds_per_case_and_thread": 1e6 * run.jobs as f64 / pace.rate(tally.cases).max(0.001),
        "memory_mib_warm": pace.memory.map(|(warm, _)| warm), "memory_mib_end": pace.memory.map(|(_, end)| end),
        "gaps": tally.gaps(length(tally)),
    });
    report
}

/// Writes the report beside its place and moves it there, so that whoever reads it finds a whole one.
fn write<'a>(args: &'a Args, report: &Value) -> Result<Option<&'a Path>, String> {
    let Some(file) = &args.report else { return Ok(None) };
    let beside = file.with_extension("part");
    let written = std::fs::write(&beside, format!("{report:#}\n")).and_then(|()| std::fs::rename(&beside, file));
    written.map(|()| Some(file.as_path())).map_err(|error| format!("cannot write `{}`: {error}", file.display()))
}

fn line(tally: &Tally, pace: &Pace, cases: u64) -> String {
    let percent = tally.cases as f64 * 100.0 / cases.max(1) as f64;
    let memory = pace.memory.map_or(String::new(), |(_, now)| format!(", {now} MiB"));
    let left = match pace.left(tally.cases, cases) {
        Duration::ZERO => String::new(),
        left => format!(", {} left", clock(left)),
    };
    format!(
        "{} of {cases} cases ({percent:.1} %) in {} worlds, {} mismatches, {:.0} cases/s, {}{left}{memory}",
        tally.cases,
        tally.worlds,
        tally.mismatches.len(),
        pace.rate(tally.cases),
        clock(pace.running),
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
