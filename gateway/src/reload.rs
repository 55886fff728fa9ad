//! Changes what the gateway serves. In: new files, an earlier rule set, an agent's new status. Out: the next snapshot, or every finding and the
//! last good one still serving. Never here: the way of a request.
//!
//! A change is built off the path, numbered, kept, recorded, and only then swapped in; a suspension alone is swapped in first, since taking
//! a right away must not wait for a disk. After the swap no request that starts later is judged by what was before.

pub mod fixed;
pub mod reaper;
pub mod refusals;
mod written;

use self::reaper::Reaper;
use self::refusals::Refusals;
use crate::control::agents::{self, EditFailure};
use crate::control::ledger::Ledger;
use crate::history::{By, History, How, Kept, KeptText};
use crate::secure::{self, Secured};
use crate::shared::Shared;
use crate::spread::EVERY_CORE;
use crate::startup::process;
use crate::{resolve, sources};
use arc_swap::ArcSwap;
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
    /// The agent is suspended, but this part of it could not be written down.
    Unwritten(String, Box<ChangeFailure>),
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
    /// The highest number that was ever given to content, served or not.
    numbered: u64,
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
    refusals: Refusals,
}

/// What a change would come to.
pub struct Tryout {
    /// The version that serves and goes on serving.
    pub serving: u64,
    /// Its rules.
    pub before: Vec<Text>,
    /// The rules that were tried out.
    pub after: Vec<Text>,
    /// What they were built into.
    pub snapshot: Snapshot,
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
        let in_force = Mutex::new(InForce { held: begun.held, numbered: begun.kept.version, kept: begun.kept });
        let fingerprint = std::sync::Mutex::new(begun.fingerprint);
        Self {
            file,
            shared,
            ledger,
            history,
            in_force,
            kept,
            fingerprint,
            reaper: Reaper::default(),
            refusals: Refusals::default(),
        }
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

    /// The loads that were refused.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The rule set that serves.
    pub fn kept(&self) -> Arc<Kept> {
        self.kept.load_full()
    }

    /// Makes a change, if `expect` is still what serves. A load that is refused is remembered until one succeeds.
    pub async fn change(&self, change: Change, expect: Option<u64>, by: By) -> Result<Changed, ChangeFailure> {
        let made = self.make(&change, expect, by).await;
        self.refusals.note(&change, &made);
        made
    }

    /// What a change would come to: all of the load and its checks, and nothing swapped in, numbered or written.
    pub async fn try_out(&self, change: &Change, expect: Option<u64>) -> Result<Tryout, ChangeFailure> {
        let in_force = self.in_force.lock().await;
        let current = in_force.kept.version;
        if let Some(expected) = expect.filter(|expected| *expected != current) {
            return Err(ChangeFailure::Conflict { expected, current });
        }
        let held = Held::new(self.propose(change, &in_force)?.texts);
        let built = self.build(change, &held, current).await?;
        Ok(Tryout {
            serving: current,
            before: in_force.held.texts.policies.clone(),
            after: held.texts.policies,
            snapshot: built.snapshot,
        })
    }

    /// A snapshot with other rules and all else as it serves, to be judged beside the one that serves.
    pub async fn beside(&self, policies: Vec<Text>) -> Result<Snapshot, ChangeFailure> {
        let in_force = self.in_force.lock().await;
        let texts = Texts { policies, ..in_force.held.whole() };
        let (version, before, file) = (in_force.kept.version, self.shared.snapshot.load_full(), self.file.clone());
        drop(in_force);
        let built = tokio::task::spawn_blocking(move || build(texts, version, &before, Again::NoTls, &file)).await;
        let (snapshot, _) = built.map_err(|_| ChangeFailure::Stopped)?.map_err(ChangeFailure::Findings)?;
        Ok(snapshot)
    }

    async fn make(&self, change: &Change, expect: Option<u64>, by: By) -> Result<Changed, ChangeFailure> {
        let mut in_force = self.in_force.lock().await;
        let current = in_force.kept.version;
        if let Some(expected) = expect.filter(|expected| *expected != current) {
            return Err(ChangeFailure::Conflict { expected, current });
        }
        let Proposal { texts, how, rules_from } = self.propose(change, &in_force)?;
        let held = Held::new(texts);
        let number = self.number(change, &in_force, held.texts())?;
        let built = self.build(change, &held, number).await?;
        let kept = Kept { rules_from, ..kept(&built.snapshot, held.texts(), how, by) };
        let changed = Changed {
            version: number,
            previous: current,
            hash: built.snapshot.hash.clone(),
            warnings: built.snapshot.warnings.clone(),
        };
        in_force.numbered = in_force.numbered.max(number);
        match change {
            Change::Agent { id, status: Status::Suspended | Status::Retired } => {
                let before = in_force.kept.clone();
                self.put_in_force(&mut in_force, held, kept, built);
                self.write_suspension((id, change), &in_force, &before).await?;
            }
            Change::Agent { id, status: Status::Active } => {
                self.write_resumption((id, change), &in_force, &kept).await?;
                self.put_in_force(&mut in_force, held, kept, built);
            }
            Change::Files | Change::Rules(_) | Change::Learned { .. } => {
                for unresolved in resolve::resolve_new(&self.shared, &built.snapshot).await {
                    tracing::warn!(host = %unresolved.host, error = %unresolved.error, "an upstream's name does not resolve; calls to it fail until it does");
                }
                let approved = written::approved(&self.shared.snapshot.load(), &built.snapshot);
                self.write_down((change, &approved), &kept, &in_force.kept).await?;
                self.put_in_force(&mut in_force, held, kept, built);
            }
        }
        Ok(changed)
    }

    /// From here on it serves, with the TLS that belongs to it.
    fn put_in_force(&self, in_force: &mut InForce, held: Held, kept: Kept, built: Built) {
        self.kept.store(Arc::new(kept.clone()));
        in_force.held = held;
        in_force.kept = kept;
        let secured = built.secured.map(|(secured, fingerprint)| {
            *self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner) = fingerprint;
            secured
        });
        self.reaper.retire(publish(&self.shared, built.snapshot, secured));
    }

    /// The next snapshot, and TLS where its files may have changed.
    async fn build(&self, change: &Change, held: &Held, number: u64) -> Result<Built, ChangeFailure> {
        let before = self.shared.snapshot.load_full();
        if let Change::Agent { .. } = change {
            let made = before.with_agents(&held.texts().agents, number, held.texts().hash());
            if let Some(snapshot) =
                made.map_err(|findings| ChangeFailure::Findings(sources::named(findings, &self.file)))?
            {
                return Ok(Built { snapshot, secured: None });
            }
        }
        // Taken before the files are read for use: what changes in between is seen as a change the next time.
        let fingerprint = match change {
            Change::Files => Some(secure::fingerprint(&held.texts().settings)),
            Change::Rules(_) | Change::Learned { .. } | Change::Agent { .. } => None,
        };
        let fingerprint = fingerprint.filter(|fingerprint| *fingerprint != self.fingerprint());
        let again = if fingerprint.is_some() { Again::Tls } else { Again::NoTls };
        let (texts, file) = (held.whole(), self.file.clone());
        let built = tokio::task::spawn_blocking(move || build(texts, number, &before, again, &file));
        let (snapshot, secured) = built.await.map_err(|_| ChangeFailure::Stopped)?.map_err(ChangeFailure::Findings)?;
        Ok(Built { snapshot, secured: secured.zip(fingerprint) })
    }

    fn fingerprint(&self) -> blake3::Hash {
        *self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn propose(&self, change: &Change, in_force: &InForce) -> Result<Proposal, ChangeFailure> {
        let (texts, how, rules_from) = match change {
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
                (Texts { policies, ..in_force.held.whole() }, How::Rollback, Some(*version))
            }
            Change::Learned { server, catalogue } => {
                let mut texts = in_force.held.whole();
                let servers = texts.settings.servers.iter().zip(&mut texts.catalogues);
                servers
                    .filter(|(known, _)| known.name == *server)
                    .for_each(|(_, text)| *text = Some(catalogue.clone()));
                (texts, How::Learned, in_force.kept.rules_from)
            }
            Change::Agent { id, status } => {
                let mut texts = in_force.held.whole();
                texts.agents.text = agents::with_status(&texts.agents.text, id, *status)
                    .map_err(|failure| ChangeFailure::Agent(id.clone(), failure))?;
                (texts, How::Agent, in_force.kept.rules_from)
            }
        };
        Ok(Proposal { texts, how, rules_from })
    }

    /// The same content keeps its number; a number is never used twice for different content. A suspension asks no disk for it.
    fn number(&self, change: &Change, in_force: &InForce, texts: &Texts) -> Result<u64, ChangeFailure> {
        let serving = &in_force.kept;
        if *texts.hash() == *serving.hash {
            return Ok(serving.version);
        }
        let last = match change {
            Change::Agent { id: _, status: Status::Suspended | Status::Retired } => 0,
            Change::Files | Change::Rules(_) | Change::Learned { .. } | Change::Agent { .. } => {
                self.history.versions().map_err(|error| self.disk(error))?.last().copied().unwrap_or(0)
            }
        };
        Ok(last.max(in_force.numbered).max(serving.version) + 1)
    }

    fn disk(&self, error: io::Error) -> ChangeFailure {
        ChangeFailure::Disk(self.history.folder().to_owned(), error)
    }
}

struct Proposal {
    texts: Texts,
    how: How,
    /// The version whose rules they are, where the files say something else.
    rules_from: Option<u64>,
}

/// What is to serve: a snapshot, and TLS with the fingerprint of its files where it was set up anew.
struct Built {
    snapshot: Snapshot,
    secured: Option<(Secured, blake3::Hash)>,
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
    process::yield_to_workers();
    let secured = match again {
        Again::Tls => secure::secure(&texts.settings).map(Some).map_err(|findings| sources::named(findings, file)),
        Again::NoTls => Ok(None),
    };
    let built = Snapshot::build_after(texts, version, Some(before), EVERY_CORE);
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
        rules_from: None,
        sources: texts.policies.iter().map(KeptText::from).collect(),
        agents: KeptText::from(&texts.agents),
    }
}

/// The clock of the control plane.
pub fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
