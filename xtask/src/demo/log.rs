//! Reads the audit log as an outsider would: by the command line, and by the verifier that knows nothing of the gateway. In: its folder. Out: the
//! records since the last look, and whether the log is as it was signed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// One record, as far as the tour shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Record {
    /// `decision`, `refusal`, `result` and others.
    pub event: String,
    /// Who asked, where that was proven.
    pub agent: Option<String>,
    /// What was asked.
    pub method: Option<String>,
    /// `allow` or `deny`.
    pub decision: Option<String>,
    /// Why it was refused.
    pub cause: Option<String>,
    /// The rules that decided.
    #[serde(default)]
    pub rules: Vec<String>,
    /// With the two that follow: what names it.
    boot: String,
    shard: u16,
    seq: u64,
}

impl Record {
    /// Whether it let something pass.
    pub fn allows(&self) -> bool {
        self.decision.as_deref() == Some("allow")
    }
}

/// The log, and what of it was seen.
pub struct Log {
    program: PathBuf,
    configuration: PathBuf,
    seen: BTreeSet<(String, u16, u64)>,
}

impl Log {
    /// The log of a gateway, from its beginning.
    pub fn new(program: &Path, configuration: PathBuf) -> Self {
        Self { program: program.to_owned(), configuration, seen: BTreeSet::new() }
    }

    /// The records since the last look. What an agent has been answered is recorded already, so there is nothing to wait for.
    pub fn news(&mut self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        each(&self.program, &self.configuration, |line| {
            let record: Record = serde_json::from_str(line).with_context(|| format!("no record: `{line}`"))?;
            if self.seen.insert((record.boot.clone(), record.shard, record.seq)) {
                records.push(record);
            }
            Ok(())
        })?;
        Ok(records)
    }
}

/// Hands on every record of a gateway's log as a line of JSON, with `portcullis audit tail`.
///
/// # Errors
/// When the log cannot be read, or the first of `then`.
pub fn each(program: &Path, configuration: &Path, mut then: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let mut tail = Command::new(program);
    tail.args(["audit", "tail", "--json", "--number", RECORDS_MAX, "--config"]).arg(configuration);
    let folder = configuration.parent().context("a configuration lies in a folder")?;
    let mut child = tail.current_dir(folder).stdout(Stdio::piped()).spawn().context("portcullis audit tail")?;
    let output = child.stdout.take().context("its output")?;
    for line in BufReader::new(output).lines() {
        then(&line?)?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`portcullis audit tail` ended with {status}");
    }
    Ok(())
}

/// More than any log here has.
const RECORDS_MAX: &str = "100000000";

/// Every record of a gateway's log.
///
/// # Errors
/// As [`each`].
pub fn all(program: &Path, configuration: &Path) -> Result<Vec<String>> {
    let mut records = Vec::new();
    each(program, configuration, |line| {
        records.push(line.to_owned());
        Ok(())
    })?;
    Ok(records)
}

/// Waits until the log's checkpoint covers so many records.
///
/// # Errors
/// That they are not signed in time.
pub fn wait_signed(log: &Path, records: usize) -> Result<()> {
    let start = Instant::now();
    loop {
        // The second line of a checkpoint is the size (C2SP tlog-checkpoint).
        let note = fs::read_to_string(log.join("checkpoint")).unwrap_or_default();
        let size = note.lines().nth(1).and_then(|size| size.parse::<usize>().ok());
        if size.is_some_and(|size| size >= records) {
            return Ok(());
        }
        anyhow::ensure!(start.elapsed() < SIGNED_MAX, "of {records} records {size:?} are signed after {SIGNED_MAX:?}");
        std::thread::park_timeout(LOOK);
    }
}

/// Records are signed within a second; a slow machine gets more.
const SIGNED_MAX: Duration = Duration::from_secs(20);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Has every hash of the signed log computed anew, and held against its checkpoint; what the verifier says.
///
/// # Errors
/// What it found.
pub fn verify(verifier: &Path, log: &Path) -> Result<String> {
    let output = Command::new(verifier).args(["log", "--key"]).arg(log.join("log.pub")).arg(log).output()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        bail!("portcullis-verify: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(said)
}
