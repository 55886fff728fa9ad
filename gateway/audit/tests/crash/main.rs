//! Crashes of logs, and what is left of them.

mod check;
mod disk;
mod records;
mod survivors;
mod world;
mod points;

use points::Plan;

#[test]
fn no_crash_loses_a_record_that_was_acknowledged_or_leaves_a_log_that_does_not_verify() {
    let plan = Plan { points: 500, seed: 1, jobs: 2 };
    match points::run(&plan, |_| {}) {
        Ok(summary) => println!("{summary}"),
        Err(failure) => panic!("{failure}"),
    }
}
