//! Indexes the log, so that questions about it are answered in milliseconds. In: signed logs. Out: calls by who, what, when and how they ended. Never
//! here: values (they are in no entry), anything that could not be made again from the log.
//!
//! One SQLite file. A row is a call: its decision, and how it ended once that is in the log. While it reads entries it computes the tree over them
//! anew, and holds its head against the checkpoint before it says that it covers that: an answer from here is about what was signed. It goes on
//! where it stopped; what it stopped at has to be in the log still, or it is made again. The process that lets the log grow hashed what it added
//! itself a moment before, and need not do so again: of these entries the tree's hashes are taken as they are stored.

pub mod call;
mod error;
mod fill;
mod leaf;
mod posting;
pub mod query;
mod row;
mod sql;
pub mod tally;
mod words;
#[cfg(test)]
mod own_tests;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::proof::Head;
use portcullis_tlog::tile;
use portcullis_tlog::tree::{Edge, Hash, leaf_hash};
use rusqlite::{Connection, OpenFlags, params};

use crate::logs::Numbered;
pub use error::IndexError;
use fill::Batch;
use words::Words;

/// The file's name below the audit folder.
pub const FILE: &str = "index.sqlite";

/// Beside it: who holds its lock writes the index.
const LOCK: &str = "index.lock";

/// Entries of a transaction, two blocks: some 10 MB in memory that the next one uses again, and a tenth of a second.
const BATCH: u64 = 2 * posting::BLOCK;

/// Pages that the file of changes may hold before they are brought over: 64 MB. SQLite's own 4 MB would have a long catching up write most pages twice.
const CHANGES_PAGES_MAX: i64 = 8_192;

/// A reader waits as long as this for a moment in which nobody writes the file itself.
const WAIT: Duration = Duration::from_secs(5);

/// The index of one audit folder.
#[derive(Debug)]
pub struct Index {
    db: Connection,
    words: Words,
    access: Access,
    /// From this index on, this process wrote and hashed the entries of the newest log itself.
    own: Option<u64>,
}

/// What one may do with it.
#[derive(Debug)]
pub enum Access {
    /// Write and read; the lock is held as long as this lives.
    Write(File),
    /// Read, and why not more.
    Read(Bar),
}

/// Why an index cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Another process writes it.
    Busy,
    /// The files belong to someone else.
    NotAllowed,
}

/// How far a catching up is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries of all logs that the index holds.
    pub entries: u64,
    /// Entries of all logs.
    pub of: u64,
}

/// What a catching up did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    /// Entries that were read.
    pub entries: u64,
    /// Why what was there before was thrown away, where it was.
    pub again: Option<Again>,
}

/// Why an index is made again from the first entry on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It was asked for.
    Asked,
    /// It is of another version of the program.
    Version,
    /// The file is damaged.
    Damaged,
    /// It is of another log, or of one that went another way: entries that it holds are not in this one.
    OtherLog,
}

impl fmt::Display for Again {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Asked => "it was asked for",
            Self::Version => "it was made by another version of the program",
            Self::Damaged => "its file is damaged",
            Self::OtherLog => "it holds entries that are not in this log",
        })
    }
}

/// How far one log is in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The log's number.
    pub number: u32,
    /// The position of its first entry.
    pub base: u64,
    /// Which log, how many entries, and the head over them.
    pub checkpoint: Checkpoint,
}

/// The same, with what it takes to go on.
#[derive(Clone, Debug)]
struct State {
    number: u32,
    base: u64,
    origin: String,
    edge: Edge,
    /// The head, where it was held against a checkpoint.
    root: Option<Hash>,
    /// The time of its last record.
    ts: i64,
}

impl Index {
    /// Opens the index below the audit folder: to write it where that is possible, else to read it.
    ///
    /// # Errors
    /// When there is none and none can be made, or it cannot be read.
    pub fn open(audit: &Path) -> Result<Self, IndexError> {
        match lock(&audit.join(LOCK)) {
            Ok(lock) => Self::writing(&audit.join(FILE), lock),
            Err(Locked::Bar(bar)) => Self::reading(&audit.join(FILE), bar),
            Err(Locked::Failed(cause)) => Err(IndexError::File(audit.join(LOCK), cause)),
        }
    }

    /// Whether it can be written.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Says that this process itself made the entries of the newest log from index `own` on, and hashed them then.
    pub fn believe(&mut self, own: u64) {
        self.own = Some(own);
    }

    fn writing(file: &Path, lock: File) -> Result<Self, IndexError> {
        // Who may read the log is for its folder to say; the file itself is the gateway's alone. SQLite gives its companions the same mode.
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file);
        made.map_err(|cause| IndexError::File(file.to_owned(), cause))?;
        let opened = Connection::open(file).and_then(|db| prepared(&db).map(|()| db));
        let db = match opened {
            Ok(db) => db,
            Err(cause) if damaged(&cause) => {
                for suffix in ["", "-wal", "-shm"] {
                    let path = PathBuf::from(format!("{}{suffix}", file.display()));
                    // What is not there needs no removing; what cannot be removed fails below.
                    let _gone = fs::remove_file(path);
                }
                let db = Connection::open(file)?;
                prepared(&db)?;
                db
            }
            Err(cause) => return Err(cause.into()),
        };
        Ok(Self { db, words: Words::default(), access: Access::Write(lock), own: None })
    }

    fn reading(file: &Path, bar: Bar) -> Result<Self, IndexError> {
        if let Err(cause) = File::open(file) {
            return Err(match cause.kind() {
                io::ErrorKind::NotFound => IndexError::Barred(bar),
                _ => IndexError::File(file.to_owned(), cause),
            });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(file, flags)?;
        db.busy_timeout(WAIT)?;
        Ok(Self { db, words: Words::default(), access: Access::Read(bar), own: None })
    }

    /// Reads what the logs hold and the index does not. Where what the index holds is not in the logs, it is made again from the first entry on.
    ///
    /// # Errors
    /// When it may not be written, an entry cannot be read, or the entries are not what the log's checkpoint signs.
    pub fn catch_up(&mut self, logs: &[Numbered], tell: &mut dyn FnMut(Progress)) -> Result<Caught, IndexError> {
        if let Access::Read(bar) = self.access {
            return Err(IndexError::Barred(bar));
        }
        let version: i64 = self.db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version != sql::VERSION {
            let again = if version == 0 { None } else { Some(Again::Version) };
            return self.make_again(logs, again, tell);
        }
        match self.go_on(logs, tell) {
            Ok(entries) => Ok(Caught { entries, again: None }),
            Err(IndexError::OtherWay { .. }) => self.make_again(logs, Some(Again::OtherLog), tell),
            Err(IndexError::Database(cause)) if damaged(&cause) => self.make_again(logs, Some(Again::Damaged), tell),
            Err(other) => Err(other),
        }
    }

    /// Makes the index again from the first entry on.
    ///
    /// # Errors
    /// As [`Index::catch_up`].
    pub fn reindex(&mut self, logs: &[Numbered], tell: &mut dyn FnMut(Progress)) -> Result<Caught, IndexError> {
        match self.access {
            Access::Read(bar) => Err(IndexError::Barred(bar)),
            Access::Write(_) => self.make_again(logs, Some(Again::Asked), tell),
        }
    }

    fn make_again(
        &mut self,
        logs: &[Numbered],
        again: Option<Again>,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Caught, IndexError> {
        self.clear()?;
        // Where something was the matter with what there was, nothing is believed this time.
        self.own = self.own.filter(|_| again.is_none());
        match self.go_on(logs, tell) {
            Ok(entries) => Ok(Caught { entries, again }),
            Err(cause) => {
                // Half an index must not be taken for one of a shorter log.
                self.clear()?;
                Err(cause)
            }
        }
    }

    fn clear(&mut self) -> Result<(), IndexError> {
        self.words = Words::default();
        let change = self.db.transaction()?;
        change.execute_batch(sql::CLEAR)?;
        change.execute_batch(sql::TABLES)?;
        change.pragma_update(None, "user_version", sql::VERSION)?;
        change.commit()?;
        Ok(())
    }

    /// Reads on; how many entries were read.
    fn go_on(&mut self, logs: &[Numbered], tell: &mut dyn FnMut(Progress)) -> Result<u64, IndexError> {
        let mut states = states(&self.db)?;
        continues(&states, logs)?;
        let of = logs.iter().map(|log| log.log.size()).sum();
        let (mut read, mut base, mut ts) = (0, 0, 0);
        let held: u64 = states.iter().map(|state| state.edge.size()).sum();
        for (log, newest) in logs.iter().zip((0..logs.len()).rev().map(|after| after == 0)) {
            let own = self.own.filter(|_| newest);
            let begun = states.iter().position(|state| state.number == log.number).map(|at| states.swap_remove(at));
            let mut state = begun.unwrap_or_else(|| State {
                number: log.number,
                base,
                origin: log.log.checkpoint().origin.clone(),
                edge: Edge::default(),
                root: None,
                ts,
            });
            base = state.base + log.log.size();
            while state.edge.size() < log.log.size() || state.root.is_none() {
                let from = state.edge.size();
                self.batch(log, &mut state, own)?;
                read += state.edge.size() - from;
                tell(Progress { entries: held + read, of });
            }
            ts = state.ts;
        }
        Ok(read)
    }

    /// One transaction. Its last one is committed if the tree over all entries is the one that was signed, and not otherwise.
    fn batch(&mut self, log: &Numbered, state: &mut State, own: Option<u64>) -> Result<(), IndexError> {
        let change = self.db.transaction()?;
        let taken = fill((&change, &mut self.words), log, state, own);
        let done = taken.and_then(|()| {
            change.commit()?;
            Ok(())
        });
        if done.is_err() {
            // Words that were added within the transaction are gone with it.
            self.words = Words::default();
        }
        done
    }

    /// How SQLite goes about each statement that the index is written and asked with: none reads a whole table.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn plans(&self) -> Result<Vec<(&'static str, Vec<String>)>, IndexError> {
        let plan = |(name, statement): &(&'static str, &str)| {
            let mut plan = self.db.prepare(&format!("EXPLAIN QUERY PLAN {statement}"))?;
            // Unbound parameters are NULL, which no plan hangs on.
            let steps: rusqlite::Result<Vec<String>> = plan.raw_query().mapped(|row| row.get(3)).collect();
            Ok((*name, steps?))
        };
        sql::ALL.iter().map(plan).collect()
    }

    /// What the index covers, newest log last.
    ///
    /// # Errors
    /// When it is not finished, or cannot be read.
    pub fn covered(&self) -> Result<Vec<Covered>, IndexError> {
        covered(&self.db)
    }
}

fn fill(
    (db, words): (&Connection, &mut Words),
    log: &Numbered,
    state: &mut State,
    own: Option<u64>,
) -> Result<(), IndexError> {
    let unread = |cause| IndexError::Log(log.number, cause);
    let mut batch = Batch::new(db, words, state.ts);
    let mut at = state.edge.size();
    // Up to the end of a block, so that what is found by blocks is written once.
    let end = log.log.size().min((at / BATCH + 1) * BATCH);
    let own = own.is_some_and(|from| at >= from);
    if own && log.log.edge(at).map_err(unread)? != state.edge {
        return Err(IndexError::OtherWay { number: log.number });
    }
    while at < end {
        let begun = at;
        let (first, bundle) = log.log.bundle(begun).map_err(unread)?.unwrap_or_default();
        let within =
            tile::entries(&bundle).map_while(Result::ok).enumerate().map(|(at, entry)| (first + at as u64, entry));
        for (index, entry) in within.skip_while(|(index, _)| *index < begun).take_while(|(index, _)| *index < end) {
            batch.take(state.base + index, entry)?;
            if !own {
                state.edge.push(leaf_hash(entry));
            }
            at = index + 1;
        }
        if at == begun {
            let cause = io::Error::new(io::ErrorKind::UnexpectedEof, format!("entry {begun} is missing"));
            return Err(unread(cause));
        }
    }
    if own {
        state.edge = log.log.edge(end).map_err(unread)?;
    }
    state.ts = batch.ts;
    batch.write()?;
    state.root = None;
    if state.edge.size() == log.log.size() {
        let signed = &log.log.checkpoint().head;
        if state.edge.head() != signed.hash {
            return Err(IndexError::OtherWay { number: log.number });
        }
        state.root = Some(signed.hash);
    }
    let State { number, base, origin, edge, root, ts } = &*state;
    let peaks = edge.peaks().concat();
    db.prepare_cached(sql::LOG_SET)?.execute(params![number, base, edge.size(), peaks, origin, root, ts])?;
    Ok(())
}

/// Whether what the index holds can be the beginning of these logs. That it is the beginning shows once the rest was read.
fn continues(states: &[State], logs: &[Numbered]) -> Result<(), IndexError> {
    for (place, state) in states.iter().enumerate() {
        let other = IndexError::OtherWay { number: state.number };
        let Some(log) = logs.get(place).filter(|log| log.number == state.number) else { return Err(other) };
        let (size, signed) = (state.edge.size(), log.log.checkpoint());
        let another = signed.origin != state.origin || log.log.size() < size;
        // A log that another follows has ended; one that ends elsewhere than the index thought would move all that comes after it.
        let moved = place + 1 < states.len() && log.log.size() != size;
        if another || moved || (log.log.size() == size && state.edge.head() != signed.head.hash) {
            return Err(other);
        }
    }
    Ok(())
}

fn states(db: &Connection) -> rusqlite::Result<Vec<State>> {
    let mut logs = db.prepare_cached(sql::LOGS)?;
    let read = logs.query_map([], |row| {
        let (size, peaks): (u64, Vec<u8>) = (row.get(2)?, row.get(3)?);
        let (peaks, _none) = peaks.as_chunks::<32>();
        let edge = Edge::resume(size, peaks.to_vec()).unwrap_or_default();
        let (number, base, origin) = (row.get(0)?, row.get(1)?, row.get(4)?);
        Ok(State { number, base, origin, edge, root: row.get(5)?, ts: row.get(6)? })
    })?;
    read.collect()
}

fn covered(db: &Connection) -> Result<Vec<Covered>, IndexError> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != sql::VERSION {
        return Err(IndexError::Unfinished);
    }
    let all: Option<Vec<Covered>> = states(db)?
        .into_iter()
        .map(|State { number, base, origin, edge, root, ts: _ }| {
            let head = Head { size: edge.size(), hash: root? };
            Some(Covered { number, base, checkpoint: Checkpoint { origin, head } })
        })
        .collect();
    all.filter(|all| !all.is_empty()).ok_or(IndexError::Unfinished)
}

/// A place as people write it: the log and the index in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The log's number; none for the newest.
    pub log: Option<u32>,
    /// The index in its tree.
    pub index: u64,
}

impl Place {
    /// Reads `0000@17`, or `@17` of the newest log.
    pub fn parse(text: &str) -> Option<Self> {
        let (log, index) = text.split_once('@')?;
        let log = if log.is_empty() { None } else { Some(log.parse().ok()?) };
        Some(Self { log, index: index.parse().ok()? })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.log {
            Some(log) => write!(out, "{}@{}", crate::logs::name(log), self.index),
            None => write!(out, "@{}", self.index),
        }
    }
}

fn prepared(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(WAIT)?;
    // Before anything is written; a file that has one keeps it.
    db.pragma_update(None, "page_size", 8_192)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    // Enough that a power cut never damages the file; what it may lose is made again.
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "wal_autocheckpoint", CHANGES_PAGES_MAX)?;
    // 64 MB, so that the pages that a batch touches stay at hand.
    db.pragma_update(None, "cache_size", -65_536)?;
    // The first page is read here, so that what is no database is told now.
    db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).map(drop)
}

fn damaged(cause: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(cause.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

enum Locked {
    Bar(Bar),
    Failed(io::Error),
}

fn lock(file: &Path) -> Result<File, Locked> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file);
    let lock = opened.map_err(|cause| match cause.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Locked::Bar(Bar::NotAllowed),
        _ => Locked::Failed(cause),
    })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Locked::Bar(Bar::Busy)),
        Err(TryLockError::Error(cause)) => Err(Locked::Failed(cause)),
    }
}
