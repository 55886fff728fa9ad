//! Proves that rules change under load without a call noticing. In: a running gateway under load, a hundred new rule sets a second. Out: a table,
//! `target/swaps/report.json`, or what was not as claimed.
//!
//! Every rule set says something else about two calls: the odd ones permit the first and forbid the second, the even ones the other way round.
//! So each answer tells which sets could have given it, and each record of the log must say what its own set says.

mod caller;
mod log;
mod rules;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::json;

use self::caller::{Callers, Heard};
use self::rules::Rules;
use crate::path::scene::{Profile, Scene};
use crate::place;
use crate::progress::Progress;

/// What `swaps` is asked.
#[derive(clap::Args)]
pub struct Args {
    /// Seconds with swaps; as many without are measured beside them
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Swaps a second
    #[arg(long, default_value_t = 100)]
    per_second: u32,
    /// Calls a second, whatever the answers do
    #[arg(long, default_value_t = 1000)]
    calls_per_second: u32,
    /// Measure a development build: what is decided is proven, how fast it is is not
    #[arg(long)]
    dev: bool,
}

impl Args {
    /// As `test` runs it: every answer is checked, no time is judged.
    pub fn proof() -> Self {
        Self { seconds: 5, per_second: 100, calls_per_second: 500, dev: true }
    }
}

/// Rounds that the time is cut into, each with its half without swaps.
const ROUNDS: u64 = 4;

/// p99.9 with swaps against without.
const SLOWER_MAX: f64 = 1.2;

/// Runs the proof.
///
/// # Errors
/// When a call failed, was decided by rules that did not serve, or the gateway refused a swap.
pub fn run(args: &Args) -> Result<()> {
    let profile = if args.dev { Profile::Dev } else { Profile::Release };
    let scene = Scene::start(profile, "portcullis", &[])?;
    let rules = Arc::new(Rules::new(&scene.folder));
    rules.swap()?;
    let callers = Callers::new(&scene.gateway, &rules, args.calls_per_second);
    callers.run(Duration::from_secs(1))?;
    let (mut still, mut swapped) = (Heard::default(), Heard::default());
    let length = Duration::from_secs(args.seconds) / u32::try_from(ROUNDS)?;
    let progress = Progress::begin(ROUNDS * 2);
    let (mut swaps, mut swapping) = (0, Duration::ZERO);
    for round in 1..=ROUNDS {
        progress.step(&format!("round {round} without swaps"));
        still.add(callers.run(length)?);
        progress.step(&format!("round {round} with {} swaps a second", args.per_second));
        let (heard, made, took) = with_swaps(&callers, &rules, length, args.per_second)?;
        swapped.add(heard);
        swaps += made;
        swapping += took;
    }
    let records = log::check(&scene.program, &scene.folder.join("portcullis.toml"), &rules)?;
    let rate = f64::from(swaps) / swapping.as_secs_f64();
    let (before, beside) = (still.at(0.999), swapped.at(0.999));
    let slower = beside.as_secs_f64() / before.as_secs_f64();
    println!("\n{:<22} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "calls", "p50 us", "p99 us", "p99.9 us", "max us");
    for (name, heard) in [("without swaps", &still), ("with swaps", &swapped)] {
        let us = |quantile| heard.at(quantile).as_micros();
        println!("{name:<22} {:>9} {:>9} {:>9} {:>9} {:>9}", heard.calls(), us(0.5), us(0.99), us(0.999), us(1.0));
    }
    println!("{swaps} swaps, {rate:.1} a second; {records} decisions in the log, each what its own rule set says");
    println!("p99.9 with swaps is {slower:.2} x without");
    let report = json!({
        "swaps": swaps, "swaps_per_second": rate, "calls": still.calls() + swapped.calls(), "failed": 0, "decisions_checked": records,
        "p999_us": {"without": before.as_micros(), "with": beside.as_micros()}, "p999_ratio": slower,
    });
    let folder = place::target()?.join("swaps");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("report.json"), serde_json::to_string_pretty(&report)?)?;
    println!("written to {}", folder.join("report.json").display());
    ensure!(records > 0 && swaps > 0, "nothing was swapped, or nothing recorded");
    if !args.dev && slower > SLOWER_MAX {
        bail!("MISSED: p99.9 with swaps is {slower:.2} x without, at most {SLOWER_MAX}");
    }
    Ok(())
}

/// Calls and swaps at once; how many swaps that were, and how long they took all together.
fn with_swaps(
    callers: &Callers<'_>,
    rules: &Arc<Rules>,
    length: Duration,
    per_second: u32,
) -> Result<(Heard, u32, Duration)> {
    let rules = Arc::clone(rules);
    let swapper = std::thread::spawn(move || -> Result<(u32, Duration)> {
        let start = Instant::now();
        let mut made = 0;
        while start.elapsed() < length {
            let due = Duration::from_secs(1) * made / per_second;
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            rules.swap()?;
            made += 1;
        }
        Ok((made, start.elapsed()))
    });
    let heard = callers.run(length);
    let (made, took) = swapper.join().map_err(|_| anyhow::anyhow!("the swapping thread is broken"))??;
    Ok((heard?, made, took))
}
