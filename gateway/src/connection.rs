//! Serves one agent's connection. In: an accepted socket. Out: its requests, one after the other, each handed to the transaction. Never here:
//! what a request means.
//!
//! A panic ends this task and so this connection, no other; it is counted.

use crate::counters::Count;
use crate::downstream::{After, Came, Downstream, Ended, Parked};
use crate::refuse;
use crate::servings::Servings;
use crate::tls::accept_tls;
use crate::transport::Transport;
use crate::worker::Core;
use portcullis_core::identity::certificate::CertificateNames;
use portcullis_core::identity::registry::{CertificateMatch, Status};
use portcullis_ebpf_common::FlowKey;
use portcullis_ring::{Deadline, Socket};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// What the core remembers of an open connection, so that a drain can end the idle ones, and a deadline those that prove nothing.
pub struct Line {
    socket: Socket,
    number: u64,
    idle: Cell<bool>,
    proven: Cell<bool>,
    proof: RefCell<Option<Proof>>,
}

/// The agent that a connection has proven, and the mark that the kernel lets it pass by.
struct Proof {
    agent: Box<str>,
    mark: Option<Box<FlowKey>>,
}

impl Line {
    /// A line that has just been accepted; it counts as idle until its first head.
    pub fn new(socket: Socket, number: u64) -> Self {
        Self { socket, number, idle: Cell::new(true), proven: Cell::new(false), proof: RefCell::default() }
    }

    /// Its number on this core.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Has the connection count as the agent's from now on: once, however many requests follow.
    #[inline]
    pub fn prove(&self, core: &Core, agent: &str) {
        if !self.proven.get() {
            self.proven_first(core, agent);
        }
    }

    #[cold]
    fn proven_first(&self, core: &Core, agent: &str) {
        self.proven.set(true);
        core.unproven.end(self.number);
        *self.proof.borrow_mut() = Some(Proof { agent: agent.into(), mark: core.marks.enter(&self.socket) });
    }

    /// Takes the proof away unless its agent still counts; whether one was taken.
    pub fn disprove_unless(&self, core: &Core, counts: impl Fn(&str) -> bool) -> bool {
        let gone = self.proof.borrow().as_ref().is_some_and(|proof| !counts(&proof.agent));
        if gone {
            self.forget(core);
        }
        gone
    }

    /// Takes the proof away: the connection ends, or its agent does not count any more.
    pub fn forget(&self, core: &Core) {
        self.proven.set(false);
        if let Some(mark) = self.proof.borrow_mut().take().and_then(|proof| proof.mark) {
            core.marks.withdraw(&mark);
        }
    }

    /// Bytes that have come, as the kernel counts them.
    pub fn received_bytes(&self) -> u64 {
        self.socket.received_bytes().unwrap_or(0)
    }

    /// Ends it, whatever is under way. Where the kernel drops the peer's packets, no goodbye would be heard.
    pub fn cut(&self) {
        self.socket.abort();
    }

    /// Ends the line if nothing is under way on it.
    pub fn end_if_idle(&self) {
        if self.idle.get() {
            // Only the agent's direction: the answer before may still be on its way.
            self.socket.shutdown_read();
        }
    }
}

/// Where serving begins.
pub struct Woken {
    core: Rc<Core>,
    line: Rc<Line>,
    from: From,
}

impl Woken {
    /// A connection that has just been accepted and on which something has come.
    pub fn accepted(core: &Rc<Core>, line: &Rc<Line>, source: IpAddr) -> Self {
        let first = core.snapshot().settings.timeouts.head;
        let from = From::Accepted(source, core.wheel.cut_at(&line.socket, first));
        Self { core: core.clone(), line: line.clone(), from }
    }
}

/// What is known of a connection that wakes up.
enum From {
    /// Nothing yet but who it comes from, and the deadline of its first bytes.
    Accepted(IpAddr, Deadline),
    /// All that the requests before left.
    Parked(Parked),
}

/// Serves until the agent leaves, misbehaves, or the gateway drains. While nothing happens it holds no more than a wait for readiness.
pub async fn serve<M, F>(core: &Rc<Core>, line: &Rc<Line>, peer: SocketAddr, servings: &Servings<M, F>)
where
    M: Fn(Woken) -> F,
    F: Future<Output = Option<Parked>>,
{
    let timeouts = &core.snapshot().settings.timeouts;
    // A handshake is to come within the time of a head; without one a connection may be opened before it is needed.
    let first = if core.shared.tls.load().is_some() { timeouts.head } else { timeouts.keep_alive };
    let mut from = From::Accepted(peer.ip(), core.wheel.cut_at(&line.socket, first));
    loop {
        // Whatever is wrong with the socket is found when it is read.
        let _ready_or_gone = line.socket.readable().await;
        match servings.serve(Woken { core: core.clone(), line: line.clone(), from }).await.flatten() {
            Some(parked) => from = From::Parked(parked),
            None => return,
        }
    }
}

/// Serves what came until nothing has come for a while; what is left of the connection then, or nothing where it has ended.
pub async fn wake(woken: Woken) -> Option<Parked> {
    let Woken { core, line, from } = woken;
    let parked = match from {
        From::Accepted(source, deadline) => secure(&core, &line, source, deadline).await?,
        From::Parked(parked) => parked,
    };
    let mut agent = Downstream::wake(&core, &line, parked);
    while !core.shared.life.is_draining() {
        let snapshot = core.snapshot();
        line.idle.set(true);
        let next = agent.next(&core, &snapshot.settings.limits, &snapshot.settings.timeouts).await;
        drop(snapshot);
        match next {
            Ok(Came::Request) => line.idle.set(false),
            Ok(Came::Nothing) => return Some(agent.park()),
            Err(Ended::Quietly) => break,
            Err(Ended::Malformed(error)) => {
                line.idle.set(false);
                refuse::malformed(&core, &mut agent, error).await;
                break;
            }
            Err(Ended::TooSlow) => break,
        }
        core.counters.add(Count::Requests);
        #[cfg(not(feature = "bench-pass"))]
        crate::transaction::serve(&core, &mut agent).await;
        #[cfg(feature = "bench-pass")]
        {
            // Nobody is asked for a proof here, so nobody is cut for the lack of one.
            core.unproven.end(line.number);
            crate::pass::serve(&core, &mut agent).await;
        }
        if agent.after() == After::Close || !line.proven.get() && core.unproven.is_greedy(&core, &line) {
            break;
        }
    }
    line.idle.set(false);
    agent.close(&core).await;
    None
}

/// The TLS handshake, where TLS is configured, within the head deadline.
async fn secure(core: &Core, line: &Line, source: IpAddr, deadline: Deadline) -> Option<Parked> {
    let socket = line.socket.clone();
    let Some(tls) = core.shared.tls.load().as_ref().clone() else {
        return Some(Parked { transport: Transport::Plain(socket), deadline, source, certificate: None });
    };
    deadline.extend(core.snapshot().settings.timeouts.head);
    let accepted = accept_tls(socket, &tls, core.buffers.clone()).await;
    // A chain that is good but whose names cannot be read proves nobody: the connection ends like any other failed handshake.
    let named = accepted.ok().and_then(|(transport, certificate)| {
        let certificate =
            certificate.map(|der| CertificateNames::from_der(der.as_ref()).map(Rc::new)).transpose().ok()?;
        Some(Parked { transport: Transport::Tls(Box::new(transport)), deadline, source, certificate })
    });
    match &named {
        None => core.counters.add(Count::HandshakesFailed),
        Some(parked) => prove_by_certificate(core, line, parked.certificate.as_deref()),
    }
    named
}

/// A certificate that is bound to an active agent proves it before its first request: a connection may be opened ahead of need.
fn prove_by_certificate(core: &Core, line: &Line, names: Option<&CertificateNames>) {
    let snapshot = core.snapshot();
    let registry = &snapshot.registry;
    let index = match names.map(|names| registry.by_certificate(names)) {
        Some(CertificateMatch::Agent(index)) => index,
        Some(CertificateMatch::Unknown | CertificateMatch::Ambiguous) | None => return,
    };
    if let Some(agent) = registry.agent(index).filter(|agent| agent.status == Status::Active) {
        line.prove(core, &agent.id);
    }
}
