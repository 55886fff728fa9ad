//! Holds what was measured. In: nothing. Out: a round, as it is kept in the report. Never here: measuring, summing up.

use serde::Serialize;

/// One subject, measured once. Times are microseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    /// Under which plan.
    pub plan: String,
    /// Who.
    pub subject: &'static str,
    /// Which round, from 0.
    pub round: u32,
    /// Connections kept open.
    pub connections: u64,
    /// Calls a second that were sent, whatever the answers did; none where each waited for the last.
    pub rate: Option<f64>,
    /// The same as a part of what haproxy bears.
    pub of_saturation: Option<f64>,
    /// Calls answered, or handshakes made.
    pub requests: u64,
    /// Of them, refused as the plan expects.
    pub refused: u64,
    /// Calls that were due and could not be sent, since every connection waited for an answer to the end.
    pub unsent: u64,
    /// CPU time that one of them cost the proxy, all threads and processes; none without a proxy.
    pub cpu_us: Option<f64>,
    /// The same, threads on the path of the request only.
    pub cpu_path_us: Option<f64>,
    /// The same from the processes' totals, which include ended threads but only count hundredths of seconds.
    pub cpu_ticks_us: Option<f64>,
    /// Answers a second; none where something else than the proxy set the pace.
    pub rps: Option<f64>,
    /// Half of the answers came within this.
    pub p50_us: Option<f64>,
    /// 99 of 100 did.
    pub p99_us: Option<f64>,
    /// 999 of 1000 did.
    pub p999_us: Option<f64>,
    /// Percentile and time, as the histogram has them.
    pub percentiles: Vec<(f64, f64)>,
    /// Why pace and latency of this round are void, where they are.
    pub void: Option<String>,
    /// Resident memory of the proxy after the round.
    pub rss_kib: Option<u64>,
    /// Share of the generator's core that load and stub used.
    pub generator_share: f64,
    /// Share of its core that the proxy used.
    pub proxy_share: Option<f64>,
    /// Connections that the upstream accepted during the round.
    pub upstream_connections: u64,
    /// What connections that are only held cost.
    pub held: Option<Held>,
}

/// Connections held open without anything to do.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub struct Held {
    /// How many.
    pub connections: u64,
    /// How many of them answered afterwards.
    pub answered: u64,
    /// What the memory of the process was read from: `pss` or `rss`.
    pub read_from: &'static str,
    /// Memory of the process in user space before the first of them, in KiB; none without a proxy.
    pub before_kib: Option<u64>,
    /// And with all of them.
    pub with_kib: Option<u64>,
    /// The difference for each of them, in bytes.
    pub bytes_each: Option<f64>,
    /// Socket memory of the whole machine for each (`/proc/net/sockstat`), both ends, in bytes.
    pub socket_bytes_each: f64,
    /// Slab of the whole machine for each (`/proc/meminfo`), both ends and the load's own, in bytes.
    pub slab_bytes_each: f64,
}
