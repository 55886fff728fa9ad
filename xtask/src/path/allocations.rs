//! Counts heap allocations of a worker. In: a gateway with a counting allocator, many calls. Out: allocations a call; on the path there is none.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, bail};

use super::load::{Call, JUDGED, PLAIN, Warm};
use super::scene::{Profile, Scene};

/// Seconds of calls before counting, in which buffers and tables grow to their size, and seconds counted.
const SECONDS: (&str, &str) = ("2", "2");

/// A busier turn than any before lets a buffer or a list grow once. What a request allocates would come once for each of thousands.
const GROWTHS_MAX: u64 = 16;

/// What the worker has allocated so far, and how often it checked a signature.
#[derive(Clone, Copy, Debug)]
struct Reading {
    path: u64,
    policy: u64,
    verified: u64,
}

/// Proves that a call allocates nothing outside the evaluation of a rule, and nothing at all where no rule is evaluated.
pub fn prove() -> Result<()> {
    let scene = Scene::start(Profile::Dev, "portcullis-counted", &["count-allocations"])?;
    println!("{:<14} {:>9} {:>22} {:>24}", "tool", "calls", "on the path, a call", "evaluating policy, a call");
    let mut allocated = 0;
    for call in [PLAIN, JUDGED] {
        allocated += count(&scene, call)?;
    }
    if allocated > GROWTHS_MAX {
        bail!("{allocated} allocations on the path; the first of them are named in {}", named(&scene));
    }
    Ok(())
}

/// Allocations on the path during many calls, and outside it where there ought to be none.
fn count(scene: &Scene, call: Call) -> Result<u64> {
    let load = Warm::up(scene, call, SECONDS)?;
    let before = Reading::take(scene)?;
    let calls = load.go()?;
    let after = Reading::take(scene)?;
    let (path, policy) = (after.path - before.path, after.policy - before.policy);
    let each = |count: u64| count as f64 / calls as f64;
    println!("{:<14} {calls:>9} {:>15.4} ({path:>4}) {:>24.2}", call.tool, each(path), each(policy));
    if after.verified > before.verified {
        bail!("the token left the cache meanwhile; its verification allocates");
    }
    Ok(if call.tool == PLAIN.tool { path + policy } else { path })
}

impl Reading {
    fn take(scene: &Scene) -> Result<Self> {
        let socket = scene.folder.join("control.sock");
        let mut stream =
            UnixStream::connect(&socket).with_context(|| format!("`{}` does not answer", socket.display()))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: control\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse().ok()).with_context(|| format!("the metrics tell no `{name}`"))
        };
        Ok(Self {
            path: value("portcullis_allocations_path_total")?,
            policy: value("portcullis_allocations_policy_total")?,
            verified: value("portcullis_tokens_verified_total")?,
        })
    }
}

/// Where the gateway named them; its beginning is shown.
fn named(scene: &Scene) -> String {
    let log = scene.folder.join("log");
    let text = fs::read_to_string(&log).unwrap_or_default();
    text.lines().skip_while(|line| !line.starts_with("worker-")).take(80).for_each(|line| eprintln!("{line}"));
    format!("`{}`", log.display())
}
