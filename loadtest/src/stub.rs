//! Serves as upstream. In: connections. Out: MCP answers that were made before, and counts at `GET /stats`.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::answer::Answers;
use crate::poll::{Interest, Poll};

pub mod connection;

use connection::{Connection, Next};

/// The listener's token; connections count up from the next.
const LISTENER: u64 = 0;

/// What `GET /stats` answers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted since the start, those of `/stats` among them.
    pub connections: u64,
    /// Requests answered since the start, those for `/stats` not among them.
    pub requests: u64,
    /// Streams of events that are open now.
    pub streams: u64,
}

/// The stub upstream.
pub struct Stub {
    listener: TcpListener,
    poll: Poll,
    places: Vec<Option<Connection>>,
    free: Vec<usize>,
    desk: Desk,
}

/// What all connections share.
pub struct Desk {
    /// Counts.
    pub stats: Stats,
    /// Answers.
    pub answers: Answers,
    /// Room that each reads into and is done with.
    pub read: Vec<u8>,
    /// Room that is never touched, see `socket::discard`.
    pub discard: Vec<u8>,
}

/// What is read at once.
const READ_BYTES: usize = 64 * 1024;

/// What is thrown away at once; costs addresses and no memory.
const DISCARD_BYTES: usize = 4 << 20;

impl Stub {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn listen(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("`{address}` cannot be listened on"))?;
        listener.set_nonblocking(true)?;
        let poll = Poll::new()?;
        poll.add(&listener, LISTENER, Interest::Read)?;
        let (read, discard) = (vec![0; READ_BYTES], Vec::with_capacity(DISCARD_BYTES));
        let desk = Desk { stats: Stats::default(), answers: Answers::default(), read, discard };
        Ok(Self { listener, poll, places: Vec::new(), free: Vec::new(), desk })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// When the kernel refuses to wait; a broken connection only ends itself.
    pub fn serve(mut self) -> Result<()> {
        let mut ready = Vec::new();
        loop {
            self.poll.wait(None, &mut ready)?;
            for token in &ready {
                match usize::try_from(*token)?.checked_sub(1) {
                    None => self.accept()?,
                    Some(place) => self.turn(place),
                }
            }
        }
    }

    fn turn(&mut self, place: usize) {
        let Some(Some(connection)) = self.places.get_mut(place) else { return };
        match connection.turn(&self.poll, &mut self.desk) {
            Ok(Next::Stay) => {}
            Ok(Next::Wake) => self.wake(),
            Ok(Next::Close) | Err(_) => self.close(place),
        }
    }

    fn close(&mut self, place: usize) {
        let closed = self.places.get_mut(place).and_then(Option::take);
        if let Some(connection) = closed {
            self.desk.stats.streams -= u64::from(connection.is_held());
            self.free.push(place);
        }
    }

    /// Tells every held stream what it is to be told.
    fn wake(&mut self) {
        for place in 0..self.places.len() {
            let told = match self.places.get_mut(place) {
                Some(Some(connection)) => connection.tell(&self.poll),
                Some(None) | None => Ok(()),
            };
            if told.is_err() {
                self.close(place);
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    self.desk.stats.connections += 1;
                    let place = self.free.pop().unwrap_or(self.places.len());
                    let token = u64::try_from(place)? + 1;
                    self.poll.add(&stream, token, Interest::Read)?;
                    let connection = Some(Connection::new(stream, token));
                    match self.places.get_mut(place) {
                        Some(free) => *free = connection,
                        None => self.places.push(connection),
                    }
                }
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(cause) if cause.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(cause) => return Err(cause).context("a connection cannot be accepted"),
            }
        }
    }
}

/// Appends the answer to `GET /stats`.
fn say(stats: &Stats, out: &mut Vec<u8>) -> io::Result<()> {
    let body = serde_json::to_string(stats)?;
    write!(out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[cfg(test)]
mod tests;
