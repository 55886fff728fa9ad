//! Writes down what operators and the gateway itself do. In: records. Out: proof that the disk holds them. Never here: decisions.
//!
//! The control plane has a shard of its own beside those of the workers, so that it never waits for one of them.

use crate::journal::syncer::Synced;
use portcullis_audit::wal::{FRAME_HEAD_BYTES, ShardFile};
use portcullis_core::audit::encode;
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
    next_seq: u64,
    file: ShardFile,
    synced: Arc<Synced>,
    written: u64,
}

impl Ledger {
    /// Goes on with record `next_seq`, in a fresh segment; `synced` is where the syncing thread reports.
    pub fn new(file: ShardFile, next_seq: u64, synced: Arc<Synced>) -> Self {
        Self { pages: Mutex::new(Pages { next_seq, file, synced, written: 0 }) }
    }

    /// Writes one record and waits until the disk holds it.
    pub async fn record(&self, at: UnixMillis, record: &Record<'_>) -> Result<(), JournalFailure> {
        self.record_all(at, std::slice::from_ref(record)).await
    }

    /// Writes records and waits until the disk holds them all.
    pub async fn record_all(&self, at: UnixMillis, records: &[Record<'_>]) -> Result<(), JournalFailure> {
        let mut pages = self.pages.lock().await;
        let number = pages.write(at, records)?;
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
    fn write(&mut self, at: UnixMillis, records: &[Record<'_>]) -> Result<u64, JournalFailure> {
        if self.synced.is_backed_up() {
            return Err(JournalFailure::Backlog);
        }
        let mut batch = vec![0; FRAME_HEAD_BYTES];
        let mut next_seq = self.next_seq;
        for record in records {
            encode::write(&mut batch, next_seq, at, record);
            next_seq += 1;
        }
        if let Err(error) = self.file.append(&mut batch) {
            tracing::error!(%error, "the audit log cannot be written");
            return Err(JournalFailure::Write);
        }
        self.next_seq = next_seq;
        self.written += 1;
        self.synced.written(self.written);
        Ok(self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::syncer::{self, Doorbell};
    use portcullis_audit::disk::RealDisk;
    use portcullis_audit::keys::{WrappingKey, fresh_key};
    use portcullis_audit::wal::{Home, SegmentName};
    use portcullis_core::audit::record::Stop;
    use portcullis_core::config::settings::Durability;

    #[tokio::test]
    async fn a_record_is_acknowledged_only_once_the_disk_holds_it() {
        for durability in [Durability::Strict, Durability::Batched] {
            let folder = tempfile::tempdir().unwrap();
            let doorbell = Arc::new(Doorbell::default());
            let synced = Arc::new(Synced::new(durability, u64::MAX, doorbell.clone()));
            let key = Arc::new(WrappingKey::new(fresh_key().unwrap()));
            let home = Home { disk: Arc::new(RealDisk), folder: folder.path().to_owned(), key, segment_bytes_max: 1 };
            let file = ShardFile::create(&home, 7, 2, synced.owed.clone()).unwrap();
            let ledger = Ledger::new(file, 0, synced.clone());
            let shards = [synced.clone()];
            let (bell, disk) = (doorbell.clone(), folder.path().to_owned());
            let syncing = std::thread::spawn(move || {
                syncer::run(&bell, &shards, (durability, &disk), &Doorbell::default());
            });
            for reason in ["one", "two"] {
                ledger.record(UnixMillis(1), &Record::GatewayStopped(Stop { reason })).await.unwrap();
            }
            assert_eq!(synced.state(), Ok(2));
            assert_eq!(synced.owed.durable().segment, 1);
            doorbell.stop();
            syncing.join().unwrap();
            // A segment of one byte is full at once, so each record stands in one of its own.
            assert_eq!(SegmentName::all(&RealDisk, folder.path()).unwrap().len(), 2);
        }
    }
}
