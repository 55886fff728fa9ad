//! Generates load and measures it. In: an address, a request, a pace. Out: counts and latencies.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::connection::{Connection, Outcome};
use crate::poll::{self, Poll};
use crate::schedule::{Pace, Schedule};

/// Answers may come this long after the last request; what has not come by then is lost.
const DRAIN: Duration = Duration::from_secs(5);

/// Broken connections are opened anew; a server that breaks more of them than this does not serve.
const BREAKS_MAX: u64 = 1000;

/// A minute; slower answers count as a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// The generator with its connections open.
pub struct Load {
    address: SocketAddr,
    request: Vec<u8>,
    poll: Poll,
    connections: Vec<Connection>,
    idle: Vec<usize>,
}

/// What one phase came to. Times are microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Answers of any kind.
    pub requests: u64,
    /// All kinds of failure together.
    pub errors: u64,
    /// Answers with another status than 200.
    pub non_200: u64,
    /// The last such status.
    pub last_status: Option<u16>,
    /// Answers with a JSON-RPC error.
    pub rpc_errors: u64,
    /// Connections that broke with a request on its way.
    pub broken: u64,
    /// Requests that an open loop could not send because every connection was busy to the end.
    pub unsent: u64,
    /// Connections kept open.
    pub connections: usize,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Answers a second.
    pub rps: f64,
    /// Half of the answers came within this.
    pub p50_us: f64,
    /// Nine tenths did.
    pub p90_us: f64,
    /// 99 of 100 did.
    pub p99_us: f64,
    /// 999 of 1000 did.
    pub p999_us: f64,
    /// All did.
    pub max_us: f64,
    /// CPU time of the generator itself.
    pub own_cpu_us: u64,
}

#[derive(Default)]
struct Counts {
    good: u64,
    non_200: u64,
    last_status: Option<u16>,
    rpc_errors: u64,
    broken: u64,
}

impl Load {
    /// Opens `connections` connections to `address`; `request` is what every one of them will send.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(address: SocketAddr, request: Vec<u8>, connections: usize) -> Result<Self> {
        let poll = Poll::new()?;
        let mut load = Self { address, request, poll, connections: Vec::new(), idle: (0..connections).collect() };
        for index in 0..connections {
            load.connections.push(load.connect(index)?);
        }
        Ok(load)
    }

    fn connect(&self, index: usize) -> Result<Connection> {
        let token = u64::try_from(index)?;
        Connection::open(self.address, token, &self.poll)
            .with_context(|| format!("`{}` cannot be connected to", self.address))
    }

    /// Runs one phase and waits for its last answers.
    ///
    /// # Errors
    /// When the server breaks connections again and again, or the kernel refuses.
    pub fn run(&mut self, pace: Pace, length: Duration) -> Result<Report> {
        let mut latencies: Histogram<u64> = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)?;
        let mut counts = Counts::default();
        let cpu = poll::cpu_ns()?;
        let start = Instant::now();
        let mut schedule = Schedule::new(pace, start, length);
        let mut ready = Vec::new();
        let mut now = start;
        loop {
            while let Some(intended) = self.idle.last().and_then(|_| schedule.due(now)) {
                if let Some(index) = self.idle.pop() {
                    self.send(index, intended, &mut counts)?;
                }
            }
            let all_idle = self.idle.len() == self.connections.len();
            if schedule.over(now) && all_idle || now > schedule.end() + DRAIN {
                break;
            }
            let limit = if schedule.over(now) || self.idle.is_empty() { DRAIN } else { schedule.rest(now) };
            self.poll.wait(Some(limit), &mut ready)?;
            for token in &ready {
                now = Instant::now();
                self.turn(usize::try_from(*token)?, now, &mut schedule, &mut latencies, &mut counts)?;
            }
            now = Instant::now();
        }
        let seconds = start.elapsed().as_secs_f64();
        self.give_up_the_late(&mut counts)?;
        let own_cpu_us = (poll::cpu_ns()? - cpu) / 1000;
        Ok(self.report(&counts, &latencies, &schedule, seconds, own_cpu_us))
    }

    fn send(&mut self, index: usize, intended: Instant, counts: &mut Counts) -> Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { bail!("no connection {index}") };
        match connection.send(&self.request, intended, &self.poll) {
            Ok(()) => Ok(()),
            Err(_) => self.renew(index, counts),
        }
    }

    /// A connection is ready: counts what came, and sends the next request at once where one is due.
    fn turn(
        &mut self,
        index: usize,
        now: Instant,
        schedule: &mut Schedule,
        latencies: &mut Histogram<u64>,
        counts: &mut Counts,
    ) -> Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { bail!("no connection {index}") };
        match connection.turn(&self.request, &self.poll) {
            Outcome::Waiting => return Ok(()),
            Outcome::Broken => return self.renew(index, counts),
            Outcome::Good => counts.good += 1,
            Outcome::RpcError => counts.rpc_errors += 1,
            Outcome::Refused(status) => {
                counts.non_200 += 1;
                counts.last_status = Some(status);
            }
        }
        let took = now.saturating_duration_since(connection.intended).as_nanos();
        latencies.saturating_record(u64::try_from(took).unwrap_or(LATENCY_NS_MAX).max(1));
        match schedule.due(now) {
            Some(intended) => self.send(index, intended, counts),
            None => {
                self.idle.push(index);
                Ok(())
            }
        }
    }

    /// Replaces a broken connection by a fresh one. An idle connection that the server closed breaks no request.
    fn renew(&mut self, index: usize, counts: &mut Counts) -> Result<()> {
        let fresh = self.connect(index)?;
        if let Some(place) = self.connections.get_mut(index) {
            *place = fresh;
        }
        if !self.idle.contains(&index) {
            counts.broken += 1;
            self.idle.push(index);
        }
        if counts.broken > BREAKS_MAX {
            bail!("`{}` broke {} connections", self.address, counts.broken);
        }
        Ok(())
    }

    /// A request still on its way is lost; its connection is replaced, so that its answer cannot count in the next phase.
    fn give_up_the_late(&mut self, counts: &mut Counts) -> Result<()> {
        let late: Vec<usize> = (0..self.connections.len()).filter(|index| !self.idle.contains(index)).collect();
        late.into_iter().try_for_each(|index| self.renew(index, counts))
    }

    fn report(
        &self,
        counts: &Counts,
        latencies: &Histogram<u64>,
        schedule: &Schedule,
        seconds: f64,
        own_cpu_us: u64,
    ) -> Report {
        let requests = counts.good + counts.non_200 + counts.rpc_errors;
        let unsent = schedule.unsent();
        let at = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Report {
            requests,
            errors: counts.non_200 + counts.rpc_errors + counts.broken + unsent,
            non_200: counts.non_200,
            last_status: counts.last_status,
            rpc_errors: counts.rpc_errors,
            broken: counts.broken,
            unsent,
            connections: self.connections.len(),
            seconds,
            rps: requests as f64 / seconds,
            p50_us: at(0.50),
            p90_us: at(0.90),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: latencies.max() as f64 / 1000.0,
            own_cpu_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::http::{self, Framed};
    use crate::stub::{Stats, Stub};

    /// A stub on a thread of its own, which ends with the test process.
    fn stub() -> SocketAddr {
        let (say, hear) = mpsc::channel();
        thread::spawn(move || {
            let stub = Stub::listen("127.0.0.1:0".parse().unwrap()).unwrap();
            say.send(stub.address().unwrap()).unwrap();
            stub.serve()
        });
        hear.recv().unwrap()
    }

    fn post(method: &str) -> Vec<u8> {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        format!("POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    fn stats(address: SocketAddr) -> Stats {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /stats HTTP/1.1\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        loop {
            let mut chunk = [0; 512];
            let count = stream.read(&mut chunk).unwrap();
            bytes.extend_from_slice(&chunk[..count]);
            if let Framed::Whole(whole) = http::response(&bytes) {
                return serde_json::from_slice(&bytes[whole.body]).unwrap();
            }
        }
    }

    #[test]
    fn refused_requests_are_errors() {
        let mut load = Load::open(stub(), post("nope"), 2).unwrap();
        let report = load.run(Pace::Closed, Duration::from_millis(20)).unwrap();
        assert!(report.requests > 0);
        assert_eq!((report.errors, report.non_200, report.last_status), (report.requests, report.requests, Some(404)));
    }

    #[test]
    fn a_closed_loop_answers_every_request_over_the_connections_it_opened() {
        let address = stub();
        let mut load = Load::open(address, post("tools/call"), 8).unwrap();
        let report = load.run(Pace::Closed, Duration::from_millis(50)).unwrap();
        assert!(report.requests > 8 && report.errors == 0, "got {report:?}");
        assert!(
            report.p50_us > 0.0 && report.p50_us <= report.p99_us && report.p99_us <= report.max_us,
            "got {report:?}"
        );
        assert_eq!(
            stats(address),
            Stats { connections: 9, requests: report.requests },
            "8 of the load and one that asks"
        );
    }

    #[test]
    fn an_open_loop_sends_as_many_as_its_rate_says() {
        let mut load = Load::open(stub(), post("tools/call"), 8).unwrap();
        let report = load.run(Pace::Open { per_second: 2000.0 }, Duration::from_millis(100)).unwrap();
        assert_eq!((report.requests, report.errors), (200, 0), "got {report:?}");
    }
}
