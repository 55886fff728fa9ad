//! Measures what connections cost that are only held. In: a plan, a subject. Out: the memory of each, and whether all of them answer. A proxy is started
//! anew for each round, since what one has given back it may still hold.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::data::{Held, Round};
use super::generator::{Order, Ready};
use super::memory::{self, Kernel, User};
use super::prepare::Stage;
use super::round::Pass;
use super::subject::Proxy;

/// Memory counts once it stays as it is over one of these steps.
const SETTLE_STEP: Duration = Duration::from_millis(250);
/// But not later than this.
const SETTLE_LIMIT: Duration = Duration::from_secs(3);
/// Memory that moves less than this has settled, in KiB.
const SETTLED_KIB: u64 = 64;

/// Runs one round against `proxy`, which was asked nothing yet.
///
/// # Errors
/// When a connection cannot be opened. Connections that do not answer at the end are counted.
pub fn measure(stage: &Stage, proxy: &Proxy, pass: &Pass<'_>, order: &Order<'_>) -> Result<Round> {
    let subject = proxy.subject;
    let before = settled(proxy.pid())?;
    let kernel_before = memory::kernel()?;
    let load = Ready::up(stage, proxy, order, "held")?;
    let with = settled(proxy.pid())?;
    let kernel_with = memory::kernel()?;
    let loaded = load.go()?;
    let connections = u64::from(pass.plan.connections);
    let answered = loaded.requests.min(connections);
    if answered == 0 {
        bail!("{}, {}: none of {connections} connections answered: {loaded:?}", pass.name, subject.name());
    }
    Ok(Round {
        plan: pass.name.to_owned(),
        subject: subject.name(),
        round: pass.index,
        connections,
        requests: loaded.requests,
        rss_kib: with.map(|with| with.kib),
        held: Some(held(connections, answered, before.zip(with), (kernel_before, kernel_with))),
        ..Round::default()
    })
}

fn held(connections: u64, answered: u64, user: Option<(User, User)>, kernel: (Kernel, Kernel)) -> Held {
    let each = |(before, with): (u64, u64)| memory::each(before, with, connections);
    Held {
        connections,
        answered,
        read_from: user.map_or("nothing", |(_, with)| with.read_from),
        before_kib: user.map(|(before, _)| before.kib),
        with_kib: user.map(|(_, with)| with.kib),
        bytes_each: user.map(|(before, with)| each((before.kib * 1024, with.kib * 1024))),
        socket_bytes_each: each((kernel.0.socket_bytes, kernel.1.socket_bytes)),
        slab_bytes_each: each((kernel.0.slab_bytes, kernel.1.slab_bytes)),
    }
}

/// Memory, once it stays as it is.
fn settled(pid: Option<u32>) -> Result<Option<User>> {
    let start = Instant::now();
    let Some(pid) = pid else { return Ok(None) };
    let mut last = memory::user(pid)?;
    loop {
        thread::sleep(SETTLE_STEP);
        let now = memory::user(pid)?;
        if now.kib.abs_diff(last.kib) < SETTLED_KIB || start.elapsed() > SETTLE_LIMIT {
            return Ok(Some(now));
        }
        last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_is_shared_out_among_the_connections() {
        let user = |kib| User { kib, read_from: "pss" };
        let kernel = |socket_bytes, slab_bytes| Kernel { socket_bytes, slab_bytes };
        let got = held(1000, 999, Some((user(5000), user(7000))), (kernel(0, 100_000), kernel(4000, 2_100_000)));
        let expected = Held {
            connections: 1000,
            answered: 999,
            read_from: "pss",
            before_kib: Some(5000),
            with_kib: Some(7000),
            bytes_each: Some(2048.0),
            socket_bytes_each: 4.0,
            slab_bytes_each: 2000.0,
        };
        assert_eq!(got, expected);
        assert_eq!(
            held(1000, 1000, None, (kernel(0, 0), kernel(0, 0))).bytes_each,
            None,
            "without a proxy there is none"
        );
    }
}
