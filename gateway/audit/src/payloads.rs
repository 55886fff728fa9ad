//! Keeps the values of records apart from the log. In: openings by index, a key. Out: files of sealed values; a value again, as long as its key
//! was not destroyed. Never here: which values may be erased.
//!
//! For each span of 65,536 entries two files below `payloads/LOG/`: `SPAN.rows` has 64 bytes an entry (offset 8, length 4, state 4, origin of the key 32,
//! zeros 16, little-endian), `SPAN.data` what they point at, sealed under a key of its own. Erasing destroys the origin and overwrites the bytes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_core::audit::parting::Parting;
use portcullis_core::audit::values::{Commit, Opening, Which, keep_whole};

use crate::disk::{Disk, DiskFile};
use crate::erasing::{Erasing, Found};
use crate::keys::{Origin, Seal, TAG_BYTES, WrappingKey, random};

/// Entries of one pair of files: as many as a tile of the tree's second level covers.
pub const SPAN_ENTRIES: u64 = 65_536;

const ROW_BYTES: usize = 64;

/// What a row says of its entry's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    None,
    Kept,
    Erased,
}

impl State {
    fn of(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Kept),
            2 => Some(Self::Erased),
            _ => None,
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Kept => 1,
            Self::Erased => 2,
        }
    }
}

/// Where an entry's values are.
#[derive(Clone, Copy, Debug)]
struct Row {
    offset: u64,
    length: u32,
    state: State,
    origin: Origin,
}

impl Row {
    fn bytes(&self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        let parts: [&[u8]; 4] =
            [&self.offset.to_le_bytes(), &self.length.to_le_bytes(), &self.state.number().to_le_bytes(), &self.origin];
        let mut rest = bytes.as_mut_slice();
        for part in parts {
            let Some((place, after)) = rest.split_at_mut_checked(part.len()) else { break };
            place.copy_from_slice(part);
            rest = after;
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (offset, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (state, rest) = rest.split_first_chunk()?;
        Some(Self {
            offset: u64::from_le_bytes(*offset),
            length: u32::from_le_bytes(*length),
            state: State::of(u32::from_le_bytes(*state))?,
            origin: *rest.first_chunk()?,
        })
    }
}

/// Values on their way to the disk: kept until they are there for certain, so that a failed write is made again whole.
#[derive(Debug, Default)]
struct Pending {
    /// Where `data` begins.
    offset: u64,
    data: Vec<u8>,
    /// The entry of the first row.
    first: u64,
    /// Rows from there on, those of entries without values among them: zeros.
    rows: Vec<u8>,
}

/// Buffers that are kept from one checkpoint to the next: memory that is asked for anew is filled with zeros by the system, page by page.
const SPARE_BYTES_MAX: usize = 48 * 1024 * 1024;

/// The values of one log.
#[derive(Debug)]
pub struct Payloads {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    log: u32,
    key: Arc<WrappingKey>,
    /// Where the data of the span that grows ends.
    end: (u64, u64),
    pending: BTreeMap<u64, Pending>,
    spare: Pending,
    /// An erasure that failed, and how many fields it is about: it is done before the next.
    erasing: Option<(Erasing, usize)>,
    /// Random bytes in store: asking the system for a few at a time takes longer than what they are for.
    chance: Chance,
    parting: Parting,
}

/// A value to keep.
#[derive(Clone, Copy, Debug)]
pub enum Given<'r> {
    /// A JSON text.
    Json(&'r [u8]),
    /// Only the digest of one.
    Digest(&'r [u8; 32]),
}

#[derive(Debug, Default)]
struct Chance {
    bytes: zeroize::Zeroizing<Vec<u8>>,
}

const CHANCE_BYTES: usize = 8 * 1024;

impl Chance {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        if self.bytes.len() < N {
            let mut fresh = zeroize::Zeroizing::new(vec![0; CHANCE_BYTES]);
            random(&mut fresh)?;
            self.bytes = fresh;
        }
        let left = self.bytes.len() - N;
        let mut taken = [0; N];
        taken.copy_from_slice(self.bytes.get(left..).unwrap_or_default());
        self.bytes.truncate(left);
        Ok(taken)
    }
}

impl Payloads {
    /// Goes on with the values of log number `log` below `audit`, which has `size` entries: rows beyond are of entries that a crash took back.
    ///
    /// # Errors
    /// As the system says.
    pub fn resume(disk: Arc<dyn Disk>, audit: &Path, log: u32, key: Arc<WrappingKey>, size: u64) -> io::Result<Self> {
        let folder = audit.join("payloads").join(format!("{log:04}"));
        let span = size / SPAN_ENTRIES;
        for name in disk.names(&folder)? {
            let number = name.split_once('.').and_then(|(number, kind)| Some((number.parse::<u64>().ok()?, kind)));
            match number {
                Some((of, _)) if of > span => disk.remove(&folder.join(name))?,
                Some((of, "rows")) if of == span => {
                    let rows = disk.open(&folder.join(name))?;
                    if rows.length()? > row_offset(size) {
                        rows.cut(row_offset(size))?;
                        rows.sync()?;
                    }
                }
                Some(_) | None => {}
            }
        }
        let data = match disk.open(&path(&folder, span, "data")) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => 0,
            data => data?.length()?,
        };
        let (end, pending, chance) = ((span, data), BTreeMap::new(), Chance::default());
        let payloads = Self {
            disk,
            folder,
            log,
            key,
            end,
            pending,
            spare: Pending::default(),
            erasing: None,
            chance,
            parting: Parting::default(),
        };
        match Erasing::found(&*payloads.disk, &payloads.folder)? {
            Found::Nothing => {}
            Found::Begun(erasing) => payloads.overwrite(&erasing)?,
            Found::Done => Erasing::forget(&*payloads.disk, &payloads.folder)?,
        }
        Ok(payloads)
    }

    /// Keeps a value of entry `index`, which is beyond all before, and commits to it; on the disk after [`Payloads::write`].
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn keep(&mut self, index: u64, which: Which, value: Given<'_>) -> io::Result<Commit> {
        let origin: Origin = self.chance.take()?;
        let span = index / SPAN_ENTRIES;
        let pending = self.pending.entry(span).or_insert_with(|| Pending {
            offset: if self.end.0 == span { self.end.1 } else { 0 },
            first: index,
            ..std::mem::take(&mut self.spare)
        });
        let start = pending.data.len();
        let commit = match value {
            Given::Json(raw) => keep_whole(&mut pending.data, (which, raw), &mut self.parting, || self.chance.take())?,
            Given::Digest(digest) => {
                let opening = Opening::of_digest(which, digest, self.chance.take()?);
                opening.write(&mut pending.data);
                opening.commit()
            }
        };
        let seal = Seal::new(&self.key.of_origin(&origin)?)?;
        let tag = seal.seal(0, &about(self.log, index), pending.data.get_mut(start..).unwrap_or_default())?;
        pending.data.extend_from_slice(&tag);
        let row = Row {
            offset: pending.offset + start as u64,
            length: u32::try_from(pending.data.len() - start).map_err(io::Error::other)?,
            state: State::Kept,
            origin,
        };
        self.end = (span, pending.offset + pending.data.len() as u64);
        let place = usize::try_from(index - pending.first).map_err(io::Error::other)? * ROW_BYTES;
        pending.rows.resize(place.max(pending.rows.len()), 0);
        pending.rows.extend_from_slice(&row.bytes());
        Ok(commit)
    }

    /// Bytes that wait to be written.
    pub fn pending_bytes(&self) -> usize {
        self.pending.values().map(|pending| pending.data.len()).sum()
    }

    /// Writes what is pending; `written` takes the files that are to be synced before it counts. What is pending stays so until
    /// [`Payloads::settled`].
    ///
    /// # Errors
    /// As the system says.
    pub fn write(&self, written: &mut Vec<Arc<dyn DiskFile>>) -> io::Result<()> {
        for (span, pending) in &self.pending {
            let (rows, data) = (self.file(*span, "rows")?, self.file(*span, "data")?);
            data.write_at(pending.offset, &pending.data)?;
            rows.write_at(row_offset(pending.first), &pending.rows)?;
            written.extend([rows, data]);
        }
        Ok(())
    }

    /// The disk holds what [`Payloads::write`] wrote.
    pub fn settled(&mut self) {
        while let Some((_, mut settled)) = self.pending.pop_first() {
            settled.data.clear();
            settled.rows.clear();
            if (self.spare.data.capacity()..=SPARE_BYTES_MAX).contains(&settled.data.capacity()) {
                self.spare = settled;
            }
        }
    }

    /// The folder of the files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn file(&self, span: u64, kind: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = path(&self.folder, span, kind);
        match self.disk.open(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                self.folder.parent().map_or(Ok(()), |above| self.disk.make_folder(above))?;
                self.disk.make_folder(&self.folder)?;
                self.disk.create(&path)
            }
            opened => opened,
        }
    }

    /// Erases fields of the values of an entry that is on the disk, or all of them where none are named: the key that opens them is
    /// destroyed, what is left is sealed anew under another. Returns once the disk holds that; how many fields are gone.
    ///
    /// # Errors
    /// As the system says; the erasure is then to be tried again.
    pub fn erase(&mut self, index: u64, pointers: &[&str]) -> io::Result<usize> {
        let before = self.finish(index)?;
        let (rows, data) = (self.file(index / SPAN_ENTRIES, "rows")?, self.file(index / SPAN_ENTRIES, "data")?);
        let mut bytes = [0; ROW_BYTES];
        if rows.read_at(row_offset(index), &mut bytes)? < ROW_BYTES {
            return Ok(before);
        }
        let Some(row) = Row::read(&bytes).filter(|row| row.state == State::Kept) else { return Ok(before) };
        let Some(mut opening) = self.open_row(index, &row, &*data)? else { return Ok(before) };
        let count = if pointers.is_empty() {
            opening.parts.len()
        } else {
            pointers.iter().map(|pointer| opening.erase(pointer)).sum()
        };
        if count == 0 {
            return Ok(before);
        }
        let left = if pointers.is_empty() { None } else { Some(&opening) };
        let now = self.rewritten(index, &row, left, &*data)?;
        data.sync()?;
        let erasing = Erasing { index, offset: row.offset, length: row.length, row: now.bytes() };
        self.erasing = Some((erasing, count));
        Ok(self.finish(index)? + before)
    }

    /// Does what was decided to be erased and not seen to be done; how many fields that were, where it is this entry's.
    fn finish(&mut self, index: u64) -> io::Result<usize> {
        let Some((erasing, count)) = self.erasing else { return Ok(0) };
        erasing.write(&*self.disk, &self.folder)?;
        self.overwrite(&erasing)?;
        self.erasing = None;
        Ok(if erasing.index == index { count } else { 0 })
    }

    fn overwrite(&self, erasing: &Erasing) -> io::Result<()> {
        let span = erasing.index / SPAN_ENTRIES;
        let (rows, data) = (self.file(span, "rows")?, self.file(span, "data")?);
        rows.write_at(row_offset(erasing.index), &erasing.row)?;
        rows.sync()?;
        // The key is gone, so this is to spare whoever looks for the bytes the doubt.
        data.write_at(erasing.offset, &vec![0; usize::try_from(erasing.length).unwrap_or(0)])?;
        data.sync()?;
        Erasing::forget(&*self.disk, &self.folder)
    }

    /// Where what is left of an entry's values stands now: behind all others.
    fn rewritten(&mut self, index: u64, row: &Row, left: Option<&Opening>, data: &dyn DiskFile) -> io::Result<Row> {
        let gone = Row { offset: row.offset, length: 0, state: State::Erased, origin: [0; 32] };
        let Some(opening) = left else { return Ok(gone) };
        let origin: Origin = self.chance.take()?;
        let mut sealed = Vec::new();
        opening.write(&mut sealed);
        let seal = Seal::new(&self.key.of_origin(&origin)?)?;
        let tag = seal.seal(0, &about(self.log, index), &mut sealed)?;
        sealed.extend_from_slice(&tag);
        let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        let span = index / SPAN_ENTRIES;
        // The span that grows is written on from a place that is known; what is added to another one comes at its end.
        let offset = if self.end.0 == span { self.end.1 } else { data.length()? };
        data.write_at(offset, &sealed)?;
        if self.end.0 == span {
            self.end.1 += u64::from(length);
        }
        Ok(Row { offset, length, state: State::Kept, origin })
    }

    fn open_row(&self, index: u64, row: &Row, data: &dyn DiskFile) -> io::Result<Option<Opening>> {
        opened(self.log, &self.key, index, row, data)
    }
}

/// What a seal covers beside the bytes: that they are the values of this entry.
fn about(log: u32, index: u64) -> [u8; 12] {
    let mut about = [0; 12];
    let (first, second) = about.split_at_mut(4);
    first.copy_from_slice(&log.to_le_bytes());
    second.copy_from_slice(&index.to_le_bytes());
    about
}

fn row_offset(index: u64) -> u64 {
    index % SPAN_ENTRIES * ROW_BYTES as u64
}

fn path(folder: &Path, span: u64, kind: &str) -> PathBuf {
    folder.join(format!("{span:08}.{kind}"))
}

fn opened(log: u32, key: &WrappingKey, index: u64, row: &Row, data: &dyn DiskFile) -> io::Result<Option<Opening>> {
    let length = usize::try_from(row.length).unwrap_or(usize::MAX);
    if length < TAG_BYTES || u64::from(row.length) > data.length()? {
        return Ok(None);
    }
    let mut sealed = vec![0; length];
    if data.read_at(row.offset, &mut sealed)? < length {
        return Ok(None);
    }
    Ok(Seal::new(&key.of_origin(&row.origin)?)?.open(0, &about(log, index), &mut sealed).and_then(Opening::read))
}

/// The number of a span, its rows and its data.
type Span = (u64, Arc<dyn DiskFile>, Arc<dyn DiskFile>);

/// Reads values.
#[derive(Debug)]
pub struct PayloadReader {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    log: u32,
    key: Arc<WrappingKey>,
    /// The span read last, and its files.
    open: Option<Span>,
}

impl PayloadReader {
    /// Of log number `log` below `audit`.
    pub fn new(disk: Arc<dyn Disk>, audit: &Path, log: u32, key: Arc<WrappingKey>) -> Self {
        let folder = audit.join("payloads").join(format!("{log:04}"));
        Self { disk, folder, log, key, open: None }
    }

    /// The values of an entry; none where it had none, they are erased, or their bytes are not what was sealed.
    ///
    /// # Errors
    /// As the system says.
    pub fn of(&mut self, index: u64) -> io::Result<Option<Opening>> {
        let span = index / SPAN_ENTRIES;
        if self.open.as_ref().is_none_or(|(open, _, _)| *open != span) {
            let open = |kind| self.disk.open(&path(&self.folder, span, kind));
            self.open = match (open("rows"), open("data")) {
                (Ok(rows), Ok(data)) => Some((span, rows, data)),
                (Err(cause), _) | (_, Err(cause)) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                (_, _) => return Ok(None),
            };
        }
        let Some((_, rows, data)) = &self.open else { return Ok(None) };
        let mut bytes = [0; ROW_BYTES];
        if rows.read_at(row_offset(index), &mut bytes)? < ROW_BYTES {
            return Ok(None);
        }
        match Row::read(&bytes) {
            Some(row) if row.state == State::Kept => opened(self.log, &self.key, index, &row, &**data),
            Some(_) | None => Ok(None),
        }
    }
}
