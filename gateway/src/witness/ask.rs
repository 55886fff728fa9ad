//! Keeps a log witnessed. In: its folder, the witnesses. Out: `checkpoint.witnessed` beside its checkpoint, never more than some seconds old; loud
//! words where a witness saw more than there is. Never here: the log's growth.

use crate::witness::client::{AskFailure, Target};
use crate::witness::paper::{self, Paper};
use portcullis_audit::log::Log;
use portcullis_core::config::settings::witness::Witness;
use portcullis_tlog::note::VerifierKey;
use portcullis_tlog::witness::Request;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often it is looked whether the log has grown: as often as it is signed.
const INTERVAL: Duration = Duration::from_secs(1);

/// After a failure it waits this long, twice as long after the next, up to the other.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Questions to one witness in one round: the second begins where the first was told, the third where the log had grown meanwhile.
const ASKED_MAX: usize = 3;

/// What came of it so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Cosignatures that were given.
    pub cosigned: AtomicU64,
    /// Questions that came to nothing.
    pub failed: AtomicU64,
    /// Witnesses that saw another log, or more of this one than there is: a fork or a rollback.
    pub forked: AtomicU64,
    /// The size that lies in `checkpoint.witnessed`.
    pub size: AtomicU64,
}

/// The thread that asks.
pub struct Witnessing {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
    tally: Arc<Tally>,
}

impl Witnessing {
    /// Starts it for the log in `folder`, whose key is `log`; of a log that follows it another has to be started.
    ///
    /// # Errors
    /// When a witness's key is none, or the thread cannot be started.
    pub fn start(folder: PathBuf, log: VerifierKey, witnesses: &[Witness]) -> Result<Self, String> {
        let targets: Vec<Target> = witnesses.iter().map(Target::new).collect::<Result<_, _>>()?;
        let (stop, stopping) = watch::channel(false);
        let tally = Arc::new(Tally::default());
        let mut round = Round::new(folder, log, targets, tally.clone());
        let run = move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(round.run(stopping)),
            Err(error) => tracing::error!(%error, "the log is not witnessed"),
        };
        let thread = std::thread::Builder::new().name("witnessing".to_owned()).spawn(run);
        Ok(Self { stop, thread: thread.map_err(|error| error.to_string())?, tally })
    }

    /// What came of it so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Ends it after a last round over what the log has grown to; what came of it all.
    pub fn stop(self) -> Arc<Tally> {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
        self.tally
    }
}

/// A witness under way.
#[derive(Clone, Debug)]
struct Asked {
    target: Target,
    /// What it is believed to have cosigned last.
    last: u64,
    next: Instant,
    wait: Duration,
}

/// What a round works with.
pub(super) struct Round {
    folder: PathBuf,
    log: VerifierKey,
    witnesses: Vec<Asked>,
    paper: Paper,
    since: Instant,
    /// How long what is there had stood at `since`.
    stood: Duration,
    tally: Arc<Tally>,
}

/// What one witness came to.
enum Came {
    Cosigned(String),
    Failed(AskFailure),
    /// It saw what this log does not show: so many entries.
    Forked(u64),
}

impl Round {
    pub(super) fn new(folder: PathBuf, log: VerifierKey, targets: Vec<Target>, tally: Arc<Tally>) -> Self {
        let keys: Vec<VerifierKey> = targets.iter().map(|target| target.key.clone()).collect();
        let (paper, now) = (Paper::read(&folder, &log, &keys), Instant::now());
        let last = |by: bool| if by { paper.size() } else { 0 };
        let witnesses = targets
            .into_iter()
            .zip(&paper.by)
            .map(|(target, by)| Asked { target, last: last(*by), next: now, wait: BACKOFF.0 })
            .collect();
        tally.size.store(paper.size(), Ordering::Relaxed);
        Self { folder, log, witnesses, paper, since: now, stood: Duration::ZERO, tally }
    }

    /// What is there counts as old from now on.
    #[cfg(test)]
    pub(super) fn is_old(&mut self) {
        self.stood = paper::FEWER_AFTER;
    }

    async fn run(&mut self, mut stopping: watch::Receiver<bool>) {
        loop {
            // Told while it asks, it asks again: the log may have grown meanwhile.
            let last = *stopping.borrow();
            self.round().await;
            if last {
                return;
            }
            // Whoever was to stop it may be gone as well.
            let told = tokio::time::timeout(INTERVAL, stopping.changed()).await;
            if matches!(told, Ok(Err(_))) {
                return;
            }
        }
    }

    /// Asks every witness that is due about the log as it is now.
    pub(super) async fn round(&mut self) {
        let log = match Log::open(&self.folder, &self.log) {
            Ok(log) => Arc::new(log),
            Err(error) => {
                tracing::warn!(%error, "the log cannot be witnessed");
                return;
            }
        };
        // All of what is there was seen by all.
        if self.paper.head == Some(log.checkpoint().head) && self.paper.by.iter().all(|by| *by) {
            return;
        }
        let now = Instant::now();
        let mut asking = JoinSet::new();
        for (place, asked) in self.witnesses.iter().enumerate().filter(|(_, asked)| asked.next <= now) {
            let (log, target, last) = (log.clone(), asked.target.clone(), asked.last);
            asking.spawn(async move { (place, one(&target, &log, last).await) });
        }
        let mut lines = vec![None; self.witnesses.len()];
        while let Some(came) = asking.join_next().await {
            let Ok((place, came)) = came else { continue };
            let line = self.came(place, came, &log);
            if let Some(entry) = lines.get_mut(place) {
                *entry = line;
            }
        }
        self.keep(&log, lines);
    }

    fn came(&mut self, place: usize, came: Came, log: &Log) -> Option<String> {
        let asked = self.witnesses.get_mut(place)?;
        let name = &*asked.target.name;
        match came {
            Came::Cosigned(line) => {
                self.tally.cosigned.fetch_add(1, Ordering::Relaxed);
                (asked.last, asked.wait) = (log.size(), BACKOFF.0);
                tracing::debug!(witness = name, size = log.size(), "the log was cosigned");
                return Some(line);
            }
            Came::Failed(failure) => {
                self.tally.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(witness = name, size = log.size(), "the log was not cosigned: {failure}");
            }
            Came::Forked(seen) => {
                self.tally.forked.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    witness = name,
                    seen,
                    size = log.size(),
                    "the witness cosigned what this log does not show: it was rolled back, or another was signed with its key; \
                     keep both, and compare with the witness's own copy"
                );
            }
        }
        asked.next = Instant::now() + asked.wait;
        asked.wait = (asked.wait * 2).min(BACKOFF.1);
        None
    }

    fn keep(&mut self, log: &Log, lines: Vec<Option<String>>) {
        let paper = Paper { head: Some(log.checkpoint().head), by: lines.iter().map(Option::is_some).collect() };
        if !self.paper.yields(&paper, self.stood + self.since.elapsed()) {
            return;
        }
        let lines: Vec<String> = lines.into_iter().flatten().collect();
        match paper::write(&self.folder, log.note(), &lines) {
            Ok(()) => {
                self.tally.size.store(paper.size(), Ordering::Relaxed);
                (self.paper, self.since, self.stood) = (paper, Instant::now(), Duration::ZERO);
            }
            Err(error) => tracing::error!(%error, "what witnesses cosigned cannot be kept"),
        }
    }
}

/// Asks one witness, again from where it says that it is.
async fn one(target: &Target, log: &Log, believed: u64) -> Came {
    let mut old = believed.min(log.size());
    for _ in 0..ASKED_MAX {
        let proof = match log.growth(old) {
            Ok(proof) => proof,
            Err(error) => return Came::Failed(AskFailure::Broken(format!("the log's own tiles: {error}"))),
        };
        let request = Request { old, proof, checkpoint: log.note().to_owned() };
        match target.ask(request.to_string(), log.note()).await {
            Ok((line, _)) => return Came::Cosigned(line),
            // It has all of it, and not as it is here.
            Err(AskFailure::Knows(size)) if size == old => return Came::Forked(size),
            Err(AskFailure::Knows(size)) if size > log.size() => return Came::Forked(size),
            Err(AskFailure::Knows(size)) => old = size,
            Err(AskFailure::Unproven) => return Came::Forked(old),
            Err(failure) => return Came::Failed(failure),
        }
    }
    Came::Failed(AskFailure::NotAnAnswer)
}
