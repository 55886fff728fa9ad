//! Adds up what came back. In: outcomes and latencies. Out: the report that the generator prints. Never here: sockets, clocks.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::message::Subject;
use crate::reply::Outcome;

/// A minute; slower answers count as a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What is read off the histogram, in percent.
const PERCENTILES: [f64; 17] =
    [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999, 99.9995, 100.0];

/// What one phase came to. Times are microseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Answers of any kind; of streams, those that were told something.
    pub requests: u64,
    /// All kinds of failure together; refusals of forbidden calls are none.
    pub errors: u64,
    /// Answers with another status than 200.
    pub non_200: u64,
    /// The last such status.
    pub last_status: Option<u16>,
    /// Answers with a JSON-RPC error.
    pub rpc_errors: u64,
    /// Connections that broke with a request on its way, or while they were held.
    pub broken: u64,
    /// Requests that an open loop could not send because every connection was busy to the end.
    pub unsent: u64,
    /// Calls answered that the bench's rule forbids.
    pub forbidden: u64,
    /// Those of them that were refused; the others had a result. They stand in no percentile below.
    pub refused: u64,
    /// Half of the refusals came within this.
    pub refused_p50_us: f64,
    /// 99 of 100 did.
    pub refused_p99_us: f64,
    /// Connections that had their first answer in this phase; of `handshakes`, each with a full handshake in this phase.
    pub handshakes: u64,
    /// Connections held when the generator said so.
    pub held: u64,
    /// Connections of the plan.
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
    /// Pairs of a percentile and the time within which so many answers came.
    pub percentiles: Vec<(f64, f64)>,
    /// CPU time of the generator itself.
    pub own_cpu_us: u64,
}

/// Counts and latencies of one phase.
pub struct Tally {
    good: u64,
    non_200: u64,
    last_status: Option<u16>,
    rpc_errors: u64,
    /// Connections that broke.
    pub broken: u64,
    forbidden: u64,
    refused: u64,
    /// Connections that had their first answer.
    pub handshakes: u64,
    latencies: Histogram<u64>,
    refusals: Histogram<u64>,
}

impl Tally {
    /// Nothing yet.
    ///
    /// # Errors
    /// Never, with these bounds.
    pub fn new() -> Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        Ok(Self {
            good: 0,
            non_200: 0,
            last_status: None,
            rpc_errors: 0,
            broken: 0,
            forbidden: 0,
            refused: 0,
            handshakes: 0,
            latencies: histogram()?,
            refusals: histogram()?,
        })
    }

    /// Counts one answer.
    pub fn answer(&mut self, outcome: Outcome, asked: Subject, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(LATENCY_NS_MAX).max(1);
        if asked == Subject::Forbidden {
            self.forbidden += 1;
            // A refusal has status 403, or 200 with an error; anything else is a failure.
            if matches!(outcome, Outcome::Refused(403) | Outcome::RpcError) {
                self.refused += 1;
                self.refusals.saturating_record(nanos);
                return;
            }
        }
        match outcome {
            Outcome::Good => self.good += 1,
            Outcome::RpcError => self.rpc_errors += 1,
            Outcome::Refused(status) => {
                self.non_200 += 1;
                self.last_status = Some(status);
            }
            Outcome::Waiting | Outcome::Broken => return,
        }
        self.latencies.saturating_record(nanos);
    }

    /// How many answers went wrong, and how, where any did.
    pub fn failure(&self) -> Option<String> {
        let Self { non_200, last_status, rpc_errors, broken, .. } = self;
        (non_200 + rpc_errors + broken > 0).then(|| {
            format!(
                "{non_200} answers with another status than expected (last {last_status:?}), {rpc_errors} JSON-RPC errors, {broken} broken connections"
            )
        })
    }

    /// Answers that were as wished.
    pub fn good(&self) -> u64 {
        self.good
    }

    /// The report of a phase that took so long.
    pub fn report(&self, took: Duration, unsent: u64, own_cpu_ns: u64) -> Report {
        let requests = self.good + self.non_200 + self.rpc_errors + self.refused;
        let us =
            |histogram: &Histogram<u64>, percent: f64| histogram.value_at_quantile(percent / 100.0) as f64 / 1000.0;
        let at = |percent| us(&self.latencies, percent);
        let seconds = took.as_secs_f64();
        Report {
            requests,
            errors: self.non_200 + self.rpc_errors + self.broken + unsent,
            non_200: self.non_200,
            last_status: self.last_status,
            rpc_errors: self.rpc_errors,
            broken: self.broken,
            unsent,
            forbidden: self.forbidden,
            refused: self.refused,
            refused_p50_us: us(&self.refusals, 50.0),
            refused_p99_us: us(&self.refusals, 99.0),
            handshakes: self.handshakes,
            held: 0,
            connections: 0,
            seconds,
            rps: requests as f64 / seconds,
            p50_us: at(50.0),
            p90_us: at(90.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            max_us: self.latencies.max() as f64 / 1000.0,
            percentiles: PERCENTILES.map(|percent| (percent, at(percent))).to_vec(),
            own_cpu_us: own_cpu_ns / 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut tally = Tally::new().unwrap();
        for micros in 1..=100_000 {
            tally.answer(Outcome::Good, Subject::Permitted, Duration::from_micros(micros));
        }
        let report = tally.report(Duration::from_secs(10), 0, 5_000);
        assert_eq!((report.requests, report.errors, report.own_cpu_us), (100_000, 0, 5));
        for (percent, micros) in &report.percentiles {
            let expected = (percent * 1000.0).max(1.0);
            assert!((micros - expected).abs() <= expected / 500.0, "at {percent} expect {expected}, got {micros}");
        }
        assert_eq!(report.percentiles.last().map(|(percent, _)| *percent), Some(100.0));
    }

    #[test]
    fn only_a_forbidden_call_may_be_refused() {
        let rows = [
            (Subject::Permitted, Outcome::Refused(403), (0, 0, 1)),
            (Subject::Permitted, Outcome::RpcError, (0, 0, 1)),
            (Subject::Forbidden, Outcome::Refused(429), (1, 0, 1)),
            (Subject::Forbidden, Outcome::Good, (1, 0, 0)),
            (Subject::Forbidden, Outcome::Refused(403), (1, 1, 0)),
            (Subject::Forbidden, Outcome::RpcError, (1, 1, 0)),
        ];
        for (subject, outcome, expected) in rows {
            let mut tally = Tally::new().unwrap();
            tally.answer(outcome, subject, Duration::from_micros(5));
            let report = tally.report(Duration::from_secs(1), 0, 0);
            assert_eq!((report.forbidden, report.refused, report.errors), expected, "given {subject:?} {outcome:?}");
            assert_eq!(report.requests, 1);
        }
    }
}
