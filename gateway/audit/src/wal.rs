//! Writes and reads the journal of one core. In: batches of records. Out: a file of sealed frames, and the batches again. Never here: what a record says.
//!
//! A segment begins with a head: `pcwal2\n\0`, boot (8), shard (2), two zeros, its place in the boot (4), its key wrapped (40). Then frames: length of what
//! is sealed (4), a number that grows (8), the sealed batch, its tag (16). Numbers are little-endian. The tag of each covers the segment's head, so a
//! frame cannot pass for one of another segment; what a crash tore has no tag that fits. When all of a segment is in the log, its key is
//! destroyed with it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, read_from};
use crate::keys::{Seal, TAG_BYTES, WrappedKey, WrappingKey, fresh_key};

/// What stands before a batch: a writer leaves this room free at its beginning.
pub const FRAME_HEAD_BYTES: usize = 12;

const HEAD_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"pcwal2\n\0";

/// A segment's name, taken apart: sorts by boot, then shard, then place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    /// The boot that wrote it.
    pub boot: u64,
    /// The shard.
    pub shard: u16,
    /// Its place in that boot's shard.
    pub segment: u32,
}

impl SegmentName {
    /// `BOOT-SHARD-SEGMENT.wal`.
    pub fn file(&self) -> String {
        format!("{:013}-{:03}-{:05}.wal", self.boot, self.shard, self.segment)
    }

    /// From that.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".wal")?.splitn(3, '-');
        let (boot, shard, segment) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { boot: boot.parse().ok()?, shard: shard.parse().ok()?, segment: segment.parse().ok()? })
    }

    /// Every segment in a folder, in the order in which a shard wrote them.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<Self>> {
        let mut found: Vec<Self> = disk.names(folder)?.iter().filter_map(|name| Self::parse(name)).collect();
        found.sort();
        Ok(found)
    }

    fn head(&self, key: &WrappedKey) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        let parts: [&[u8]; 6] =
            [MAGIC, &self.boot.to_le_bytes(), &self.shard.to_le_bytes(), &[0; 2], &self.segment.to_le_bytes(), key];
        for (place, byte) in head.iter_mut().zip(parts.concat()) {
            *place = byte;
        }
        head
    }
}

/// A place in a shard: what stands before it was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The segment.
    pub segment: u32,
    /// The bytes of it.
    pub offset: u32,
}

impl Place {
    fn packed(self) -> u64 {
        u64::from(self.segment) << 32 | u64::from(self.offset)
    }

    fn unpacked(packed: u64) -> Self {
        Self { segment: (packed >> 32) as u32, offset: packed as u32 }
    }
}

/// What a shard has written and what the disk holds of it: shared between the core that writes and the thread that syncs.
#[derive(Debug, Default)]
pub struct Owed {
    /// Segments with bytes that the disk may not hold yet, the open one last. Touched by the writer on rotation alone.
    files: Mutex<Vec<Arc<dyn DiskFile>>>,
    written: AtomicU64,
    durable: AtomicU64,
    /// A sync failed: the kernel may have dropped what it was to write, and the next one would succeed without it.
    failed: AtomicBool,
    /// Bytes of all segments of this boot: written, and signed as part of the log.
    written_bytes: AtomicU64,
    signed_bytes: AtomicU64,
}

impl Owed {
    /// Returns once the disk holds all that was written before the call.
    ///
    /// # Errors
    /// As the system says; nothing more of this shard is on the disk for certain from then on, and every later call fails as well.
    pub fn sync(&self) -> io::Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("the disk refused an earlier part of the journal"));
        }
        let written = self.written.load(Ordering::Acquire);
        let files = self.files().clone();
        let synced = files.iter().try_for_each(|file| file.sync());
        self.failed.store(synced.is_err(), Ordering::Release);
        synced?;
        let mut owed = self.files();
        let retired = files.len().saturating_sub(1).min(owed.len());
        owed.drain(..retired);
        self.durable.store(written, Ordering::Release);
        Ok(())
    }

    /// Up to where the disk holds the shard of this boot.
    pub fn durable(&self) -> Place {
        Place::unpacked(self.durable.load(Ordering::Acquire))
    }

    /// The segment that is to be left before nothing of what was written stays in a journal; none where there is nothing to leave.
    pub fn occupied(&self) -> Option<u32> {
        let written = Place::unpacked(self.written.load(Ordering::Acquire));
        (written.offset > HEAD_BYTES as u32).then_some(written.segment)
    }

    /// Bytes that are written and not signed yet as part of the log.
    pub fn backlog_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed).saturating_sub(self.signed_bytes.load(Ordering::Relaxed))
    }

    /// So many bytes more are signed.
    pub fn signed(&self, bytes: u64) {
        self.signed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn files(&self) -> MutexGuard<'_, Vec<Arc<dyn DiskFile>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open segment of one core.
#[derive(Debug)]
pub struct ShardFile {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    key: Arc<WrappingKey>,
    name: SegmentName,
    segment_bytes_max: u64,
    file: Arc<dyn DiskFile>,
    head: [u8; HEAD_BYTES],
    seal: Seal,
    /// The number of the next frame: grows with each try, so that no two batches are sealed alike.
    number: u64,
    length: u64,
    /// Bytes of a failed batch may stand behind `length`: nothing may follow them.
    torn: bool,
    owed: Arc<Owed>,
}

/// Where a shard is written.
#[derive(Clone, Debug)]
pub struct Home {
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// The folder of segments.
    pub folder: PathBuf,
    /// Wraps the keys of segments.
    pub key: Arc<WrappingKey>,
    /// A segment is left beyond this.
    pub segment_bytes_max: u64,
}

impl ShardFile {
    /// Opens the first segment of this boot, never an existing file.
    ///
    /// # Errors
    /// As the system says.
    pub fn create(home: &Home, boot: u64, shard: u16, owed: Arc<Owed>) -> io::Result<Self> {
        let name = SegmentName { boot, shard, segment: 0 };
        let (file, head, seal) = begin(home, &name)?;
        owed.files().push(file.clone());
        Ok(Self {
            disk: home.disk.clone(),
            folder: home.folder.clone(),
            key: home.key.clone(),
            name,
            // Offsets are kept in 32 bits.
            segment_bytes_max: home.segment_bytes_max.min(1 << 30),
            file,
            head,
            seal,
            number: 0,
            length: HEAD_BYTES as u64,
            torn: false,
            owed,
        })
    }

    /// The core that writes this shard.
    pub fn number(&self) -> u16 {
        self.name.shard
    }

    /// What of it the disk holds.
    pub fn owed(&self) -> &Arc<Owed> {
        &self.owed
    }

    /// Appends a whole batch or nothing; `batch` begins with [`FRAME_HEAD_BYTES`] of room and is sealed where it stands. A full segment is left for
    /// a new one before.
    ///
    /// # Errors
    /// As the system says; what is in the file of it is cut off before the next.
    pub fn append(&mut self, batch: &mut Vec<u8>) -> io::Result<()> {
        self.mend()?;
        if self.length >= self.segment_bytes_max {
            self.rotate()?;
        }
        let number = self.number;
        self.number += 1;
        seal_frame(batch, &self.seal, &self.head, number)?;
        match self.file.write_at(self.length, batch) {
            Ok(()) => {
                self.length += batch.len() as u64;
                self.owed.written_bytes.fetch_add(batch.len() as u64, Ordering::Relaxed);
                let offset = u32::try_from(self.length).unwrap_or(u32::MAX);
                self.owed.written.store(Place { segment: self.name.segment, offset }.packed(), Ordering::Release);
                Ok(())
            }
            Err(cause) => {
                self.torn = self.file.cut(self.length).is_err();
                Err(cause)
            }
        }
    }

    /// Cuts off what is left of a failed batch.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.cut(self.length)?;
            self.torn = false;
        }
        Ok(())
    }

    /// Leaves the open segment for a new one, where anything is in it.
    ///
    /// # Errors
    /// As the system says; the open one is then still in use.
    pub fn rotate(&mut self) -> io::Result<()> {
        // Whoever takes a segment that was left takes all of it.
        self.mend()?;
        if self.length == HEAD_BYTES as u64 {
            return Ok(());
        }
        let name = SegmentName { segment: self.name.segment + 1, ..self.name };
        let home = Home {
            disk: self.disk.clone(),
            folder: self.folder.clone(),
            key: self.key.clone(),
            segment_bytes_max: self.segment_bytes_max,
        };
        let begun = match begin(&home, &name) {
            // An earlier try was refused, and so was taking away what it left.
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(&self.folder.join(name.file()))?;
                begin(&home, &name)
            }
            begun => begun,
        };
        let (file, head, seal) = begun?;
        self.owed.files().push(file.clone());
        (self.name, self.file, self.head, self.seal) = (name, file, head, seal);
        (self.number, self.length) = (0, HEAD_BYTES as u64);
        // The one that was left can be taken whole, also where nothing follows.
        let begun = Place { segment: self.name.segment, offset: HEAD_BYTES as u32 };
        self.owed.written.store(begun.packed(), Ordering::Release);
        Ok(())
    }
}

fn begin(home: &Home, name: &SegmentName) -> io::Result<(Arc<dyn DiskFile>, [u8; HEAD_BYTES], Seal)> {
    let path = home.folder.join(name.file());
    let key = fresh_key()?;
    let head = name.head(&home.key.wrap(&key)?);
    let file = home.disk.create(&path)?;
    // A segment that could not be begun must not stand in the way of the next try.
    let begun = file.write_at(0, &head).and_then(|()| home.disk.sync_folder(&home.folder));
    if let Err(cause) = begun {
        let _ = home.disk.remove(&path);
        return Err(cause);
    }
    Ok((file, head, Seal::new(&key)?))
}

fn seal_frame(batch: &mut Vec<u8>, seal: &Seal, head: &[u8; HEAD_BYTES], number: u64) -> io::Result<()> {
    let Some((frame, sealed)) = batch.split_at_mut_checked(FRAME_HEAD_BYTES) else { return Ok(()) };
    let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
    let (stated, numbered) = frame.split_at_mut(4);
    stated.copy_from_slice(&length.to_le_bytes());
    numbered.copy_from_slice(&number.to_le_bytes());
    let tag = seal.seal(number, head, sealed)?;
    batch.extend_from_slice(&tag);
    Ok(())
}

/// Destroys a segment all of which is in the log: its key first.
///
/// # Errors
/// As the system says.
pub fn destroy(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let file = disk.open(path)?;
    file.write_at(24, &[0; 40])?;
    file.sync()?;
    disk.remove(path)
}

/// Reads a segment, as far as it is whole.
#[derive(Debug)]
pub struct SegmentReader {
    file: Arc<dyn DiskFile>,
    head: [u8; HEAD_BYTES],
    /// None where the head was torn or its key destroyed: then nothing can be read.
    seal: Option<Seal>,
    offset: u64,
    /// Where the last batch began.
    before: u64,
    /// Read, and not all of it taken.
    buffer: Vec<u8>,
    /// What of the buffer was taken.
    taken: usize,
}

/// Read at once: some hundred batches of a busy core.
const READ_BYTES: usize = 256 * 1024;

impl SegmentReader {
    /// Opens a segment; reading goes on at `offset`, or begins.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(disk: &dyn Disk, path: &Path, key: &WrappingKey, offset: u32) -> io::Result<Self> {
        let file = disk.open(path)?;
        let mut head = [0; HEAD_BYTES];
        let whole = file.read_at(0, &mut head)? == HEAD_BYTES && head.starts_with(MAGIC);
        let wrapped = head.get(24..).and_then(|key| WrappedKey::try_from(key).ok());
        let key = wrapped.filter(|_| whole).and_then(|wrapped| key.open(&wrapped));
        let seal = key.map(|key| Seal::new(&key)).transpose()?;
        let offset = u64::from(offset).max(HEAD_BYTES as u64);
        Ok(Self { file, head, seal, offset, before: offset, buffer: Vec::new(), taken: 0 })
    }

    /// Up to where it was read.
    pub fn offset(&self) -> u32 {
        u32::try_from(self.offset).unwrap_or(u32::MAX)
    }

    /// The file, to sync it before what is read is believed to last.
    pub fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    /// The next batch that ends at `end` or before; none where no whole one does. What is not whole stays unread.
    ///
    /// # Errors
    /// As the system says.
    pub fn next(&mut self, end: u64) -> io::Result<Option<&[u8]>> {
        let Some(head) = self.buffered(FRAME_HEAD_BYTES, end)? else { return Ok(None) };
        let Some((length, number)) = head.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let number = number.first_chunk().map_or(0, |number| u64::from_le_bytes(*number));
        if length > FRAME_BYTES_MAX {
            return Ok(None);
        }
        let whole = FRAME_HEAD_BYTES + length + TAG_BYTES;
        if self.buffered(whole, end)?.is_none() {
            return Ok(None);
        }
        let Some(seal) = &self.seal else { return Ok(None) };
        let sealed = self.buffer.get_mut(self.taken + FRAME_HEAD_BYTES..self.taken + whole).unwrap_or_default();
        if seal.open(number, &self.head, sealed).is_none() {
            // It was changed by the attempt; perhaps it is only not all there yet.
            (self.buffer, self.taken) = (Vec::new(), 0);
            return Ok(None);
        }
        let start = self.taken + FRAME_HEAD_BYTES;
        self.taken += whole;
        self.before = self.offset;
        self.offset += whole as u64;
        Ok(self.buffer.get(start..start + length))
    }

    /// Gives the last batch back, as if it had not been read.
    pub fn untake(&mut self) {
        self.offset = self.before;
        (self.buffer, self.taken) = (Vec::new(), 0);
    }

    /// The next `wanted` bytes, where they end at `end` or before.
    fn buffered(&mut self, wanted: usize, end: u64) -> io::Result<Option<&[u8]>> {
        if self.offset.saturating_add(wanted as u64) > end {
            return Ok(None);
        }
        if self.buffer.len() < self.taken + wanted {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        while self.buffer.len() < self.taken + wanted {
            let have = self.buffer.len();
            let left = usize::try_from(end.saturating_sub(self.offset + have as u64)).unwrap_or(usize::MAX);
            self.buffer.resize(have + left.min(READ_BYTES.max(wanted)), 0);
            let room = self.buffer.get_mut(have..).unwrap_or_default();
            let read = self.file.read_at(self.offset + have as u64, room);
            self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
            let read = read?;
            if read == 0 {
                return Ok(None);
            }
        }
        Ok(self.buffer.get(self.taken..self.taken + wanted))
    }

    /// What follows the last whole batch, behind the head that is needed to read it.
    ///
    /// # Errors
    /// As the system says.
    pub fn torn(&self) -> io::Result<Vec<u8>> {
        let mut torn = self.head.to_vec();
        torn.extend(read_from(&*self.file, self.offset)?);
        Ok(torn)
    }

    /// How long it is.
    ///
    /// # Errors
    /// As the system says.
    pub fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

/// No batch is longer: the bound of a gathering batch and the records that one turn of a core can still add to it.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
