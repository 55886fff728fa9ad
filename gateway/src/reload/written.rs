//! Writes a change down: the registry file, the history, the log. In: what is to serve, or serves already. Out: proof, or what failed.
//! Never here: what a change means.
//!
//! The history comes before the log: whatever the log names can be found. A right is given only once it is written down; it is taken away
//! first and written down after.

use super::{Change, ChangeFailure, InForce, Keeper, now};
use crate::control::agents;
use crate::disk::{self, Guard};
use crate::history::Kept;
use crate::sources;
use portcullis_core::audit::record::{AgentChange, Approval, Record, Swap};
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::identity::registry::Status;
use portcullis_core::refusal::JournalFailure;
use std::collections::BTreeSet;
use std::path::PathBuf;

impl Keeper {
    /// A change of rules, files or tools: the history and the log.
    pub(super) async fn write_down(
        &self,
        (change, approved): (&Change, &[Approved]),
        kept: &Kept,
        before: &Kept,
    ) -> Result<(), ChangeFailure> {
        self.keep(kept)?;
        let actor = kept.by.actor();
        let swap = swapped(change, kept, before, &actor);
        let approval =
            |(server, tool, pinned)| Approval { server, tool, pinned, snapshot: kept.version, actor: &actor };
        let approved = approved.iter().map(|(server, tool, pin)| Record::ToolApproved(approval((server, tool, pin))));
        let records: Vec<Record<'_>> = std::iter::once(swap).chain(approved).collect();
        self.ledger.record_all(now(), &records).await.map_err(ChangeFailure::Journal)
    }

    /// A suspension that is in force already: the file, the history and the log, each tried whatever became of the others.
    pub(super) async fn write_suspension(
        &self,
        (id, change): (&str, &Change),
        in_force: &InForce,
        before: &Kept,
    ) -> Result<(), ChangeFailure> {
        let file = self.edited(in_force, id, Status::Suspended).and_then(|(path, text)| replace(path, &text));
        let history = self.keep(&in_force.kept);
        let log = self.record(change, &in_force.kept, before).await.map_err(ChangeFailure::Journal);
        let whole = file.and(history).and(log);
        whole.map_err(|failure| ChangeFailure::Unwritten(id.to_owned(), Box::new(failure)))
    }

    /// A resumption that is not in force yet: the log, then the file. Where the file fails, the log is told that nothing came of it.
    pub(super) async fn write_resumption(
        &self,
        (id, change): (&str, &Change),
        in_force: &InForce,
        kept: &Kept,
    ) -> Result<(), ChangeFailure> {
        let (path, text) = self.edited(in_force, id, Status::Active)?;
        self.write_down((change, &[]), kept, &in_force.kept).await?;
        let Err(failure) = replace(path, &text) else { return Ok(()) };
        let undone = Change::Agent { id: id.to_owned(), status: Status::Suspended };
        if let Err(failure) = self.record(&undone, &in_force.kept, kept).await {
            tracing::error!(agent = %id, failure = failure.name(), "the audit log says that an agent is resumed which is not");
        }
        Err(failure)
    }

    /// The registry file with the agent's status set. What else waits in the file goes on waiting.
    fn edited(&self, in_force: &InForce, id: &str, status: Status) -> Result<(PathBuf, String), ChangeFailure> {
        let path = in_force.held.texts.settings.agents_file.clone();
        let on_disk = disk::read(&path, Guard::Open)
            .map_err(|failure| ChangeFailure::Findings(vec![sources::refused(&path, &failure)]))?;
        let text = agents::with_status(&on_disk, id, status)
            .map_err(|failure| ChangeFailure::Agent(id.to_owned(), failure))?;
        Ok((path, text))
    }

    /// Keeps what is not kept yet; a change without effect has its number from before.
    fn keep(&self, kept: &Kept) -> Result<(), ChangeFailure> {
        let there = self.history.versions().map_err(|error| self.disk(error))?.contains(&kept.version);
        if there { Ok(()) } else { self.history.keep(kept).map_err(|error| self.disk(error)) }
    }

    async fn record(&self, change: &Change, kept: &Kept, before: &Kept) -> Result<(), JournalFailure> {
        let actor = kept.by.actor();
        self.ledger.record(now(), &swapped(change, kept, before, &actor)).await
    }
}

/// A tool as it is offered: server, name, pin.
pub(super) type Approved = (String, String, String);

/// What a snapshot offers and the one before did not: tools that are new, or described otherwise.
pub(super) fn approved(before: &Snapshot, after: &Snapshot) -> Vec<Approved> {
    let offered = |snapshot: &Snapshot| -> BTreeSet<Approved> {
        let servers = snapshot.routes().filter_map(|(index, route)| Some((route, snapshot.catalogue(index)?)));
        let tools = servers.flat_map(|(route, catalogue)| {
            let tools = catalogue.tools().iter();
            tools.map(|tool| (route.settings.name.to_string(), tool.name.to_string(), tool.pin.to_string()))
        });
        tools.collect()
    };
    let known = offered(before);
    offered(after).into_iter().filter(|tool| !known.contains(tool)).collect()
}

fn swapped<'r>(change: &'r Change, kept: &'r Kept, before: &Kept, actor: &'r str) -> Record<'r> {
    let about = |agent| AgentChange { agent, actor, snapshot: kept.version };
    match change {
        Change::Agent { id, status: Status::Active } => Record::AgentResumed(about(id)),
        Change::Agent { id, status: Status::Suspended | Status::Retired } => Record::AgentSuspended(about(id)),
        Change::Files | Change::Rules(_) | Change::Learned { .. } => Record::PolicySwapped(Swap {
            snapshot: kept.version,
            snapshot_hash: &kept.hash,
            previous: before.version,
            actor,
        }),
    }
}

fn replace(path: PathBuf, text: &str) -> Result<(), ChangeFailure> {
    disk::replace(&path, text.as_bytes(), 0o640).map_err(|error| ChangeFailure::Disk(path, error))
}
