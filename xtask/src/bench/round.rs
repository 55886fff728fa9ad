//! Measures one subject once. In: a running proxy. Out: what a request cost it, and what the client saw. A number that something
//! else limited is void and says why.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::cpu::{self, Spent, Usage};
use super::prepare::{HEADERS, Scene};
use super::subject::Proxy;
use super::{LOAD_CPU, PROXY_CPU, Plan};
use crate::process::Running;

/// Work that follows an answer (records synced, trees grown) is counted too: the proxy is read when it has gone quiet, which means
/// less than a hundredth of its CPU over one of these steps.
const QUIET_STEP: Duration = Duration::from_millis(100);
/// But not later than this.
const QUIET_LIMIT: Duration = Duration::from_secs(3);

/// Above this share of its core the generator, not the proxy, set the pace.
const GENERATOR_SHARE_MAX: f64 = 0.95;

/// One measurement. Times are microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// Who.
    pub subject: &'static str,
    /// Which round, from 0.
    pub round: u32,
    /// Answers counted.
    pub requests: u64,
    /// CPU time a request cost the proxy, all threads and processes; none without a proxy.
    pub cpu_us: Option<f64>,
    /// The same, threads on the path of the request only.
    pub cpu_path_us: Option<f64>,
    /// The same from the processes' totals, which include ended threads but only count hundredths of seconds.
    pub cpu_ticks_us: Option<f64>,
    /// Answers a second; none where the generator's core was the limit.
    pub rps: Option<f64>,
    /// Why `rps` is void.
    pub rps_void: Option<String>,
    /// Half of the answers came within this.
    pub p50_us: f64,
    /// 99 of 100 did.
    pub p99_us: f64,
    /// 999 of 1000 did.
    pub p999_us: f64,
    /// Resident memory of the proxy after the round.
    pub rss_kib: Option<u64>,
    /// Share of the generator's core that load and stub used.
    pub generator_share: f64,
    /// Share of its core that the proxy used.
    pub proxy_share: Option<f64>,
    /// Connections the stub accepted during the round.
    pub upstream_connections: u64,
}

/// What the load generator reports.
#[derive(Debug, Deserialize)]
struct Loaded {
    requests: u64,
    errors: u64,
    non_200: u64,
    last_status: Option<u16>,
    rpc_errors: u64,
    broken: u64,
    seconds: f64,
    rps: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    own_cpu_us: u64,
}

/// What the stub reports.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Stats {
    connections: u64,
    requests: u64,
}

/// Runs one round against `proxy`.
///
/// # Errors
/// When a request fails, or the proxy does not keep its upstream connections: its numbers would be of something else.
pub fn measure(scene: &Scene, proxy: &Proxy, plan: &Plan, round: u32) -> Result<Round> {
    let name = proxy.subject.name();
    let first = stats(scene.upstream)?;
    let (mut load, mut output) = warm_load(scene, proxy, plan)?;
    check_pinned(proxy)?;
    let before = proxy.pid().map(Usage::of).transpose()?;
    let (stub_before, stats_before) = (Usage::of(scene.stub.pid())?, stats(scene.upstream)?);
    load.stdin().context("the load's input is not piped")?.write_all(b"\n")?;
    let mut line = String::new();
    output.read_line(&mut line)?;
    let stub_spent = Usage::of(scene.stub.pid())?.since(&stub_before, |_, _| true);
    let loaded: Loaded =
        serde_json::from_str(&line).with_context(|| format!("the load against {name} ended without a report"))?;
    let stats_after = stats(scene.upstream)?;
    let spent = match (proxy.pid(), &before) {
        (Some(pid), Some(before)) => Some(when_quiet(proxy, pid, before)?),
        _ => None,
    };
    if loaded.errors > 0 || loaded.requests == 0 {
        bail!(
            "{name}: {} requests, {} errors: {} with another status than 200 (last {:?}), {} JSON-RPC errors, {} broken connections",
            loaded.requests,
            loaded.errors,
            loaded.non_200,
            loaded.last_status,
            loaded.rpc_errors,
            loaded.broken
        );
    }
    let upstream_connections = stats_after.connections - first.connections;
    check_upstream(name, plan, &loaded, stats_after.requests - stats_before.requests, upstream_connections)?;
    Ok(to_round(proxy, round, &loaded, spent, &stub_spent, upstream_connections))
}

/// A load that has warmed up and waits for its line.
fn warm_load(scene: &Scene, proxy: &Proxy, plan: &Plan) -> Result<(Running, BufReader<ChildStdout>)> {
    let mut command = Command::new(&scene.load);
    command.args(["--address", &proxy.address.to_string(), "--path", proxy.path, "--gate", "--body"]).arg(&scene.body);
    for header in HEADERS {
        command.args(["--header", header]);
    }
    command.args(["--header", &format!("Authorization: Bearer {}", proxy.token)]);
    command.args(["--cpu", &LOAD_CPU.to_string(), "--connections", &plan.connections.to_string()]);
    command.args([
        "--seconds",
        &plan.length.as_secs_f64().to_string(),
        "--warm-seconds",
        &plan.warm.as_secs_f64().to_string(),
    ]);
    let mut load = Running::start("load", command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
    let mut output = BufReader::new(load.stdout().context("the load's output is not piped")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    if line.trim() != "warm" {
        bail!("the load against {} did not get warm", proxy.subject.name());
    }
    Ok((load, output))
}

/// One CPU for each proxy, or the comparison is none.
fn check_pinned(proxy: &Proxy) -> Result<()> {
    let Some(pid) = proxy.pid() else { return Ok(()) };
    let strays = cpu::strays(pid, PROXY_CPU)?;
    if !strays.is_empty() {
        bail!("{} does not stay on cpu {PROXY_CPU}: {}", proxy.subject.name(), strays.join(", "));
    }
    Ok(())
}

/// What the proxy spent, read once it has nothing left to do.
fn when_quiet(proxy: &Proxy, pid: u32, before: &Usage) -> Result<Spent> {
    let start = Instant::now();
    let mut spent = Usage::of(pid)?.since(before, |pid, thread| proxy.on_path(pid, thread));
    loop {
        thread::sleep(QUIET_STEP);
        let later = Usage::of(pid)?.since(before, |pid, thread| proxy.on_path(pid, thread));
        let quiet = u128::from(later.total_ns - spent.total_ns) < QUIET_STEP.as_nanos() / 100;
        spent = later;
        if quiet || start.elapsed() > QUIET_LIMIT {
            return Ok(spent);
        }
    }
}

/// Every request reached the stub, over connections that were kept.
fn check_upstream(name: &str, plan: &Plan, loaded: &Loaded, requests: u64, connections: u64) -> Result<()> {
    if requests != loaded.requests {
        bail!("{name}: {} answers, but {requests} requests reached the upstream", loaded.requests);
    }
    // One for each of the load's, as many again where a pool had grown cold, and those that asked for these counts.
    let allowed = 2 * u64::from(plan.connections) + 3;
    if connections > allowed {
        bail!("{name}: {connections} upstream connections in one round, {allowed} allowed: they are not kept alive");
    }
    Ok(())
}

fn to_round(
    proxy: &Proxy,
    round: u32,
    loaded: &Loaded,
    spent: Option<Spent>,
    stub: &Spent,
    upstream_connections: u64,
) -> Round {
    let each = |ns: u64| ns as f64 / 1000.0 / loaded.requests as f64;
    let share = |ns: u64| ns as f64 / 1e9 / loaded.seconds;
    let generator_share = share(stub.total_ns + loaded.own_cpu_us * 1000);
    let limited = generator_share > GENERATOR_SHARE_MAX;
    // Threads that ended took their time with them: then the processes' totals are nearer to the truth.
    let total = spent.map(|spent| if spent.lost_threads() { spent.ticks_ns } else { spent.total_ns });
    Round {
        subject: proxy.subject.name(),
        round,
        requests: loaded.requests,
        cpu_us: total.map(each),
        cpu_path_us: spent.map(|spent| each(spent.path_ns)),
        cpu_ticks_us: spent.map(|spent| each(spent.ticks_ns)),
        rps: (!limited).then_some(loaded.rps),
        rps_void: limited.then(|| format!("load and stub used {:.0} % of their core", generator_share * 100.0)),
        p50_us: loaded.p50_us,
        p99_us: loaded.p99_us,
        p999_us: loaded.p999_us,
        rss_kib: proxy.pid().and_then(|pid| cpu::resident_kib(pid).ok()),
        generator_share,
        proxy_share: total.map(share),
        upstream_connections,
    }
}

/// Asks the stub for its counts over a connection of its own.
fn stats(upstream: SocketAddr) -> Result<Stats> {
    let mut stream = TcpStream::connect(upstream).context("the stub is gone")?;
    stream.write_all(b"GET /stats HTTP/1.1\r\nHost: stub\r\n\r\n")?;
    let mut text = Vec::new();
    let mut chunk = [0_u8; 512];
    loop {
        let count = stream.read(&mut chunk)?;
        text.extend_from_slice(chunk.get(..count).unwrap_or_default());
        // The counts are one flat object and the last bytes of the answer.
        if text.ends_with(b"}") || count == 0 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let (_, body) = text.split_once("\r\n\r\n").context("the stub answered no counts")?;
    serde_json::from_str(body).context("the stub answered no counts")
}
