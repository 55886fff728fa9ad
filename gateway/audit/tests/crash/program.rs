//! Crashes logs by the thousand. In: how many times, from which seed. Out: how often each kind of crash was survived, and an error where one was not.
//! Never here: what is tried.

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
use std::process::{Command, ExitCode};

use points::Plan;

const USAGE: &str = "--points N, --seed N, --jobs N and --kills N";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["write", audit, seed] => match seed.parse() {
            Ok(seed) => real::write_until_killed(Path::new(audit), seed),
            Err(_) => Err(format!("`{seed}` is no number")),
        },
        options => options_of(options).and_then(|(plan, kills)| run(&plan, kills)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn options_of(words: &[&str]) -> Result<(Plan, u64), String> {
    let (mut plan, mut kills) = (Plan { points: 10_000, seed: 1, jobs: 1 }, 0);
    for pair in words.chunks(2) {
        let [option, value] = pair else { return Err(format!("`{}` needs a number", pair.concat())) };
        let value = value.parse().map_err(|_| format!("`{value}` is no number"))?;
        match *option {
            "--points" => plan.points = value,
            "--seed" => plan.seed = value,
            "--jobs" => plan.jobs = value.max(1),
            "--kills" => kills = value,
            _ => return Err(format!("`{option}` is not known; {USAGE} are")),
        }
    }
    Ok((plan, kills))
}

fn run(plan: &Plan, kills: u64) -> Result<(), String> {
    if kills > 0 {
        eprintln!("killing {kills} processes");
        let program = std::env::current_exe().map_err(|cause| cause.to_string())?;
        let child = |audit: &Path, seed: u64| {
            let mut command = Command::new(&program);
            command.arg("write").arg(audit).arg(seed.to_string());
            command
        };
        println!("{}", real::kill(kills, plan.seed, child)?);
        eprintln!("filling a disk");
        println!("{}", small::fill(plan.seed)?);
    }
    println!("{}", points::run(plan, |line| eprintln!("{line}"))?);
    Ok(())
}
