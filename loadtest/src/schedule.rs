//! Says when requests are due. In: the pace and the present. Out: intended times. Latency counts from those, so that a stall of the
//! server delays the clock of nobody (no coordinated omission).

use std::time::{Duration, Instant};

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The next as soon as the last is answered.
    Closed,
    /// So many a second, whatever the answers do.
    Open {
        /// Requests a second.
        per_second: f64,
    },
}

/// One phase of load.
pub struct Schedule {
    pace: Pace,
    start: Instant,
    end: Instant,
    handed_out: u64,
}

impl Schedule {
    /// A phase of `length` from `start` on.
    pub fn new(pace: Pace, start: Instant, length: Duration) -> Self {
        Self { pace, start, end: start + length, handed_out: 0 }
    }

    /// The intended time of a request that is due by `now`, if there is one. Each is handed out once.
    pub fn due(&mut self, now: Instant) -> Option<Instant> {
        let next = match self.pace {
            Pace::Closed => now,
            Pace::Open { .. } => self.next(),
        };
        if next > now || next >= self.end {
            return None;
        }
        self.handed_out += 1;
        Some(next)
    }

    /// How long to wait at most before asking again; requests on their way wake the wait earlier.
    pub fn rest(&self, now: Instant) -> Duration {
        let wake = match self.pace {
            Pace::Closed => self.end,
            Pace::Open { .. } => self.next().min(self.end),
        };
        wake.saturating_duration_since(now)
    }

    /// Whether no request will be due any more.
    pub fn over(&self, now: Instant) -> bool {
        match self.pace {
            Pace::Closed => now >= self.end,
            Pace::Open { .. } => self.next() >= self.end,
        }
    }

    /// When the phase ends.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// Requests that were due and never handed out, because no connection was free.
    pub fn unsent(&self) -> u64 {
        match self.pace {
            Pace::Closed => 0,
            Pace::Open { per_second } => {
                let due = (self.end - self.start).as_secs_f64() * per_second;
                (due as u64).saturating_sub(self.handed_out)
            }
        }
    }

    fn next(&self) -> Instant {
        match self.pace {
            Pace::Closed => self.start,
            Pace::Open { per_second } => self.start + Duration::from_secs_f64(self.handed_out as f64 / per_second),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_schedule_hands_out_what_was_due_during_a_stall_with_its_intended_times() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut schedule = Schedule::new(Pace::Open { per_second: 100.0 }, start, Duration::from_millis(50));
        assert_eq!(schedule.due(start), Some(start));
        assert_eq!(schedule.due(start), None);
        assert_eq!(schedule.rest(start), Duration::from_millis(10));
        let late = after(1000);
        for millis in [10, 20, 30, 40] {
            assert_eq!(schedule.due(late), Some(after(millis)), "intended {millis} ms after the start");
        }
        assert_eq!(schedule.due(late), None);
        assert!(schedule.over(late));
        assert_eq!(schedule.unsent(), 0);
    }

    #[test]
    fn requests_that_were_never_sent_are_counted() {
        let start = Instant::now();
        let mut schedule = Schedule::new(Pace::Open { per_second: 100.0 }, start, Duration::from_millis(50));
        assert!(schedule.due(start).is_some());
        assert_eq!(schedule.unsent(), 4);
    }

    #[test]
    fn a_closed_schedule_is_due_at_once_until_its_end() {
        let start = Instant::now();
        let mut schedule = Schedule::new(Pace::Closed, start, Duration::from_millis(5));
        assert_eq!(schedule.due(start), Some(start));
        assert!(!schedule.over(start));
        assert_eq!(schedule.due(start + Duration::from_millis(5)), None);
        assert!(schedule.over(start + Duration::from_millis(5)));
    }
}
