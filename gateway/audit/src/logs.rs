//! Finds the logs below the audit folder. In: the folder. Out: each log in its order, with its key. Never here: writing.
//!
//! `logs/0000` is the first; each rotation of the key opens the next, whose first entry is the last checkpoint of the one before.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use portcullis_tlog::note::VerifierKey;

use crate::log::{Log, OpenError};

/// One log, and what it is verified with.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// Its number: the name of its folder.
    pub number: u32,
    /// The log, as its last checkpoint covers it.
    pub log: Log,
    /// Its key, from `log.pub`.
    pub key: VerifierKey,
}

/// Opens every log below the audit folder, oldest first. One that was just begun and has no checkpoint yet is passed over.
///
/// # Errors
/// When there is none, or one cannot be read or is not to be believed.
pub fn open(audit: &Path) -> Result<Vec<Numbered>, LogsError> {
    let folder = audit.join("logs");
    let listed = match fs::read_dir(&folder) {
        Ok(listed) => listed,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Err(LogsError::None),
        Err(cause) => return Err(LogsError::Unreadable(folder, cause)),
    };
    let mut numbers = Vec::new();
    for entry in listed {
        let entry = entry.map_err(|cause| LogsError::Unreadable(folder.clone(), cause))?;
        let name = entry.file_name();
        numbers.extend(name.to_str().filter(|name| name.len() == 4).and_then(|name| name.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    let newest = numbers.last().copied();
    let mut logs = Vec::new();
    for number in numbers {
        match one(&folder.join(name(number)), number) {
            Err(LogsError::Log(_, OpenError::NoCheckpoint)) if Some(number) == newest => {}
            read => logs.push(read?),
        }
    }
    if logs.is_empty() { Err(LogsError::None) } else { Ok(logs) }
}

/// The name of a log's folder.
pub fn name(number: u32) -> String {
    format!("{number:04}")
}

fn one(folder: &Path, number: u32) -> Result<Numbered, LogsError> {
    let file = folder.join("log.pub");
    // A key that is not written yet is a log that is not begun yet.
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            return Err(LogsError::Log(folder.to_owned(), OpenError::NoCheckpoint));
        }
        Err(cause) => return Err(LogsError::Unreadable(file, cause)),
    };
    let key = VerifierKey::parse(&text).map_err(|cause| LogsError::Key(file, cause.to_string()))?;
    let log = Log::open(folder, &key).map_err(|cause| LogsError::Log(folder.to_owned(), cause))?;
    Ok(Numbered { number, log, key })
}

/// Why the logs cannot be read.
#[derive(Debug)]
pub enum LogsError {
    /// Nothing was logged yet.
    None,
    /// A file or folder cannot be read.
    Unreadable(PathBuf, io::Error),
    /// A `log.pub` holds no key.
    Key(PathBuf, String),
    /// A log cannot be read.
    Log(PathBuf, OpenError),
}

impl fmt::Display for LogsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(out, "there is no signed log yet"),
            Self::Unreadable(path, cause) => write!(out, "`{}` cannot be read: {cause}", path.display()),
            Self::Key(path, cause) => write!(out, "`{}` holds no key of a log: {cause}", path.display()),
            Self::Log(path, cause) => write!(out, "the log in `{}`: {cause}", path.display()),
        }
    }
}

impl std::error::Error for LogsError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::sample::Folder;

    #[test]
    fn logs_are_found_in_their_order_and_none_is_believed_unsigned() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(open(folder.path()), Err(LogsError::None)));
        let mut sample = Folder::new();
        sample.write(&[b"{}".to_vec()]);
        sample.rotate();
        fs::create_dir(sample.path().join("logs/0002")).unwrap();
        let logs = open(sample.path()).unwrap();
        assert_eq!(logs.iter().map(|log| (log.number, log.log.size())).collect::<Vec<_>>(), [(0, 1), (1, 1)]);
        fs::copy(sample.path().join("logs/0000/checkpoint"), sample.path().join("logs/0001/checkpoint")).unwrap();
        assert!(matches!(open(sample.path()), Err(LogsError::Log(..))));
        fs::write(sample.path().join("logs/0001/log.pub"), "no key\n").unwrap();
        assert!(matches!(open(sample.path()), Err(LogsError::Key(..))));
    }
}
