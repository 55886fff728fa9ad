//! Reads records back, whether they are in the log already or still in a journal. In: an audit folder. Out: each record once, with its values where they
//! are left. Never here: writing, verification, waiting.
//!
//! Records are in the log within a second of being made. Whoever wants to see a call at once reads the journals as well: they are read first and the
//! log after, so that what moves from the one to the other meanwhile is met twice and never missed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_core::audit::field::{Field, Fields};
use portcullis_core::audit::leaf::{self, Commits, Value, Values};
use portcullis_core::audit::values::{Opening, Which};
use portcullis_tlog::note::VerifierKey;
use serde::Deserialize;

use crate::disk::{Disk, RealDisk};
use crate::keys::{KeyFailure, Keys, WrappingKey};
use crate::log::{Log, OpenError};
use crate::order::Order;
use crate::payloads::PayloadReader;
use crate::sequencer::log_folder;
use crate::wal::{SegmentName, SegmentReader};

/// What names a record: boot, shard, number.
pub type Name = (u64, u16, u64);

/// A record.
#[derive(Clone, Debug)]
pub struct Line {
    /// What names it.
    pub name: Name,
    /// Where it stands: the number of its log and its index there; none while it is in a journal alone.
    pub entry: Option<(u32, u64)>,
    /// Canonical JSON.
    pub leaf: Vec<u8>,
    /// What was asked and answered, as far as it is left.
    pub values: Values,
}

impl Line {
    /// All of it as one line of JSON.
    pub fn shown(&self) -> String {
        leaf::shown(&self.leaf, &self.values)
    }
}

/// A place in the logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The number of the log.
    pub log: u32,
    /// The index of the entry.
    pub index: u64,
}

/// Reads an audit folder.
#[derive(Debug)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    audit: PathBuf,
    key: Option<Arc<WrappingKey>>,
    at: At,
    /// Records that were read from journals and not met in the log yet.
    ahead: BTreeSet<Name>,
    payloads: BTreeMap<u32, PayloadReader>,
}

impl Reader {
    /// Nothing read yet. Without the key of the values, which only the gateway's user and root have, there are no values and no journals.
    pub fn new(audit: &Path) -> Self {
        let key = match Keys::values_of(&audit.join("keys")) {
            Ok(key) => Some(Arc::new(key)),
            Err(KeyFailure::System(..) | KeyFailure::NotAKey(_) | KeyFailure::Exposed(..) | KeyFailure::Origin(_)) => {
                None
            }
        };
        Self {
            disk: Arc::new(RealDisk),
            audit: audit.to_owned(),
            key,
            at: At::default(),
            ahead: BTreeSet::new(),
            payloads: BTreeMap::new(),
        }
    }

    /// Where the log lies.
    pub fn folder(&self) -> &Path {
        &self.audit
    }

    /// Whether values can be read.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Reading goes on at `at`.
    pub fn seek(&mut self, at: At) {
        self.at = at;
        self.ahead.clear();
    }

    /// The logs there are, oldest first. A log of which nothing is signed yet is none.
    ///
    /// # Errors
    /// When one cannot be read or believed.
    pub fn logs(&self) -> io::Result<Vec<(u32, Log)>> {
        let mut numbers: Vec<u32> =
            self.disk.names(&self.audit.join("logs"))?.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        let mut logs = Vec::new();
        for number in numbers {
            let folder = log_folder(&self.audit, number);
            let Ok(key) = std::fs::read_to_string(folder.join("log.pub")) else { continue };
            let key = VerifierKey::parse(&key).map_err(|cause| invalid(&folder.join("log.pub"), &cause))?;
            match Log::open(&folder, &key) {
                Ok(log) => logs.push((number, log)),
                // Its first entries may be on the disk and about to be signed.
                Err(OpenError::NoCheckpoint) => logs.push((number, Log::unsigned(&folder, key.name()))),
                Err(OpenError::Unreadable(cause)) => return Err(cause),
                Err(cause @ OpenError::Refused(_)) => return Err(invalid(&folder.join("checkpoint"), &cause)),
            }
        }
        Ok(logs)
    }

    /// Every record since the last call, the log's first.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn more(&mut self) -> io::Result<Vec<Line>> {
        let mut found = Vec::new();
        self.each_more(|line| found.push(line))?;
        Ok(found)
    }

    /// The same, one after the other.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn each_more(&mut self, mut then: impl FnMut(Line)) -> io::Result<()> {
        let order = Order::read(&*self.disk, &self.audit)?.unwrap_or_default();
        let journals = self.journals(&order)?;
        let mut met = BTreeSet::new();
        for (number, log) in self.logs()? {
            // What is about to be signed is no longer looked for in journals.
            let log = if number == order.log { log.grown_to(&order.head) } else { log };
            if number < self.at.log {
                continue;
            }
            let from = if number == self.at.log { self.at.index } else { 0 };
            for entry in log.entries(from) {
                let (index, leaf) = entry?;
                self.at = At { log: number, index: index + 1 };
                let Some(name) = name_of(&leaf) else { continue };
                met.insert(name);
                if self.ahead.remove(&name) {
                    continue;
                }
                let values = self.values(number, index)?;
                then(Line { name, entry: Some((number, index)), leaf, values });
            }
        }
        for line in journals {
            if !met.contains(&line.name) && self.ahead.insert(line.name) {
                then(line);
            }
        }
        Ok(())
    }

    /// The values of an entry, as far as they are left.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn values(&mut self, log: u32, index: u64) -> io::Result<Values> {
        Ok(self.opening(log, index)?.map(|opening| shown_values(&opening)).unwrap_or_default())
    }

    /// The same with what opens the log's commitments.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn opening(&mut self, log: u32, index: u64) -> io::Result<Option<Opening>> {
        let Some(key) = &self.key else { return Ok(None) };
        let fresh = || PayloadReader::new(self.disk.clone(), &self.audit, log, key.clone());
        self.payloads.entry(log).or_insert_with(fresh).of(index)
    }

    /// What journals hold beyond the order that is on the disk.
    fn journals(&self, order: &Order) -> io::Result<Vec<Line>> {
        let Some(key) = &self.key else { return Ok(Vec::new()) };
        let folder = self.audit.join("wal");
        let mut found = Vec::new();
        for name in SegmentName::all(&*self.disk, &folder)? {
            let taken = order.shards.get(&name.shard).cloned().unwrap_or_default();
            if (name.boot, name.segment) < (taken.boot, taken.place.segment) {
                continue;
            }
            let same = (name.boot, name.segment) == (taken.boot, taken.place.segment);
            let offset = if same { taken.place.offset } else { 0 };
            let mut reader = match SegmentReader::open(&*self.disk, &folder.join(name.file()), key, offset) {
                // All of it is in the log by now.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                reader => reader?,
            };
            while let Some(batch) = reader.next(u64::MAX)? {
                let mut rest = batch;
                while let Some((fields, after)) = Fields::split(rest) {
                    found.push(line_of(&name, &fields));
                    rest = after;
                }
            }
        }
        Ok(found)
    }
}

/// A record as its journal holds it.
fn line_of(name: &SegmentName, fields: &Fields<'_>) -> Line {
    let mut leaf = Vec::new();
    let boot = name.boot.to_string();
    let place = leaf::Place { boot: &boot, shard: name.shard, prev: None };
    leaf::write(&mut leaf, fields, &place, &Commits::default());
    let value = |whole, digest| {
        let whole = fields.bytes(whole).map(|raw| Value::Json(raw.to_vec()));
        whole.or_else(|| fields.bytes(digest).and_then(|digest| digest.try_into().ok()).map(Value::Digest))
    };
    let values = Values {
        arguments: value(Field::Arguments, Field::ArgumentsDigest),
        result: value(Field::Result, Field::ResultDigest),
    };
    Line { name: (name.boot, name.shard, fields.seq), entry: None, leaf, values }
}

/// An opening as people see it.
pub fn shown_values(opening: &Opening) -> Values {
    let value = Some(opening.value());
    match opening.which {
        Which::Arguments => Values { arguments: value, result: None },
        Which::Result => Values { arguments: None, result: value },
    }
}

/// What names the record of an entry; none where it is none, such as the first of a log that goes on from another.
pub fn name_of(leaf: &[u8]) -> Option<Name> {
    #[derive(Deserialize)]
    struct Named<'l> {
        boot: &'l str,
        shard: u16,
        seq: u64,
    }
    let named: Named<'_> = serde_json::from_slice(leaf).ok()?;
    Some((named.boot.parse().ok()?, named.shard, named.seq))
}

fn invalid(path: &Path, cause: &impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{}`: {cause}", path.display()))
}
