//! Measures a run while it runs. In: glances at the clock. Out: how long it ran and how long it was stopped, rate, what is left, memory. Never here: cases.

use std::time::{Duration, Instant};

/// The pace of a run. Whoever stops a process (SIGSTOP) and lets it go on stops its clock too: what lies between two glances that are far apart
/// counts as a stop.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    last: Instant,
    /// How long it ran.
    pub running: Duration,
    /// How long it was stopped.
    pub stopped: Duration,
    /// MiB of memory that it held after the first and after the latest look.
    pub memory: Option<(u64, u64)>,
}

/// Two glances are a second apart; on a machine that is busy with other things, a few.
const STOP_MIN: Duration = Duration::from_secs(15);

/// What it takes until every thread has grown to its size.
const WARM_UP: Duration = Duration::from_secs(20);

impl Pace {
    /// A run that begins.
    pub fn new(now: Instant) -> Self {
        Self { last: now, running: Duration::ZERO, stopped: Duration::ZERO, memory: None }
    }

    /// Looks at the clock.
    pub fn glance(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.last);
        self.last = now;
        if gap >= STOP_MIN {
            self.stopped += gap;
        } else {
            self.running += gap;
        }
    }

    /// Looks at the memory that the process holds.
    pub fn look(&mut self) {
        let Some(now) = resident_mib() else { return };
        let first = self.memory.map_or(now, |(first, _)| first);
        self.memory = Some((if self.running < WARM_UP { now } else { first }, now));
    }

    /// Cases a second, of the time that it ran.
    pub fn rate(&self, cases: u64) -> f64 {
        cases as f64 / self.running.as_secs_f64().max(0.001)
    }

    /// Until the rest is done at this rate.
    pub fn left(&self, cases: u64, of: u64) -> Duration {
        Duration::try_from_secs_f64(of.saturating_sub(cases) as f64 / self.rate(cases)).unwrap_or(Duration::MAX)
    }
}

/// `1:02:03`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// MiB that the process holds in memory, as Linux counts them.
fn resident_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_does_not_slow_the_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for second in [1, 2, 3, 1003, 1004] {
            pace.glance(start + Duration::from_secs(second));
        }
        assert_eq!((pace.running.as_secs(), pace.stopped.as_secs()), (4, 1000));
        assert_eq!(pace.rate(400), 100.0);
        assert_eq!(clock(pace.left(400, 400 + 372_300)), "1:02:03");
    }

    #[test]
    fn what_is_not_begun_has_no_end() {
        assert!(Pace::new(Instant::now()).left(0, 1) > Duration::from_secs(1_000_000));
    }
}
