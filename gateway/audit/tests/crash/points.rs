//! Crashes one log after the other. In: how many points, from which seed, with how many threads. Out: a count of what was survived, or what was not with the
//! seed that repeats it. Never here: what a point is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::world::World;

/// Points of one log; a seed stands for so many.
pub const POINTS_A_WORLD: u64 = 25;

/// Logs of which one is long; the first 500 points have none, for it takes as long as they do.
const LONG_ONE_IN: u64 = 200;

/// 256 entries before the tree has a third level.
const LONG_ENTRIES: u64 = 65_280;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub points: u64,
    /// The seed of the first log; the next ones follow it.
    pub seed: u64,
    pub jobs: u64,
}

/// What was survived.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    points: u64,
    kinds: BTreeMap<String, u64>,
    entries: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.kinds {
            writeln!(out, "{kind:<8} {count:>7}")?;
        }
        writeln!(out, "{} entries were signed on the way", self.entries)?;
        write!(out, "{} crash points: 0 acknowledged records lost, 0 logs that do not verify", self.points)
    }
}

/// Runs all of them; `say` is told how far it is.
pub fn run(plan: &Plan, say: impl Fn(&str) + Sync) -> Result<Summary, String> {
    let worlds = plan.points.div_ceil(POINTS_A_WORLD);
    let (next, done) = (AtomicU64::new(0), Mutex::new((Summary::default(), None)));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= worlds || done.lock().unwrap().1.is_some() {
                return;
            }
            let points = POINTS_A_WORLD.min(plan.points - number * POINTS_A_WORLD);
            let result = world(plan.seed + number, points);
            let (summary, failure) = &mut *done.lock().unwrap();
            match result {
                Ok(of_world) => {
                    summary.add(of_world);
                    if (number + 1).is_multiple_of(worlds.div_ceil(20)) {
                        say(&format!("{} of {} points", summary.points, plan.points));
                    }
                }
                Err(cause) => *failure = Some(cause),
            }
        }
    };
    thread::scope(|scope| {
        (0..plan.jobs).for_each(|_| drop(scope.spawn(work)));
    });
    match done.into_inner().unwrap() {
        (_, Some(failure)) => Err(failure),
        (summary, None) => Ok(summary),
    }
}

fn world(seed: u64, points: u64) -> Result<Summary, String> {
    // One log in so many is a long one, about to begin another pair of files of values and another level of the tree.
    let mut world = match seed.is_multiple_of(LONG_ONE_IN) {
        true => World::grown(seed, LONG_ENTRIES)?,
        false => World::new(seed),
    };
    let mut summary = Summary::default();
    for point in 1..=points {
        match world.point() {
            Ok(blow) => *summary.kinds.entry(format!("{blow:?}").to_lowercase()).or_default() += 1,
            Err(why) => {
                let told = world.told.join("\n");
                let repeat = format!("--points {points} --seed {seed}");
                return Err(format!("{told}\npoint {point} of seed {seed}: {why}\nagain: cargo xtask crash {repeat}"));
            }
        }
        summary.points += 1;
    }
    summary.entries = world.size();
    Ok(summary)
}

impl Summary {
    fn add(&mut self, other: Self) {
        self.points += other.points;
        self.entries += other.entries;
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
    }
}
