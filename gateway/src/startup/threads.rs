//! Starts and ends the threads. In: what they share. Out: threads that are ready, or why one is not. Never here: what they do.

use crate::control::{Facts, Plane, live};
use crate::journal::Journal;
use crate::journal::desk::Desk;
use crate::journal::sequencing::{Sequencing, Standing};
use crate::journal::syncer::{self, Doorbell, Synced};
use crate::reload;
use crate::shared::Shared;
use crate::startup::{Doors, StartFailure};
use crate::worker;
use portcullis_audit::disk::RealDisk;
use portcullis_audit::keys::WrappingKey;
use portcullis_audit::recovery::Recovery;
use portcullis_audit::sequencer::Sequencer;
use portcullis_audit::wal::{Home, ShardFile};
use portcullis_core::config::settings::{Audit, Settings};
use portcullis_ring::Listener;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// Connections that may wait to be accepted, per worker; the kernel bounds it by `net.core.somaxconn`, 4096 by default.
const BACKLOG: u32 = 4096;

/// A thread that takes longer than this to start hangs.
const START_MAX: Duration = Duration::from_secs(10);

/// The threads that force records to the disk and let the log grow by them, and where every shard reports.
pub struct Syncing {
    audit: Audit,
    home: Home,
    doorbell: Arc<Doorbell>,
    shards: Vec<Arc<Synced>>,
    thread: JoinHandle<()>,
    sequencing: (Arc<Doorbell>, JoinHandle<()>),
    standing: Arc<Standing>,
    desk: Arc<Desk>,
}

impl Syncing {
    /// Starts them for the shards of `workers` and the one of the control plane.
    pub fn start(
        settings: &Settings,
        workers: usize,
        (sequencer, key, boot): (Sequencer, Arc<WrappingKey>, u64),
    ) -> Result<Self, StartFailure> {
        let audit = settings.audit.clone();
        let durability = audit.durability;
        let (doorbell, next) = (Arc::new(Doorbell::default()), Arc::new(Doorbell::default()));
        let synced = |_| Arc::new(Synced::new(durability, audit.backlog_bytes_max, doorbell.clone()));
        let shards: Vec<Arc<Synced>> = (0..=workers).map(synced).collect();
        let (bell, served, told) = (doorbell.clone(), shards.clone(), next.clone());
        let disk = audit.folder.clone();
        let thread = spawn("syncer", move || syncer::run(&bell, &served, (durability, &disk), &told))?;
        let standing = Arc::new(Standing::of(sequencer.size()));
        let desk = Arc::new(Desk::new(next.clone()));
        let (stood, asked) = (standing.clone(), desk.clone());
        let sequencing = Sequencing { sequencer, boot, shards: shards.clone(), standing: stood, desk: asked };
        let bell = next.clone();
        let sequencing = spawn("sequencer", move || sequencing.run(&bell))?;
        let folder = audit.folder.join("wal");
        let home = Home { disk: Arc::new(RealDisk), folder, key, segment_bytes_max: audit.segment_bytes_max };
        Ok(Self { audit, home, doorbell, shards, thread, sequencing: (next, sequencing), standing, desk })
    }

    /// Opens the segment of one shard: its file, the number of its next record, where it reports.
    pub fn shard(&self, shared: &Shared, recovery: &Recovery, number: u16) -> io::Result<Shard> {
        let synced = self.shards.get(usize::from(number)).cloned().ok_or(io::ErrorKind::InvalidInput)?;
        let file = ShardFile::create(&self.home, shared.boot, number, synced.owed.clone())?;
        Ok((file, recovery.next_seq.get(&number).copied().unwrap_or(0), synced))
    }

    /// How the log stands.
    pub fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// Where orders about what is kept are handed in.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Ends them after one last round, which signs everything.
    pub fn stop(self) {
        self.doorbell.stop();
        let _ = self.thread.join();
        let (bell, sequencing) = self.sequencing;
        bell.stop();
        let _ = sequencing.join();
    }
}

/// The worker threads.
pub struct Workers {
    ended: Receiver<(u16, Result<(), String>)>,
    count: usize,
}

impl Workers {
    /// Starts one worker a core; the address they listen on once all of them do.
    pub fn start(
        shared: &Arc<Shared>,
        facts: &Facts,
        recovery: &Recovery,
        syncing: &Syncing,
    ) -> Result<(Self, SocketAddr), StartFailure> {
        let (tell, ended) = channel();
        let mut address = shared.snapshot.load().settings.listen.address;
        for number in (0..u16::MAX).take(facts.workers) {
            let cpu = facts.cpus.get(usize::from(number) % facts.cpus.len().max(1)).copied();
            let shard = syncing.shard(shared, recovery, number).map_err(super::audit_refused)?;
            // One after the other, so that port 0 becomes one port for all.
            address = start_worker(Place { number, cpu, address }, shared, shard, syncing, tell.clone())
                .inspect_err(|_| shared.life.drain(reload::now()))?;
        }
        Ok((Self { ended, count: facts.workers }, address))
    }

    /// Waits until every worker has drained. One that ends before it was told to takes the others with it: half a gateway would look whole.
    pub fn join(self, shared: &Shared) -> Result<(), StartFailure> {
        let mut broken = None;
        for (number, result) in self.ended.iter().take(self.count) {
            match result {
                Ok(()) if shared.life.is_draining() => {}
                Ok(()) => broken = Some(format!("worker {number} ended early")),
                Err(why) => broken = Some(format!("worker {number} ended: {why}")),
            }
            if let Some(why) = broken.as_ref().filter(|_| !shared.life.is_draining()) {
                tracing::error!("{why}; draining the others");
                let grace = shared.snapshot.load().settings.timeouts.drain;
                shared.life.drain(reload::now().after(grace));
            }
        }
        broken.map_or(Ok(()), |why| Err(StartFailure::Broken(why)))
    }
}

/// Where one worker runs and listens.
#[derive(Clone, Copy)]
struct Place {
    number: u16,
    cpu: Option<usize>,
    address: SocketAddr,
}

type Shard = (ShardFile, u64, Arc<Synced>);

fn start_worker(
    place: Place,
    shared: &Arc<Shared>,
    shard: Shard,
    syncing: &Syncing,
    ended: Sender<(u16, Result<(), String>)>,
) -> Result<SocketAddr, StartFailure> {
    let (ready, listening) = channel();
    let (shared, durability) = (shared.clone(), syncing.audit.durability);
    spawn(&format!("worker-{}", place.number), move || {
        let listen = move || {
            let (file, next_seq, synced) = shard;
            let listener = Listener::bind(place.address, BACKLOG)?;
            if let Some(Err(error)) = place.cpu.map(|cpu| listener.prefer_cpu(cpu)) {
                tracing::debug!(%error, "SO_INCOMING_CPU is not in effect");
            }
            let _ = ready.send(listener.local_address());
            Ok((listener, Journal::new(file, next_seq, durability, synced)))
        };
        let run = AssertUnwindSafe(|| worker::run(place.number, place.cpu, shared, listen));
        let result = match std::panic::catch_unwind(run) {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err("it panicked".into()),
        };
        let _ = ended.send((place.number, result));
    })?;
    listening.recv_timeout(START_MAX).map_err(|_| {
        let error = io::Error::other("the worker could not listen");
        StartFailure::System(
            format!("worker {} on {}", place.number, place.address),
            error,
            "look for the reason above; another program may hold the port",
        )
    })
}

/// The control plane's thread.
pub struct Control {
    stopped: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Control {
    /// Starts it; it is ready when this returns.
    pub fn start(plane: Arc<Plane>, doors: Doors, recovery: Recovery) -> Result<Self, StartFailure> {
        let (stopped, stopping) = watch::channel(false);
        let (ready, opened) = channel();
        let life = plane.shared.clone();
        let thread = spawn("control", move || match super::runtime() {
            Ok(runtime) => {
                runtime.block_on(live::live(plane, doors, &recovery, ready, stopping));
                // An operator's connection that lingers must not keep the process alive.
                runtime.shutdown_timeout(LINGER_MAX);
            }
            Err(_) => drop(ready.send(Err(io::ErrorKind::OutOfMemory.into()))),
        })?;
        let opened = opened.recv_timeout(START_MAX).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        opened.map_err(|error| {
            life.life.drain(reload::now());
            StartFailure::System("the control plane".into(), error, "look for the reason above")
        })?;
        Ok(Self { stopped, thread })
    }

    /// Writes the last record and ends.
    pub fn stop(self) {
        let _ = self.stopped.send(true);
        let _ = self.thread.join();
    }
}

/// How long an answer to an operator may still take.
const LINGER_MAX: Duration = Duration::from_secs(1);

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartFailure> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| {
        StartFailure::System(format!("thread {name}"), error, "raise the limit of threads of this process")
    })
}
