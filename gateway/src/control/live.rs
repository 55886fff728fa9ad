//! Runs the control plane on its own thread. In: the plane and its doors. Out: the gateway's last record. Never here: agents' requests.

use crate::control::{Plane, face, keeping, status};
use crate::history::By;
use crate::kernel::{clock, marks};
use crate::meters;
use crate::reload::{self, Change};
use crate::startup::{Doors, first_use};
use crate::{control::answers::Refused, resolve};
use portcullis_audit::recovery::Recovery;
use portcullis_core::audit::record::{Record, Start, Stop, Unknown};
use portcullis_core::config::settings::{Mode, Plaintext};
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::refusal::JournalFailure;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The last record waits this long for the disk; a disk that takes longer is broken.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);

/// Lives until `stopped` says so. `ready` is told once everything is open, or why it is not.
pub async fn live(
    plane: Arc<Plane>,
    doors: Doors,
    recovery: &Recovery,
    ready: std::sync::mpsc::Sender<io::Result<()>>,
    stopped: watch::Receiver<bool>,
) {
    let opened = open(&plane, doors, recovery, stopped.clone()).await;
    let serving = opened.is_ok();
    let Ok(()) = ready.send(opened) else { return };
    if !serving {
        return;
    }
    let background = [
        tokio::spawn(resolve::refresh_forever(plane.shared.clone())),
        tokio::spawn(first_use::learn_forever(plane.clone())),
        tokio::spawn(sweep_forever(plane.clone())),
        tokio::spawn(meters::save_forever(plane.shared.clone())),
        tokio::spawn(sweep_marks(plane.clone())),
    ];
    wait(stopped).await;
    background.iter().for_each(|task| task.abort());
    meters::save_last(&plane.shared);
    let last = Record::GatewayStopped(Stop { reason: "drained" });
    match tokio::time::timeout(LAST_WORDS_MAX, plane.ledger.record(reload::now(), &last)).await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => tracing::error!(failure = failure.name(), "the end could not be written to the audit log"),
        Err(_) => tracing::error!("the end could not be written to the audit log in time"),
    }
}

async fn open(plane: &Arc<Plane>, doors: Doors, recovery: &Recovery, stopped: watch::Receiver<bool>) -> io::Result<()> {
    let broken = |failure: JournalFailure| {
        io::Error::other(format!("the start could not be written to the audit log: {}", failure.name()))
    };
    started(plane, recovery).await.map_err(broken)?;
    let (end, interrupt, hang_up) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    tokio::spawn(drain_on(plane.clone(), end, interrupt));
    tokio::spawn(reload_on(plane.clone(), hang_up));
    tokio::spawn(face::serve(doors.control.open()?, plane.clone(), wait(stopped)));
    if let Some(metrics) = doors.metrics {
        let listener = tokio::net::TcpListener::from_std(metrics)?;
        tokio::spawn(face::serve_metrics(listener, plane.clone()));
    }
    Ok(())
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone has stopped too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn started(plane: &Plane, recovery: &Recovery) -> Result<(), JournalFailure> {
    let snapshot = plane.shared.snapshot.load_full();
    let modes = modes(&snapshot, &plane.facts.missing);
    let modes: Vec<&str> = modes.iter().map(|mode| &**mode).collect();
    let record = Record::GatewayStarted(Start {
        version: env!("CARGO_PKG_VERSION"),
        snapshot: snapshot.version,
        snapshot_hash: &snapshot.hash,
        durability: status::durability(snapshot.settings.audit.durability),
        modes: &modes,
        torn_bytes: recovery.torn_bytes,
    });
    let boots: Vec<String> = recovery.unknown.iter().map(|(boot, _, _)| boot.to_string()).collect();
    let unknown = recovery.unknown.iter().zip(&boots);
    let unknown =
        unknown.map(|((_, shard, seq), boot)| Record::OutcomeUnknown(Unknown { boot, shard: *shard, seq: *seq }));
    let records: Vec<Record<'_>> = std::iter::once(record).chain(unknown).collect();
    plane.ledger.record_all(reload::now(), &records).await?;
    // What an earlier gateway erased, held or let go and did not live to record. It stays to be recorded where that fails now.
    if let Err(refused) = keeping::record_done(plane).await {
        tracing::warn!(why = %refused.message, "what was erased or held before this start is not recorded yet");
    }
    Ok(())
}

/// What is less than it could be: nothing falls back in silence.
fn modes(snapshot: &Snapshot, missing: &[String]) -> Vec<String> {
    let observed = snapshot.routes().filter(|(_, route)| route.settings.mode == Mode::Observe);
    let mut modes: Vec<String> = observed.map(|(_, route)| format!("observe: {}", route.settings.name)).collect();
    if snapshot.settings.listen.tls.is_none() && snapshot.settings.listen.plaintext == Plaintext::TrustedNetwork {
        modes.push("plaintext: trusted-network".into());
    }
    modes.extend(missing.iter().map(|missing| format!("missing: {missing}")));
    modes
}

/// The first signal drains, the second cuts.
async fn drain_on(plane: Arc<Plane>, mut end: Signal, mut interrupt: Signal) {
    let mut heard = async || tokio::select! { _ = end.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
    let name = heard().await;
    let grace = drain(&plane);
    tracing::info!(
        signal = name,
        grace_seconds = grace.as_secs(),
        "draining: open calls finish, nothing new is taken; a second signal cuts them"
    );
    let name = heard().await;
    tracing::warn!(signal = name, "cut: calls that were under way have an unknown outcome");
    meters::save_last(&plane.shared);
    let last = Record::GatewayStopped(Stop { reason: "cut" });
    let _ = tokio::time::timeout(LAST_WORDS_MAX, plane.ledger.record(reload::now(), &last)).await;
    let _ = std::fs::remove_file(&plane.shared.snapshot.load().settings.control.socket);
    std::process::exit(CUT);
}

/// What a process that was cut ends with.
const CUT: i32 = 1;

/// Takes nothing new from now on; how long what is under way may take.
pub fn drain(plane: &Plane) -> Duration {
    let grace = plane.shared.snapshot.load().settings.timeouts.drain;
    plane.shared.life.drain(reload::now().after(grace));
    grace
}

async fn reload_on(plane: Arc<Plane>, mut hang_up: Signal) {
    while hang_up.recv().await.is_some() {
        match plane.keeper.change(Change::Files, None, By::us()).await {
            Ok(changed) => tracing::info!(
                version = changed.version,
                previous = changed.previous,
                "SIGHUP: the files were read again"
            ),
            Err(failure) => {
                let refused = Refused::from(failure);
                tracing::error!(cause = refused.name, why = %refused.message, "SIGHUP: the last good snapshot goes on serving");
                refused.findings.iter().for_each(|finding| tracing::error!("{finding}"));
            }
        }
    }
}

/// Once: what an earlier process had marked is gone by then.
async fn sweep_marks(plane: Arc<Plane>) {
    let started = clock::now_ns();
    tokio::time::sleep(marks::LEFT_OVER).await;
    let swept = marks::sweep(&plane.facts.kernel, started);
    tracing::debug!(swept, "marks of an earlier process are taken away");
}

async fn sweep_forever(plane: Arc<Plane>) {
    plane.keeper.reaper().sweep_forever().await;
}
