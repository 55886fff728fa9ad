//! Reads the gateway's log. In: a gateway, or its folder. Out: records, and whether their chain holds. Never here: writing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use portcullis_core::audit::chain::{self, Position};
use serde_json::Value;

use crate::CEILING;
use crate::gateway::Gateway;

/// How long a record is waited for between two looks at the files.
const LOOK: Duration = Duration::from_millis(5);

impl Gateway {
    /// Every record so far.
    pub fn records(&self) -> Vec<Value> {
        records(&self.audit_folder())
    }

    /// Every record of an event so far.
    pub fn events(&self, event: &str) -> Vec<Value> {
        self.records().into_iter().filter(|record| text(record, "event") == event).collect()
    }

    /// Waits for a record for which `wanted` holds. Most records stand before what they tell of happens, and are there at the first look.
    #[track_caller]
    pub fn record(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let records = self.records();
            if let Some(found) = records.iter().find(|record| wanted(record)) {
                return found.clone();
            }
            let shown = || records.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
            assert!(start.elapsed() < CEILING, "no such record among\n{}", shown());
            std::thread::park_timeout(LOOK);
        }
    }

    /// Waits for a refusal with this cause.
    #[track_caller]
    pub fn refusal(&self, cause: &str) -> Value {
        self.record(|record| text(record, "cause") == cause)
    }
}

/// A member of a record as text; empty where it is none.
pub fn text<'r>(record: &'r Value, member: &str) -> &'r str {
    record.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// A member of a record as a number.
pub fn number(record: &Value, member: &str) -> Option<u64> {
    record.get(member)?.as_u64()
}

/// Every whole line of a folder's log, file by file. A line that is not JSON fails the test.
pub fn records(folder: &Path) -> Vec<Value> {
    let mut records = Vec::new();
    for file in files(folder) {
        let bytes = fs::read(&file).unwrap_or_default();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in bytes.get(..whole).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
            let record = serde_json::from_slice(line);
            records
                .push(record.unwrap_or_else(|error| {
                    panic!("{}: {error}: {:?}", file.display(), String::from_utf8_lossy(line))
                }));
        }
    }
    records
}

/// The files of the log in the order of their names: by boot, shard, segment.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
    files.sort();
    files
}

/// Checks the chain of every shard through all its segments and boots, and gives how many lines they hold.
///
/// # Errors
/// The file and line at which a chain breaks.
pub fn verify(folder: &Path) -> Result<u64, String> {
    let mut ends: BTreeMap<u64, Position> = BTreeMap::new();
    let mut lines = 0;
    for file in files(folder) {
        let bytes = fs::read(&file).map_err(|error| error.to_string())?;
        let first: Value = match bytes.split(|byte| *byte == b'\n').next() {
            Some(line) if !line.is_empty() => serde_json::from_slice(line).map_err(|error| error.to_string())?,
            Some(_) | None => continue,
        };
        let shard = number(&first, "shard").ok_or("a record without shard")?;
        let from = ends.get(&shard).copied().unwrap_or_default();
        let verified = chain::verify(&bytes, &from, None);
        let verified =
            verified.map_err(|broken| format!("{}:{}: {}", file.display(), broken.line, broken.why.as_str()))?;
        ends.insert(shard, verified.end);
        lines += verified.lines;
    }
    Ok(lines)
}
