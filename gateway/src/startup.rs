//! Starts the gateway, and ends it. In: the path of `portcullis.toml`. Out: nothing after a drain, or why it did not start. Never here: requests.
//!
//! Read from the top: what the files alone can be refused for is refused before the first socket is open, and nothing is learned or kept
//! before the audit folder is locked and the doors are bound.

pub mod first_use;
pub mod process;
pub mod threads;

use self::threads::{Control, Syncing, Workers};
use crate::control::ledger::Ledger;
use crate::control::socket::Bound;
use crate::control::{Facts, Plane, indexing, questions};
use crate::counters::Counters;
use crate::history::{By, History, How, Kept};
use crate::kernel::Kernel;
use crate::meters::Meters;
use crate::reload::{self, Begun, Held, Keeper};
use crate::secure::{self, Secured};
use crate::session::{Owners, Sessions};
use crate::shared::{Life, Shared};
use crate::witness::ask::Witnessing;
use crate::{beside, logging, resolve, sources};
use arc_swap::ArcSwap;
use portcullis_audit::calls;
use portcullis_audit::disk::RealDisk;
use portcullis_audit::keys::Keys;
use portcullis_audit::recovery::{self, Recovery};
use portcullis_audit::sequencer::Sequencer;
use portcullis_core::config::settings::{Indexing, Mode, Plaintext, Settings};
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::diagnostic::Diagnostics;
use portcullis_tlog::note::VerifierKey;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Why the gateway did not start, or did not end well.
#[derive(Debug)]
pub enum StartFailure {
    /// The files do not load.
    Findings(Diagnostics),
    /// The kernel lacks what is needed: cause and cure.
    Kernel(String, String),
    /// Something could not be opened, bound or written: what, why, and the cure.
    System(String, io::Error, &'static str),
    /// It was cut off, or a thread of it ended early.
    Broken(String),
}

/// Runs the gateway until it has drained.
pub fn run(file: &Path) -> Result<(), StartFailure> {
    portcullis_ring::probe().map_err(|missing| StartFailure::Kernel(missing.cause, missing.cure))?;
    let texts = sources::read(file).map_err(|findings| named(findings, file))?;
    logging::start(texts.settings.log);
    process::hide_memory();
    let settings = texts.settings.clone();
    let runtime = runtime()?;
    let mut held = Held::new(texts);
    let fingerprint = secure::fingerprint(&settings);
    let secured = secure::secure(&settings).map_err(|findings| named(findings, file))?;
    let built = first_use::build_unlearned(&held).map_err(|findings| named(findings, file))?;
    // From here on this gateway is alone with its files; one that is not has written nothing.
    let lock = lock_log(&settings)?;
    let doors = Doors::open(&settings)?;
    let facts = facts(&settings)?;
    let built = match built {
        Some(built) => built,
        None => {
            first_use::learn_all(&runtime, &mut held);
            first_use::build_or_wait(&runtime, &mut held).map_err(|findings| named(findings, file))?
        }
    };
    let keys = keys(&settings)?;
    let (wrapping, verifier) = (keys.values.clone(), keys.signer.verifier().clone());
    let (sequencer, recovery) = take_up_log(&settings, keys)?;
    let log = sequencer.log_folder();
    let (snapshot, history, kept) = number(built, &held, &settings)?;
    let meters = take_up_meters(&settings)?;
    let shared = shared(snapshot, secured, meters, &facts, &recovery);
    for unresolved in runtime.block_on(resolve::refresh(&shared, &shared.snapshot.load())) {
        tracing::warn!(host = %unresolved.host, error = %unresolved.error, "an upstream's name does not resolve; calls to it fail until it does");
    }
    // Look-ups that still hang must not keep the start waiting.
    runtime.shutdown_background();

    beside::start(&shared).map_err(|error| {
        StartFailure::System("thread beside".into(), error, "raise the limit of threads of this process")
    })?;
    let syncing = Syncing::start(&settings, facts.workers, (sequencer, wrapping, shared.boot))?;
    let witnessing = witnessed(log, verifier, &settings)?;
    let (workers, address) = Workers::start(&shared, &facts, &recovery, &syncing)?;
    shared.kernel.protect(address.port())?;
    let number = u16::try_from(facts.workers).unwrap_or(u16::MAX);
    let (journal, next_seq, synced) = syncing.shard(&shared, &recovery, number).map_err(audit_refused)?;
    let ledger = Arc::new(Ledger::new(journal, next_seq, synced));
    let begun = Begun { held, kept, fingerprint };
    let keeper = Arc::new(Keeper::new(file.to_owned(), shared.clone(), ledger.clone(), history, begun));
    let (log_standing, questions) = (syncing.standing().clone(), Arc::new(Semaphore::new(questions::AT_ONCE_MAX)));
    let (desk, keeping) = (syncing.desk().clone(), tokio::sync::Mutex::default());
    let log = log_standing.clone();
    let plane = Arc::new(Plane { shared: shared.clone(), keeper, ledger, facts, log, questions, desk, keeping });
    say(&plane, address, &recovery);
    let control = Control::start(plane, doors, recovery)?;
    if settings.audit.index == Indexing::Auto {
        indexing::start(settings.audit.folder.clone(), log_standing).map_err(|error| {
            StartFailure::System("thread indexer".into(), error, "raise the limit of threads of this process")
        })?;
    }
    // Ready means also: the start is in the log, and a signal to end is heard.
    shared.life.serve();
    let ended = workers.join(&shared);
    control.stop();
    syncing.stop();
    // The last checkpoint is shown to the witnesses too.
    if let Some(witnessing) = witnessing {
        witnessing.stop();
    }
    drop(lock);
    ended
}

/// Findings under the operator's own name for the configuration.
fn named(findings: Diagnostics, file: &Path) -> StartFailure {
    StartFailure::Findings(sources::named(findings, file))
}

fn runtime() -> Result<tokio::runtime::Runtime, StartFailure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| StartFailure::System("the control plane".into(), error, "raise the limits of this process"))
}

fn facts(settings: &Settings) -> Result<Facts, StartFailure> {
    let cpus = process::allowed_cpus();
    let workers = settings.workers.map_or(cpus.len().max(1), |workers| usize::from(workers.get()));
    let descriptors = process::raise_descriptor_limit();
    let kernel = Arc::new(Kernel::start(settings)?);
    let missing = kernel.missing.iter().map(ToString::to_string).collect();
    Ok(Facts { workers, cpus, descriptors, missing, kernel })
}

/// The snapshot's number from the history, and its entry there.
fn number(mut snapshot: Snapshot, held: &Held, settings: &Settings) -> Result<(Snapshot, History, Kept), StartFailure> {
    let refused = |error| {
        StartFailure::System(
            settings.policy.history.display().to_string(),
            error,
            "let this user write to the folder of kept rule sets",
        )
    };
    let history = History::open(&settings.policy.history, settings.policy.keep).map_err(refused)?;
    snapshot.version = history.number(&snapshot.hash).map_err(refused)?;
    let before = history.latest().map_err(refused)?;
    let kept = match before {
        Some(before) if before.version == snapshot.version => before,
        before => {
            if let Some(before) = before.filter(|before| before.rules_from.is_some() || before.how == How::Rollback) {
                tracing::warn!(
                    was = before.version,
                    now = snapshot.version,
                    "an operator had rolled back; this start serves the files, not what was rolled back to"
                );
            }
            let kept = reload::kept(&snapshot, held.texts(), How::Start, By::us());
            history.keep(&kept).map_err(refused)?;
            kept
        }
    };
    Ok((snapshot, history, kept))
}

fn audit_refused(error: io::Error) -> StartFailure {
    StartFailure::System("the audit folder".into(), error, "let this user write to it, and make room")
}

/// Takes the audit folder for this gateway alone.
fn lock_log(settings: &Settings) -> Result<File, StartFailure> {
    let folder = &settings.audit.folder;
    DirBuilder::new().recursive(true).mode(0o750).create(folder).map_err(audit_refused)?;
    lock(folder).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => StartFailure::System(
            folder.display().to_string(),
            error,
            "stop the other gateway, or give this one another `folder` in `[audit]`",
        ),
        _ => audit_refused(error),
    })
}

/// Held by the gateway that writes here.
const LOCK_FILE: &str = ".lock";

/// Takes the folder for this process alone: two gateways that write one log would tear each other's journals.
pub fn lock(folder: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(LOCK_FILE))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another gateway writes here")),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The keys of the log; made at the first start.
pub fn keys(settings: &Settings) -> Result<Keys, StartFailure> {
    let origin = format!("{}/audit", settings.listen.public_url.authority());
    Keys::take_up(&settings.audit.folder.join("keys"), &origin).map_err(|failure| {
        StartFailure::System(
            "the keys of the audit log".into(),
            io::Error::other(failure.to_string()),
            "give the files in `keys` back to this user with mode 0600; without its key a log cannot go on, only begin anew in another `folder` in `[audit]`",
        )
    })
}

/// Takes the log up where it ended.
pub fn take_up_log(settings: &Settings, keys: Keys) -> Result<(Sequencer, Recovery), StartFailure> {
    let folder = &settings.audit.folder;
    let taken = recovery::take_up(Arc::new(RealDisk), folder, keys).map_err(|cause| {
        StartFailure::System(
            format!("the audit log in {}", folder.display()),
            io::Error::other(cause.to_string()),
            "it is left as it is; put back what is missing, or keep it as evidence and name another `folder` in `[audit]`",
        )
    });
    let (mut sequencer, recovery) = taken?;
    sequencer.resume_keeping().map_err(|fault| audit_refused(io::Error::other(fault.to_string())))?;
    if recovery.torn_bytes > 0 {
        tracing::warn!(
            bytes = recovery.torn_bytes,
            "a crash had torn the last write of the audit log; the torn bytes, which nobody was promised, are kept beside it"
        );
    }
    if !recovery.unknown.is_empty() {
        let shown: Vec<String> = recovery.unknown.iter().take(SHOWN_MAX).map(calls::id).collect();
        tracing::warn!(calls = recovery.unknown.len(), first = %shown.join(" "), "outcome unknown: these calls were let pass and never seen to end; `portcullis audit show ID` tells what they were");
    }
    Ok((sequencer, recovery))
}

/// Has the log witnessed, where the configuration names witnesses.
fn witnessed(log: PathBuf, key: VerifierKey, settings: &Settings) -> Result<Option<Witnessing>, StartFailure> {
    if settings.audit.witnesses.is_empty() {
        return Ok(None);
    }
    let started = Witnessing::start(log, key, &settings.audit.witnesses);
    started.map(Some).map_err(|cause| {
        let cause = io::Error::other(cause.to_string());
        StartFailure::System("the witnesses of the audit log".into(), cause, "correct `witnesses` in `[audit]`")
    })
}

/// Names of calls in one line of the log.
const SHOWN_MAX: usize = 20;

/// What operators and scrapers come in by, bound before agents can.
pub struct Doors {
    /// The control socket.
    pub control: Bound,
    /// Metrics.
    pub metrics: Option<TcpListener>,
}

impl Doors {
    fn open(settings: &Settings) -> Result<Self, StartFailure> {
        // Bound without SO_REUSEPORT once, so that another gateway on the same port is noticed instead of shared with.
        let address = settings.listen.address;
        free_in_time(address).map_err(|error| {
            StartFailure::System(
                format!("address {address}"),
                error,
                "stop what listens there, or choose another `address` in `[listen]`",
            )
        })?;
        let path: &PathBuf = &settings.control.socket;
        let control = Bound::bind(path).map_err(|error| {
            StartFailure::System(
                path.display().to_string(),
                error,
                "stop the other gateway, or choose another `socket` in `[control]` that this user can create",
            )
        })?;
        let metrics = settings.metrics.map(|address| {
            let listener =
                TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
            listener.map_err(|error| {
                StartFailure::System(format!("address {address}"), error, "choose another `address` in `[metrics]`")
            })
        });
        Ok(Self { control, metrics: metrics.transpose()? })
    }
}

/// How long a start waits for an address that is still taken. The kernel gives the sockets of a killed gateway's ring back a moment after the
/// process is gone, and a supervisor restarts at once.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(3);

/// Whether the address is free, or becomes so soon.
fn free_in_time(address: SocketAddr) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < ADDRESS_PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            bound => return bound.map(drop),
        }
    }
}

/// Takes up what agents had used of rates and budgets.
fn take_up_meters(settings: &Settings) -> Result<Meters, StartFailure> {
    let folder = &settings.policy.history;
    Meters::take_up(folder).map_err(|error| {
        let cure = "let this user read it; deleting `limits.json` in it gives every agent its rates and budgets anew";
        StartFailure::System(
            format!("what agents have used of rates and budgets, in {}", folder.display()),
            error,
            cure,
        )
    })
}

fn shared(snapshot: Snapshot, secured: Secured, meters: Meters, facts: &Facts, recovery: &Recovery) -> Arc<Shared> {
    let (limits, timeouts) = (&snapshot.settings.limits, &snapshot.settings.timeouts);
    Arc::new(Shared {
        sessions: Sessions::new(limits.sessions_max, timeouts.session_idle),
        owners: Owners::new(limits.owners_max),
        meters,
        boot: recovery.next_boot(u64::try_from(reload::now().0).unwrap_or(0)),
        snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
        tls: ArcSwap::from_pointee(secured.listen),
        upstream_tls: ArcSwap::from_pointee(secured.upstreams),
        addresses: Default::default(),
        in_flight: Default::default(),
        kernel: facts.kernel.clone(),
        counters: (0..facts.workers).map(|_| Arc::new(Counters::default())).collect(),
        life: Life::default(),
        beside: Default::default(),
    })
}

/// One clear line per fact.
fn say(plane: &Plane, address: SocketAddr, recovery: &Recovery) {
    let snapshot = plane.shared.snapshot.load();
    let settings = &snapshot.settings;
    let tls = if settings.listen.tls.is_some() { "tls" } else { "plain http" };
    tracing::info!(%address, public_url = settings.listen.public_url.as_str(), %tls, "agents are served here");
    for (_, route) in snapshot.routes() {
        let server = &route.settings.name;
        tracing::info!(%server, resource = %route.resource, upstream = %route.settings.url.authority, "route");
        if route.settings.mode == Mode::Observe {
            tracing::warn!(%server, "OBSERVE: refusals on this route are recorded and NOT enforced");
        }
    }
    if settings.listen.plaintext == Plaintext::TrustedNetwork && settings.listen.tls.is_none() {
        tracing::warn!("plain HTTP may leave this machine, as the configuration vouches for the network");
    }
    let agents = snapshot.registry.agents().len();
    tracing::info!(version = snapshot.version, hash = %snapshot.hash, rules = snapshot.engine.policy_ids().len(), agents, "rules");
    let durability = crate::control::status::durability(settings.audit.durability);
    tracing::info!(folder = %settings.audit.folder.display(), %durability, entries = recovery.size, "audit log");
    tracing::info!(workers = plane.facts.workers, descriptors = plane.facts.descriptors.unwrap_or(u64::MAX), control = %settings.control.socket.display(), "process");
    for attached in plane.facts.kernel.layer.iter().flat_map(|layer| &layer.attached) {
        let (way, replaced) = (attached.way.as_str(), attached.replaced);
        tracing::info!(interface = %attached.interface, %way, replaced, "eBPF programs are in front of the listeners");
    }
    plane.facts.missing.iter().for_each(|missing| tracing::warn!("not in effect: {missing}"));
    snapshot.warnings.iter().for_each(|finding| tracing::warn!("{finding}"));
}

#[cfg(test)]
mod tests;
