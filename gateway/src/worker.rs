//! Runs one core. In: a listener, the shared state, a shard. Out: served connections until told to drain. Never here: what a request means.

use crate::beside::Turn;
use crate::connection::{self, Line};
use crate::counters::{Count, Counters, Gauge, Held};
use crate::http1::write;
use crate::journal::Journal;
use crate::kernel::marks::Marks;
use crate::long::Pipes;
use crate::servings::Servings;
use crate::shared::Shared;
use crate::stream;
use crate::unproven::{Lines, Unproven};
use crate::upstream::pool::Pools;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::identity::cache::{self, Cache};
use portcullis_core::protocol::json::Scratch;
use portcullis_core::time::UnixMillis;
use portcullis_ring::spare::Buffers;
use portcullis_ring::{CoreConfig, Listener, Socket, Wheel};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Submission queue entries of each ring; completions may be four times as many. Measured sufficient for 1,000 busy connections.
const RING_ENTRIES: u32 = 1024;

/// How often a draining worker looks whether its last connection is gone.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// Everything one core owns. Nothing in it is shared; what is shared hangs at `shared`.
pub struct Core {
    /// Which core, from 0; also the number of its shard.
    pub number: u16,
    /// Deadlines and the coarse clock.
    pub wheel: Rc<Wheel>,
    /// What cores share.
    pub shared: Arc<Shared>,
    /// This core's audit shard.
    pub journal: Journal,
    /// Pipes for long results.
    pub pipes: Pipes,
    /// Kept connections toward upstreams.
    pub pools: Pools,
    /// Room for one body's tape.
    pub scratch: RefCell<Scratch>,
    /// Verified tokens.
    pub tokens: RefCell<Cache>,
    /// Spare buffers.
    pub buffers: Rc<Buffers>,
    /// This core's page of counters.
    pub counters: Arc<Counters>,
    snapshot: RefCell<Reader>,
    /// What the agents seen here have in flight on all cores; the table itself is this core's, so a look takes no lock.
    in_flight: RefCell<HashMap<Box<str>, Arc<AtomicU32>, ahash::RandomState>>,
    /// `Date`, written anew each second.
    date: Cell<[u8; 29]>,
    /// Answers to servers' refused requests under way.
    pub declines: Cell<usize>,
    /// Open connections by number, so that a drain can end the idle ones.
    lines: RefCell<Lines>,
    /// Those that have proven nothing.
    pub unproven: Unproven,
    /// What the kernel lets proven ones pass by.
    pub marks: Marks,
    next_line: Cell<u64>,
    /// Connections that wait for a request with a buffer in hand.
    pub waiting: Cell<usize>,
    /// This core's place in the count of decisions that are judged a second time.
    pub turn: Turn,
}

impl Core {
    /// Puts a core together on the thread that will run it.
    pub fn new(number: u16, shared: Arc<Shared>, journal: Journal) -> Rc<Self> {
        let counters = shared.counters.get(usize::from(number)).cloned().unwrap_or_default();
        let snapshot = RefCell::new(Reader::new(&shared));
        Rc::new(Self {
            number,
            wheel: Wheel::new(),
            journal,
            pipes: Pipes::default(),
            pools: Pools::new(),
            scratch: RefCell::new(Scratch::new()),
            tokens: RefCell::new(Cache::new(cache::ENTRIES_MAX_DEFAULT, ahash::RandomState::new())),
            buffers: Rc::new(Buffers::new()),
            counters,
            snapshot,
            in_flight: RefCell::default(),
            date: Cell::new(write::date(UnixMillis(0))),
            declines: Cell::new(0),
            lines: RefCell::default(),
            unproven: Unproven::default(),
            marks: Marks::of(&shared.kernel),
            next_line: Cell::new(0),
            waiting: Cell::new(0),
            turn: Turn::default(),
            shared,
        })
    }

    /// The snapshot a request is judged by: read once, then held to its end (law 4).
    pub fn snapshot(&self) -> CoreSnapshot {
        self.snapshot.borrow_mut().read()
    }

    /// How many requests `agent` has in flight, on all cores.
    pub fn agent_counter(&self, agent: &str) -> Arc<AtomicU32> {
        if let Some(known) = self.in_flight.borrow().get(agent) {
            return known.clone();
        }
        let counter = self.shared.agent_counter(agent);
        self.in_flight.borrow_mut().insert(agent.into(), counter.clone());
        counter
    }

    /// The `Date` of an answer (RFC 9110 §6.6.1), at most a second old.
    pub fn date(&self) -> [u8; 29] {
        self.date.get()
    }

    /// The clock of this core, at most one tick old.
    pub fn now(&self) -> UnixMillis {
        UnixMillis(self.wheel.now())
    }
}

/// The snapshot as one core holds it: a request raises the outer count, which no other core writes to.
pub type CoreSnapshot = Rc<Arc<Snapshot>>;

/// This core's view of the published snapshot: a look costs one relaxed-enough compare, and the count that is raised belongs to this core.
struct Reader {
    cache: arc_swap::Cache<Arc<arc_swap::ArcSwap<Snapshot>>, Arc<Snapshot>>,
    held: CoreSnapshot,
}

impl Reader {
    fn new(shared: &Shared) -> Self {
        let mut cache = arc_swap::Cache::new(shared.snapshot.clone());
        let held = Rc::new(cache.load().clone());
        Self { cache, held }
    }

    fn read(&mut self) -> CoreSnapshot {
        let live = self.cache.load();
        if !Arc::ptr_eq(live, &self.held) {
            self.held = Rc::new(live.clone());
        }
        self.held.clone()
    }
}

/// Serves on this thread until the gateway drains. `bound` is the listener already bound by startup, so that no port is lost in between.
pub fn run(
    number: u16,
    cpu: Option<usize>,
    shared: Arc<Shared>,
    listen: impl FnOnce() -> io::Result<(Listener, Journal)>,
) -> io::Result<()> {
    let config = CoreConfig { cpu, entries: RING_ENTRIES };
    portcullis_ring::run(&config, async move {
        #[cfg(feature = "count-allocations")]
        portcullis_ring::allocations::claim(number);
        let (listener, journal) = listen()?;
        let core = Core::new(number, shared, journal);
        portcullis_ring::spawn(core.wheel.clone().drive());
        let flushing = core.clone();
        portcullis_ring::spawn(async move { flushing.journal.flush_forever().await });
        let settling = core.clone();
        portcullis_ring::spawn(async move { settle_forever(&settling).await });
        let ticking = core.clone();
        portcullis_ring::spawn(async move { tick_forever(&ticking).await });
        let listener = Rc::new(listener);
        let stopping = (core.clone(), listener.clone());
        portcullis_ring::spawn(async move { stop_listening(&stopping.0, &stopping.1).await });
        accept_until_drained(&core, &listener).await;
        finish(&core).await;
        Ok(())
    })?
}

async fn accept_until_drained(core: &Rc<Core>, listener: &Listener) {
    let servings = Rc::new(Servings::new(connection::wake));
    loop {
        let accepted = listener.accept().await;
        if core.shared.life.is_draining() {
            return;
        }
        match accepted {
            Ok((socket, peer)) => {
                core.counters.add(Count::Connections);
                let limit = core.snapshot().settings.limits.connections_max / core.shared.counters.len().max(1);
                if core.lines.borrow().len() >= limit.max(1) {
                    core.counters.add(Count::ConnectionsRefused);
                    continue;
                }
                let place = Place::take(core, socket, peer.ip());
                let servings = servings.clone();
                portcullis_ring::spawn(async move {
                    connection::serve(&place.core, &place.line, peer, &servings).await;
                });
            }
            Err(error) => {
                // EMFILE and its like pass; spinning on them would starve the connections that could free a descriptor.
                tracing::warn!(%error, "a connection could not be accepted");
                core.wheel.wait(DRAIN_LOOK).await;
            }
        }
    }
}

/// One connection's place on this core; given back when its task ends, however it ends.
struct Place {
    core: Rc<Core>,
    line: Rc<Line>,
    number: u64,
    _held: Held,
}

impl Place {
    fn take(core: &Rc<Core>, socket: Socket, source: IpAddr) -> Self {
        let number = core.next_line.get();
        core.next_line.set(number + 1);
        let line = Rc::new(Line::new(socket, number));
        core.unproven.begin(core, number, source);
        core.lines.borrow_mut().insert(number, line.clone());
        Self { core: core.clone(), line, number, _held: core.counters.hold(Gauge::ConnectionsOpen) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.core.lines.borrow_mut().remove(&self.number);
        self.core.unproven.end(self.number);
        self.line.forget(&self.core);
        if std::thread::panicking() {
            self.core.counters.add(Count::Panics);
        }
    }
}

async fn stop_listening(core: &Core, listener: &Listener) {
    loop {
        let changed = core.shared.life.changed.notified();
        if core.shared.life.is_draining() {
            listener.stop();
            core.lines.borrow().values().for_each(|line| line.end_if_idle());
            return;
        }
        changed.await;
    }
}

/// Lets open calls finish within the grace period, then writes the last records.
async fn finish(core: &Core) {
    let grace = core.snapshot().settings.timeouts.drain;
    // Open streams end within a look of the grace period's end, and their records are to be written.
    let until = core.now().after(grace).after(2 * stream::LOOK);
    while !core.lines.borrow().is_empty() && core.now() < until {
        core.wheel.wait(DRAIN_LOOK).await;
    }
    core.journal.write_batch();
}

async fn settle_forever(core: &Core) {
    let synced = core.journal.synced().clone();
    loop {
        synced.settled.notified().await;
        core.journal.leave_if_asked();
        core.journal.settle(synced.state());
    }
}

/// Once a second: pick up a new snapshot although idle (an old one must not be kept alive), drop idle upstream connections, sweep sessions.
async fn tick_forever(core: &Core) {
    let mut judged = core.snapshot().version;
    loop {
        core.date.set(write::date(core.now()));
        core.wheel.wait(Duration::from_secs(1)).await;
        let snapshot = core.snapshot();
        core.unproven.cut_late(core, &core.lines.borrow());
        if std::mem::replace(&mut judged, snapshot.version) != snapshot.version {
            core.unproven.judge_anew(core, &snapshot, &core.lines.borrow());
        }
        core.pools.sweep(&snapshot.settings.timeouts, core.now());
        if core.number == 0 {
            core.shared.sessions.sweep(core.now());
        }
    }
}
