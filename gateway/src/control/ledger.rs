//! Writes down what operators and the gateway itself do. In: records. Out: proof that the disk holds them. Never here: decisions.
//!
//! The control plane has a shard of its own beside those of the workers, so that it never waits for one of them.

use crate::journal::shard::ShardFile;
use crate::journal::syncer::Synced;
use portcullis_core::audit::chain::{Position, Shard};
use portcullis_core::audit::record::Record;
use portcullis_core::refusal::JournalFailure;
use portcullis_core::time::UnixMillis;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The control plane's shard.
pub struct Ledger {
    pages: Mutex<Pages>,
}

struct Pages {
    boot: Box<str>,
    chain: Shard,
    file: ShardFile,
    synced: Arc<Synced>,
    written: u64,
}

impl Ledger {
    /// Goes on where `position` ends, in a fresh segment; `synced` is where the syncing thread reports.
    pub fn new(file: ShardFile, boot: &str, position: &Position, synced: Arc<Synced>) -> Self {
        let chain = Shard::resume(boot, file.number(), position);
        Self { pages: Mutex::new(Pages { boot: boot.into(), chain, file, synced, written: 0 }) }
    }

    /// Writes one record and waits until the disk holds it.
    pub async fn record(&self, at: UnixMillis, record: &Record<'_>) -> Result<(), JournalFailure> {
        let mut pages = self.pages.lock().await;
        let number = pages.write(at, record)?;
        pages.synced.hasten();
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
    fn write(&mut self, at: UnixMillis, record: &Record<'_>) -> Result<u64, JournalFailure> {
        let before = self.chain.position();
        let mut line = Vec::with_capacity(1024);
        self.chain.append(&mut line, at, record);
        self.chain.seal(&line);
        if let Err(error) = self.file.append(&line) {
            // The file cut itself back, so the chain goes on from there.
            self.chain = Shard::resume(&self.boot, self.file.number(), &before);
            tracing::error!(%error, "the audit log cannot be written");
            return Err(JournalFailure::Write);
        }
        self.written += 1;
        self.synced.written(self.written);
        Ok(self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::syncer::{self, Doorbell};
    use portcullis_core::audit::chain;
    use portcullis_core::audit::record::Stop;
    use portcullis_core::config::settings::Durability;

    #[tokio::test]
    async fn a_record_is_acknowledged_only_once_the_disk_holds_it() {
        for durability in [Durability::Strict, Durability::Batched] {
            let folder = tempfile::tempdir().unwrap();
            let doorbell = Arc::new(Doorbell::default());
            let synced = Arc::new(Synced::new(durability, doorbell.clone()));
            let file = ShardFile::create(folder.path(), 7, 2, 1, synced.clone()).unwrap();
            let ledger = Ledger::new(file, "7", &Position::default(), synced.clone());
            let shards = [synced.clone()];
            let bell = doorbell.clone();
            let syncing = std::thread::spawn(move || syncer::run(&bell, &shards, durability));
            for reason in ["one", "two"] {
                ledger.record(UnixMillis(1), &Record::GatewayStopped(Stop { reason })).await.unwrap();
            }
            assert_eq!(synced.state(), Ok(2));
            doorbell.stop();
            syncing.join().unwrap();
            // A segment of one byte is full after its first record, so the second stands in the next.
            let mut files: Vec<_> =
                std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            let bytes: Vec<u8> = files.iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
            assert_eq!(files.len(), 2);
            assert_eq!(chain::verify(&bytes, &Position::default(), None).unwrap().lines, 2);
        }
    }
}
