//! Reads the audit log for the command line. In: a folder. Out: records by time, old ones once and new ones as they come. Never here: verification.

use portcullis_audit::log::Log;
use portcullis_audit::reader::{At, Line as Found, Reader as Records, name_of};
use portcullis_core::audit::view::{self, Entry};
use portcullis_core::time::UnixMillis;
use serde::Deserialize;
use std::io;
use std::path::Path;

/// One record and its line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Read.
    pub entry: Entry,
    /// As it stands in the log.
    pub raw: String,
}

impl Line {
    /// The record's name.
    pub fn id(&self) -> String {
        id(&self.entry)
    }
}

/// `BOOT-SHARD-SEQ`.
pub fn id(entry: &Entry) -> String {
    format!("{}-{}-{}", entry.boot, entry.shard, entry.seq)
}

/// Reads an audit folder.
#[derive(Debug)]
pub struct Reader {
    records: Records,
    /// Lines that are no record of this version.
    pub unreadable: u64,
}

/// Entries of one log in which something is looked for by halving: what `is_before` holds for comes first.
fn first(log: &Log, is_before: impl Fn(&[u8]) -> Option<Order>) -> io::Result<u64> {
    let (mut from, mut to) = (0, log.size());
    while from < to {
        let middle = from + (to - from) / 2;
        let entry = log.entry(middle)?.unwrap_or_default();
        match is_before(&entry) {
            Some(Order::Before) | None => from = middle + 1,
            Some(Order::NotBefore) => to = middle,
        }
    }
    Ok(from)
}

/// Where an entry stands beside what is looked for.
enum Order {
    Before,
    NotBefore,
}

impl Order {
    fn of<T: PartialOrd>(entry: T, wanted: T) -> Self {
        if entry < wanted { Self::Before } else { Self::NotBefore }
    }
}

/// Records of several cores come into the log within this span of each other.
const SKEW: i64 = 60_000;

impl Reader {
    /// Nothing read yet.
    pub fn new(folder: &Path) -> Self {
        Self { records: Records::new(folder), unreadable: 0 }
    }

    /// Where the log lies.
    pub fn folder(&self) -> &Path {
        self.records.folder()
    }

    /// The logs there are.
    fn logs(&self) -> io::Result<Vec<(u32, Log)>> {
        if !self.folder().join("logs").exists() {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.records.logs()
    }

    /// The latest records, at least `lines_min` of them if there are as many; older ones count as read.
    pub fn latest(&mut self, lines_min: usize) -> io::Result<Vec<Line>> {
        let logs = self.logs()?;
        if let Some((number, log)) = logs.last() {
            self.records.seek(At { log: *number, index: log.size().saturating_sub(lines_min as u64) });
        }
        self.more()
    }

    /// Every record from an instant on.
    pub fn each(&mut self, from: UnixMillis, mut then: impl FnMut(Line)) -> io::Result<()> {
        let mut at = At::default();
        for (number, log) in self.logs()? {
            let index = first(&log, |entry| Some(Order::of(time_of(entry)?, from.0.saturating_sub(SKEW))))?;
            at = At { log: number, index };
            if index < log.size() {
                break;
            }
        }
        self.records.seek(at);
        let mut unreadable = 0;
        self.records.each_more(|found| match line(&found) {
            Ok(line) if line.entry.ts >= from.0 => then(line),
            Ok(_) => {}
            Err(_) => unreadable += 1,
        })?;
        self.unreadable += unreadable;
        Ok(())
    }

    /// What was written since.
    pub fn more(&mut self) -> io::Result<Vec<Line>> {
        let lines: Vec<_> = self.records.more()?.iter().map(line).collect();
        self.unreadable += lines.iter().filter(|line| line.is_err()).count() as u64;
        Ok(sorted(lines.into_iter().flatten().collect()))
    }

    /// Every record of one boot, the latest where none is named.
    pub fn boot(&mut self, boot: Option<u64>) -> io::Result<Vec<Line>> {
        let logs = self.logs()?;
        let latest = match boot {
            Some(boot) => Some(boot),
            None => self.latest_boot()?,
        };
        let Some(boot) = latest else { return Ok(Vec::new()) };
        let mut at = At::default();
        for (number, log) in logs {
            let index = first(&log, |entry| Some(Order::of(name_of(entry)?.0, boot)))?;
            at = At { log: number, index };
            if index < log.size() {
                break;
            }
        }
        self.records.seek(at);
        let mut lines = self.more()?;
        lines.retain(|line| line.entry.boot.parse() == Ok(boot));
        Ok(lines)
    }

    fn latest_boot(&mut self) -> io::Result<Option<u64>> {
        Ok(self.latest(1)?.iter().filter_map(|line| line.entry.boot.parse().ok()).max())
    }
}

fn line(found: &Found) -> Result<Line, String> {
    let raw = found.shown();
    view::parse(&raw).map(|entry| Line { entry, raw })
}

fn time_of(entry: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Timed {
        ts: i64,
    }
    serde_json::from_slice::<Timed>(entry).ok().map(|timed| timed.ts)
}

fn sorted(mut lines: Vec<Line>) -> Vec<Line> {
    lines.sort_by_key(|line| (line.entry.ts, line.entry.shard, line.entry.seq));
    lines
}
