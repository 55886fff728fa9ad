//! Crashes logs by the thousand. In: how many times, from which seed. Out: how often each kind of crash was survived, and an error where one was not.
//! Never here: what is tried.

mod check;
mod disk;
mod records;
mod survivors;
mod world;
mod points;

use std::process::ExitCode;

use points::Plan;

fn main() -> ExitCode {
    let mut plan = Plan { points: 10_000, seed: 1, jobs: 1 };
    let mut words = std::env::args().skip(1);
    while let (Some(option), value) = (words.next(), words.next()) {
        let Some(value) = value.and_then(|value| value.parse().ok()) else {
            eprintln!("error: `{option}` needs a number");
            return ExitCode::from(2);
        };
        match option.as_str() {
            "--points" => plan.points = value,
            "--seed" => plan.seed = value,
            "--jobs" => plan.jobs = value.max(1),
            _ => {
                eprintln!("error: `{option}` is not known; `--points N`, `--seed N` and `--jobs N` are");
                return ExitCode::from(2);
            }
        }
    }
    match points::run(&plan, |line| eprintln!("{line}")) {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
