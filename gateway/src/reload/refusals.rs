//! Remembers loads that were refused. In: what became of each change. Out: how many, and the last one until a load succeeds. Never here: cures.

use super::{Change, ChangeFailure, Changed, now};
use arc_swap::ArcSwapOption;
use portcullis_core::diagnostic::Diagnostics;
use portcullis_core::time::UnixMillis;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A load that was refused, and after which none succeeded yet.
pub struct RefusedLoad {
    /// When.
    pub at: UnixMillis,
    /// What was to change.
    pub change: String,
    /// What is wrong with the files, if that was it.
    pub findings: Diagnostics,
}

/// The loads that were refused.
#[derive(Default)]
pub struct Refusals {
    total: AtomicU64,
    last: ArcSwapOption<RefusedLoad>,
}

impl Refusals {
    /// How many since the start.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// The last one, unless a load succeeded since.
    pub fn last(&self) -> Option<Arc<RefusedLoad>> {
        self.last.load_full()
    }

    /// Takes note. A caller who was wrong about a version or an agent was refused, and no load was.
    pub(super) fn note(&self, change: &Change, made: &Result<Changed, ChangeFailure>) {
        let findings = match made {
            Ok(_) => {
                // A suspension says nothing of the files.
                if !matches!(change, Change::Agent { .. }) {
                    self.last.store(None);
                }
                return;
            }
            Err(ChangeFailure::Findings(findings)) => findings.clone(),
            Err(ChangeFailure::Disk(..) | ChangeFailure::Journal(_) | ChangeFailure::Stopped) => Vec::new(),
            Err(
                ChangeFailure::Conflict { .. }
                | ChangeFailure::UnknownVersion(..)
                | ChangeFailure::Agent(..)
                | ChangeFailure::Unwritten(..),
            ) => return,
        };
        self.total.fetch_add(1, Ordering::Relaxed);
        self.last.store(Some(Arc::new(RefusedLoad { at: now(), change: change.to_string(), findings })));
    }
}
