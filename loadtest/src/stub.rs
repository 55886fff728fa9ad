//! Serves as upstream. In: connections. Out: fixed MCP answers, and counts at `GET /stats`.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::http::{self, Ask, Framed};
use crate::poll::{Interest, Poll};
use crate::rpc;

/// One request with room for what a proxy adds; a connection that fills it without completing a request is closed.
const BUFFER_BYTES: usize = 64 * 1024;

/// The listener's token; connections count up from the next.
const LISTENER: u64 = 0;

/// What `GET /stats` answers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted since the start, those of `/stats` among them.
    pub connections: u64,
    /// Requests answered since the start, those for `/stats` not among them.
    pub requests: u64,
}

/// The stub upstream.
pub struct Stub {
    listener: TcpListener,
    poll: Poll,
    connections: HashMap<u64, Connection>,
    stats: Stats,
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    filled: usize,
    output: Vec<u8>,
    interest: Interest,
}

enum Next {
    Stay,
    Close,
}

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
        Ok(Self { listener, poll, connections: HashMap::new(), stats: Stats::default() })
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
                if *token == LISTENER {
                    self.accept()?;
                    continue;
                }
                let Some(connection) = self.connections.get_mut(token) else { continue };
                match connection.turn(*token, &self.poll, &mut self.stats) {
                    Ok(Next::Stay) => {}
                    Ok(Next::Close) | Err(_) => {
                        self.connections.remove(token);
                    }
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    self.stats.connections += 1;
                    let token = self.stats.connections;
                    self.poll.add(&stream, token, Interest::Read)?;
                    self.connections.insert(token, Connection::new(stream));
                }
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(cause) if cause.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(cause) => return Err(cause).context("a connection cannot be accepted"),
            }
        }
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, input: vec![0; BUFFER_BYTES], filled: 0, output: Vec::new(), interest: Interest::Read }
    }

    /// Reads what is there, answers every whole request in it and writes what fits.
    fn turn(&mut self, token: u64, poll: &Poll, stats: &mut Stats) -> io::Result<Next> {
        match self.stream.read(self.input.get_mut(self.filled..).unwrap_or_default()) {
            Ok(0) => return Ok(Next::Close),
            Ok(count) => self.filled += count,
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
            Err(cause) => return Err(cause),
        }
        let mut used = 0;
        loop {
            let rest = self.input.get(used..self.filled).unwrap_or_default();
            match http::request(rest) {
                Framed::Partial => break,
                Framed::Broken => return Ok(Next::Close),
                Framed::Whole(request) => {
                    used += request.body.end;
                    match request.ask {
                        Ask::Post => {
                            stats.requests += 1;
                            rpc::respond(rest.get(request.body).unwrap_or_default(), &mut self.output);
                        }
                        Ask::Stats => say(stats, &mut self.output)?,
                        Ask::Other => self.output.extend_from_slice(
                            b"HTTP/1.1 405 Method Not Allowed\r\nallow: POST\r\ncontent-length: 0\r\n\r\n",
                        ),
                    }
                }
            }
        }
        self.input.copy_within(used..self.filled, 0);
        self.filled -= used;
        if self.filled == self.input.len() {
            return Ok(Next::Close);
        }
        self.flush(token, poll)
    }

    fn flush(&mut self, token: u64, poll: &Poll) -> io::Result<Next> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => {
                    self.output.drain(..count);
                }
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => break,
                Err(cause) => return Err(cause),
            }
        }
        let wanted = if self.output.is_empty() { Interest::Read } else { Interest::ReadWrite };
        if wanted != self.interest {
            poll.modify(&self.stream, token, wanted)?;
            self.interest = wanted;
        }
        Ok(Next::Stay)
    }
}

fn say(stats: &Stats, out: &mut Vec<u8>) -> io::Result<()> {
    let body = serde_json::to_string(stats)?;
    write!(out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
