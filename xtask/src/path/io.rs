//! Watches a worker's system calls. In: a gateway under load, strace. Out: the table of its calls; bytes of sockets move through io_uring alone.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::load::{JUDGED, Warm};
use super::scene::{Profile, Scene};
use crate::needs::{self, Need};
use crate::process::Running;

/// Seconds of calls before the watching, and seconds watched.
const SECONDS: (&str, &str) = ("0.5", "1");

/// strace writes its last lines when it is told to leave.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);

/// A call takes two receives and two sends; each must be an operation of the ring. A few were handed to it before the watching began.
const OPERATIONS_MIN: f64 = 3.9;

/// Strange calls that are named.
const STRANGE_MAX: usize = 8;

/// Calls that move bytes or wait for a descriptor. On a worker under load only the journal's pwrite(2) is one of them, and the wait of the
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
    let scene = Scene::start(Profile::Dev, "portcullis", &[])?;
    let load = Warm::up(&scene, JUDGED, SECONDS)?;
    let trace = scene.folder.join("strace");
    let watch = Watch::begin(scene.worker()?, &trace)?;
    let calls = load.go()?;
    let text = watch.end(&trace)?;
    let (lines, summary): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains('('));
    println!("{}", summary.join("\n"));
    judge(&Seen::read(&lines), &summary, calls)
}

fn judge(seen: &Seen, summary: &[&str], calls: u64) -> Result<()> {
    let operations = seen.submitted as f64 / calls as f64;
    println!(
        "\n{calls} calls served: {operations:.2} operations of the ring a call in {} enters, {} writes of the journal, {} of the engine's own ticks",
        seen.enters, seen.journal_writes, seen.ticks
    );
    if !seen.strange.is_empty() {
        bail!("calls that move bytes around io_uring: {}", seen.strange.join("; "));
    }
    if operations < OPERATIONS_MIN {
        bail!("{operations:.2} operations of the ring a call; its receives and sends are {OPERATIONS_MIN}");
    }
    // Below the header and its rule the table stands in order of the time spent.
    let first = summary.get(2).and_then(|row| row.split_whitespace().last()).unwrap_or_default();
    if first != "io_uring_enter" {
        bail!("most time is spent in `{first}`");
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
struct Seen {
    enters: u64,
    /// Operations handed to the ring.
    submitted: u64,
    journal_writes: u64,
    ticks: u64,
    /// What ought not to be there, the first few.
    strange: Vec<String>,
}

impl Seen {
    fn read(lines: &[&str]) -> Self {
        let mut seen = Self::default();
        lines.iter().for_each(|line| seen.add(line));
        seen
    }

    /// `name(descriptor<what it is>, …) = result`
    fn add(&mut self, line: &str) {
        let Some((name, arguments)) = line.split_once('(').filter(|(name, _)| is_name(name)) else { return };
        let first = arguments.split([',', ')']).next().unwrap_or_default();
        let on = first.split_once('<').map_or("", |(_, what)| what.trim_end_matches('>'));
        let moves = MOVERS.contains(&name) || on.starts_with("socket:") || on.starts_with("TCP");
        match name {
            "io_uring_enter" => {
                self.enters += 1;
                let submitted = arguments.split(',').nth(1).and_then(|number| number.trim().parse::<u64>().ok());
                self.submitted += submitted.unwrap_or(0);
            }
            "pwrite64" if on.ends_with(".wal") => self.journal_writes += 1,
            // The timer of the engine wakes its own thread this way, each tick once.
            "write" if on == "anon_inode:[eventfd]" => self.ticks += 1,
            // The end of the load's connections falls into the watched time.
            "close" | "shutdown" | "fcntl" => {}
            _ if moves && self.strange.len() < STRANGE_MAX => self.strange.push(format!("`{name}` on `{on}`")),
            _ => {}
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTER: &str = "io_uring_enter(9<anon_inode:[io_uring]>, 4, 0, 0, NULL, 8) = 4";
    const SUMMARY: [&str; 3] = ["% time calls syscall", "------ ----- -------", " 78.10 527 io_uring_enter"];

    fn check(lines: &[&str], calls: u64, expected: Result<(), &str>) {
        let got = judge(&Seen::read(lines), &SUMMARY, calls).map_err(|cause| cause.to_string());
        match expected {
            Ok(()) => assert!(got.is_ok(), "given {lines:?}, got {got:?}"),
            Err(words) => {
                assert!(got.as_ref().is_err_and(|cause| cause.contains(words)), "given {lines:?}, got {got:?}")
            }
        }
    }

    #[test]
    fn bytes_that_pass_the_ring_by_are_found() {
        let peek = "recvfrom(12<socket:[77]>, 0x7f, 1, MSG_PEEK|MSG_DONTWAIT, NULL, NULL) = -1 EAGAIN";
        check(&[ENTER, peek], 1, Err("`recvfrom` on `socket:[77]`"));
        check(&[ENTER, "write(12<TCP:[1->2]>, \"x(\", 2) = 2"], 1, Err("`write` on `TCP:[1->2]`"));
        check(&[ENTER, "epoll_ctl(4<anon_inode:[eventpoll]>, EPOLL_CTL_ADD, 5, {}) = 0"], 1, Err("`epoll_ctl`"));
        check(&[ENTER], 2, Err("2.00 operations of the ring"));
    }

    #[test]
    fn another_call_that_takes_the_most_time_is_told() {
        let summary = ["% time", "------", " 60.00 9 futex", " 40.00 1 io_uring_enter"];
        let cause = judge(&Seen::read(&[ENTER]), &summary, 1).unwrap_err();
        assert_eq!(cause.to_string(), "most time is spent in `futex`");
    }

    #[test]
    fn the_ring_the_journal_and_the_wait_for_the_ring_are_as_claimed() {
        let wait = "epoll_wait(4<anon_inode:[eventpoll]>, [], 1024, 0) = 0";
        let (journal, tick) = (
            "pwrite64(11</audit/wal/0-000-00000.wal>, \"{}\", 2, 64) = 2",
            "write(6<anon_inode:[eventfd]>, \"\\1\", 8) = 8",
        );
        check(&[ENTER, journal, wait, tick, "+++ detached +++"], 1, Ok(()));
    }
}
