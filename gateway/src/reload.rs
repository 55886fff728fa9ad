//! Changes what the gateway serves. In: new files, an earlier rule set, an agent's new status. Out: the next snapshot, or every finding and the
//! last good one still serving. Never here: the way of a request.
//!
//! A change is built off the path, numbered, kept, recorded, and only then swapped in. After the swap no request that starts later is judged
//! by what was before.

pub mod fixed;
pub mod reaper;

use self::reaper::Reaper;
use crate::control::agents::{self, EditFailure};
use crate::control::ledger::Ledger;
use crate::disk::{self, Guard};
use crate::history::{By, History, How, Kept, KeptText};
use crate::secure::{self, Secured};
use crate::shared::Shared;
use crate::{resolve, sources};
use arc_swap::ArcSwap;
use portcullis_core::audit::record::{AgentChange, Record, Swap};
use portcullis_core::config::snapshot::{Snapshot, Text, Texts};
use portcullis_core::diagnostic::Diagnostics;
use portcullis_core::identity::registry::Status;
use portcullis_core::refusal::JournalFailure;
use portcullis_core::secret::Secret;
use portcullis_core::time::UnixMillis;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use tokio::sync::Mutex;

/// What is to change.
#[derive(Clone, Debug)]
pub enum Change {
    /// The files were edited.
    Files,
    /// The rules of this earlier version shall serve again; the registry and everything else stay as they are, so that no suspension is
    /// undone by it. The files are not touched.
    Rules(u64),
    /// The tools of a server were listed for the first time.
    Learned {
        /// The server.
        server: Box<str>,
        /// Its catalogue.
        catalogue: Text,
    },
    /// An agent gets another status, in the file and in the service. Whatever else waits in the files goes on waiting.
    Agent {
        /// The agent.
        id: String,
        /// Active or suspended.
        status: Status,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files => out.write_str("the files were read again"),
            Self::Rules(version) => write!(out, "the rules of version {version} were taken back"),
            Self::Learned { server, catalogue: _ } => write!(out, "the tools of server `{server}` were learned"),
            Self::Agent { id, status } => write!(out, "agent `{id}` is {}", status.as_str()),
        }
    }
}

/// Why nothing changed.
#[derive(Debug)]
pub enum ChangeFailure {
    /// Another version serves than the caller believed.
    Conflict {
        /// What the caller believed.
        expected: u64,
        /// What serves.
        current: u64,
    },
    /// The files do not load.
    Findings(Diagnostics),
    /// This version is not kept; these are.
    UnknownVersion(u64, Vec<u64>),
    /// The registry was not edited.
    Agent(String, EditFailure),
    /// A file could not be read or written: which, and why.
    Disk(PathBuf, io::Error),
    /// The change could not be written down.
    Journal(JournalFailure),
    /// The gateway is on its way out, or broken inside.
    Stopped,
}

/// What changed.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The version that serves now.
    pub version: u64,
    /// The one before; the same where the content was.
    pub previous: u64,
    /// Its hash.
    pub hash: Box<str>,
    /// What an operator should look at.
    pub warnings: Diagnostics,
}

/// Everything a snapshot was built from, the secrets apart and held as secrets are.
pub struct Held {
    texts: Texts,
    /// Kept, so that an agent can be suspended although that file is being edited.
    secrets: Option<(String, Secret<String>)>,
}

/// What the gateway started with.
pub struct Begun {
    /// What it was built from.
    pub held: Held,
    /// How it came to serve.
    pub kept: Kept,
    /// Of what TLS was set up from.
    pub fingerprint: blake3::Hash,
}

struct InForce {
    held: Held,
    kept: Kept,
}

/// Keeps what serves, and changes it one change at a time.
pub struct Keeper {
    file: PathBuf,
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
    history: History,
    in_force: Mutex<InForce>,
    /// What serves, for those who only look: they do not wait for a change that is being built.
    kept: ArcSwap<Kept>,
    /// Of the certificates, keys and authorities that TLS was set up from.
    fingerprint: std::sync::Mutex<blake3::Hash>,
    reaper: Reaper,
}

impl Held {
    /// Takes the secrets out of `texts`.
    pub fn new(mut texts: Texts) -> Self {
        let secrets = texts.secrets.take().map(|text| (text.file, Secret::new(text.text)));
        Self { texts, secrets }
    }

    /// Everything but the secrets.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// The catalogue of the server at this position, once it is learned.
    pub fn learned(&mut self, position: usize, catalogue: Text) {
        if let Some(text) = self.texts.catalogues.get_mut(position) {
            *text = Some(catalogue);
        }
    }

    /// Everything, to build from; whoever builds wipes the secrets.
    pub fn whole(&self) -> Texts {
        let secrets =
            self.secrets.as_ref().map(|(file, text)| Text { file: file.clone(), text: text.expose().clone() });
        Texts { secrets, ..self.texts.clone() }
    }
}

impl Keeper {
    /// Starts from what the gateway started with.
    pub fn new(file: PathBuf, shared: Arc<Shared>, ledger: Arc<Ledger>, history: History, begun: Begun) -> Self {
        let kept = ArcSwap::from_pointee(begun.kept.clone());
        let in_force = Mutex::new(InForce { held: begun.held, kept: begun.kept });
        let fingerprint = std::sync::Mutex::new(begun.fingerprint);
        Self { file, shared, ledger, history, in_force, kept, fingerprint, reaper: Reaper::default() }
    }

    /// Where the configuration stands.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The kept rule sets.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What no worker uses any more goes here, never on a worker.
    pub fn reaper(&self) -> &Reaper {
        &self.reaper
    }

    /// The rule set that serves.
    pub fn kept(&self) -> Arc<Kept> {
        self.kept.load_full()
    }

    /// Makes a change, if `expect` is still what serves.
    pub async fn change(&self, change: Change, expect: Option<u64>, by: By) -> Result<Changed, ChangeFailure> {
        let mut in_force = self.in_force.lock().await;
        let current = in_force.kept.version;
        if let Some(expected) = expect.filter(|expected| *expected != current) {
            return Err(ChangeFailure::Conflict { expected, current });
        }
        let Proposal { texts, how, edited } = self.propose(&change, &in_force)?;
        let held = Held::new(texts);
        let number = self.number(&in_force.kept, held.texts())?;
        let (snapshot, secured) = self.build(&change, &held, number).await?;
        for unresolved in resolve::resolve_new(&self.shared, &snapshot).await {
            tracing::warn!(host = %unresolved.host, error = %unresolved.error, "an upstream's name does not resolve; calls to it fail until it does");
        }
        let kept = kept(&snapshot, held.texts(), how, by);
        let changed = Changed {
            version: number,
            previous: current,
            hash: snapshot.hash.clone(),
            warnings: snapshot.warnings.clone(),
        };
        self.write_down(&change, &kept, &in_force.kept, edited).await?;
        self.kept.store(Arc::new(kept.clone()));
        *in_force = InForce { held, kept };
        self.reaper.retire(publish(&self.shared, snapshot, secured));
        Ok(changed)
    }

    /// The next snapshot, and TLS where its files may have changed.
    async fn build(
        &self,
        change: &Change,
        held: &Held,
        number: u64,
    ) -> Result<(Snapshot, Option<Secured>), ChangeFailure> {
        let before = self.shared.snapshot.load_full();
        if let Change::Agent { .. } = change {
            let made = before.with_agents(&held.texts().agents, number, held.texts().hash());
            if let Some(snapshot) =
                made.map_err(|findings| ChangeFailure::Findings(sources::named(findings, &self.file)))?
            {
                return Ok((snapshot, None));
            }
        }
        let again = match change {
            Change::Files if secure::fingerprint(&held.texts().settings) != self.fingerprint() => Again::Tls,
            Change::Files | Change::Rules(_) | Change::Learned { .. } | Change::Agent { .. } => Again::NoTls,
        };
        let (texts, file) = (held.whole(), self.file.clone());
        let built = tokio::task::spawn_blocking(move || build(texts, number, &before, again, &file));
        let (snapshot, secured) = built.await.map_err(|_| ChangeFailure::Stopped)?.map_err(ChangeFailure::Findings)?;
        if secured.is_some() {
            *self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner) = secure::fingerprint(&snapshot.settings);
        }
        Ok((snapshot, secured))
    }

    fn fingerprint(&self) -> blake3::Hash {
        *self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn propose(&self, change: &Change, in_force: &InForce) -> Result<Proposal, ChangeFailure> {
        let (texts, how, edited) = match change {
            Change::Files => {
                let texts = sources::read(&self.file)
                    .map_err(|findings| ChangeFailure::Findings(sources::named(findings, &self.file)))?;
                let fixed = fixed::changed(&in_force.held.texts.settings, &texts.settings, &self.file);
                if !fixed.is_empty() {
                    return Err(ChangeFailure::Findings(fixed));
                }
                (texts, How::Apply, None)
            }
            Change::Rules(version) => {
                let kept = self.history.read(*version).map_err(|error| self.disk(error))?;
                let Some(kept) = kept else {
                    let versions = self.history.versions().map_err(|error| self.disk(error))?;
                    return Err(ChangeFailure::UnknownVersion(*version, versions));
                };
                let policies = kept.sources.into_iter().map(Text::from).collect();
                (Texts { policies, ..in_force.held.whole() }, How::Rollback, None)
            }
            Change::Learned { server, catalogue } => {
                let mut texts = in_force.held.whole();
                let servers = texts.settings.servers.iter().zip(&mut texts.catalogues);
                servers
                    .filter(|(known, _)| known.name == *server)
                    .for_each(|(_, text)| *text = Some(catalogue.clone()));
                (texts, How::Learned, None)
            }
            Change::Agent { id, status } => {
                let path = in_force.held.texts.settings.agents_file.clone();
                let on_disk = disk::read(&path, Guard::Open)
                    .map_err(|failure| ChangeFailure::Findings(vec![sources::refused(&path, &failure)]))?;
                let refused = |failure| ChangeFailure::Agent(id.clone(), failure);
                let edited = agents::with_status(&on_disk, id, *status).map_err(refused)?;
                let mut texts = in_force.held.whole();
                texts.agents.text = agents::with_status(&texts.agents.text, id, *status).map_err(refused)?;
                (texts, How::Agent, Some((path, edited)))
            }
        };
        Ok(Proposal { texts, how, edited })
    }

    /// The same content keeps its number; a number is never used twice for different content.
    fn number(&self, serving: &Kept, texts: &Texts) -> Result<u64, ChangeFailure> {
        if *texts.hash() == *serving.hash {
            return Ok(serving.version);
        }
        let last = self.history.versions().map_err(|error| self.disk(error))?.last().copied().unwrap_or(0);
        Ok(last.max(serving.version) + 1)
    }

    /// The file, the history and the log, in this order: whatever the log names can be found.
    async fn write_down(
        &self,
        change: &Change,
        kept: &Kept,
        before: &Kept,
        edited: Option<(PathBuf, String)>,
    ) -> Result<(), ChangeFailure> {
        if let Some((path, text)) = edited {
            disk::replace(&path, text.as_bytes(), 0o640).map_err(|error| ChangeFailure::Disk(path, error))?;
        }
        if kept.version != before.version {
            self.history.keep(kept).map_err(|error| self.disk(error))?;
        }
        let recorded = self.record(change, kept, before).await;
        match (recorded, change) {
            // Taking a right away must not wait for a disk to be mended.
            (Err(failure), Change::Agent { id, status: Status::Suspended }) => {
                tracing::error!(agent = %id, failure = failure.name(), "an agent is suspended although the audit log cannot say so");
                Ok(())
            }
            (Err(failure), _) => Err(ChangeFailure::Journal(failure)),
            (Ok(()), _) => Ok(()),
        }
    }

    async fn record(&self, change: &Change, kept: &Kept, before: &Kept) -> Result<(), JournalFailure> {
        let actor = kept.by.actor();
        let about = |agent| AgentChange { agent, actor: &actor, snapshot: kept.version };
        let record = match change {
            Change::Agent { id, status: Status::Active } => Record::AgentResumed(about(id)),
            Change::Agent { id, status: Status::Suspended | Status::Retired } => Record::AgentSuspended(about(id)),
            Change::Files | Change::Rules(_) | Change::Learned { .. } => Record::PolicySwapped(Swap {
                snapshot: kept.version,
                snapshot_hash: &kept.hash,
                previous: before.version,
                actor: &actor,
            }),
        };
        self.ledger.record(now(), &record).await
    }

    fn disk(&self, error: io::Error) -> ChangeFailure {
        ChangeFailure::Disk(self.history.folder().to_owned(), error)
    }
}

struct Proposal {
    texts: Texts,
    how: How,
    /// The registry file and its new text.
    edited: Option<(PathBuf, String)>,
}

/// Whether TLS is set up anew with a snapshot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Tls,
    NoTls,
}

fn build(
    texts: Texts,
    version: u64,
    before: &Snapshot,
    again: Again,
    file: &Path,
) -> Result<(Snapshot, Option<Secured>), Diagnostics> {
    let secured = match again {
        Again::Tls => secure::secure(&texts.settings).map(Some),
        Again::NoTls => Ok(None),
    };
    let built = Snapshot::build_after(texts, version, Some(before));
    match (built, secured) {
        (Ok(snapshot), Ok(secured)) => Ok((snapshot, secured)),
        (Ok(_), Err(findings)) => Err(findings),
        (Err(findings), Ok(_)) => Err(sources::named(findings, file)),
        (Err(findings), Err(more)) => Err(sources::named(findings, file).into_iter().chain(more).collect()),
    }
}

/// Puts a snapshot in force; the one before is returned, to be dropped where nobody waits.
fn publish(shared: &Shared, snapshot: Snapshot, secured: Option<Secured>) -> Arc<Snapshot> {
    if let Some(secured) = secured {
        shared.tls.store(Arc::new(secured.listen));
        shared.upstream_tls.store(Arc::new(secured.upstreams));
    }
    shared.snapshot.swap(Arc::new(snapshot))
}

/// The entry of the history for a snapshot.
pub fn kept(snapshot: &Snapshot, texts: &Texts, how: How, by: By) -> Kept {
    Kept {
        version: snapshot.version,
        hash: snapshot.hash.to_string(),
        applied_at: now().rfc3339(),
        by,
        how,
        sources: texts.policies.iter().map(KeptText::from).collect(),
        agents: KeptText::from(&texts.agents),
    }
}

/// The clock of the control plane.
pub fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
