//! Writes down what was decided before it is done. In: encoded records of this core. Out: proofs that they are written. Never here: decisions.
//!
//! One journal per core. Records of one loop turn gather in a batch; the flusher task, which runs after every task that was ready in that
//! turn, writes them with one `pwrite(2)` and wakes those who wait. In `strict` they wait on for `fdatasync`, done off the worker. What the disk holds
//! becomes part of the signed log (`sequencing`, `portcullis-audit`), likewise off the worker.

pub mod pending;
pub mod desk;
pub mod sequencing;
pub mod syncer;

pub use pending::{Decision, Pending, Recorded, Refused, ResultSeen};

use crate::journal::syncer::Synced;
use portcullis_audit::wal::{FRAME_HEAD_BYTES, ShardFile};
use portcullis_core::audit::encode;
use portcullis_core::audit::record::{Lost, Record};
use portcullis_core::config::settings::Durability;
use portcullis_core::policy::verdict::Permit;
use portcullis_core::refusal::JournalFailure;
use portcullis_core::time::UnixMillis;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Bytes that may wait for the next write; a core that gathers more than this in one turn refuses calls. 16 full-size records.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Batches after which nobody can still be waiting for an unwritten one.
const UNWRITTEN_KEPT: u64 = 64;

/// The number of a record that there is not; no record is ever paired with it.
const NOT_RECORDED: u64 = u64::MAX;

/// Unwritten batches remembered; those who wait for one are woken and asked in the very turn it failed, so few are ever needed.
const UNWRITTEN_MAX: usize = 1024;

/// The journal of one core. Not shared: every method runs on the core's own thread.
pub struct Journal {
    durability: Durability,
    state: RefCell<State>,
    /// Batches that the kernel holds (`batched`) or the disk holds (`strict`).
    settled: Cell<u64>,
    /// The shard takes no more: nothing will ever be acknowledged again.
    closed: Cell<Option<JournalFailure>>,
    /// Batches that were not written, the latest of them: whoever waits for one is refused.
    unwritten: RefCell<VecDeque<u64>>,
    synced: Arc<Synced>,
}

struct State {
    /// What has gathered, behind the room for a frame's head.
    batch: Vec<u8>,
    writing: Vec<u8>,
    /// The number of the next record.
    next_seq: u64,
    /// The number behind those that the file holds for certain.
    committed_seq: u64,
    /// `best-effort` alone: what the log does not know of yet.
    lost: Option<Lost>,
    /// What the batch being gathered says was lost.
    telling: Option<Lost>,
    /// When the first record of that batch was entered.
    batch_since: UnixMillis,
    file: ShardFile,
    /// The number of the batch that is being gathered; the first is 1.
    batch_number: u64,
    waiters: Vec<Waker>,
    waking: Vec<Waker>,
    flusher: Option<Waker>,
}

impl State {
    fn is_empty(&self) -> bool {
        self.batch.len() <= FRAME_HEAD_BYTES
    }

    /// Records will never be written.
    fn lose(&mut self, more: Lost) {
        let since = self.lost.map_or(more.since, |lost| lost.since.min(more.since));
        self.lost = Some(Lost { count: self.lost.map_or(0, |lost| lost.count) + more.count, since });
    }

    /// Gives the next record its number.
    fn put(&mut self, at: UnixMillis, record: &Record<'_>) -> u64 {
        if self.is_empty() {
            self.batch_since = at;
        }
        let sequence = self.next_seq;
        encode::write(&mut self.batch, sequence, at, record);
        self.next_seq += 1;
        sequence
    }

    /// What the batch that was not written held is lost, and what it was to say of earlier records is still to be said.
    fn lose_batch(&mut self) {
        let told = self.telling.take();
        // The record that tells is none that was lost.
        let count = self.next_seq - self.committed_seq - u64::from(told.is_some());
        self.lose(Lost { count, since: self.batch_since });
        if let Some(told) = told {
            self.lose(told);
        }
    }
}

/// A batch with nothing in it.
fn gathering() -> Vec<u8> {
    let mut batch = Vec::with_capacity(64 * 1024);
    batch.resize(FRAME_HEAD_BYTES, 0);
    batch
}

impl Journal {
    /// Goes on with record `next_seq`, in a fresh segment. `synced` is where the syncing thread reports.
    pub fn new(file: ShardFile, next_seq: u64, durability: Durability, synced: Arc<Synced>) -> Self {
        let state = State {
            batch: gathering(),
            writing: gathering(),
            next_seq,
            committed_seq: next_seq,
            lost: None,
            telling: None,
            batch_since: UnixMillis(0),
            file,
            batch_number: 1,
            waiters: Vec::with_capacity(256),
            waking: Vec::with_capacity(256),
            flusher: None,
        };
        Self {
            durability,
            state: RefCell::new(state),
            settled: Cell::new(0),
            closed: Cell::new(None),
            unwritten: RefCell::default(),
            synced,
        }
    }

    /// Enters a permit and its record into the batch. The call may go on once the returned promise is kept.
    pub fn decision(&self, permit: Permit, at: UnixMillis, record: &Record<'_>) -> Pending<'_, Decision> {
        let (batch, sequence) = self.enter(at, record);
        Pending::new(self, batch, sequence, Decision { permit })
    }

    /// Enters what came back. The agent may see it once the returned promise is kept.
    pub fn result(&self, at: UnixMillis, record: &Record<'_>) -> Pending<'_, ResultSeen> {
        let (batch, sequence) = self.enter(at, record);
        Pending::new(self, batch, sequence, ResultSeen { _private: () })
    }

    /// Enters a refusal. It may be answered once the returned promise is kept.
    pub fn refusal(&self, at: UnixMillis, record: &Record<'_>) -> Pending<'_, Refused> {
        let (batch, sequence) = self.enter(at, record);
        Pending::new(self, batch, sequence, Refused { _private: () })
    }

    /// A promise that everything entered so far is in the log.
    pub fn caught_up(&self) -> Pending<'_, ()> {
        let state = self.state.borrow();
        // With nothing gathered, the last batch is the one before.
        let batch = if state.is_empty() { state.batch_number - 1 } else { state.batch_number };
        Pending::new(self, Ok(batch), 0, ())
    }

    /// Enters a record that no deed waits for; it is written with the next batch.
    pub fn note(&self, at: UnixMillis, record: &Record<'_>) {
        if let (Err(failure), _) = self.enter(at, record) {
            tracing::error!(
                reason = failure.name(),
                "a record that no call waits for could not be entered in the audit log"
            );
        }
    }

    fn enter(&self, at: UnixMillis, record: &Record<'_>) -> (Result<u64, JournalFailure>, u64) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let backed_up = self.synced.is_backed_up();
        if state.batch.len() > BATCH_BYTES_MAX || backed_up {
            return match self.durability {
                // Asked for by name only: the log has a gap, which it tells of as soon as it can, and the calls go on.
                Durability::BestEffort => {
                    state.lose(Lost { count: 1, since: at });
                    (Ok(self.settled.get()), NOT_RECORDED)
                }
                Durability::Batched | Durability::Strict => (Err(JournalFailure::Backlog), NOT_RECORDED),
            };
        }
        // Once a batch, at its beginning: what is lost meanwhile is told by the next one.
        if state.is_empty()
            && let Some(lost) = state.lost.take()
        {
            state.put(at, &Record::AuditLost(lost));
            state.telling = Some(lost);
        }
        let sequence = state.put(at, record);
        if let Some(flusher) = state.flusher.take() {
            flusher.wake();
        }
        (Ok(state.batch_number), sequence)
    }

    /// The flusher: one task of each core, for as long as the core lives.
    pub async fn flush_forever(&self) {
        loop {
            std::future::poll_fn(|context| self.poll_work(context)).await;
            self.write_batch();
        }
    }

    fn poll_work(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if state.is_empty() {
            state.flusher = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Writes what has gathered. Called by the flusher, and once more when the core stops.
    pub fn write_batch(&self) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if state.is_empty() {
            return;
        }
        std::mem::swap(&mut state.batch, &mut state.writing);
        let number = state.batch_number;
        state.batch_number += 1;
        match state.file.append(&mut state.writing) {
            Ok(()) => {
                state.committed_seq = state.next_seq;
                state.telling = None;
                self.synced.written(number);
                // Whoever waited for a batch this old has long been told.
                self.unwritten.borrow_mut().retain(|old| old + UNWRITTEN_KEPT > number);
                if self.durability != Durability::Strict {
                    self.settled.set(number);
                }
            }
            Err(error) => {
                // The file cut itself back to its last whole batch, so the numbers go on from there.
                if self.durability == Durability::BestEffort {
                    state.lose_batch();
                }
                state.next_seq = state.committed_seq;
                self.remember_unwritten(number);
                tracing::error!(shard = state.file.number(), %error, "the audit log cannot be written; calls are refused until it can");
            }
        }
        state.writing.clear();
        state.writing.resize(FRAME_HEAD_BYTES, 0);
        // In strict the syncing thread wakes those whose batch was written; those whose batch was not must not wait for it.
        self.wake_waiters(state);
    }

    /// Leaves the open segment for a new one, where that is asked: values are to be destroyed in it.
    pub fn leave_if_asked(&self) {
        if !self.synced.is_to_leave() {
            return;
        }
        let mut state = self.state.borrow_mut();
        match state.file.rotate() {
            Ok(()) => self.synced.left(),
            Err(error) => {
                tracing::error!(shard = state.file.number(), %error, "a segment of the audit log cannot be left; what is in it cannot be erased");
            }
        }
    }

    /// Strict only: the disk holds everything up to batch `number`, or will never.
    pub fn settle(&self, number: Result<u64, JournalFailure>) {
        match number {
            Ok(number) => self.settled.set(number.max(self.settled.get())),
            Err(failure) => self.closed.set(Some(failure)),
        }
        self.wake_waiters(&mut self.state.borrow_mut());
    }

    fn wake_waiters(&self, state: &mut State) {
        std::mem::swap(&mut state.waiters, &mut state.waking);
        for waker in state.waking.drain(..) {
            waker.wake();
        }
    }

    fn remember_unwritten(&self, number: u64) {
        let mut unwritten = self.unwritten.borrow_mut();
        if unwritten.len() == UNWRITTEN_MAX {
            unwritten.pop_front();
        }
        unwritten.push_back(number);
    }

    fn poll_settled(&self, batch: u64, context: &mut Context<'_>) -> Poll<Result<(), JournalFailure>> {
        let failure = match self.closed.get() {
            None if self.unwritten.borrow().contains(&batch) => Some(JournalFailure::Write),
            closed => closed,
        };
        match failure {
            // Asked for by name only: the log may lag, the calls go on.
            Some(_) if self.durability == Durability::BestEffort => return Poll::Ready(Ok(())),
            Some(failure) => return Poll::Ready(Err(failure)),
            None => {}
        }
        if self.settled.get() >= batch {
            return Poll::Ready(Ok(()));
        }
        self.state.borrow_mut().waiters.push(context.waker().clone());
        Poll::Pending
    }

    /// What the syncing thread reports for this core.
    pub fn synced(&self) -> &Arc<Synced> {
        &self.synced
    }
}
