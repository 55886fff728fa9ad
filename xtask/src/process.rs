//! Runs other programs. In: a command. Out: its result, or a child that ends with its owner.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A child gets this long between the polite signal and the last one: proxies flush and leave within a second.
const END_GRACE: Duration = Duration::from_secs(5);

/// How often a wait looks again.
const WAIT_STEP: Duration = Duration::from_millis(5);

/// A running child. Dropping it ends it: SIGTERM to its pid, and SIGKILL when it does not leave.
pub struct Running {
    name: String,
    child: Child,
}

impl Running {
    /// Starts `command`; `name` is what errors call it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("`{name}` cannot be started"))?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// The pid of the child.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the child has ended, and how.
    ///
    /// # Errors
    /// When the kernel refuses to say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("`{}` cannot be waited for", self.name))
    }

    /// The child's standard output, once.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The child's standard error, once.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// The child's standard input, once.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits until `ready` is true. A child that ends before that is an error, and so is `limit` passing.
    ///
    /// # Errors
    /// The child ended, or the time was up.
    pub fn wait_until(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        while !ready() {
            if let Some(status) = self.ended()? {
                bail!("`{}` ended before it was ready: {status}", self.name);
            }
            if start.elapsed() > limit {
                bail!("`{}` was not ready within {} s", self.name, limit.as_secs());
            }
            thread::sleep(WAIT_STEP);
        }
        Ok(())
    }

    /// Waits until the child has left by itself; how it ended.
    ///
    /// # Errors
    /// The time was up.
    pub fn leave(&mut self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if start.elapsed() > limit {
                bail!("`{}` did not end within {} s", self.name, limit.as_secs());
            }
            thread::sleep(WAIT_STEP);
        }
    }

    /// Sends `signal` to the child's pid; a child that has left already is no error.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _gone_already = kill_process(pid, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal(Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < END_GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(WAIT_STEP);
        }
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Runs `command` to its end with its output passed through; anything but success is an error.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub fn run(name: &str, command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("`{name}` cannot be started"))?;
    if !status.success() {
        bail!("`{name}` failed: {status}");
    }
    Ok(())
}

/// Runs `command` to its end, passes its standard output through line by line and shows each line to `seen`.
///
/// # Errors
/// When it cannot be started or read. How it ended is the caller's to judge.
pub fn run_seen(name: &str, command: &mut Command, mut seen: impl FnMut(&str)) -> Result<ExitStatus> {
    let mut running = Running::start(name, command.stdout(Stdio::piped()))?;
    let output = running.stdout().context("standard output is not piped")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.with_context(|| format!("the output of `{name}` cannot be read"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        seen(&line);
    }
    running.child.wait().with_context(|| format!("`{name}` cannot be waited for"))
}

/// The first line a program prints, on either stream; versions are asked this way.
///
/// # Errors
/// When it cannot be started.
pub fn first_line(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().with_context(|| format!("`{program}` cannot be started"))?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned())
}
