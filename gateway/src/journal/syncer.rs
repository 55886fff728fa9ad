//! Forces written batches to the disk, off the workers. In: files with unsynced bytes. Out: the number of the last batch the disk holds.
//! Never here: retries; a failed `fdatasync` may have dropped the very pages it names, so its shard is closed for good.

use portcullis_core::config::settings::Durability;
use portcullis_core::refusal::JournalFailure;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// `batched` promises the disk within this span; a power cut loses at most what it covers.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// What one shard has written and what the disk holds of it. The worker only stores one atomic a batch.
pub struct Synced {
    durability: Durability,
    /// Segments with bytes the disk may not hold yet: the open one last. Touched by the worker on rotation alone.
    files: Mutex<Vec<Arc<File>>>,
    written: AtomicU64,
    on_disk: AtomicU64,
    failed: AtomicBool,
    /// Somebody waits for this shard.
    hurried: AtomicBool,
    /// Wakes the worker that waits in `strict`.
    pub settled: Notify,
    doorbell: Arc<Doorbell>,
}

/// Wakes the syncing thread: at once in `strict`, else where an operator waits, and to stop.
#[derive(Default)]
pub struct Doorbell {
    rung: Mutex<bool>,
    bell: Condvar,
    stop: AtomicBool,
}

impl Synced {
    /// A shard that reports to the thread behind `doorbell`.
    pub fn new(durability: Durability, doorbell: Arc<Doorbell>) -> Self {
        Self {
            durability,
            files: Mutex::default(),
            written: AtomicU64::new(0),
            on_disk: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
            settled: Notify::new(),
            doorbell,
        }
    }

    /// The worker goes on in a new segment; the old one is still owed its sync.
    pub fn opened(&self, file: Arc<File>) {
        lock(&self.files).push(file);
    }

    /// The worker has handed batch `number` to the kernel.
    pub fn written(&self, number: u64) {
        self.written.store(number, Ordering::Release);
        if self.durability == Durability::Strict {
            self.doorbell.ring();
        }
    }

    /// Somebody waits for this shard: it is synced now, whatever the interval. The others keep to their rounds, or each change by an operator would
    /// have every worker's writes wait for the disk.
    pub fn hasten(&self) {
        self.hurried.store(true, Ordering::Release);
        self.doorbell.ring();
    }

    /// The last batch the disk holds, or why no later one ever will be acknowledged.
    pub fn state(&self) -> Result<u64, JournalFailure> {
        if self.failed.load(Ordering::Acquire) {
            return Err(JournalFailure::Sync);
        }
        Ok(self.on_disk.load(Ordering::Acquire))
    }

    fn sync(&self) {
        let written = self.written.load(Ordering::Acquire);
        if written == self.on_disk.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed) {
            return;
        }
        let files = lock(&self.files).clone();
        match files.iter().try_for_each(|file| file.sync_data()) {
            Ok(()) => {
                let mut owed = lock(&self.files);
                let retired = files.len().saturating_sub(1).min(owed.len());
                owed.drain(..retired);
                self.on_disk.store(written, Ordering::Release);
            }
            Err(error) => {
                self.failed.store(true, Ordering::Release);
                tracing::error!(%error, "fdatasync of the audit log failed; this shard takes no more calls, restart after the disk is mended");
            }
        }
        self.settled.notify_one();
    }
}

impl Doorbell {
    fn ring(&self) {
        let mut rung = lock(&self.rung);
        if !*rung {
            *rung = true;
            self.bell.notify_one();
        }
    }

    /// Ends the syncing thread after one last round.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.ring();
    }

    /// Waits for the bell; without one, until `due`.
    fn wait(&self, durability: Durability, due: Instant) {
        let rung = lock(&self.rung);
        let quiet = |rung: &mut bool| !*rung && !self.stop.load(Ordering::Acquire);
        let mut rung = if durability == Durability::Strict {
            self.bell.wait_while(rung, quiet).unwrap_or_else(PoisonError::into_inner)
        } else {
            let left = due.saturating_duration_since(Instant::now());
            self.bell.wait_timeout_while(rung, left, quiet).unwrap_or_else(PoisonError::into_inner).0
        };
        *rung = false;
    }
}

/// The syncing thread: `strict` syncs as soon as something is written, the others every 100 ms, and a shard that is hastened at once.
pub fn run(doorbell: &Doorbell, shards: &[Arc<Synced>], durability: Durability) {
    let mut due = Instant::now() + SYNC_INTERVAL;
    loop {
        doorbell.wait(durability, due);
        let stopping = doorbell.stop.load(Ordering::Acquire);
        let round = stopping || durability == Durability::Strict || Instant::now() >= due;
        for shard in shards {
            if shard.hurried.swap(false, Ordering::AcqRel) || round {
                shard.sync();
            }
        }
        if round {
            due = Instant::now() + SYNC_INTERVAL;
        }
        if stopping {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
