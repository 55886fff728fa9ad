//! Serves one agent's connection. In: an accepted socket. Out: its requests, one after the other, each handed to the transaction. Never here:
//! what a request means.
//!
//! A panic ends this task and so this connection, no other; it is counted.

use crate::counters::Count;
use crate::downstream::{After, Downstream, Ended};
use crate::refuse;
use crate::tls::accept_tls;
use crate::transport::Transport;
use crate::worker::Core;
use portcullis_core::identity::certificate::CertificateNames;
use portcullis_ring::Socket;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

/// What the core remembers of an open connection, so that a drain can end the idle ones.
pub struct Line {
    socket: Socket,
    idle: Cell<bool>,
}

impl Line {
    /// A line that has just been accepted; it counts as idle until its first head.
    pub fn new(socket: Socket) -> Self {
        Self { socket, idle: Cell::new(true) }
    }

    /// Ends the line if nothing is under way on it.
    pub fn end_if_idle(&self) {
        if self.idle.get() {
            // Only the agent's direction: the answer before may still be on its way.
            self.socket.shutdown_read();
        }
    }
}

/// Serves until the agent leaves, misbehaves, or the gateway drains.
pub async fn serve(core: &Rc<Core>, line: &Line, peer: SocketAddr) {
    let Some((transport, certificate)) = secure(core, line.socket.clone()).await else { return };
    let snapshot = core.snapshot();
    let mut agent = Downstream::new(core, transport, peer.ip(), certificate, &snapshot.settings.timeouts);
    drop(snapshot);
    while !core.shared.life.is_draining() {
        let snapshot = core.snapshot();
        line.idle.set(true);
        let next = agent.next(core, &snapshot.settings.limits, &snapshot.settings.timeouts).await;
        line.idle.set(false);
        drop(snapshot);
        match next {
            Ok(()) => {}
            Err(Ended::Quietly) => break,
            Err(Ended::Malformed(error)) => {
                refuse::malformed(core, &mut agent, error).await;
                break;
            }
            Err(Ended::TooSlow) => break,
        }
        core.counters.add(Count::Requests);
        #[cfg(not(feature = "bench-pass"))]
        crate::transaction::serve(core, &mut agent).await;
        #[cfg(feature = "bench-pass")]
        crate::pass::serve(core, &mut agent).await;
        if agent.after() == After::Close {
            break;
        }
    }
    agent.close(core).await;
}

/// The TLS handshake, where TLS is configured, within the head deadline.
async fn secure(core: &Core, socket: Socket) -> Option<(Transport, Option<Rc<CertificateNames>>)> {
    let Some(tls) = core.shared.tls.load().as_ref().clone() else {
        return Some((Transport::Plain(socket), None));
    };
    let deadline = core.wheel.cut_at(&socket, core.snapshot().settings.timeouts.head);
    let accepted = accept_tls(socket, &tls, core.buffers.clone()).await;
    drop(deadline);
    // A chain that is good but whose names cannot be read proves nobody: the connection ends like any other failed handshake.
    let named = accepted.ok().and_then(|(transport, certificate)| {
        let names = certificate.map(|der| CertificateNames::from_der(der.as_ref()).map(Rc::new)).transpose().ok()?;
        Some((Transport::Tls(Box::new(transport)), names))
    });
    if named.is_none() {
        core.counters.add(Count::HandshakesFailed);
    }
    named
}
