//! Remembers an erasure until it is done. In: what is to be overwritten, and with what. Out: a small file that is on the disk before anything is
//! overwritten. Never here: values, keys of what is to be gone.
//!
//! An erasure overwrites in place. The power cut within, a row could be half of one and half of the other; so what was decided is on the disk first,
//! and a start does again what is found there. At most one is under way.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use crate::disk::{Disk, read, replace};

/// An erasure that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasing {
    /// Of which entry.
    pub index: u64,
    /// Where the sealed values stand that are overwritten.
    pub offset: u64,
    /// How many bytes they are.
    pub length: u32,
    /// What its row becomes.
    pub row: [u8; 64],
}

const BYTES: usize = 8 + 8 + 4 + 64;

const DIGEST_BYTES: usize = 32;

/// What a start finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// None was under way.
    Nothing,
    /// One was, and is to be done again.
    Begun(Erasing),
    /// One was done, and is to be forgotten.
    Done,
}

impl Erasing {
    /// What there is of one in `folder`.
    ///
    /// # Errors
    /// As the system says.
    pub fn found(disk: &dyn Disk, folder: &Path) -> io::Result<Found> {
        match read(disk, &path(folder)) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            // Where they are not what was written they were being overwritten.
            bytes => Ok(Self::of(&bytes?).map_or(Found::Done, Found::Begun)),
        }
    }

    /// Writes it; it is on the disk then.
    ///
    /// # Errors
    /// As the system says; it is to be tried again.
    pub fn write(&self, disk: &dyn Disk, folder: &Path) -> io::Result<()> {
        replace(disk, &path(folder), &self.bytes())
    }

    /// Forgets the one that is done. Its row has a wrapped key, which must not outlive a later erasure: it is overwritten first.
    ///
    /// # Errors
    /// As the system says; it is to be tried again.
    pub fn forget(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
        let path = path(folder);
        let file = match disk.open(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return disk.sync_folder(folder),
            file => file?,
        };
        file.write_at(0, &[0; BYTES + DIGEST_BYTES])?;
        file.sync()?;
        disk.remove(&path)?;
        disk.sync_folder(folder)
    }

    fn bytes(&self) -> Vec<u8> {
        let parts: [&[u8]; 4] =
            [&self.index.to_le_bytes(), &self.offset.to_le_bytes(), &self.length.to_le_bytes(), &self.row];
        let mut bytes = parts.concat();
        let digest = digest(&SHA256, &bytes);
        bytes.extend_from_slice(digest.as_ref());
        bytes
    }

    /// None where they are not what was written.
    fn of(bytes: &[u8]) -> Option<Self> {
        let (index, rest) = bytes.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let read = Self {
            index: u64::from_le_bytes(*index),
            offset: u64::from_le_bytes(*offset),
            length: u32::from_le_bytes(*length),
            row: *rest.first_chunk()?,
        };
        (read.bytes() == bytes).then_some(read)
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("erasing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn an_erasure_is_read_as_it_was_written_and_nothing_else_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let read = || Erasing::found(&RealDisk, folder.path()).unwrap();
        assert_eq!(read(), Found::Nothing);
        let erasing = Erasing { index: 7, offset: 99, length: 5, row: [3; 64] };
        erasing.write(&RealDisk, folder.path()).unwrap();
        assert_eq!(read(), Found::Begun(erasing));
        let whole = std::fs::read(path(folder.path())).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(path(folder.path()), changed).unwrap();
            assert_eq!(read(), Found::Done, "changed at {at}");
            std::fs::write(path(folder.path()), &whole[..at]).unwrap();
            assert_eq!(read(), Found::Done, "cut at {at}");
        }
        Erasing::forget(&RealDisk, folder.path()).unwrap();
        assert!(!path(folder.path()).exists());
        Erasing::forget(&RealDisk, folder.path()).unwrap();
    }
}
