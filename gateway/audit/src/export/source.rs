//! Reads the logs of an audit folder as one. In: the folder. Out: entries in their order, over every rotation, by place. Never here: what they mean.
//!
//! A key rotation closes `logs/N` and opens `logs/N+1`. An entry's place is the log's number and its index there, written `N/INDEX`; both stay
//! what they are whatever is rotated or removed.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use portcullis_tlog::note::{KeyError, VerifierKey};

use crate::log::{Log, OpenError};

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The number of its log.
    pub log: u32,
    /// Its index in that log's tree.
    pub index: u64,
}

impl Position {
    /// Reads `N/INDEX`, or `INDEX` of the log `only`.
    pub fn parse(text: &str, only: u32) -> Option<Self> {
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
        match text.split_once('/') {
            Some((log, index)) => Some(Self { log: u32::try_from(number(log)?).ok()?, index: number(index)? }),
            None => Some(Self { log: only, index: number(text)? }),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.log, self.index)
    }
}

/// An entry as it was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Where.
    pub at: Position,
    /// Its bytes, those that were hashed.
    pub bytes: Vec<u8>,
}

impl Leaf {
    /// Whether it is a record; the first entry of a rotated log is the last checkpoint of the one before.
    pub fn is_record(&self) -> bool {
        self.bytes.first() == Some(&b'{')
    }
}

/// One of the logs.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its number.
    pub number: u32,
    /// Its entries.
    pub log: Log,
    /// Its key's name and ID, as in `log.pub`.
    pub key: String,
    first: u64,
}

impl Part {
    /// What it is called.
    pub fn origin(&self) -> &str {
        &self.log.checkpoint().origin
    }
}

/// All logs of a folder, oldest first, each as its last checkpoint covers it.
#[derive(Clone, Debug)]
pub struct Source {
    parts: Vec<Part>,
}

impl Source {
    /// Opens the logs below an audit folder.
    ///
    /// # Errors
    /// When there is none, or one is not to be believed.
    pub fn open(folder: &Path) -> Result<Self, SourceError> {
        let folder = folder.join("logs");
        let unreadable = |path: &Path, cause| SourceError::Unreadable { path: path.to_owned(), cause };
        let mut numbers = Vec::new();
        match fs::read_dir(&folder) {
            Ok(found) => {
                for entry in found {
                    let entry = entry.map_err(|cause| unreadable(&folder, cause))?;
                    let number = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
                    numbers.extend(number.map(|number| (number, entry.path())));
                }
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Err(SourceError::NoLog),
            Err(cause) => return Err(unreadable(&folder, cause)),
        }
        numbers.sort();
        let newest = numbers.last().map(|(number, _)| *number);
        let (mut parts, mut first) = (Vec::<Part>::new(), 0);
        for (number, path) in numbers {
            match Part::open(number, &path, first) {
                Ok(part) => {
                    first += part.log.size();
                    parts.push(part);
                }
                // A log that was just begun has nothing yet to vouch for.
                Err(SourceError::Refused { cause: OpenError::NoCheckpoint, .. })
                    if newest == Some(number) && !parts.is_empty() => {}
                Err(other) => return Err(other),
            }
        }
        if parts.is_empty() { Err(SourceError::NoLog) } else { Ok(Self { parts }) }
    }

    /// The log of this number.
    pub fn part(&self, number: u32) -> Option<&Part> {
        self.parts.iter().find(|part| part.number == number)
    }

    /// The log that is written to.
    pub fn newest(&self) -> Option<&Part> {
        self.parts.last()
    }

    /// All of them, oldest first.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// How many entries there are in all.
    pub fn size(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.first + part.log.size())
    }

    /// The last entry there is.
    pub fn last(&self) -> Option<Position> {
        self.place(self.size().checked_sub(1)?)
    }

    /// How many entries stand before the first one after this place.
    pub fn next(&self, after: Option<Position>) -> u64 {
        let Some(after) = after else { return 0 };
        let before = self.parts.iter().take_while(|part| part.number <= after.log).last();
        before.map_or(0, |part| {
            let within = if part.number == after.log { after.index.saturating_add(1) } else { u64::MAX };
            part.first + within.min(part.log.size())
        })
    }

    /// Entries in their order, of which `skipped` stand before.
    pub fn entries(&self, skipped: u64) -> impl Iterator<Item = io::Result<Leaf>> + '_ {
        self.parts.iter().flat_map(move |part| {
            let from = skipped.saturating_sub(part.first);
            part.log
                .entries(from)
                .map(|entry| entry.map(|(index, bytes)| Leaf { at: Position { log: part.number, index }, bytes }))
        })
    }

    /// One entry.
    ///
    /// # Errors
    /// When it cannot be read or is not there.
    pub fn leaf(&self, at: Position) -> io::Result<Leaf> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("entry {at} is missing"));
        let bytes = self.part(at.log).ok_or_else(missing)?.log.entry(at.index)?.ok_or_else(missing)?;
        Ok(Leaf { at, bytes })
    }

    fn place(&self, ordinal: u64) -> Option<Position> {
        let part = self.parts.iter().take_while(|part| part.first <= ordinal).last()?;
        Some(Position { log: part.number, index: ordinal - part.first })
    }
}

impl Part {
    fn open(number: u32, folder: &Path, first: u64) -> Result<Self, SourceError> {
        let path = folder.join("log.pub");
        let text = fs::read_to_string(&path).map_err(|cause| SourceError::Unreadable { path: path.clone(), cause })?;
        let verifier = VerifierKey::parse(&text).map_err(|cause| SourceError::Key { path, cause })?;
        let log = Log::open(folder, &verifier).map_err(|cause| SourceError::Refused { log: number, cause })?;
        let key = text.trim().rsplit_once('+').map(|(named, _)| named.to_owned()).unwrap_or_default();
        Ok(Self { number, log, key, first })
    }
}

/// Why the logs cannot be read.
#[derive(Debug)]
pub enum SourceError {
    /// There is none.
    NoLog,
    /// A file or folder cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A log's key is none.
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: KeyError,
    },
    /// A log is not to be believed.
    Refused {
        /// Which.
        log: u32,
        /// Why.
        cause: OpenError,
    },
}

impl fmt::Display for SourceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLog => write!(out, "there is no signed log"),
            Self::Unreadable { path, cause } => write!(out, "`{}` cannot be read: {cause}", path.display()),
            Self::Key { path, cause } => write!(out, "`{}` is no key: {cause}", path.display()),
            Self::Refused { log, cause } => write!(out, "log {log}: {cause}"),
        }
    }
}

impl std::error::Error for SourceError {}
