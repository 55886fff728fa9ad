//! One operation in flight. In: a socket and an owned buffer. Out: the result and the buffer again. Never here: retries.

use std::future::Future;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::{cqueue, opcode, squeue, types};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

use crate::engine;
use crate::socket::Shared;

/// A receive in flight; resolves to the number of bytes appended (0: the peer will send no more) and the buffer.
///
/// Dropping it before it resolved poisons the socket, since it may swallow the next bytes.
#[must_use = "a receive that is dropped in flight poisons its socket"]
pub struct Recv(Stage<Vec<u8>, Received>);

/// A send in flight; resolves once every byte is handed to the kernel, or to an error and the buffer.
///
/// Dropping it before it resolved poisons the socket, since nobody knows how much was sent.
#[must_use = "a send that is dropped in flight poisons its socket"]
pub struct SendAll(Stage<Vec<u8>, Sent>);

/// A connect in flight. Dropping it before it resolved poisons the socket.
#[must_use = "a connect that is dropped in flight poisons its socket"]
pub struct Connect(Stage<Box<socket2::SockAddr>, Connected>);

/// A send of two buffers, one after the other, in flight; resolves as [`SendAll`] does, with both.
#[must_use = "a send that is dropped in flight poisons its socket"]
pub struct SendBoth(Stage<Box<Both>, BothSent>);

/// How much a receive waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Much {
    /// Whatever has come.
    Anything,
    /// So many bytes; fewer only where the peer ends.
    Exactly(usize),
}

impl Recv {
    pub(crate) fn start(shared: &Rc<Shared>, mut buffer: Vec<u8>, how: Much) -> Self {
        let spare = buffer.spare_capacity_mut();
        // Longer receives than the kernel takes at once are cut, not refused: a receive may always be short.
        let (room, flags) = match how {
            Much::Anything => (spare.len().min(TRANSFER_BYTES_MAX), 0),
            Much::Exactly(count) => (spare.len().min(TRANSFER_BYTES_MAX).min(count), libc::MSG_WAITALL),
        };
        if room == 0 {
            let refusal = io::Error::new(io::ErrorKind::InvalidInput, "the buffer has no spare capacity");
            return Self(Stage::refuse(shared, (Err(refusal), buffer)));
        }
        // The operation owns the buffer until the kernel is done with it, and a vector's bytes stay where they are when
        // the vector is moved, so this pointer stays good. `Flight` keeps that promise even when the future is dropped.
        let entry =
            opcode::Recv::new(types::Fd(shared.raw()), spare.as_mut_ptr().cast(), clamp(room)).flags(flags).build();
        Self(Stage::start(shared, buffer, Received, poll_first(entry)))
    }
}

impl SendAll {
    pub(crate) fn start(shared: &Rc<Shared>, buffer: Vec<u8>) -> Self {
        if buffer.is_empty() {
            return Self(Stage::refuse(shared, (Ok(()), buffer)));
        }
        if buffer.len() > TRANSFER_BYTES_MAX {
            let refusal = io::Error::new(io::ErrorKind::InvalidInput, "the buffer is longer than one send may be");
            return Self(Stage::refuse(shared, (Err(refusal), buffer)));
        }
        // With MSG_WAITALL the kernel goes on after a short write by itself. The pointer: see `Recv::start`.
        let entry = opcode::Send::new(types::Fd(shared.raw()), buffer.as_ptr(), clamp(buffer.len()))
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        Self(Stage::start(shared, buffer, Sent, entry))
    }
}

impl SendBoth {
    pub(crate) fn start(shared: &Rc<Shared>, first: Vec<u8>, second: Vec<u8>) -> Self {
        let length = first.len().saturating_add(second.len());
        if length == 0 {
            return Self(Stage::refuse(shared, (Ok(()), first, second)));
        }
        if length > TRANSFER_BYTES_MAX {
            let refusal = io::Error::new(io::ErrorKind::InvalidInput, "the buffers are longer than one send may be");
            return Self(Stage::refuse(shared, (Err(refusal), first, second)));
        }
        let both = Both::new(first, second);
        let entry = opcode::SendMsg::new(types::Fd(shared.raw()), &raw const both.message)
            .flags((libc::MSG_NOSIGNAL | libc::MSG_WAITALL).unsigned_abs())
            .build();
        Self(Stage::start(shared, both, BothSent, entry))
    }
}

/// Two buffers and the message that names their places. Boxed, because the kernel may read the message until the send has ended.
struct Both {
    message: libc::msghdr,
    parts: [libc::iovec; 2],
    buffers: (Vec<u8>, Vec<u8>),
}

impl Both {
    fn new(first: Vec<u8>, second: Vec<u8>) -> Box<Self> {
        // SAFETY: `msghdr` is integers and pointers, for which all zeroes are a valid value: no name, no parts, no control data.
        let message: libc::msghdr = unsafe { std::mem::zeroed() };
        let part =
            |buffer: &Vec<u8>| libc::iovec { iov_base: buffer.as_ptr().cast_mut().cast(), iov_len: buffer.len() };
        // A vector's bytes stay where they are when the vector is moved, and nobody reaches the vectors before the send has ended.
        let parts = [part(&first), part(&second)];
        let mut both = Box::new(Self { message, parts, buffers: (first, second) });
        // The box is not moved out of, so the parts stay where the message says.
        both.message.msg_iov = both.parts.as_mut_ptr();
        both.message.msg_iovlen = 2;
        both
    }
}

impl Connect {
    pub(crate) fn start(shared: &Rc<Shared>, address: SocketAddr) -> Self {
        // Boxed: the operation moves, the address that the kernel reads must not.
        let address = Box::new(socket2::SockAddr::from(address));
        let entry = opcode::Connect::new(types::Fd(shared.raw()), address.as_ptr().cast(), address.len()).build();
        shared.connecting.set(true);
        Self(Stage::start(shared, address, Connected, entry))
    }
}

impl Future for Recv {
    type Output = (io::Result<usize>, Vec<u8>);
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context)
    }
}

impl Future for SendAll {
    type Output = (io::Result<()>, Vec<u8>);
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context)
    }
}

impl Future for SendBoth {
    type Output = (io::Result<()>, Vec<u8>, Vec<u8>);
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context)
    }
}

impl Future for Connect {
    type Output = io::Result<()>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context)
    }
}

/// Cancels every operation in flight on the socket; resolves when the kernel has done so.
pub(crate) fn cancel_all(shared: &Rc<Shared>) -> InFlightOneshot<Flight<()>, Finished> {
    // The kernel looks the descriptor up when it executes this entry, which may be a while from now: the flight keeps
    // the descriptor open until then, or the number could by then belong to a stranger, whose operations would die.
    let entry = opcode::AsyncCancel2::new(types::CancelBuilder::fd(types::Fd(shared.raw())).all()).build();
    UnsubmittedOneshot::new(Flight::new((), shared.clone()), Finished, entry).submit()
}

/// What an operation holds while the kernel works on it: the memory it reaches and the descriptor, kept open.
pub(crate) struct Flight<P, K = Rc<Shared>> {
    payload: Option<P>,
    pub(crate) keeper: K,
}

impl<P, K> Flight<P, K> {
    pub(crate) fn new(payload: P, keeper: K) -> Self {
        Self { payload: Some(payload), keeper }
    }

    /// The payload back, once the kernel is done with it.
    pub(crate) fn land(mut self) -> Option<P> {
        self.payload.take()
    }
}

impl<P, K> Drop for Flight<P, K> {
    fn drop(&mut self) {
        if engine::is_closing() {
            mem::forget(self.payload.take());
        }
    }
}

/// The way of an operation that must not be dropped in flight.
struct Stage<P: 'static, T: OneshotOutputTransform<StoredData = Flight<P>>> {
    in_flight: Option<InFlightOneshot<Flight<P>, T>>,
    /// The answer, where the kernel need not be asked.
    refused: Option<T::Output>,
    shared: Rc<Shared>,
}

impl<P, T: OneshotOutputTransform<StoredData = Flight<P>>> Stage<P, T> {
    fn start(shared: &Rc<Shared>, payload: P, transform: T, entry: squeue::Entry) -> Self {
        let operation = UnsubmittedOneshot::new(Flight::new(payload, shared.clone()), transform, entry).submit();
        Self { in_flight: Some(operation), refused: None, shared: shared.clone() }
    }

    fn refuse(shared: &Rc<Shared>, answer: T::Output) -> Self {
        Self { in_flight: None, refused: Some(answer), shared: shared.clone() }
    }
}

impl<P: Unpin, T: OneshotOutputTransform<StoredData = Flight<P>> + Unpin> Stage<P, T> {
    /// Pending for ever once it was ready, as a fused future is.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<T::Output> {
        if let Some(answer) = self.refused.take() {
            return Poll::Ready(answer);
        }
        let Some(operation) = &mut self.in_flight else { return Poll::Pending };
        let output = std::task::ready!(Pin::new(operation).poll(context));
        self.in_flight = None;
        Poll::Ready(output)
    }
}

impl<P: 'static, T: OneshotOutputTransform<StoredData = Flight<P>>> Drop for Stage<P, T> {
    fn drop(&mut self) {
        if self.in_flight.is_some() {
            self.shared.poison();
        }
    }
}

/// The result of a completion: what the system call of the same name returns.
pub(crate) fn outcome(completion: &cqueue::Entry) -> io::Result<u32> {
    let result = completion.result();
    u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(result.wrapping_neg()))
}

struct Received;

impl OneshotOutputTransform for Received {
    type Output = (io::Result<usize>, Vec<u8>);
    type StoredData = Flight<Vec<u8>>;

    fn transform_oneshot_output(self, flight: Self::StoredData, completion: cqueue::Entry) -> Self::Output {
        let mut buffer = flight.land().unwrap_or_default();
        let result = outcome(&completion).map(|count| count as usize);
        if let Ok(count) = result {
            // SAFETY: the kernel wrote `count` bytes from the end of the buffer's content on, and it was told a room of
            // at most the spare capacity; the buffer was owned by the flight since, so its length, its capacity and its
            // address are those that were told. So the first `len + count` bytes are initialised and within capacity.
            unsafe { buffer.set_len(buffer.len() + count) };
        }
        (result, buffer)
    }
}

struct Sent;

impl OneshotOutputTransform for Sent {
    type Output = (io::Result<()>, Vec<u8>);
    type StoredData = Flight<Vec<u8>>;

    fn transform_oneshot_output(self, flight: Self::StoredData, completion: cqueue::Entry) -> Self::Output {
        let buffer = flight.land().unwrap_or_default();
        let result = match outcome(&completion) {
            Ok(count) if count as usize == buffer.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) => Err(error),
        };
        (result, buffer)
    }
}

struct BothSent;

impl OneshotOutputTransform for BothSent {
    type Output = (io::Result<()>, Vec<u8>, Vec<u8>);
    type StoredData = Flight<Box<Both>>;

    fn transform_oneshot_output(self, flight: Self::StoredData, completion: cqueue::Entry) -> Self::Output {
        let (first, second) = flight.land().map(|both| both.buffers).unwrap_or_default();
        let result = match outcome(&completion) {
            Ok(count) if count as usize == first.len() + second.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) => Err(error),
        };
        (result, first, second)
    }
}

struct Connected;

impl OneshotOutputTransform for Connected {
    type Output = io::Result<()>;
    type StoredData = Flight<Box<socket2::SockAddr>>;

    fn transform_oneshot_output(self, flight: Self::StoredData, completion: cqueue::Entry) -> Self::Output {
        flight.keeper.connecting.set(false);
        outcome(&completion).map(drop)
    }
}

/// The result of an operation that brings nothing back but its flags.
pub(crate) struct Finished;

impl OneshotOutputTransform for Finished {
    type Output = io::Result<u32>;
    type StoredData = Flight<()>;

    fn transform_oneshot_output(self, _: Self::StoredData, completion: cqueue::Entry) -> Self::Output {
        outcome(&completion)
    }
}

/// Has the kernel wait for readiness before it tries: a receive is posted when nothing is there yet, so its first try would only fail.
fn poll_first(mut entry: squeue::Entry) -> squeue::Entry {
    // SAFETY: `Entry` is `repr(C)` around one `io_uring_sqe`, whose layout is the kernel's and does not change: 64 bytes, aligned to 8,
    // with `ioprio` as the u16 at byte 2 (linux/io_uring.h). So the write stays inside `entry`, which we own, is aligned, and every
    // bit pattern of that field is a valid value. The crate's builder of this operation has no setter for it.
    unsafe { (&raw mut entry).cast::<u8>().add(IOPRIO_OFFSET).cast::<u16>().write(RECVSEND_POLL_FIRST) };
    entry
}

fn clamp(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Where `ioprio` stands in a submission entry.
const IOPRIO_OFFSET: usize = 2;

/// IORING_RECVSEND_POLL_FIRST (linux/io_uring.h; kernel 5.19, older than the oldest we run on).
const RECVSEND_POLL_FIRST: u16 = 1 << 0;

/// The kernel's own bound of one transfer is 2 GiB less a page, and a result must fit a positive `i32`.
const TRANSFER_BYTES_MAX: usize = 1 << 30;
