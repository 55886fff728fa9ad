//! Bounds what a connection may do before it has proven an agent. In: connections of one core. Out: those that are cut. Never here: proofs.
//!
//! The same bounds as the kernel's, where it has any: a flow whose packets it drops has a socket here that is to be closed, and where no program
//! is attached, this is all there is.

use crate::connection::Line;
use crate::counters::Count;
use crate::worker::Core;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::identity::registry::Status;
use portcullis_core::time::UnixMillis;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

/// Since when the connections of a core that have proven nothing are open; no more than are open.
#[derive(Default)]
pub struct Unproven(RefCell<HashMap<u64, UnixMillis, ahash::RandomState>>);

impl Unproven {
    /// A connection was accepted.
    pub fn begin(&self, core: &Core, number: u64, source: IpAddr) {
        if !core.shared.kernel.trusts(source) {
            self.0.borrow_mut().insert(number, core.now());
        }
    }

    /// It has proven an agent, or is closed.
    pub fn end(&self, number: u64) {
        self.0.borrow_mut().remove(&number);
    }

    /// Whether it has sent more than it may without a proof.
    pub fn is_greedy(&self, core: &Core, line: &Line) -> bool {
        let watched = self.0.borrow().contains_key(&line.number());
        let greedy = watched && line.received_bytes() > core.shared.kernel.wish.budget_bytes;
        if greedy {
            core.counters.add(Count::UnprovenCut);
        }
        greedy
    }

    /// Cuts those whose time is up.
    pub fn cut_late(&self, core: &Core, lines: &Lines) {
        let (now, deadline) = (core.now(), core.shared.kernel.wish.deadline);
        self.0.borrow_mut().retain(|number, since| {
            let late = since.after(deadline) <= now;
            if late && let Some(line) = lines.get(number) {
                core.counters.add(Count::UnprovenCut);
                line.cut();
            }
            !late
        });
    }

    /// Takes their proofs from the connections of agents that are no longer active: each has to prove one anew, in time.
    pub fn judge_anew(&self, core: &Core, snapshot: &Snapshot, lines: &Lines) {
        let registry = &snapshot.registry;
        let is_active = |id: &str| {
            let agent = registry.find(id).and_then(|index| registry.agent(index));
            agent.is_some_and(|agent| agent.status == Status::Active)
        };
        for (number, line) in lines {
            if line.disprove_unless(core, is_active) {
                self.0.borrow_mut().insert(*number, core.now());
            }
        }
    }
}

/// The open connections of a core.
pub type Lines = HashMap<u64, std::rc::Rc<Line>, ahash::RandomState>;
