//! Proofs that something stands in the log. In: a batch number. Out: `Recorded`, once the log holds it. Never here: another way to make one.

use crate::journal::Journal;
use portcullis_core::policy::verdict::Permit;
use portcullis_core::refusal::JournalFailure;
use std::future::poll_fn;

/// A thing that stands in the log. No constructor but `Pending::recorded`, no `Clone`: a call that skips the log does not compile.
pub struct Recorded<T> {
    what: T,
    sequence: u64,
}

impl<T> Recorded<T> {
    /// Where in its shard the record stands.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What stands there.
    pub fn what(&self) -> &T {
        &self.what
    }
}

/// A permit that has been written down; spending it sends the call.
pub struct Decision {
    pub(super) permit: Permit,
}

impl Decision {
    /// The permit that was recorded.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }
}

/// A result that has been written down; spending it releases the bytes to the agent.
pub struct ResultSeen {
    pub(super) _private: (),
}

/// A refusal that has been written down; spending it answers with it.
pub struct Refused {
    pub(super) _private: (),
}

/// A record on its way into the log.
#[must_use = "a record that nobody waits for proves nothing"]
pub struct Pending<'j, T> {
    journal: &'j Journal,
    batch: Result<u64, JournalFailure>,
    sequence: u64,
    what: T,
}

impl<'j, T> Pending<'j, T> {
    pub(super) fn new(journal: &'j Journal, batch: Result<u64, JournalFailure>, sequence: u64, what: T) -> Self {
        Self { journal, batch, sequence, what }
    }

    /// Waits until the log holds the record as the durability demands.
    pub async fn recorded(self) -> Result<Recorded<T>, JournalFailure> {
        let batch = self.batch?;
        poll_fn(|context| self.journal.poll_settled(batch, context)).await?;
        Ok(Recorded { what: self.what, sequence: self.sequence })
    }
}
