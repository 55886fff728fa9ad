//! Waits for the next request with as little as possible. In: a connection on which nothing is under way. Out: its first bytes, or what is
//! left of it while it waits on readiness alone. Never here: heads.

use super::{Downstream, INPUT_BYTES, Stage};
use crate::connection::Line;
use crate::http1::last::Last;
use crate::transport::{INCOMING_BYTES, Transport};
use crate::worker::Core;
use portcullis_core::config::settings::Timeouts;
use portcullis_core::identity::certificate::CertificateNames;
use portcullis_ring::Deadline;
use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

/// How long a connection keeps its buffer while nothing comes; then it waits without one.
const BUFFER_PATIENCE: Duration = Duration::from_secs(1);

/// Connections of a core that may wait with a buffer in hand, so that a crowd of idle ones does not hold one each; the others wait on
/// readiness alone.
const WAITING_MAX: usize = 512;

/// A connection on which nothing is under way. It holds neither a buffer nor a request.
pub struct Parked {
    /// How it carries bytes.
    pub transport: Transport,
    /// What cuts it off.
    pub deadline: Deadline,
    /// The agent's address.
    pub source: IpAddr,
    /// The names in its verified certificate.
    pub certificate: Option<Rc<CertificateNames>>,
}

impl Downstream {
    /// A connection that wakes up.
    pub fn wake(core: &Core, line: &Rc<Line>, parked: Parked) -> Self {
        let Parked { transport, deadline, source, certificate } = parked;
        Self {
            transport,
            deadline,
            sending: None,
            input: core.buffers.take(INPUT_BYTES),
            buffers: core.buffers.clone(),
            heads: Last::default(),
            body: 0..0,
            used: 0,
            body_read: false,
            stage: Stage::Unanswered,
            close: false,
            woken: true,
            source,
            line: line.clone(),
            certificate,
        }
    }

    /// What is left of it while it waits; [`Came::Nothing`] tells when.
    pub fn park(self) -> Parked {
        self.buffers.give(self.input);
        Parked {
            transport: self.transport,
            deadline: self.deadline,
            source: self.source,
            certificate: self.certificate,
        }
    }

    /// The first bytes of a request; nothing where none came for a while. The buffer that bytes are waited for in is then given back.
    pub(super) async fn wait_first(&mut self, core: &Core, timeouts: &Timeouts) -> io::Result<Option<usize>> {
        if self.transport.has_buffered() {
            return self.fill(INPUT_BYTES).await.map(Some);
        }
        // What woke it up is read in any case.
        if !std::mem::take(&mut self.woken) && core.waiting.get() >= WAITING_MAX {
            self.sent().await?;
            self.deadline.extend(timeouts.keep_alive);
            return Ok(None);
        }
        let _waiting = Waiting::begin(&core.waiting);
        let socket = self.transport.socket().clone();
        let buffer = match &self.transport {
            Transport::Plain(_) => std::mem::take(&mut self.input),
            Transport::Tls(_) => core.buffers.take(INCOMING_BYTES),
        };
        let mut receiving = socket.recv(buffer);
        let (read, buffer) = tokio::select! {
            biased;
            done = &mut receiving => done,
            () = core.wheel.wait(BUFFER_PATIENCE) => {
                // First the answer before: a cancel would hit it too.
                self.sent().await?;
                self.deadline.extend(timeouts.keep_alive.saturating_sub(BUFFER_PATIENCE));
                socket.cancel().await;
                receiving.await
            }
        };
        if read.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ECANCELED)) {
            core.buffers.give(buffer);
            return Ok(None);
        }
        match &mut self.transport {
            Transport::Plain(_) => {
                self.input = buffer;
                return read.map(Some);
            }
            Transport::Tls(tls) => tls.arrived(read, buffer)?,
        }
        self.fill(INPUT_BYTES).await.map(Some)
    }
}

/// One connection's part of [`WAITING_MAX`].
struct Waiting<'c>(&'c Cell<usize>);

impl<'c> Waiting<'c> {
    fn begin(count: &'c Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
