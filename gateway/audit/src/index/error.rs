//! Says why the index does not answer. In: what went wrong. Out: words. Never here: the cure; who asks knows what they may do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{Bar, Place};

/// Why the index does not answer.
#[derive(Debug)]
pub enum IndexError {
    /// It may not be written, and what there is does not do.
    Barred(Bar),
    /// A file cannot be opened.
    File(PathBuf, io::Error),
    /// SQLite refuses.
    Database(rusqlite::Error),
    /// An entry of a log cannot be read.
    Log(u32, io::Error),
    /// The entries of a log are not what its checkpoint signs.
    OtherWay {
        /// Which.
        number: u32,
    },
    /// It is not made yet, or not up to any checkpoint.
    Unfinished,
    /// A cursor, or a place, names none.
    NoPlace(Place),
}

impl From<rusqlite::Error> for IndexError {
    fn from(cause: rusqlite::Error) -> Self {
        Self::Database(cause)
    }
}

impl IndexError {
    /// Whether the disk is what fails, which may only be full.
    pub fn is_of_disk(&self) -> bool {
        use rusqlite::ErrorCode::{DiskFull, SystemIoFailure};
        match self {
            Self::Database(cause) => matches!(cause.sqlite_error_code(), Some(DiskFull | SystemIoFailure)),
            Self::File(_, cause) => cause.kind() == io::ErrorKind::StorageFull,
            Self::Barred(_) | Self::Log(..) | Self::OtherWay { .. } | Self::Unfinished | Self::NoPlace(_) => false,
        }
    }
}

impl fmt::Display for IndexError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Barred(Bar::Busy) => write!(out, "another process is writing the index"),
            Self::Barred(Bar::NotAllowed) => write!(out, "the index may not be written by this user"),
            Self::File(path, cause) => write!(out, "`{}`: {cause}", path.display()),
            Self::Database(cause) => write!(out, "the index: {cause}"),
            Self::Log(number, cause) => write!(out, "an entry of the log `{}`: {cause}", crate::logs::name(*number)),
            Self::OtherWay { number } => {
                write!(out, "the entries of the log `{}` are not what was signed", crate::logs::name(*number))
            }
            Self::Unfinished => write!(out, "the index is not finished"),
            Self::NoPlace(place) => write!(out, "`{place}` is no place in the log"),
        }
    }
}

impl std::error::Error for IndexError {}
