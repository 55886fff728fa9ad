//! Writes down what operators and the gateway itself do. In: encoded records. Out: proof that the disk holds them. Never here: decisions.
//!
//! The control plane has a shard of its own beside those of the workers, so that it never waits for one of them.

use crate::journal::JournalFailure;
use crate::journal::shard::Shard;
use crate::journal::syncer::Synced;
use portcullis_core::audit::record::{Chain, Place};
use std::sync::Arc;
use tokio::sync::Mutex;

/// The control plane's shard.
pub struct Ledger {
    pages: Mutex<Pages>,
}

struct Pages {
    chain: Chain,
    shard: Shard,
    synced: Arc<Synced>,
    written: u64,
}

impl Ledger {
    /// Opens the ledger; `synced` is where the syncing thread reports.
    pub fn new(shard: Shard, synced: Arc<Synced>) -> Self {
        let chain = Chain::new(shard.boot(), shard.number());
        Self { pages: Mutex::new(Pages { chain, shard, synced, written: 0 }) }
    }

    /// Writes one record and waits until the disk holds it.
    pub async fn record(&self, encode: impl FnOnce(&mut Vec<u8>, &Place)) -> Result<(), JournalFailure> {
        let mut pages = self.pages.lock().await;
        let number = pages.write(encode)?;
        loop {
            // The syncing thread leaves a permit where nobody waits, so no report is missed between the look and the wait.
            let settled = pages.synced.settled.notified();
            if pages.synced.state()? >= number {
                return Ok(());
            }
            settled.await;
        }
    }
}

impl Pages {
    fn write(&mut self, encode: impl FnOnce(&mut Vec<u8>, &Place)) -> Result<u64, JournalFailure> {
        let before = self.chain.clone();
        let place = self.chain.next_place();
        let mut line = Vec::with_capacity(1024);
        encode(&mut line, &place);
        self.chain.seal(&mut line, 0);
        if let Err(error) = self.shard.append(&line) {
            self.chain = before;
            tracing::error!(%error, "the audit log cannot be written");
            return Err(JournalFailure::Write);
        }
        self.written += 1;
        self.synced.written(self.written);
        Ok(self.written)
    }
}
