//! Shows how far checking is. In: indexes as they pass. Out: a line on a terminal that is written over; nothing elsewhere. Never here: results.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// People read no faster.
const STEP: Duration = Duration::from_millis(200);

/// How far it is.
pub struct Progress {
    /// When to write again; nothing where nobody watches.
    next: Option<Instant>,
    begun: Instant,
    shown: Shown,
}

/// Whether a line stands there.
enum Shown {
    Nothing,
    Line,
}

impl Progress {
    /// Begins.
    pub fn new() -> Self {
        let begun = Instant::now();
        let next = io::stderr().is_terminal().then(|| begun + STEP);
        Self { next, begun, shown: Shown::Nothing }
    }

    /// Entries before `index` were looked at.
    pub fn at(&mut self, index: u64) {
        let now = Instant::now();
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.next = Some(now + STEP);
        self.shown = Shown::Line;
        let a_second = index as f64 / (now - self.begun).as_secs_f64();
        eprint!("\r\x1b[K{index} entries, {a_second:.0} a second");
        let _shown_or_not = io::stderr().flush();
    }

    /// Takes the line away.
    pub fn end(&self) {
        match self.shown {
            Shown::Nothing => {}
            Shown::Line => eprint!("\r\x1b[K"),
        }
    }
}
