//! Moves bytes from one socket to another without reading them. In: two sockets. Out: bytes moved, or that one of them is not ready. Never
//! here: waiting, framing.
//!
//! splice(2) as a plain system call that never blocks: io_uring hands its own splice to kernel threads every time, which costs more than the
//! copy it saves below a megabyte.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::socket::Socket;

/// A pipe with what one socket sent and the other has not taken yet. Its pages are the kernel's.
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

/// What moving brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// So many bytes, at least one.
    Bytes(usize),
    /// The socket has nothing to give or no room, or the pipe is full or empty; wait for the socket's readiness.
    NotReady,
    /// The socket's peer will send no more.
    End,
}

impl Pipe {
    /// An empty pipe that holds up to `bytes`, where the kernel grants so much, or else what it grants to anyone (64 KiB).
    pub fn new(bytes: usize) -> io::Result<Self> {
        let mut ends = [-1; 2];
        // SAFETY: `ends` has room for the two descriptors that pipe2(2) writes.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let [read, write] = ends;
        // SAFETY: pipe2(2) succeeded, so both are open descriptors that nobody else owns.
        let pipe = unsafe { Self { read: OwnedFd::from_raw_fd(read), write: OwnedFd::from_raw_fd(write), held: 0 } };
        let size = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        // SAFETY: fcntl(2) on a descriptor that we own, with an integer argument. A refusal leaves the pipe at its size.
        let _granted = unsafe { libc::fcntl(pipe.write.as_raw_fd(), libc::F_SETPIPE_SZ, size) };
        Ok(pipe)
    }

    /// Bytes that came in and have not gone out.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes in what `from` has received, at most `bytes_max`. What a pipe holds cannot be told apart any more, so no more than belongs
    /// together may be asked for.
    pub fn fill(&mut self, from: &Socket, bytes_max: usize) -> io::Result<Moved> {
        if bytes_max == 0 {
            return Ok(Moved::NotReady);
        }
        from.shared().no_waiting()?;
        let moved = splice(from.shared().raw(), self.write.as_raw_fd(), bytes_max)?;
        match moved {
            Some(0) => Ok(Moved::End),
            Some(count) => {
                self.held += count;
                Ok(Moved::Bytes(count))
            }
            None => Ok(Moved::NotReady),
        }
    }

    /// Hands to `to` as much of what is held as it has room for. A peer that is gone raises no signal in a process that ignores SIGPIPE, as
    /// Rust's do.
    pub fn drain(&mut self, to: &Socket) -> io::Result<Moved> {
        if self.held == 0 {
            return Ok(Moved::NotReady);
        }
        to.shared().no_waiting()?;
        match splice(self.read.as_raw_fd(), to.shared().raw(), self.held)? {
            Some(0) => Err(ErrorKind::WriteZero.into()),
            Some(count) => {
                self.held = self.held.saturating_sub(count);
                Ok(Moved::Bytes(count))
            }
            None => Ok(Moved::NotReady),
        }
    }
}

/// One splice(2); nothing where it would have to wait.
fn splice(from: RawFd, to: RawFd, count: usize) -> io::Result<Option<usize>> {
    loop {
        let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
        // SAFETY: both descriptors are open, since their owners are borrowed by the callers; no memory of ours is reached, for both offsets
        // are null, as they must be for pipes and sockets.
        let moved = unsafe { libc::splice(from, std::ptr::null_mut(), to, std::ptr::null_mut(), count, flags) };
        if let Ok(moved) = usize::try_from(moved) {
            return Ok(Some(moved));
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            ErrorKind::Interrupted => {}
            ErrorKind::WouldBlock => return Ok(None),
            _ => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
