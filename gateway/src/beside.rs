//! Judges live calls a second time, off their way. In: copies of calls as they were decided. Out: a rule set taken out of service where Cedar disagrees with our
//! tables, and what a candidate would have decided otherwise. Never here: the decision itself, or waiting for this one.
//!
//! A core that decides hands a copy over and goes on; where this side cannot keep up the copy is dropped and counted. One decision in
//! [`WATCHED_ONE_IN`] is watched whether anybody asks for it or not; all are shadowed while a candidate runs beside.

pub mod sample;
pub mod shadow;

use self::sample::Sample;
use self::shadow::Shadow;
use crate::counters::{Count, Counters};
use crate::shared::Shared;
use arc_swap::ArcSwapOption;
use portcullis_core::policy::trial::{Tried, Untried};
use portcullis_core::policy::verdict::DenialCause;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// One decision in so many is judged again by Cedar.
pub const WATCHED_ONE_IN: u32 = 1_000;

/// Copies that wait; at some hundred bytes each a few megabytes at worst.
const WAITING_MAX: usize = 4_096;

/// The way of copies from the cores to the thread that judges again.
pub struct Beside {
    sender: SyncSender<Sample>,
    receiver: std::sync::Mutex<Option<Receiver<Sample>>>,
    /// The candidate that runs beside, if one does.
    pub shadow: ArcSwapOption<Shadow>,
    shadowing: AtomicBool,
    /// Copies that were dropped.
    pub dropped: AtomicU64,
}

impl Default for Beside {
    fn default() -> Self {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        Self {
            sender,
            receiver: std::sync::Mutex::new(Some(receiver)),
            shadow: ArcSwapOption::empty(),
            shadowing: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        }
    }
}

/// Whether a decision is copied, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// It is not.
    No,
    /// For the watch; a shadow sees it too.
    Watched,
    /// For the shadow alone.
    Shadowed,
}

/// One core's place in the count.
#[derive(Default)]
pub struct Turn(Cell<u32>);

impl Turn {
    /// Whether the next decision is copied. Two instructions and a relaxed load where it is not.
    pub fn next(&self, beside: &Beside) -> Copied {
        let turn = self.0.get() + 1;
        if turn >= WATCHED_ONE_IN {
            self.0.set(0);
            return Copied::Watched;
        }
        self.0.set(turn);
        if beside.shadowing.load(Ordering::Relaxed) { Copied::Shadowed } else { Copied::No }
    }
}

impl Beside {
    /// Hands a copy over, or drops it.
    pub fn hand_over(&self, sample: Sample) {
        if self.sender.try_send(sample).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets a candidate run beside from now on; the one before is given back.
    pub fn start(&self, shadow: Arc<Shadow>) -> Option<Arc<Shadow>> {
        let before = self.shadow.swap(Some(shadow));
        self.shadowing.store(true, Ordering::Release);
        before
    }

    /// Ends it.
    pub fn stop(&self) -> Option<Arc<Shadow>> {
        self.shadowing.store(false, Ordering::Release);
        self.shadow.swap(None)
    }
}

/// Starts the thread that judges again. It ends with the process: nobody waits for what it has not judged yet.
pub fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
    let receiver = shared.beside.receiver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    let Some(receiver) = receiver else { return Ok(()) };
    let shared = Arc::clone(shared);
    let run = move || {
        let counters = shared.counters.first().cloned().unwrap_or_default();
        while let Ok(sample) = receiver.recv() {
            // Cedar panics over nothing we know of; if it did, the watch must outlive it.
            let judged =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judge(&sample, &shared.beside, &counters)));
            if judged.is_err() {
                tracing::error!("a call could not be judged a second time: the judging panicked");
                counters.add(Count::Panics);
            }
        }
    };
    std::thread::Builder::new().name("beside".into()).spawn(run).map(drop)
}

fn judge(sample: &Sample, beside: &Beside, counters: &Counters) {
    if sample.copied == Copied::Watched {
        counters.add(Count::PolicyWatched);
        let by_cedar = sample.again(|question, engine| {
            Tried::of(engine, &engine.decide_by_cedar(&question.who, question.server, question.action, &question.facts))
        });
        watch(sample, &by_cedar, counters);
    }
    if let Some(shadow) = beside.shadow.load_full() {
        shadow.judge(sample);
    }
}

/// Compares our tables' word with Cedar's; where they differ, the rule set is decided by Cedar from now on.
fn watch(sample: &Sample, by_cedar: &Result<Tried, Untried>, counters: &Counters) {
    let Ok(by_cedar) = by_cedar else { return };
    // A tool that drifts between the two says nothing about rules.
    let drifted = |tried: &Tried| tried.denied == Some(DenialCause::Drifted);
    if drifted(&sample.tried) || drifted(by_cedar) || agree(&sample.tried, by_cedar) {
        return;
    }
    counters.add(Count::PolicyMismatches);
    let first = sample.snapshot.quarantine.enter();
    tracing::error!(
        version = sample.snapshot.version,
        agent = %sample.trial.agent,
        server = %sample.trial.server,
        ours = sample.tried.word(),
        ours_by = %sample.tried.rules.join(","),
        cedars = by_cedar.word(),
        cedars_by = %by_cedar.rules.join(","),
        "the compiled rules decided otherwise than Cedar does; until the next load every call is judged by Cedar itself, slowly. Please report it"
    );
    if first {
        counters.add(Count::Quarantines);
    }
}

/// Decision, cause and reasons are the same.
fn agree(ours: &Tried, cedars: &Tried) -> bool {
    ours.denied == cedars.denied && ours.rules == cedars.rules
}

#[cfg(test)]
mod tests;
