//! One core's append-only file. In: whole batches. Out: the same bytes on disk, or none of them. Never here: encoding.
//!
//! A batch that fails half-way is cut off again, so that the file always ends with a whole record.

use crate::journal::syncer::Synced;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The open segment of one core.
pub struct ShardFile {
    folder: PathBuf,
    boot: u64,
    number: u16,
    segment: u32,
    segment_bytes_max: u64,
    length: u64,
    /// Bytes of a failed batch may stand behind `length`: nothing may follow them.
    torn: bool,
    file: Arc<File>,
    synced: Arc<Synced>,
}

impl ShardFile {
    /// Opens the first segment of this boot: `BOOT-SHARD-SEGMENT.jsonl`, never an existing file.
    pub fn create(
        folder: &Path,
        boot: u64,
        number: u16,
        segment_bytes_max: u64,
        synced: Arc<Synced>,
    ) -> io::Result<Self> {
        let file = Arc::new(open(folder, boot, number, 0)?);
        synced.opened(file.clone());
        Ok(Self {
            folder: folder.to_owned(),
            boot,
            number,
            segment: 0,
            segment_bytes_max,
            length: 0,
            torn: false,
            file,
            synced,
        })
    }

    /// The core that writes this shard.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Appends a whole batch or nothing. A full segment is left for a new one before the batch.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
            self.torn = false;
        }
        if self.length >= self.segment_bytes_max {
            self.rotate()?;
        }
        match portcullis_ring::write_fd(self.file.as_fd(), bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.torn = self.file.set_len(self.length).is_err();
                Err(error)
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let file = Arc::new(open(&self.folder, self.boot, self.number, self.segment + 1)?);
        self.synced.opened(file.clone());
        self.segment += 1;
        self.length = 0;
        self.file = file;
        Ok(())
    }
}

/// `BOOT-SHARD-SEGMENT.jsonl`: sorts by boot, then shard, then segment.
pub fn segment_name(boot: u64, shard: u16, segment: u32) -> String {
    format!("{boot:013}-{shard:03}-{segment:05}.jsonl")
}

fn open(folder: &Path, boot: u64, number: u16, segment: u32) -> io::Result<File> {
    let path = folder.join(segment_name(boot, number, segment));
    let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
    // The name must survive a power cut as the bytes do.
    File::open(folder)?.sync_all()?;
    Ok(file)
}
