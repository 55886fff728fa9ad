//! Holds what cores share, and only this. In: the first snapshot. Out: look-ups that take no lock on the way of a request. Never here: IO.

use crate::beside::Beside;
use crate::counters::Counters;
use crate::kernel::Kernel;
use crate::meters::Meters;
use crate::session::{Owners, Sessions};
use crate::tls::ServerTls;
use arc_swap::ArcSwap;
use dashmap::DashMap;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::time::UnixMillis;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use tokio::sync::Notify;

/// Everything that more than one core touches.
pub struct Shared {
    /// Policy, registry, keys, routes and filters as one value (law 4).
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// TLS toward agents; swapped with the snapshot, read at each accept.
    pub tls: ArcSwap<Option<Arc<ServerTls>>>,
    /// TLS toward upstreams, one entry a server of the snapshot.
    pub upstream_tls: ArcSwap<Vec<Option<Arc<rustls::ClientConfig>>>>,
    /// Where upstream names point, refreshed by the control plane.
    pub addresses: DashMap<(Box<str>, u16), Arc<[SocketAddr]>, ahash::RandomState>,
    /// Legacy MCP sessions.
    pub sessions: Sessions,
    /// Owners of tasks and of `requestState` values.
    pub owners: Owners,
    /// What agents have used of rates and budgets; outlives snapshots and restarts.
    pub meters: Meters,
    /// Requests each agent has in flight, across cores; outlives snapshots.
    pub in_flight: DashMap<Box<str>, Arc<AtomicU32>, ahash::RandomState>,
    /// What stands in front of the listeners.
    pub kernel: Arc<Kernel>,
    /// One page of counters a core.
    pub counters: Vec<Arc<Counters>>,
    /// The start of this process in Unix milliseconds; names its records.
    pub boot: u64,
    /// Where the gateway stands in its life.
    pub life: Life,
    /// Where copies of decisions go that are judged a second time.
    pub beside: Beside,
}

/// Starting, serving, draining, stopped.
#[derive(Default)]
pub struct Life {
    ready: AtomicBool,
    draining: AtomicBool,
    /// Until when open streams may go on, in Unix milliseconds.
    grace_until: AtomicI64,
    /// Wakes every worker when draining begins.
    pub changed: Notify,
}

impl Life {
    /// Every worker listens and the control plane is open: `/readyz` may say so.
    pub fn serve(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// No new work: listeners close, idle connections end, open calls finish.
    pub fn drain(&self, grace_until: UnixMillis) {
        self.grace_until.store(grace_until.0, Ordering::Release);
        self.draining.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Whether new work is taken.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether open streams must end now.
    pub fn grace_is_over(&self, now: UnixMillis) -> bool {
        self.is_draining() && now.0 >= self.grace_until.load(Ordering::Acquire)
    }

    /// Whether `/readyz` answers 200.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_draining()
    }
}

/// One request's place among those its agent has in flight; given back when dropped.
pub struct InFlight(Arc<AtomicU32>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// The counter of one agent; looked up once per core, which keeps it.
    pub fn agent_counter(&self, agent: &str) -> Arc<AtomicU32> {
        if let Some(known) = self.in_flight.get(agent) {
            return known.clone();
        }
        self.in_flight.entry(agent.into()).or_default().clone()
    }
}

/// Takes a place under the bound, or none.
pub fn enter(counter: &Arc<AtomicU32>, concurrency_max: u32) -> Option<InFlight> {
    let before = counter.fetch_add(1, Ordering::Relaxed);
    let place = InFlight(counter.clone());
    (before < concurrency_max).then_some(place)
}
