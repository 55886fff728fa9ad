//! Compares many worlds at once. In: how many cases, from which seed, on how many threads. Out: one tally, and progress while it grows. Never here: files.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::chance::world_seed;
use crate::compare::{Fault, Plan, world};
use crate::pace::Pace;
use crate::tally::Tally;

/// A run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Questions in all.
    pub cases: u64,
    /// The seed of its first world.
    pub seed: u64,
    /// Threads.
    pub jobs: usize,
    /// Questions of one world.
    pub per_world: u64,
}

/// A run ends early once this many worlds differ: more would say the same.
const MISMATCHES_MAX: usize = 5;

/// How often a waiting run looks up.
const GLANCE: Duration = Duration::from_secs(1);

/// Compares; `progress` hears of the tally about once a second.
pub fn run(run: &Run, mut progress: impl FnMut(&Tally, &Pace)) -> (Tally, Pace) {
    let mut pace = Pace::new(Instant::now());
    let worlds = run.cases.div_ceil(run.per_world);
    let (next, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let (sender, receiver) = channel();
    let mut whole = Tally::default();
    thread::scope(|scope| {
        for _ in 0..run.jobs.max(1) {
            let (sender, next, ended) = (sender.clone(), &next, &ended);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= worlds {
                        return;
                    }
                    let cases = run.per_world.min(run.cases - number * run.per_world);
                    let plan = Plan { seed: world_seed(run.seed, number), cases, fault: Fault::None };
                    if sender.send(world(plan)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut shown = Instant::now();
        loop {
            match receiver.recv_timeout(GLANCE) {
                Ok(tally) => whole.add(tally),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if whole.mismatches.len() >= MISMATCHES_MAX {
                ended.store(true, Ordering::Relaxed);
            }
            pace.glance(Instant::now());
            if shown.elapsed() >= GLANCE {
                shown = Instant::now();
                pace.look();
                progress(&whole, &pace);
            }
        }
        pace.look();
    });
    (whole, pace)
}
