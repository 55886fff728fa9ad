//! Hears Ctrl-C and SIGTERM, so that what the demo started ends with it. In: signals. Out: whether one came. Never here: what to do then.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// Set by the first signal.
pub struct Stop {
    heard: Receiver<()>,
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// A signal came.
    Stopped,
    /// The time passed.
    Passed,
}

impl Stop {
    /// From now on signals are heard instead of ending the process.
    pub fn listen() -> Result<Self> {
        let (sender, heard) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            // Nobody left to hear it means that the demo ends already.
            let _ended = sender.send(());
        });
        Ok(Self { heard })
    }

    /// Fails if a signal came; between two steps.
    pub fn check(&self) -> Result<()> {
        match self.heard.try_recv() {
            Err(TryRecvError::Empty) => Ok(()),
            Ok(()) | Err(TryRecvError::Disconnected) => bail!("interrupted"),
        }
    }

    /// Waits for a signal, but not longer than `limit`.
    pub fn wait(&self, limit: Duration) -> Waited {
        match self.heard.recv_timeout(limit) {
            Err(RecvTimeoutError::Timeout) => Waited::Passed,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Waited::Stopped,
        }
    }
}
