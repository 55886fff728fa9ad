//! A connected stream socket of one core. In: buffers. Out: operations on it. Never here: deadlines, framing.

use std::cell::Cell;
#[cfg(feature = "memory")]
use std::cell::OnceCell;
use std::fmt;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Type};

use crate::engine;
use crate::loopback;
#[cfg(feature = "memory")]
use crate::memory::Line;
use crate::operation::{Connect, Much, Recv, SendAll, SendBoth, cancel_all};
use crate::readiness::{Interest, PollOperation, Readiness};

/// A stream socket. Clones are handles of the same socket; it closes with the last of them, and an operation that is
/// still in flight then is cancelled rather than waited for.
pub struct Socket {
    shared: Rc<Shared>,
}

/// What a look at an idle socket shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// Nothing came: the connection may be used.
    Yes,
    /// Bytes came that nobody asked for: using the connection would take them for the next answer.
    Bytes,
    /// The peer closed or reset it.
    Gone,
}

impl Socket {
    /// A TCP socket of the family of `address`, not yet connected, without Nagle's delay.
    pub fn new_stream(address: &SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        loopback::plain_congestion(&socket, address);
        Ok(Self::from_fd(socket.into()))
    }

    /// Takes over a connected stream socket.
    pub fn from_fd(fd: OwnedFd) -> Self {
        let shared = Shared {
            fd,
            handles: Cell::new(1),
            poisoned: Cell::new(false),
            connecting: Cell::new(false),
            waits: Cell::new(true),
            readable: Cell::new(None),
            peer_gone: Cell::new(None),
            #[cfg(feature = "memory")]
            line: OnceCell::new(),
        };
        Self { shared: Rc::new(shared) }
    }

    /// Connects. To give up while it hangs: [`Socket::shutdown`], or a [`Deadline`](crate::Deadline), which ends it with
    /// an error.
    pub fn connect(&self, address: SocketAddr) -> Connect {
        Connect::start(&self.shared, address)
    }

    /// Receives into the spare capacity of `buffer`, after what it holds; its capacity must exceed its length.
    pub fn recv(&self, buffer: Vec<u8>) -> Recv {
        Recv::start(&self.shared, buffer, Much::Anything)
    }

    /// Receives `count` bytes, or as many as `buffer` has spare capacity for; fewer only where the peer ends. What follows them is left alone.
    pub fn recv_exactly(&self, buffer: Vec<u8>, count: usize) -> Recv {
        Recv::start(&self.shared, buffer, Much::Exactly(count))
    }

    /// Sends both buffers, one after the other, as [`Socket::send_all`] sends one. It allocates: for long answers.
    pub fn send_both(&self, first: Vec<u8>, second: Vec<u8>) -> SendBoth {
        SendBoth::start(&self.shared, first, second)
    }

    /// Sends the whole buffer. A short send is an error of kind `WriteZero`; a peer that is gone raises no signal.
    pub fn send_all(&self, buffer: Vec<u8>) -> SendAll {
        SendAll::start(&self.shared, buffer)
    }

    /// Waits until a receive would bring something: bytes, the end or an error. Parks no buffer.
    pub fn readable(&self) -> Readiness {
        Readiness::new(&self.shared, Interest::Readable)
    }

    /// Waits until a send would take something, or fail.
    pub fn writable(&self) -> Readiness {
        Readiness::new(&self.shared, Interest::Writable)
    }

    /// Waits until the peer has closed, half-closed or reset the connection. Consumes nothing.
    pub fn peer_gone(&self) -> Readiness {
        Readiness::new(&self.shared, Interest::PeerGone)
    }

    /// Looks, without waiting and without consuming, whether an idle connection is still idle: one system call.
    pub fn is_quiet(&self) -> Quiet {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(&self.shared.fd).recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT) {
            Ok(0) => Quiet::Gone,
            Ok(_) => Quiet::Bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Quiet::Yes,
            Err(_) => Quiet::Gone,
        }
    }

    /// Cancels every operation in flight on this socket, in both directions; each then resolves, with an error of
    /// `ECANCELED` unless it had finished before. A receive that was cancelled and awaited has consumed nothing.
    pub async fn cancel(&self) {
        // ENOENT means that nothing was in flight, which is what the caller wants.
        let _nothing_in_flight = cancel_all(&self.shared).await;
    }

    /// Ends both directions: operations in flight finish, the peer sees the end, later ones fail.
    pub fn shutdown(&self) {
        self.shared.shutdown();
    }

    /// Ends both directions and forgets the connection when it is closed (RFC 9293 §3.10.5): what the peer still owes is not waited for.
    pub fn abort(&self) {
        // An error means that the connection is gone already.
        let _gone = SockRef::from(&self.shared.fd).set_linger(Some(Duration::ZERO));
        self.shared.shutdown();
    }

    /// Ends the peer's direction: a receive in flight and later ones resolve with what has come, then with 0. What we send still goes out.
    pub fn shutdown_read(&self) {
        // An error means that the connection is gone already.
        let _gone = SockRef::from(&self.shared.fd).shutdown(Shutdown::Read);
    }

    /// Ends our direction: the peer sees the end after what was sent, and may go on sending.
    pub fn shutdown_write(&self) {
        // An error means that the connection is gone already.
        let _gone = SockRef::from(&self.shared.fd).shutdown(Shutdown::Write);
    }

    /// True once an operation was dropped in flight or a deadline cut the socket: the next bytes may be lost, so the
    /// connection must not carry another request.
    pub fn is_poisoned(&self) -> bool {
        self.shared.poisoned.get()
    }

    /// Bytes of the stream that have come, read or not (`tcpi_bytes_received` of linux/tcp.h).
    pub fn received_bytes(&self) -> io::Result<u64> {
        let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
        let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).unwrap_or(0);
        let fd = self.shared.fd.as_raw_fd();
        // SAFETY: the descriptor is open for as long as `self` lives; the kernel writes at most `length` bytes, which is the size of `info`.
        let done = unsafe {
            libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut length)
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was zeroed, and its fields are integers, of which every pattern is one; a kernel that knows fewer leaves zeros.
        Ok(unsafe { info.assume_init() }.tcpi_bytes_received)
    }

    /// The peer's address.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        internet(SockRef::from(&self.shared.fd).peer_addr()?)
    }

    /// The address at our end.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        internet(SockRef::from(&self.shared.fd).local_addr()?)
    }

    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }
}

impl Clone for Socket {
    fn clone(&self) -> Self {
        self.shared.handles.set(self.shared.handles.get() + 1);
        Self { shared: self.shared.clone() }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let handles = self.shared.handles.get() - 1;
        self.shared.handles.set(handles);
        if handles == 0 {
            self.shared.abandon();
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.fd.as_fd()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Socket({})", self.shared.raw())
    }
}

/// What the handles and the operations in flight of one socket share. The descriptor closes with the last of both.
pub(crate) struct Shared {
    fd: OwnedFd,
    /// How many [`Socket`]s name it; operations are not counted.
    handles: Cell<usize>,
    poisoned: Cell<bool>,
    pub(crate) connecting: Cell<bool>,
    /// Whether plain system calls on it wait; operations of the ring wait in either case.
    waits: Cell<bool>,
    readable: Cell<Option<PollOperation>>,
    peer_gone: Cell<Option<PollOperation>>,
    /// Where its bytes go instead of through the kernel.
    #[cfg(feature = "memory")]
    line: OnceCell<Rc<Line>>,
}

impl Shared {
    pub(crate) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The bytes of this socket lie in memory from here on.
    #[cfg(feature = "memory")]
    pub(crate) fn lay(&self, line: Rc<Line>) {
        // A socket is laid once, before anything is sent.
        let _laid_before = self.line.set(line);
    }

    /// Where its bytes lie, if they do.
    #[cfg(feature = "memory")]
    pub(crate) fn line(&self) -> Option<&Rc<Line>> {
        self.line.get()
    }

    /// From now on plain system calls on it do not wait.
    pub(crate) fn no_waiting(&self) -> io::Result<()> {
        if self.waits.replace(false) {
            SockRef::from(&self.fd).set_nonblocking(true)?;
        }
        Ok(())
    }

    pub(crate) fn poison(&self) {
        self.poisoned.set(true);
    }

    pub(crate) fn has_handles(&self) -> bool {
        self.handles.get() > 0
    }

    /// Where a poll in flight waits for the next one to ask for the same. One for room is given up only with its connection, so it has no
    /// place that every idle socket would hold.
    pub(crate) fn parked(&self, interest: Interest) -> Option<&Cell<Option<PollOperation>>> {
        match interest {
            Interest::Readable => Some(&self.readable),
            Interest::PeerGone => Some(&self.peer_gone),
            Interest::Writable => None,
        }
    }

    pub(crate) fn shutdown(self: &Rc<Self>) {
        // An error means that it was not connected, or no longer.
        let _not_connected = SockRef::from(&self.fd).shutdown(Shutdown::Both);
        // Older kernels answer the shutdown of a connecting socket by connecting anew, so that one is cancelled too.
        if self.connecting.get() && engine::is_running() {
            drop(cancel_all(self));
        }
    }

    /// The last handle is gone: whatever is still in flight must end, or it would keep the descriptor open for as long
    /// as the peer likes.
    fn abandon(self: &Rc<Self>) {
        drop((self.readable.take(), self.peer_gone.take()));
        if Rc::strong_count(self) > 1 {
            let _not_connected = SockRef::from(&self.fd).shutdown(Shutdown::Both);
            if engine::is_running() {
                drop(cancel_all(self));
            }
        }
    }
}

fn internet(address: socket2::SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the peer is not an internet address"))
}
