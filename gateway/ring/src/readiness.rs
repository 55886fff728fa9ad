//! Waits for a socket without a buffer. In: a socket. Out: it is readable or writable, or its peer is gone. Never here: bytes.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::{opcode, types};
use tokio_uring::{InFlightOneshot, UnsubmittedOneshot};

use crate::operation::{Finished, Flight};
use crate::socket::Shared;

/// Resolves when the socket is ready. Dropping it is free: the poll stays armed and serves the next one of its kind, so
/// a connection that waits once for every request holds one poll, not one for every request.
#[must_use = "nothing is waited for unless it is polled"]
pub struct Readiness {
    operation: Option<PollOperation>,
    origin: Origin,
    interest: Interest,
    shared: Rc<Shared>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Readable,
    PeerGone,
    Writable,
}

pub(crate) type PollOperation = InFlightOneshot<Flight<()>, Finished>;

/// Where the operation came from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Armed,
    /// Left behind by an earlier future, so it may tell of bytes that were received since.
    Inherited,
}

impl Readiness {
    pub(crate) fn new(shared: &Rc<Shared>, interest: Interest) -> Self {
        let (operation, origin) = match shared.parked(interest).and_then(Cell::take) {
            Some(operation) => (operation, Origin::Inherited),
            None => (arm(shared, interest), Origin::Armed),
        };
        Self { operation: Some(operation), origin, interest, shared: shared.clone() }
    }
}

impl Future for Readiness {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let Some(operation) = &mut self.operation else { return Poll::Pending };
            let result = std::task::ready!(Pin::new(operation).poll(context));
            if self.origin == Origin::Armed {
                self.operation = None;
                return Poll::Ready(result.map(drop));
            }
            // News of an inherited poll may be old; a fresh one tells at once if it is still true.
            self.operation = Some(arm(&self.shared, self.interest));
            self.origin = Origin::Armed;
        }
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        let Some(operation) = self.operation.take() else { return };
        // Parked without a handle the operation and the socket would hold each other for ever.
        if !self.shared.has_handles() {
            return;
        }
        let Some(parked) = self.shared.parked(self.interest) else { return };
        let earlier = parked.replace(Some(operation));
        // Two waited at once; one poll is enough for those to come, the other ends with the socket.
        drop(earlier);
    }
}

fn arm(shared: &Rc<Shared>, interest: Interest) -> PollOperation {
    let events = match interest {
        Interest::Readable => libc::POLLIN | libc::POLLRDHUP,
        Interest::Writable => libc::POLLOUT,
        Interest::PeerGone => libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR,
    };
    let entry = opcode::PollAdd::new(types::Fd(shared.raw()), u32::from(events.unsigned_abs())).build();
    UnsubmittedOneshot::new(Flight::new((), shared.clone()), Finished, entry).submit()
}
