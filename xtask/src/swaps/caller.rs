//! Calls while rules change. In: a gateway, the sets, a rate. Out: how long each call took; a call that failed or was decided by a set that did
//! not serve is an error. Never here: swaps.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::rules::{self, PATHS, Rules};
use crate::bench::prepare::HEADERS;
use crate::bench::subject::Proxy;

/// Connections, each on a thread of its own.
const CONNECTIONS: u32 = 16;

/// What a denial by policy answers.
const DENIED: i64 = -33403;

/// A room for one answer.
const ANSWER_BYTES: usize = 64 * 1024;

/// The callers.
pub struct Callers<'a> {
    gateway: &'a Proxy,
    rules: &'a Rules,
    per_second: u32,
}

/// How long calls took, from when each was meant to be sent.
#[derive(Default)]
pub struct Heard {
    nanos: Vec<u64>,
}

impl Heard {
    /// Adds what another round heard.
    pub fn add(&mut self, other: Self) {
        self.nanos.extend(other.nanos);
        self.nanos.sort_unstable();
    }

    /// How many calls.
    pub fn calls(&self) -> usize {
        self.nanos.len()
    }

    /// Within which time this share of them was answered.
    pub fn at(&self, quantile: f64) -> Duration {
        let last = self.nanos.len().saturating_sub(1);
        let place = (last as f64 * quantile).round() as usize;
        Duration::from_nanos(self.nanos.get(place).copied().unwrap_or_default())
    }
}

impl<'a> Callers<'a> {
    /// Callers at this rate all together.
    pub fn new(gateway: &'a Proxy, rules: &'a Rules, per_second: u32) -> Self {
        Self { gateway, rules, per_second }
    }

    /// Calls for a while, at even intervals, whatever the answers do.
    ///
    /// # Errors
    /// The first call that failed or was decided wrongly.
    pub fn run(&self, length: Duration) -> Result<Heard> {
        let interval = Duration::from_secs(1) * CONNECTIONS / self.per_second;
        let start = Instant::now();
        std::thread::scope(|scope| {
            let spawn = |number| {
                let offset = interval * number / CONNECTIONS;
                scope.spawn(move || self.call_for(start + offset, interval, start + length, number))
            };
            let threads: Vec<_> = (0..CONNECTIONS).map(spawn).collect();
            let mut heard = Heard::default();
            for thread in threads {
                heard.nanos.extend(thread.join().map_err(|_| anyhow::anyhow!("a calling thread is broken"))??);
            }
            heard.nanos.sort_unstable();
            Ok(heard)
        })
    }

    fn call_for(&self, mut due: Instant, interval: Duration, end: Instant, number: u32) -> Result<Vec<u64>> {
        let mut socket = TcpStream::connect(self.gateway.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let requests = PATHS.map(|path| self.request(path));
        let mut nanos = Vec::new();
        let mut turn = number as usize;
        while due < end {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (path, request) = (PATHS[turn % 2], &requests[turn % 2]);
            let first = self.rules.first();
            socket.write_all(request).context("a call could not be sent")?;
            let allowed = answer(&mut socket)?;
            let last = self.rules.last();
            nanos.push(u64::try_from(due.elapsed().as_nanos())?);
            if !(first..=last).any(|set| rules::permits(set, path) == allowed) {
                bail!(
                    "a call of `{path}` was decided as allowed={allowed}, which none of the sets {first} to {last} says"
                );
            }
            due += interval;
            turn += 1;
        }
        Ok(nanos)
    }

    fn request(&self, path: &str) -> Vec<u8> {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
        let params = json!({"name": "bench_echo", "arguments": {"path": path}, "_meta": meta});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
        let mut request = format!("POST {} HTTP/1.1\r\nHost: {}\r\n", self.gateway.path, self.gateway.address);
        for header in HEADERS {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request.push_str(&format!(
            "Authorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.gateway.token,
            body.len()
        ));
        request.into_bytes()
    }
}

/// Reads one answer: whether the call was allowed. Anything but a result or policy's denial is a failure.
fn answer(socket: &mut TcpStream) -> Result<bool> {
    let mut bytes = Vec::with_capacity(1024);
    let mut room = [0; ANSWER_BYTES];
    loop {
        let read = socket.read(&mut room).context("a call was not answered")?;
        if read == 0 {
            bail!("a connection was closed with a call on its way");
        }
        bytes.extend_from_slice(&room[..read]);
        let text = std::str::from_utf8(&bytes)?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let length: usize = length.with_context(|| format!("an answer without a length: {head}"))?;
        if body.len() < length {
            continue;
        }
        let message: Value =
            serde_json::from_str(body).with_context(|| format!("an answer that is no JSON: {text}"))?;
        return match (message.get("result"), message.pointer("/error/code").and_then(Value::as_i64)) {
            (Some(_), None) => Ok(true),
            (None, Some(DENIED)) => Ok(false),
            _ => bail!("a call failed: {text}"),
        };
    }
}
