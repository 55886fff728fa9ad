//! Remembers what was cosigned. In: notes. Out: the same, after a crash as well. Never here: whether to cosign.
//!
//! One file a log, the cosigned note itself: whoever fetches it has what the witness saw last, from where the log's host cannot remove it.

use crate::disk::{self, Guard, ReadFailure};
use portcullis_tlog::note::VerifierKey;
use portcullis_tlog::proof::Head;
use portcullis_tlog::witness::kept;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of a file's name at most; the file systems of Linux take 255, and a staged file has a longer one.
const NAME_BYTES_MAX: usize = 200;

/// A folder of notes that this process alone writes.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    signer: VerifierKey,
    // Held as long as this lives: two witnesses over one folder would each forget what the other cosigned.
    _lock: File,
}

impl Store {
    /// Opens a folder, made where it is missing, for the witness whose key this is.
    ///
    /// # Errors
    /// When it cannot be written, or another witness has it open.
    pub fn open(folder: &Path, signer: &VerifierKey) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let lock = File::create(folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), signer: signer.clone(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(io::Error::new(io::ErrorKind::ResourceBusy, "another witness has it open"))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// What was cosigned last of a log; none where it never was.
    ///
    /// # Errors
    /// When what is there cannot be read or is not ours. Nothing may be cosigned then: it is not known what would be agreed to.
    pub fn last(&self, origin: &str) -> io::Result<Option<Head>> {
        let path = self.path(origin)?;
        let broken =
            |cause: String| io::Error::new(io::ErrorKind::InvalidData, format!("`{}`: {cause}", path.display()));
        let note = match disk::read(&path, Guard::Open) {
            Ok(note) => note,
            Err(ReadFailure::Missing) => return Ok(None),
            Err(failure) => return Err(broken(failure.words(&path).0)),
        };
        let checkpoint = kept(&note, &self.signer).map_err(|cause| broken(cause.to_string()))?;
        if checkpoint.origin != origin {
            return Err(broken(format!("it is of the log `{}`", checkpoint.origin)));
        }
        Ok(Some(checkpoint.head))
    }

    /// Keeps what is about to be cosigned; it is on the disk when this returns.
    ///
    /// # Errors
    /// When it is not.
    pub fn keep(&self, origin: &str, note: &str) -> io::Result<()> {
        disk::replace(&self.path(origin)?, note.as_bytes(), 0o644)
    }

    fn path(&self, origin: &str) -> io::Result<PathBuf> {
        let mut name = String::new();
        for byte in origin.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                name.push(char::from(byte));
            } else {
                // Writing to a text does not fail.
                let _infallible = write!(name, "%{byte:02x}");
            }
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, format!("the origin `{origin}` is too long")));
        }
        Ok(self.folder.join(name + ".checkpoint"))
    }
}
