//! Watches a worker's system calls. In: a gateway under load, strace. Out: the table of its calls; bytes of sockets move through io_uring alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::load::{JUDGED, Warm};
use super::scene::Scene;
use crate::needs::{self, Need};
use crate::process::Running;

/// Seconds of calls before the watching, and seconds watched.
const SECONDS: (&str, &str) = ("0.5", "1");

/// strace writes its last lines when it is told to leave.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);

/// A call takes two receives and two sends; each must be an operation of the ring.
const OPERATIONS_MIN: f64 = 4.0;

/// Calls that move bytes or wait for a descriptor. On a worker under load only the journal's write(2) is one of them, and the wait of the
/// ring's own engine, which watches the ring and nothing else.
const MOVERS: [&str; 22] = [
    "read",
    "readv",
    "pread64",
    "preadv",
    "preadv2",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "sendfile",
    "splice",
    "poll",
    "ppoll",
    "select",
    "epoll_ctl",
];

/// Proves that a worker under keep-alive load does its IO with io_uring.
///
/// # Errors
/// A call that ought not to be there, or too few operations of the ring.
pub fn prove() -> Result<()> {
    needs::ensure(&[Need { program: "strace", probe: &[], package: "strace" }])?;
    let scene = Scene::start("portcullis", &[])?;
    let load = Warm::up(&scene, JUDGED, SECONDS)?;
    let trace = scene.folder.join("strace");
    let watch = Watch::begin(scene.worker()?, &trace)?;
    let calls = load.go()?;
    let text = watch.end(&trace)?;
    let (lines, summary): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains('('));
    println!("{}", summary.join("\n"));
    judge(&Seen::read(&lines), calls)
}

fn judge(seen: &Seen, calls: u64) -> Result<()> {
    let operations = seen.submitted as f64 / calls as f64;
    let (enters, writes) = (seen.count("io_uring_enter"), seen.journal_writes);
    println!(
        "\n{calls} calls served: {operations:.2} operations of the ring a call, {enters} enters, {writes} writes of the journal"
    );
    if !seen.strange.is_empty() {
        bail!("calls that move bytes around io_uring: {}", seen.strange.join("; "));
    }
    if operations < OPERATIONS_MIN {
        bail!("{operations:.2} operations of the ring a call; its receives and sends are {OPERATIONS_MIN}");
    }
    let others: u64 = seen
        .counts
        .iter()
        .filter(|(name, _)| **name != "io_uring_enter")
        .map(|(_, count)| count)
        .max()
        .copied()
        .unwrap_or(0);
    if enters < others {
        bail!("{enters} calls of io_uring_enter, but {others} of another");
    }
    Ok(())
}

/// A strace that is attached to one thread.
struct Watch(Running);

impl Watch {
    fn begin(thread: u32, trace: &Path) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-C", "-y", "-p", &thread.to_string(), "-o"]).arg(trace);
        let mut strace = Running::start("strace", command.stdin(Stdio::null()).stderr(Stdio::piped()))?;
        let mut line = String::new();
        BufReader::new(strace.stderr().context("the output of strace is not piped")?).read_line(&mut line)?;
        if !line.contains("attached") {
            bail!(
                "strace cannot attach to the worker: {}; it takes root, or `kernel.yama.ptrace_scope` 0",
                line.trim()
            );
        }
        Ok(Self(strace))
    }

    /// Has it leave; everything it saw.
    fn end(mut self, trace: &Path) -> Result<String> {
        self.0.signal(Signal::INT);
        self.0.leave(LEAVE_LIMIT)?;
        fs::read_to_string(trace).with_context(|| format!("`{}` cannot be read", trace.display()))
    }
}

/// What was seen.
#[derive(Default)]
struct Seen<'t> {
    counts: BTreeMap<&'t str, u64>,
    /// Operations handed to the ring.
    submitted: u64,
    journal_writes: u64,
    /// What ought not to be there, the first of each kind.
    strange: Vec<String>,
}

impl<'t> Seen<'t> {
    fn read(lines: &[&'t str]) -> Self {
        let mut seen = Self::default();
        lines.iter().for_each(|line| seen.add(line));
        seen
    }

    fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// `name(descriptor<what it is>, …) = result`
    fn add(&mut self, line: &'t str) {
        let Some((name, arguments)) = line.split_once('(').filter(|(name, _)| is_name(name)) else { return };
        *self.counts.entry(name).or_default() += 1;
        let first = arguments.split([',', ')']).next().unwrap_or_default();
        let on = first.split_once('<').map_or("", |(_, what)| what.trim_end_matches('>'));
        if name == "io_uring_enter" {
            let submitted = arguments.split(',').nth(1).and_then(|number| number.trim().parse::<u64>().ok());
            self.submitted += submitted.unwrap_or(0);
        } else if name == "write" && on.ends_with(".jsonl") {
            self.journal_writes += 1;
        } else if (MOVERS.contains(&name) || on.starts_with("socket:") || on.starts_with("TCP"))
            && self.strange.len() < 8
        {
            self.strange.push(format!("`{name}` on `{on}`"));
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], calls: u64, expected: Result<(), &str>) {
        let got = judge(&Seen::read(lines), calls).map_err(|cause| cause.to_string());
        match expected {
            Ok(()) => assert!(got.is_ok(), "given {lines:?}, got {got:?}"),
            Err(words) => {
                assert!(got.as_ref().is_err_and(|cause| cause.contains(words)), "given {lines:?}, got {got:?}")
            }
        }
    }

    const ENTER: &str = "io_uring_enter(9<anon_inode:[io_uring]>, 4, 0, 0, NULL, 8) = 4";

    #[test]
    fn bytes_that_pass_the_ring_by_are_found() {
        check(
            &[ENTER, "recvfrom(12<socket:[77]>, 0x7f, 1, MSG_PEEK|MSG_DONTWAIT, NULL, NULL) = -1 EAGAIN"],
            1,
            Err("`recvfrom` on `socket:[77]`"),
        );
        check(&[ENTER, "write(12<TCP:[1->2]>, \"x(\", 2) = 2"], 1, Err("`write` on `TCP:[1->2]`"));
        check(&[ENTER, "epoll_ctl(4<anon_inode:[eventpoll]>, EPOLL_CTL_ADD, 5, {}) = 0"], 1, Err("`epoll_ctl`"));
        check(&[ENTER], 2, Err("2.00 operations of the ring"));
        check(&[ENTER, "futex(0x1, FUTEX_WAKE, 1) = 1", "futex(0x1, FUTEX_WAKE, 1) = 1"], 1, Err("but 2 of another"));
    }

    #[test]
    fn the_ring_the_journal_and_the_wait_for_the_ring_are_as_claimed() {
        let wait = "epoll_wait(4<anon_inode:[eventpoll]>, [], 1024, 0) = 0";
        check(&[ENTER, "write(11</audit/0-000-00000.jsonl>, \"{}\", 2) = 2", wait, "+++ detached +++"], 1, Ok(()));
    }
}
