//! Keeps upstream connections for the next request. In: connections whose last reply ended cleanly. Out: the freshest one. Never here: IO.
//!
//! One pool a core and server, last in first out, so that the idle ones grow old and are dropped. A server closes idle connections after
//! about 5 s (Node, uvicorn), and a POST that met a closed one cannot be repeated, so we let go first.

use crate::upstream::connection::UpstreamConnection;
use portcullis_core::config::settings::Timeouts;
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::time::UnixMillis;
use std::cell::RefCell;

/// Idle connections kept for one server by one core; more in flight than this is rare, more idle is waste.
const IDLE_MAX: usize = 256;

/// The pools of one core.
pub struct Pools {
    by_server: RefCell<Vec<Vec<Idle>>>,
}

struct Idle {
    connection: Box<UpstreamConnection>,
    since: UnixMillis,
    born: UnixMillis,
}

impl Pools {
    /// Empty pools.
    pub fn new() -> Self {
        Self { by_server: RefCell::new(Vec::new()) }
    }

    /// The freshest idle connection of `server` that belongs to this `generation` of the configuration, is young enough and still quiet.
    pub fn take(
        &self,
        server: ServerIndex,
        generation: u64,
        timeouts: &Timeouts,
        now: UnixMillis,
    ) -> Option<(Box<UpstreamConnection>, UnixMillis)> {
        let mut pools = self.by_server.borrow_mut();
        let pool = pools.get_mut(usize::from(server.0))?;
        while let Some(mut idle) = pool.pop() {
            let fresh =
                idle.since.after(timeouts.upstream_idle) > now && idle.born.after(timeouts.upstream_lifetime) > now;
            if fresh && idle.connection.generation() == generation && idle.connection.is_quiet() {
                return Some((idle.connection, idle.born));
            }
        }
        None
    }

    /// Puts a connection back whose reply ended exactly where its framing said.
    pub fn give_back(
        &self,
        server: ServerIndex,
        connection: Box<UpstreamConnection>,
        born: UnixMillis,
        now: UnixMillis,
    ) {
        let mut pools = self.by_server.borrow_mut();
        let index = usize::from(server.0);
        if pools.len() <= index {
            pools.resize_with(index + 1, Vec::new);
        }
        if let Some(pool) = pools.get_mut(index)
            && pool.len() < IDLE_MAX
        {
            pool.push(Idle { connection, since: now, born });
        }
    }

    /// Lets go of what has been idle or alive for too long, or was closed by its upstream meanwhile.
    pub fn sweep(&self, timeouts: &Timeouts, now: UnixMillis) {
        for pool in self.by_server.borrow_mut().iter_mut() {
            pool.retain_mut(|idle| {
                let fresh =
                    idle.since.after(timeouts.upstream_idle) > now && idle.born.after(timeouts.upstream_lifetime) > now;
                fresh && idle.connection.is_quiet()
            });
        }
    }
}

impl Default for Pools {
    fn default() -> Self {
        Self::new()
    }
}
