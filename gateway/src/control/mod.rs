//! Answers operators. In: HTTP/1.1 and JSON on a Unix socket. Out: what serves, and changes of it. Never here: agents' requests.
//!
//! `curl --unix-socket /run/portcullis/control.sock http://localhost/v1/status` works; the command line is the first client.

pub mod agents;
pub mod answers;
pub mod keeping;
pub mod face;
pub mod indexing;
pub mod ledger;
pub mod live;
pub mod peer;
pub mod policies;
pub mod questions;
pub mod socket;
pub mod status;

use crate::control::ledger::Ledger;
use crate::counters;
use crate::journal::desk::Desk;
use crate::journal::sequencing::Standing;
use crate::kernel::Kernel;
use crate::reload::Keeper;
use crate::shared::Shared;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the control plane works with.
pub struct Plane {
    /// What cores share.
    pub shared: Arc<Shared>,
    /// What serves, and how to change it.
    pub keeper: Arc<Keeper>,
    /// Where changes and the gateway's own life are written down.
    pub ledger: Arc<Ledger>,
    /// What was found at start and does not change.
    pub facts: Facts,
    /// How the audit log stands.
    pub log: Arc<Standing>,
    /// Places for those who ask about it.
    pub questions: Arc<Semaphore>,
    /// Where orders about what the log keeps are handed in.
    pub desk: Arc<Desk>,
    /// One such order at a time: each is recorded before the next begins.
    pub keeping: tokio::sync::Mutex<()>,
}

/// What was found at start and does not change.
pub struct Facts {
    /// Worker threads.
    pub workers: usize,
    /// The processors they are pinned to.
    pub cpus: Vec<usize>,
    /// Open files the kernel grants; nothing where it sets no bound.
    pub descriptors: Option<u64>,
    /// What of the kernel layer is missing, with cause and cure.
    pub missing: Vec<String>,
    /// The kernel layer.
    pub kernel: Arc<Kernel>,
}

/// Metrics as Prometheus reads them (text exposition format 0.0.4): the counters of all cores, the build and the snapshot.
pub fn metrics(plane: &Plane) -> String {
    use std::fmt::Write;
    let shared = &plane.shared;
    let mut out = counters::prometheus(&shared.counters);
    let snapshot = shared.snapshot.load();
    let sessions = shared.sessions.count();
    let version = env!("CARGO_PKG_VERSION");
    let _ = write!(
        out,
        "# HELP portcullis_build_info The running build.\n# TYPE portcullis_build_info gauge\nportcullis_build_info{{version=\"{version}\"}} 1\n\
         # HELP portcullis_snapshot_version The number of the snapshot that serves.\n# TYPE portcullis_snapshot_version gauge\n\
         portcullis_snapshot_version {}\n\
         # HELP portcullis_loads_refused_total Loads of rules that were refused; the last good set went on serving.\n# TYPE portcullis_loads_refused_total counter\nportcullis_loads_refused_total {}\n\
         # HELP portcullis_sessions_open Legacy MCP sessions.\n# TYPE portcullis_sessions_open gauge\nportcullis_sessions_open {sessions}\n\
         # HELP portcullis_start_time_seconds When the process started, in Unix time.\n# TYPE portcullis_start_time_seconds gauge\n\
         portcullis_start_time_seconds {}.{:03}\n",
        snapshot.version,
        plane.keeper.refusals().total(),
        shared.boot / 1000,
        shared.boot % 1000,
    );
    crate::kernel::report::metrics(&plane.facts.kernel, &mut out);
    #[cfg(feature = "count-allocations")]
    crate::allocations::tell(&mut out, shared.counters.len());
    out
}
