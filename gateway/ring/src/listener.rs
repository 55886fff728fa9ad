//! Takes connections of one core. In: an address. Out: sockets and their peers. Never here: limits, TLS.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::{cqueue, opcode, types};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockRef, Type};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

use crate::engine;
use crate::loopback;
use crate::operation::{Flight, outcome};
use crate::socket::Socket;

/// A listening socket. Each core binds its own to the same address; the kernel spreads connections over them.
pub struct Listener {
    fd: Rc<OwnedFd>,
    address: SocketAddr,
    /// Accepts whose future was dropped; the next one goes on with them, so that no connection is lost.
    parked: RefCell<Vec<AcceptOperation>>,
}

impl Listener {
    /// Binds and listens with SO_REUSEPORT and SO_REUSEADDR; `backlog` is the number of connections that may wait.
    pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        // Accepted sockets inherit it, which saves a system call for each.
        socket.set_tcp_nodelay(true)?;
        loopback::plain_congestion(&socket, &address);
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { fd: Rc::new(socket.into()), address, parked: RefCell::default() })
    }

    /// Prefers this listener for connections whose packets arrive on processor `cpu` (SO_INCOMING_CPU).
    pub fn prefer_cpu(&self, cpu: usize) -> io::Result<()> {
        SockRef::from(&*self.fd).set_cpu_affinity(cpu)
    }

    /// The address it is bound to, with the port the kernel chose.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection. Dropping the future loses nothing: the next call goes on with its operation.
    ///
    /// # Errors
    /// `EMFILE` and its like pass (wait before the next call); after [`Listener::stop`] every call fails.
    pub fn accept(&self) -> Accept<'_> {
        let operation = self.parked.borrow_mut().pop().unwrap_or_else(|| arm(&self.fd));
        Accept { listener: self, operation: Some(operation) }
    }

    /// Takes no further connection: accepts in flight and later ones fail.
    pub fn stop(&self) {
        // An error means that it was stopped before.
        let _stopped_before = SockRef::from(&*self.fd).shutdown(Shutdown::Both);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
        if !engine::is_running() {
            return;
        }
        // One of these may have accepted already; finishing it closes that connection instead of leaking it.
        for operation in self.parked.borrow_mut().drain(..) {
            drop(engine::spawn(async move { drop(operation.await) }));
        }
    }
}

/// An accept in flight.
#[must_use = "nothing is accepted unless it is polled"]
pub struct Accept<'l> {
    listener: &'l Listener,
    operation: Option<AcceptOperation>,
}

impl Future for Accept<'_> {
    type Output = io::Result<(Socket, SocketAddr)>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(operation) = &mut self.operation else { return Poll::Pending };
        let output = std::task::ready!(Pin::new(operation).poll(context));
        self.operation = None;
        Poll::Ready(output)
    }
}

impl Drop for Accept<'_> {
    fn drop(&mut self) {
        self.listener.parked.borrow_mut().extend(self.operation.take());
    }
}

type AcceptOperation = InFlightOneshot<AcceptFlight, Accepted>;
type AcceptFlight = Flight<Box<PeerName>, Rc<OwnedFd>>;

/// Where the kernel writes the peer's address.
struct PeerName {
    storage: SockAddrStorage,
    length: libc::socklen_t,
}

fn arm(listener: &Rc<OwnedFd>) -> AcceptOperation {
    let storage = SockAddrStorage::zeroed();
    // Boxed: the operation moves, the memory that the kernel writes to must not.
    let mut name = Box::new(PeerName { length: storage.size_of(), storage });
    let address = (&raw mut name.storage).cast();
    let entry = opcode::Accept::new(types::Fd(listener.as_raw_fd()), address, &raw mut name.length)
        .flags(libc::SOCK_CLOEXEC)
        .build();
    UnsubmittedOneshot::new(Flight::new(name, listener.clone()), Accepted, entry).submit()
}

struct Accepted;

impl OneshotOutputTransform for Accepted {
    type Output = io::Result<(Socket, SocketAddr)>;
    type StoredData = AcceptFlight;

    fn transform_oneshot_output(self, flight: Self::StoredData, completion: cqueue::Entry) -> Self::Output {
        outcome(&completion)?;
        // SAFETY: a successful accept returns a new descriptor, which nobody else owns; this completion is consumed
        // here, so it is owned once.
        let fd = unsafe { OwnedFd::from_raw_fd(completion.result()) };
        let peer = flight.land().and_then(|name| {
            // SAFETY: the kernel wrote an address of the listener's family to `storage` and its length to `length`;
            // `storage` was zeroed and is as large as any address, so every byte of it is initialised.
            unsafe { SockAddr::new(name.storage, name.length) }.as_socket()
        });
        let Some(peer) = peer else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer is not an internet address"));
        };
        Ok((Socket::from_fd(fd), peer))
    }
}
