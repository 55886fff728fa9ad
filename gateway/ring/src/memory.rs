//! Carries the bytes of sockets that lie in memory. In: what the far end sends. Out: what the near end sent. Never here: the product, which is
//! never built with the feature `memory`.
//!
//! With it the whole way of a call can be walked without a kernel, one poll after the other, on one thread: that is what instructions are
//! counted on. A receive waits until the far end has sent, a send ends at once, a connect succeeds, and files take everything and keep nothing, and clocks
//! are asked but stand still.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::socket::Socket;

/// The far end of a socket: an agent's, or an upstream's.
pub struct Far(Rc<Line>);

/// The bytes under way in both directions.
#[derive(Default)]
pub(crate) struct Line {
    toward: RefCell<Vec<u8>>,
    sent: RefCell<Vec<u8>>,
}

/// From here on this thread connects to far ends in memory, writes its files nowhere, and every clock of its cores stands at `millis`.
pub fn begin(millis: i64) {
    CLOCK.set(Some(millis));
}

/// A connection as a listener would have accepted it.
///
/// # Errors
/// The system has no descriptor left: a socket has one, although nothing ever goes through it.
pub fn accepted() -> io::Result<(Socket, Far)> {
    let (near, _) = UnixStream::pair()?;
    let (socket, line) = (Socket::from_fd(near.into()), Rc::<Line>::default());
    socket.shared().lay(line.clone());
    Ok((socket, Far(line)))
}

/// The far end of the connection that was opened last; none where none was since it was asked before.
pub fn connected() -> Option<Far> {
    CONNECTED.take().map(Far)
}

impl Far {
    /// Sends: the near end receives it when it is polled next.
    pub fn send(&self, bytes: &[u8]) {
        self.0.toward.borrow_mut().extend_from_slice(bytes);
    }

    /// How much the near end has sent since it was taken.
    pub fn waiting(&self) -> usize {
        self.0.sent.borrow().len()
    }

    /// Shows what the near end has sent, and takes it.
    pub fn take<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        let mut sent = self.0.sent.borrow_mut();
        let seen = look(&sent);
        sent.clear();
        seen
    }
}

impl Line {
    /// Appends what has come to `buffer`, as far as there is room; `None` where nothing has.
    pub(crate) fn receive(&self, buffer: &mut Vec<u8>) -> Option<usize> {
        let mut toward = self.toward.borrow_mut();
        let count = toward.len().min(buffer.capacity() - buffer.len());
        buffer.extend(toward.drain(..count));
        (count > 0).then_some(count)
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        self.sent.borrow_mut().extend_from_slice(bytes);
    }
}

/// A line for a socket that connects, on a thread that has begun.
pub(crate) fn connect() -> Option<Rc<Line>> {
    is_on().then(|| {
        let line = Rc::<Line>::default();
        CONNECTED.set(Some(line.clone()));
        line
    })
}

pub(crate) fn is_on() -> bool {
    clock().is_some()
}

/// Where the clocks stand, on a thread that has begun.
pub(crate) fn clock() -> Option<i64> {
    CLOCK.get()
}

thread_local! {
    static CLOCK: Cell<Option<i64>> = const { Cell::new(None) };
    static CONNECTED: Cell<Option<Rc<Line>>> = const { Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_receive_waits_for_the_far_end_and_takes_no_more_than_it_has_room_for() {
        let (socket, far) = accepted().unwrap();
        let mut receiving = pin!(socket.recv(Vec::with_capacity(4)));
        assert!(receiving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        far.send(b"abcdef");
        let Poll::Ready((count, buffer)) = poll(receiving) else { panic!("it was sent") };
        assert_eq!((count.unwrap(), &*buffer), (4, &b"abcd"[..]));
        let Poll::Ready((count, buffer)) = poll(socket.recv(Vec::with_capacity(4))) else { panic!("two are left") };
        assert_eq!((count.unwrap(), &*buffer), (2, &b"ef"[..]));
        assert!(!socket.is_poisoned());
    }

    #[test]
    fn a_send_ends_at_once_and_the_far_end_sees_its_bytes_once() {
        let (socket, far) = accepted().unwrap();
        assert!(matches!(poll(socket.send_all(b"abc".to_vec())), Poll::Ready((Ok(()), _))));
        assert_eq!(far.waiting(), 3);
        assert_eq!(far.take(<[u8]>::to_vec), b"abc");
        assert_eq!(far.waiting(), 0);
    }

    #[test]
    fn a_connect_succeeds_on_a_thread_that_has_begun() {
        begin(0);
        let address = "192.0.2.1:9".parse().unwrap();
        let socket = Socket::new_stream(&address).unwrap();
        assert!(matches!(poll(socket.connect(address)), Poll::Ready(Ok(()))));
        let far = connected().unwrap();
        assert!(connected().is_none());
        far.send(b"x");
        assert!(matches!(poll(socket.recv(Vec::with_capacity(1))), Poll::Ready((Ok(1), _))));
    }
}
