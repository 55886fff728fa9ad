//! Forces written batches to the disk, off the workers. In: shards with unsynced bytes. Out: the number of the last batch the disk holds.
//! Never here: retries; a failed `fdatasync` may have dropped the very pages it names, so its shard is closed for good.

use portcullis_audit::wal::Owed;
use portcullis_core::config::settings::Durability;
use portcullis_core::refusal::JournalFailure;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// `batched` promises the disk within this span; a power cut loses at most what it covers.
pub const SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// What one shard has written and what the disk holds of it. The worker only stores a few atomics a batch.
pub struct Synced {
    durability: Durability,
    /// Segments with bytes the disk may not hold yet.
    pub owed: Arc<Owed>,
    /// Bytes of journals that may wait to become part of the log; the log stands still where there are more.
    backlog_bytes_max: u64,
    written: AtomicU64,
    on_disk: AtomicU64,
    failed: AtomicBool,
    /// Bytes that this shard may owe to the log, so that the disk has room for them there too.
    room_bytes: AtomicU64,
    /// Somebody waits for this shard.
    hurried: AtomicBool,
    /// The segment that is written is to be left for a new one.
    leave: AtomicBool,
    /// It was left: the disk is to hold that, also where nothing was written since.
    left: AtomicBool,
    /// Wakes the worker that waits in `strict`, or is to leave its segment.
    pub settled: Notify,
    doorbell: Arc<Doorbell>,
}

/// Wakes a thread: at once where somebody waits, and to stop.
#[derive(Default)]
pub struct Doorbell {
    rung: Mutex<bool>,
    bell: Condvar,
    stop: AtomicBool,
}

impl Synced {
    /// A shard that reports to the thread behind `doorbell`.
    pub fn new(durability: Durability, backlog_bytes_max: u64, doorbell: Arc<Doorbell>) -> Self {
        Self {
            durability,
            owed: Arc::default(),
            backlog_bytes_max,
            written: AtomicU64::new(0),
            on_disk: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            room_bytes: AtomicU64::new(u64::MAX),
            hurried: AtomicBool::new(false),
            leave: AtomicBool::new(false),
            left: AtomicBool::new(false),
            settled: Notify::new(),
            doorbell,
        }
    }

    /// The worker has handed batch `number` to the kernel.
    pub fn written(&self, number: u64) {
        self.written.store(number, Ordering::Release);
        if self.durability == Durability::Strict {
            self.doorbell.ring();
        }
    }

    /// Whether the log lags further behind the journals than it may, or would find no room for what they hold.
    pub fn is_backed_up(&self) -> bool {
        let owed = self.owed.backlog_bytes();
        owed > self.backlog_bytes_max || owed >= self.room_bytes.load(Ordering::Relaxed)
    }

    /// Somebody waits for this shard: it is synced now, whatever the interval. The others keep to their rounds, or each change by an operator would
    /// have every worker's writes wait for the disk.
    pub fn hasten(&self) {
        self.hurried.store(true, Ordering::Release);
        self.doorbell.ring();
    }

    /// Asks the worker to leave its segment, so that all of it can be taken into the log and destroyed.
    pub fn leave(&self) {
        self.leave.store(true, Ordering::Release);
        self.settled.notify_one();
    }

    /// Whether the worker is to leave its segment; asked once.
    pub fn is_to_leave(&self) -> bool {
        self.leave.swap(false, Ordering::AcqRel)
    }

    /// The worker left its segment.
    pub fn left(&self) {
        self.left.store(true, Ordering::Release);
        self.hasten();
    }

    /// The last batch the disk holds, or why no later one ever will be acknowledged.
    pub fn state(&self) -> Result<u64, JournalFailure> {
        if self.failed.load(Ordering::Acquire) {
            return Err(JournalFailure::Sync);
        }
        Ok(self.on_disk.load(Ordering::Acquire))
    }

    /// Syncs what is owed; whether anything was.
    fn sync(&self) -> Did {
        let left = self.left.swap(false, Ordering::AcqRel);
        let written = self.written.load(Ordering::Acquire);
        let nothing_new = written == self.on_disk.load(Ordering::Relaxed) && !left;
        if nothing_new || self.failed.load(Ordering::Relaxed) {
            return Did::Nothing;
        }
        match self.owed.sync() {
            Ok(()) => self.on_disk.store(written, Ordering::Release),
            Err(error) => {
                self.failed.store(true, Ordering::Release);
                tracing::error!(%error, "fdatasync of the audit log failed; this shard takes no more calls, restart after the disk is mended");
            }
        }
        self.settled.notify_one();
        Did::Something
    }
}

/// Whether a round had something to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Did {
    Nothing,
    Something,
}

impl Doorbell {
    /// Wakes who waits.
    pub fn ring(&self) {
        let mut rung = lock(&self.rung);
        if !*rung {
            *rung = true;
            self.bell.notify_one();
        }
    }

    /// Ends the thread after one last round.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether it is to end.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits for a span, whether the bell rings or not, unless it says to stop.
    pub fn rest(&self, span: Duration) {
        let until = Instant::now() + span;
        let mut rung = lock(&self.rung);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_stopping() {
                return;
            }
            rung = self.bell.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the bell; where there is a time at which something is due, no longer than until then.
    pub fn wait(&self, due: Option<Instant>) {
        let rung = lock(&self.rung);
        let quiet = |rung: &mut bool| !*rung && !self.is_stopping();
        let mut rung = match due {
            None => self.bell.wait_while(rung, quiet).unwrap_or_else(PoisonError::into_inner),
            Some(due) => {
                let left = due.saturating_duration_since(Instant::now());
                self.bell.wait_timeout_while(rung, left, quiet).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        *rung = false;
    }
}

/// Room on the disk that the log needs beside what comes from the journals: an order, a checkpoint, the first tiles.
const ROOM_BYTES_MIN: u64 = 64 * 1024;

/// The syncing thread: `strict` syncs as soon as something is written, the others every 100 ms, and a shard that is hastened at once. `next` is told
/// when the disk holds more. What the journals hold goes into the log before it goes from the journals, so calls are refused while the disk has no
/// room for it twice: a disk filled by journals could never be emptied by itself.
pub fn run(doorbell: &Doorbell, shards: &[Arc<Synced>], (durability, folder): (Durability, &Path), next: &Doorbell) {
    look(shards, folder);
    let mut due = Instant::now() + SYNC_INTERVAL;
    loop {
        doorbell.wait(Some(due));
        let stopping = doorbell.is_stopping();
        let at_due = Instant::now() >= due;
        let round = stopping || durability == Durability::Strict || at_due;
        let mut did = Did::Nothing;
        for shard in shards {
            let hurried = shard.hurried.swap(false, Ordering::AcqRel);
            if (hurried || round) && shard.sync() == Did::Something {
                did = Did::Something;
            }
        }
        if did == Did::Something {
            next.ring();
        }
        if at_due {
            due = Instant::now() + SYNC_INTERVAL;
            look(shards, folder);
        }
        if stopping {
            return;
        }
    }
}

/// Looks how much room there is. What a journal takes of it the log takes again, and some more; so each byte more counts three times.
fn look(shards: &[Arc<Synced>], folder: &Path) {
    let Ok(disk) = rustix::fs::statvfs(folder) else { return };
    let room = disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(ROOM_BYTES_MIN);
    let owed: u64 = shards.iter().map(|shard| shard.owed.backlog_bytes()).sum();
    let more = room.saturating_sub(owed.saturating_mul(2)) / 3 / shards.len().max(1) as u64;
    for shard in shards {
        let owed = if more == 0 { 0 } else { shard.owed.backlog_bytes() };
        shard.room_bytes.store(owed.saturating_add(more), Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
