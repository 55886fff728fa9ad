//! Measures one subject once, by calls. In: a running proxy. Out: what a call cost it, and what the client saw. A number that something else limited
//! is void and says why.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use portcullis_loadtest::plan::{Era, Kind, Pace, Plan};

use super::cpu::{self, Spent, Usage};
use super::data::Round;
use super::generator::{self, Loaded, Order, Ready, Stats};
use super::launch;
use super::prepare::Stage;
use super::subject::{Family, Proxy};

/// Work that follows an answer (records synced, trees grown) is counted too: the proxy is read when it has gone quiet, which means
/// less than a hundredth of its CPU over one of these steps.
const QUIET_STEP: Duration = Duration::from_millis(100);
/// But not later than this.
const QUIET_LIMIT: Duration = Duration::from_secs(3);

/// Above this share of its core the generator, not the proxy, set the pace.
const GENERATOR_SHARE_MAX: f64 = 0.95;

/// What a round is about.
pub struct Pass<'p> {
    /// The plan's name in the report.
    pub name: &'p str,
    /// The plan as it is run.
    pub plan: &'p Plan,
    /// Which round.
    pub index: u32,
    /// The rate, as a part of what haproxy bears, where it is that.
    pub of_saturation: Option<f64>,
}

/// Runs one round against `proxy`.
///
/// # Errors
/// When a call fails, or the proxy does not keep its upstream connections: its numbers would be of something else.
pub fn measure(stage: &Stage, proxy: &Proxy, pass: &Pass<'_>, order: &Order<'_>) -> Result<Round> {
    let name = proxy.subject.name();
    let first = generator::stats(stage.upstream)?;
    let load = Ready::up(stage, proxy, order, "warm")?;
    check_pinned(proxy)?;
    let before = proxy.pid().map(Usage::of).transpose()?;
    let (stub_before, stats_before) = (Usage::of(stage.stub.pid())?, generator::stats(stage.upstream)?);
    let loaded = load.go()?;
    let stub = Usage::of(stage.stub.pid())?.since(&stub_before, |_, _| true);
    let stats_after = generator::stats(stage.upstream)?;
    let spent = match (proxy.pid(), &before) {
        (Some(pid), Some(before)) => Some(when_quiet(proxy, pid, before)?),
        _ => None,
    };
    check_answers(proxy, pass, &loaded)?;
    let upstream = Stats {
        connections: stats_after.connections - first.connections,
        requests: stats_after.requests - stats_before.requests,
    };
    check_upstream(proxy, pass, &loaded, &upstream)?;
    let mut round = to_round(pass, &loaded, spent, &stub);
    round.subject = name;
    round.rate = order.rate;
    round.rss_kib = proxy.pid().and_then(|pid| cpu::resident_kib(pid).ok());
    round.upstream_connections = upstream.connections;
    Ok(round)
}

/// Every call was answered as it has to be. Calls that could not be sent are no error: they say that the pace was too much.
fn check_answers(proxy: &Proxy, pass: &Pass<'_>, loaded: &Loaded) -> Result<()> {
    let (plan, name, errors) = (pass.name, proxy.subject.name(), loaded.errors.saturating_sub(loaded.unsent));
    if errors > 0 || loaded.requests == 0 {
        bail!("{plan}, {name}: {} calls, {errors} errors: {loaded:?}", loaded.requests);
    }
    if proxy.subject.judges() && loaded.refused != loaded.forbidden {
        bail!("{plan}, {name}: {} of {} forbidden calls refused", loaded.refused, loaded.forbidden);
    }
    Ok(())
}

/// One core for each proxy, or the comparison is none. Whoever started a stranger's gateway chose its cores.
fn check_pinned(proxy: &Proxy) -> Result<()> {
    let Some(pid) = proxy.pid() else { return Ok(()) };
    let cpus = launch::cpus(proxy.subject);
    let strays = cpu::strays(pid, &cpus)?;
    if !strays.is_empty() && proxy.subject.family() != Family::ThirdParty {
        bail!("{} does not stay on cpu {cpus}: {}", proxy.subject.name(), strays.join(", "));
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

/// Every call reached the stub, over connections that were kept.
fn check_upstream(proxy: &Proxy, pass: &Pass<'_>, loaded: &Loaded, upstream: &Stats) -> Result<()> {
    let (name, plan) = (proxy.subject.name(), pass.plan);
    if proxy.subject.family() == Family::ThirdParty {
        // It may have another upstream than ours.
        return Ok(());
    }
    // What is refused may end at the proxy; sessions and new connections add requests of their own.
    let plain = plan.refused_per_thousand == 0 && plan.eras == [Era::Modern] && plan.churn_calls == 0;
    if plain && upstream.requests != loaded.requests {
        bail!("{name}: {} answers, but {} requests reached the upstream", loaded.requests, upstream.requests);
    }
    // One for each of the load's, as many again where a pool had grown cold, and those that asked for these counts.
    let allowed = 2 * u64::from(plan.connections) + 3;
    let kept = plan.kind == Kind::Calls && plan.churn_calls == 0 && proxy.subject.family() != Family::Direct;
    if kept && upstream.connections > allowed {
        bail!(
            "{name}: {} upstream connections in one round, {allowed} allowed: they are not kept",
            upstream.connections
        );
    }
    Ok(())
}

fn to_round(pass: &Pass<'_>, loaded: &Loaded, spent: Option<Spent>, stub: &Spent) -> Round {
    let open = pass.plan.pace != Pace::Closed;
    let count = match pass.plan.kind {
        Kind::Handshakes => loaded.handshakes.max(1),
        Kind::Calls | Kind::Idle | Kind::Streams => loaded.requests,
    };
    let each = |ns: u64| ns as f64 / 1000.0 / count as f64;
    let share = |ns: u64| ns as f64 / 1e9 / loaded.seconds;
    let generator_share = share(stub.total_ns + loaded.own_cpu_us * 1000);
    let limited = generator_share > GENERATOR_SHARE_MAX;
    // Threads that ended took their time with them: then the processes' totals are nearer to the truth.
    let total = spent.map(|spent| if spent.lost_threads() { spent.ticks_ns } else { spent.total_ns });
    // Where the rate was given, latency is what is judged; where it was not, the pace is, and latency only follows from it.
    let latency = |us: f64| (!limited || !open).then_some(us);
    Round {
        plan: pass.name.to_owned(),
        round: pass.index,
        connections: u64::from(pass.plan.connections),
        of_saturation: pass.of_saturation,
        requests: count,
        refused: loaded.refused,
        unsent: loaded.unsent,
        cpu_us: total.map(each),
        cpu_path_us: spent.map(|spent| each(spent.path_ns)),
        cpu_ticks_us: spent.map(|spent| each(spent.ticks_ns)),
        rps: (!limited).then_some(loaded.rps),
        p50_us: latency(loaded.p50_us),
        p99_us: latency(loaded.p99_us),
        p999_us: latency(loaded.p999_us),
        percentiles: loaded.percentiles.clone(),
        void: limited.then(|| format!("load and stub used {:.0} % of their core", generator_share * 100.0)),
        generator_share,
        proxy_share: total.map(share),
        ..Round::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(kind: Kind, open: bool, stub_seconds: f64) -> Round {
        let text = "about = \"a\"\nkind = \"calls\"\ntransport = \"cleartext\"\nconnections = 8\n";
        let pace = if open { Pace::OfSaturation(0.5) } else { Pace::Closed };
        let plan = Plan { kind, pace, ..Plan::parse(text, "p.toml").unwrap() };
        let loaded =
            Loaded { requests: 1000, handshakes: 500, seconds: 1.0, rps: 1000.0, p50_us: 9.0, ..Loaded::default() };
        let spent = Spent { total_ns: 10_000_000, path_ns: 5_000_000, ticks_ns: 10_000_000 };
        let stub = Spent { total_ns: (stub_seconds * 1e9) as u64, ..Spent::default() };
        let pass = Pass { name: "p", plan: &plan, index: 0, of_saturation: None };
        to_round(&pass, &loaded, Some(spent), &stub)
    }

    #[test]
    fn a_full_generator_voids_the_pace_and_where_the_rate_was_given_the_latency() {
        let rows = [(false, 0.99, None, Some(9.0)), (true, 0.99, None, None), (true, 0.5, Some(1000.0), Some(9.0))];
        for (open, share, rps, p50) in rows {
            let got = round(Kind::Calls, open, share);
            assert_eq!((got.rps, got.p50_us), (rps, p50), "open {open}, the generator's core used to {share}");
            assert_eq!(got.void.is_some(), share > GENERATOR_SHARE_MAX);
            assert_eq!(got.cpu_us, Some(10.0), "what a call cost stands in either case");
        }
    }

    #[test]
    fn handshakes_are_counted_by_themselves() {
        let got = round(Kind::Handshakes, false, 0.1);
        assert_eq!((got.requests, got.cpu_us, got.cpu_path_us), (500, Some(20.0), Some(10.0)));
    }
}
