//! Makes rule sets and puts them in force. In: a gateway's folder. Out: sets that really differ, numbered, and which of them serves. Never here: calls.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The two calls that the sets disagree about, by their argument.
pub const PATHS: [&str; 2] = ["/srv/reports/odd.csv", "/srv/reports/even.csv"];

/// Rules beside the one that decides, so that a set has something to load.
const OTHERS: u64 = 20;

/// The sets so far.
pub struct Rules {
    folder: PathBuf,
    /// Number of the last set whose swap has begun, and of the last whose swap has returned.
    begun: AtomicU64,
    returned: AtomicU64,
    /// Which set the gateway gave which version.
    versions: Mutex<BTreeMap<u64, u64>>,
}

impl Rules {
    /// None yet, for the gateway in this folder.
    pub fn new(folder: &Path) -> Self {
        let (begun, returned) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { folder: folder.to_owned(), begun, returned, versions: Mutex::default() }
    }

    /// Sets that got these versions.
    #[cfg(test)]
    pub fn having(versions: &[(u64, u64)]) -> Self {
        Self { versions: Mutex::new(versions.iter().copied().collect()), ..Self::new(Path::new("")) }
    }

    /// Writes the next set and has it serve.
    ///
    /// # Errors
    /// When the gateway refuses it.
    pub fn swap(&self) -> Result<()> {
        let number = self.returned.load(Ordering::SeqCst) + 1;
        let file = self.folder.join("policies/bench.cedar");
        let fresh = self.folder.join("policies/bench.cedar.next");
        fs::write(&fresh, text(number))?;
        fs::rename(&fresh, &file)?;
        self.begun.store(number, Ordering::SeqCst);
        let answer = self.apply()?;
        let version = answer.get("version").and_then(Value::as_u64);
        let version = version.with_context(|| format!("set {number} does not serve: {answer}"))?;
        self.versions().insert(version, number);
        self.returned.store(number, Ordering::SeqCst);
        Ok(())
    }

    /// Sets that may serve from now on: none before this one.
    pub fn first(&self) -> u64 {
        self.returned.load(Ordering::SeqCst)
    }

    /// Sets that may have served until now: none after this one.
    pub fn last(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// What the set with this version of the gateway says about a call; none where it is no set of ours.
    pub fn says(&self, version: u64, path: &str) -> Option<bool> {
        self.versions().get(&version).map(|number| permits(*number, path))
    }

    fn versions(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, u64>> {
        self.versions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn apply(&self) -> Result<Value> {
        let mut socket = UnixStream::connect(self.folder.join("control.sock")).context("the control socket is gone")?;
        socket.write_all(
            b"POST /v1/policy/apply HTTP/1.1\r\nHost: portcullis\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        )?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        let answer = String::from_utf8(answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the control socket speaks no HTTP")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("the gateway refused a rule set: {answer}");
        }
        Ok(serde_json::from_str(body)?)
    }
}

/// What set `number` says about a call.
pub fn permits(number: u64, path: &str) -> bool {
    let [odd, even] = PATHS;
    path == if number % 2 == 1 { odd } else { even }
}

fn text(number: u64) -> String {
    let [odd, even] = PATHS;
    let path = if number % 2 == 1 { odd } else { even };
    let mut text = format!(
        "permit (principal in Group::\"bench\", action == Action::\"bench.bench_echo\", resource == Server::\"bench\")\n\
         when {{ [\"{path}\", \"/srv/swaps/{number}\"].contains(context.input.path) }};\n"
    );
    for other in 0..OTHERS {
        let _ = writeln!(
            text,
            "permit (principal in Group::\"bench\", action == Action::\"bench.bench_echo\", resource == Server::\"bench\")\n\
             when {{ context.input.path == \"/srv/others/{number}/{other}\" }};"
        );
    }
    text
}
