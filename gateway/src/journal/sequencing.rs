//! Lets the log grow, off the workers. In: what the disk holds of the journals. Out: checkpoints, one a second while there is something new. Never here:
//! how a record becomes an entry.

use crate::journal::desk::{Desk, Work};
use crate::journal::syncer::{Doorbell, SYNC_INTERVAL, Synced};
use portcullis_audit::sequencer::{Fault, Sequencer, Took};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two checkpoints, and between two tries where the disk refuses one.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// A log that stands still is told about so often.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// How the log stands, for whoever asks.
#[derive(Debug, Default)]
pub struct Standing {
    begun: u64,
    signed: AtomicU64,
    at_fault: AtomicBool,
    fault: Mutex<String>,
}

impl Standing {
    /// Of a log that goes on at `size` entries.
    pub fn of(size: u64) -> Self {
        Self { begun: size, ..Self::default() }
    }

    /// How many entries it had when this process took it up: all beyond are its own.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// How many entries the last checkpoint covers.
    pub fn signed(&self) -> u64 {
        self.signed.load(Ordering::Relaxed)
    }

    /// Why the log stands still, where it does.
    pub fn fault(&self) -> Option<String> {
        let at_fault = self.at_fault.load(Ordering::Acquire);
        at_fault.then(|| self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn set(&self, fault: Option<&Fault>) {
        if let Some(fault) = fault {
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault.to_string();
        }
        self.at_fault.store(fault.is_some(), Ordering::Release);
    }
}

/// The sequencing thread's work.
pub struct Sequencing {
    /// The log.
    pub sequencer: Sequencer,
    /// The boot whose journals it takes.
    pub boot: u64,
    /// Those journals, by number of shard.
    pub shards: Vec<Arc<Synced>>,
    /// Where it tells how it stands.
    pub standing: Arc<Standing>,
    /// Where operators' orders wait.
    pub desk: Arc<Desk>,
}

impl Sequencing {
    /// Runs until the bell says to stop; the last round covers everything that the disk holds then.
    pub fn run(mut self, bell: &Doorbell) {
        self.standing.signed.store(self.sequencer.signed(), Ordering::Relaxed);
        let (mut published, mut complained): (Option<Instant>, Option<Instant>) = (None, None);
        let mut work: Option<Work> = None;
        loop {
            let pending = self.sequencer.size() > self.sequencer.signed() || self.standing.fault().is_some();
            let due = published.map_or_else(Instant::now, |at| at + PUBLISH_INTERVAL);
            let looked = work.as_ref().map(Work::due);
            bell.wait(pending.then_some(due).into_iter().chain(looked).min());
            let stopping = bell.is_stopping();
            let due = published.is_none_or(|at| at.elapsed() >= PUBLISH_INTERVAL);
            let done = self.round(if due || stopping { Publish::Now } else { Publish::Later });
            if due || stopping {
                published = Some(Instant::now());
            }
            match &done {
                Ok(()) => complained = None,
                Err(fault) if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) => {
                    complained = Some(Instant::now());
                    tracing::error!(%fault, "the audit log does not grow; calls go on until its journals hold too much");
                }
                Err(_) => {}
            }
            self.standing.set(done.as_ref().err());
            self.standing.signed.store(self.sequencer.signed(), Ordering::Relaxed);
            if stopping {
                self.desk.close();
                return;
            }
            work = self.orders(work);
            // What comes in the meantime is taken together: a round for each batch would cost as much as the records.
            if done.is_ok() {
                bell.rest(SYNC_INTERVAL);
            }
        }
    }

    /// Carries orders out, until one has to wait for the workers; that one.
    fn orders(&mut self, begun: Option<Work>) -> Option<Work> {
        let mut next = begun.or_else(|| self.begin());
        while let Some(work) = next {
            if !work.is_ready() {
                return Some(work);
            }
            // The segments are left: what is in them is taken now, and they go with the values.
            let taken = self.round(Publish::Now);
            work.finish(taken, &mut self.sequencer);
            next = self.begin();
        }
        None
    }

    fn begin(&self) -> Option<Work> {
        self.desk.next().map(|order| Work::begin(order, &self.shards))
    }

    fn round(&mut self, publish: Publish) -> Result<(), Fault> {
        for (shard, synced) in (0_u16..).zip(&self.shards) {
            while self.sequencer.take(self.boot, shard, &synced.owed)? == Took::Enough {
                self.sequencer.publish()?;
            }
        }
        match publish {
            Publish::Now => self.sequencer.publish().map(drop),
            Publish::Later => Ok(()),
        }
    }
}

/// Whether a checkpoint is due.
#[derive(Clone, Copy)]
enum Publish {
    Now,
    Later,
}
