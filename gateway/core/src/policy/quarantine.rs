//! Takes compiled rules out of service. In: one finding that they decide otherwise than Cedar. Out: whether decisions go by Cedar itself. Never here: the comparison.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the tables of one rule set are out of service. It ends with the rule set: the next load builds new ones.
#[derive(Debug, Default)]
pub struct Quarantine(AtomicBool);

impl Quarantine {
    /// From now on decisions go by Cedar's evaluator. Says whether this was the first to say so.
    pub fn enter(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Whether they do.
    pub fn is_in_force(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
