//! Does with sockets what the standard library does not: connects without waiting, throws away what nobody reads, and asks for as
//! many as the process may have. Never here: what goes over them.

use std::io;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Begins to connect; writes wait until it is done, and fail where it fails.
///
/// # Errors
/// When nobody listens there, where that is known at once.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&address.into()) {
        Err(cause) if cause.raw_os_error() != Some(libc::EINPROGRESS) => Err(cause),
        Ok(()) | Err(_) => Ok(socket.into()),
    }
}

/// Takes up to `most` bytes that have arrived, without copying them out of the kernel; how many it took.
///
/// # Errors
/// `WouldBlock` when none are there.
pub fn discard(stream: &TcpStream, scratch: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    scratch.clear();
    let room = scratch.spare_capacity_mut();
    let length = room.len().min(most);
    let room = room.get_mut(..length).unwrap_or_default();
    // `MSG_TRUNC` on TCP counts without copying (tcp(7)), so the room is never touched.
    SockRef::from(stream).recv_with_flags(room, libc::MSG_TRUNC)
}

/// Lets this process hold as many descriptors as the hard limit allows; how many that is.
///
/// # Errors
/// When the kernel refuses.
pub fn raise_limit() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("the limit of descriptors cannot be raised to the hard one")?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_is_thrown_away_does_not_come_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        let mut scratch = Vec::with_capacity(1 << 20);
        assert_eq!(discard(&ours, &mut scratch, 5).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        theirs.write_all(b"12345678").unwrap();
        ours.set_nonblocking(false).unwrap();
        assert_eq!(discard(&ours, &mut scratch, 5).unwrap(), 5);
        let mut rest = [0; 3];
        ours.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"678");
    }
}
