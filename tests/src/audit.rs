//! Reads the gateway's log. In: a gateway, or its folder. Out: records, and whether their chain holds. Never here: writing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use portcullis_audit::reader::Reader;
use portcullis_audit::sequencer::log_folder;
use portcullis_tlog::note::VerifierKey;
use portcullis_tlog::tree::leaf_hash;
use portcullis_tlog::verify::{Files, verify as verify_log};
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

/// Every record of a folder, in the signed log or still in a journal, with its values: by boot, shard, number.
pub fn records(folder: &Path) -> Vec<Value> {
    // Until the gateway has made its keys there is nothing to read.
    let mut lines = Reader::new(folder).more().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    lines.sort_by_key(|line| line.name);
    let read = |line: String| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    lines.iter().map(|line| read(line.shown())).collect()
}

/// Checks the signed log as a third party does, and that each shard is a chain in it; how many entries it has.
///
/// # Errors
/// What is wrong, and where.
pub fn verify(folder: &Path) -> Result<u64, String> {
    let log = log_folder(folder, 0);
    let key = fs::read_to_string(log.join("log.pub")).map_err(|error| error.to_string())?;
    let key = VerifierKey::parse(&key).map_err(|error| error.to_string())?;
    let mut ends: BTreeMap<u64, (u64, String)> = BTreeMap::new();
    let mut broken = None;
    let seen = |index: u64, entry: &[u8]| {
        let record: Value = serde_json::from_slice(entry).unwrap_or_default();
        let hash: String = leaf_hash(entry).iter().map(|byte| format!("{byte:02x}")).collect();
        let (shard, seq) = (number(&record, "shard").unwrap_or(u64::MAX), number(&record, "seq").unwrap_or(u64::MAX));
        let before = ends.insert(shard, (seq + 1, hash)).unwrap_or_default();
        if (seq, text(&record, "prev")) != (before.0, &*before.1) && broken.is_none() {
            broken = Some(format!("entry {index} does not follow in its shard: {record}"));
        }
    };
    let checkpoint = verify_log(&Folder(log), &key, seen).map_err(|fault| fault.to_string())?;
    broken.map_or(Ok(checkpoint.head.size), Err)
}

/// Waits until everything that is recorded is in the signed log, and checks that; how many entries it has. The gateway must be quiet.
#[track_caller]
pub fn verify_whole(folder: &Path) -> u64 {
    let start = Instant::now();
    loop {
        let entries = verify(folder);
        if entries == Ok(records(folder).len() as u64) {
            return entries.unwrap_or_default();
        }
        assert!(start.elapsed() < CEILING, "{entries:?} of {} records are in the log", records(folder).len());
        std::thread::park_timeout(LOOK);
    }
}

struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(path)) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }
}
