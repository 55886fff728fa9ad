//! Drops old snapshots. In: snapshots that no longer serve. Out: their memory. Never here: workers.
//!
//! A worker that drops the last count of a large snapshot would stand still for its millions of frees. So one count stays here until it
//! is the last.

use portcullis_core::config::snapshot::Snapshot;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Between two looks; a worker lets go of an old snapshot within a second and the end of its requests.
const INTERVAL: Duration = Duration::from_secs(1);

/// Snapshots that no longer serve.
pub struct Reaper<T = Snapshot> {
    retired: Mutex<Vec<Arc<T>>>,
}

impl<T> Default for Reaper<T> {
    fn default() -> Self {
        Self { retired: Mutex::new(Vec::new()) }
    }
}

impl<T> Reaper<T> {
    /// Takes one that has just been replaced.
    pub fn retire(&self, old: Arc<T>) {
        self.lock().push(old);
    }

    /// Drops those that nobody else holds; how many are left.
    pub fn sweep(&self) -> usize {
        let mut retired = self.lock();
        let done: Vec<Arc<T>> = retired.extract_if(.., |old| Arc::strong_count(old) == 1).collect();
        let left = retired.len();
        // Freed after the lock is given back: a change that retires its predecessor must not wait for it.
        drop(retired);
        drop(done);
        left
    }

    /// Sweeps for as long as the control plane lives.
    pub async fn sweep_forever(&self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.sweep();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<T>>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_still_holds_is_not_dropped_and_what_none_holds_is() {
        let reaper = Reaper::default();
        let old = Arc::new("rules".to_owned());
        let seen = Arc::downgrade(&old);
        let worker = old.clone();
        reaper.retire(old);
        assert_eq!(reaper.sweep(), 1);
        assert!(seen.upgrade().is_some());
        drop(worker);
        assert_eq!(reaper.sweep(), 0);
        assert!(seen.upgrade().is_none());
    }
}
