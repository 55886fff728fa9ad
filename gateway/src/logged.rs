//! Answers questions about the signed log, the same for the command line and by the control socket. In: an audit folder, a question as it was typed.
//! Out: answers, each with the checkpoint that it was computed at. Never here: who may ask, and the record of it.

pub mod entries;
pub mod events;
pub mod tables;

use crate::asked;
use crate::reload;
use portcullis_audit::index::{Access, Bar, Index, IndexError, Progress};
use portcullis_audit::logs::{self, LogsError, Numbered};
use portcullis_core::time::UnixMillis;
use portcullis_tlog::checkpoint::Checkpoint;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The log, and what it is asked with.
pub struct Opened {
    /// The audit folder.
    pub folder: PathBuf,
    /// Every log, oldest first.
    pub logs: Vec<Numbered>,
    /// The index over them.
    pub index: Index,
}

/// What someone reads of the log, for the record of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which question, with what it named.
    pub what: String,
    /// How many records the answer holds.
    pub count: u64,
}

/// Why a question has no answer, with the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// What it is about.
    pub fault: Fault,
    /// The cause: lower case, no full stop.
    pub message: String,
    /// The cure.
    pub help: String,
}

/// What is at fault where a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The question.
    Question,
    /// There is nothing of that name.
    Nothing,
    /// Nothing; it will be answered a little later.
    Moment,
    /// Whoever asks may not.
    Rights,
    /// The log, its index, or the disk.
    Log,
}

impl Unanswered {
    /// Cause and cure.
    pub fn new(fault: Fault, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { fault, message: message.into(), help: help.into() }
    }
}

/// How far behind an index may be left, and why, where it cannot be brought up to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Why.
    pub why: &'static str,
    /// Entries that it does not hold yet.
    pub entries: u64,
}

impl Opened {
    /// Opens the logs in an audit folder and their index, which may be behind.
    ///
    /// # Errors
    /// When there is nothing yet, or it cannot be read or believed.
    pub fn open(folder: &Path) -> Result<Self, Unanswered> {
        let logs = signed(folder)?;
        let index = Index::open(folder).map_err(|cause| unindexed(folder, &cause))?;
        Ok(Self { folder: folder.to_owned(), logs, index })
    }

    /// Brings the index up to the last checkpoint, where this process may write it; otherwise says how far behind it is.
    ///
    /// # Errors
    /// When the entries are not what was signed, or the index cannot be written or read.
    pub fn catch_up(&mut self, tell: &mut dyn FnMut(Progress)) -> Result<Caught, Unanswered> {
        let why = match self.index.access() {
            Access::Write(_) => {
                let caught = self.index.catch_up(&self.logs, tell).map_err(|cause| unindexed(&self.folder, &cause))?;
                return Ok(Caught { entries: caught.entries, again: caught.again, behind: None });
            }
            Access::Read(Bar::Busy) => "another process writes the index",
            Access::Read(Bar::NotAllowed) => "the index may not be written by this user",
        };
        let entries = self.behind()?;
        Ok(Caught { entries: 0, again: None, behind: (entries > 0).then_some(Behind { why, entries }) })
    }

    /// Entries that the index does not hold yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn behind(&self) -> Result<u64, Unanswered> {
        let covered = self.index.covered().map_err(|cause| self.unindexed(&cause))?;
        let held: u64 = covered.iter().map(|log| log.checkpoint.head.size).sum();
        Ok(self.logs.iter().map(|log| log.log.size()).sum::<u64>().saturating_sub(held))
    }

    fn unindexed(&self, cause: &IndexError) -> Unanswered {
        unindexed(&self.folder, cause)
    }
}

/// What a catching up came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// Entries that were read.
    pub entries: u64,
    /// Why what was there before was thrown away, where it was.
    pub again: Option<portcullis_audit::index::Again>,
    /// How far behind it stays, where it may not be written.
    pub behind: Option<Behind>,
}

/// The logs alone.
///
/// # Errors
/// When there is none yet, or one cannot be read or believed.
pub fn signed(folder: &Path) -> Result<Vec<Numbered>, Unanswered> {
    logs::open(folder).map_err(|cause| match cause {
        LogsError::None => Unanswered::new(
            Fault::Nothing,
            format!("there is no signed log in `{}` yet", folder.display()),
            "it begins with the first `portcullis run`; or the configuration names another folder in `[audit]`",
        ),
        LogsError::Unreadable(..) => {
            Unanswered::new(Fault::Log, cause.to_string(), "read it as root or as the gateway's user")
        }
        LogsError::Key(..) | LogsError::Log(..) => {
            Unanswered::new(Fault::Log, cause.to_string(), "`portcullis-verify log` tells what is wrong with a log")
        }
    })
}

/// Why the index does not answer.
pub fn unindexed(folder: &Path, cause: &IndexError) -> Unanswered {
    let (fault, help) = match cause {
        _ if cause.is_of_disk() => (
            Fault::Log,
            "make room on the disk of the audit folder, or see why it fails; the index has to be written to be asked",
        ),
        IndexError::Barred(Bar::Busy) | IndexError::Unfinished => (
            Fault::Moment,
            "wait until it is finished; where nothing writes it, `portcullis audit reindex` makes it again",
        ),
        IndexError::Barred(Bar::NotAllowed) | IndexError::File(..) => {
            (Fault::Log, "ask as root or as the gateway's user")
        }
        IndexError::Database(_) => {
            (Fault::Log, "`portcullis audit reindex` makes the index again; it holds nothing that the log does not")
        }
        IndexError::Log(..) | IndexError::OtherWay { .. } => {
            (Fault::Log, "`portcullis-verify log` names the first entry that is not as it was signed")
        }
        IndexError::NoPlace(_) => (Fault::Question, "write it as an answer gives it, such as `0000@17`"),
    };
    Unanswered::new(fault, format!("{cause}, in `{}`", folder.display()), help)
}

/// An instant, as people write it: RFC 3339, a day, or how long ago, with or without a minus.
///
/// # Errors
/// When it is none of these.
pub fn instant(text: Option<&String>) -> Result<Option<UnixMillis>, Unanswered> {
    let Some(text) = text else { return Ok(None) };
    let read = ago(text.strip_prefix('-').unwrap_or(text), reload::now());
    read.map(Some).ok_or_else(|| {
        Unanswered::new(
            Fault::Question,
            format!("`{text}` is no time"),
            "write `2026-11-23T10:00:00Z`, `2026-11-23`, or how long ago: `-90m`, `-24h`, `-7d`",
        )
    })
}

/// `2026-11-23T10:00:00Z`, `2026-11-23`, or how long before `now`: `90m`, `24h`, `7d`.
pub fn ago(text: &str, now: UnixMillis) -> Option<UnixMillis> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return asked::time(text),
    };
    let count: u64 = text.get(..text.len() - 1)?.parse().ok()?;
    Some(now.before(Duration::from_secs(count.checked_mul(unit)?)))
}

/// What an answer was computed at, for programs.
pub fn told(checkpoint: &Checkpoint) -> Value {
    json!({"origin": checkpoint.origin, "size": checkpoint.head.size, "root": root(checkpoint)})
}

/// The head's hash, as the signed text has it.
pub fn root(checkpoint: &Checkpoint) -> String {
    checkpoint.text().lines().nth(2).unwrap_or_default().to_owned()
}
