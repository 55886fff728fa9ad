//! Brings the records of all cores into one order, and lets the log grow by them. In: what the disk holds of the journals. Out: entries, sealed values,
//! signed checkpoints. Never here: waiting, threads, what calls mean.
//!
//! A record is taken once the disk holds its journal. It becomes an entry, its values go apart. Nothing is signed before the disk holds the
//! entries, the values and the order, in this order. A journal's segment is destroyed once a checkpoint covers all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_core::audit::field::{Event, Field, Fields};
use portcullis_core::audit::leaf::{self, Commits};
use portcullis_core::audit::values::Which;
use portcullis_core::time::UnixMillis;
use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::growth::{Asset, Growth};
use portcullis_tlog::note::NoteSigner;
use portcullis_tlog::tile::Tile;

use crate::disk::{Disk, DiskFile, replace};
use crate::keys::WrappingKey;
use crate::order::Order;
use crate::payloads::{Given, Payloads};
use crate::wal::{self, Owed, Place, SegmentName, SegmentReader};

/// Values that wait for the next checkpoint: beyond this one is made at once.
const PENDING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A log under way.
pub struct Sequencer {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) audit: PathBuf,
    pub(crate) signer: NoteSigner,
    pub(crate) key: Arc<WrappingKey>,
    pub(crate) order: Order,
    pub(crate) growth: Growth,
    pub(crate) payloads: Payloads,
    readers: BTreeMap<u16, (SegmentName, SegmentReader)>,
    /// Tiles that are not on the disk for certain.
    assets: Vec<Asset>,
    /// Folders that are known to exist.
    folders: BTreeSet<PathBuf>,
    /// Segments that go once a checkpoint covers them.
    pub(crate) consumed: Vec<PathBuf>,
    /// Bytes of journals that were taken since the last checkpoint, and of which shard.
    unsigned: Vec<(Arc<Owed>, u64)>,
    /// How much of the log is signed.
    pub(crate) signed: u64,
    /// What was taken does not fit: nothing more is taken or signed, since what is in memory is no longer what the disk would give.
    broken: Option<String>,
    /// An erasure may be decided and not done.
    pub(crate) halfway: bool,
    entry: Vec<u8>,
}

/// How far a shard was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// All there is.
    All,
    /// Enough for one checkpoint.
    Enough,
}

impl Sequencer {
    pub(crate) fn new(
        (disk, audit): (Arc<dyn Disk>, &Path),
        signer: NoteSigner,
        key: Arc<WrappingKey>,
        (order, growth, payloads): (Order, Growth, Payloads),
    ) -> Self {
        Self {
            disk,
            audit: audit.to_owned(),
            signer,
            key,
            signed: 0,
            order,
            growth,
            payloads,
            readers: BTreeMap::new(),
            assets: Vec::new(),
            folders: BTreeSet::new(),
            consumed: Vec::new(),
            unsigned: Vec::new(),
            broken: None,
            halfway: false,
            entry: Vec::with_capacity(4096),
        }
    }

    /// Where the log lies.
    pub fn log_folder(&self) -> PathBuf {
        log_folder(&self.audit, self.order.log)
    }

    /// The key by which others check it.
    pub fn verifier(&self) -> String {
        self.signer.verifier().to_string()
    }

    /// How many entries it has, signed or not.
    pub fn size(&self) -> u64 {
        self.growth.size()
    }

    /// How many a checkpoint covers.
    pub fn signed(&self) -> u64 {
        self.signed
    }

    /// Takes what the disk holds of a shard of the boot that runs.
    ///
    /// # Errors
    /// When a journal cannot be read, which may pass, or is not what a core wrote, which does not.
    pub fn take(&mut self, boot: u64, shard: u16, owed: &Arc<Owed>) -> Result<Took, Fault> {
        if let Some(why) = &self.broken {
            return Err(Fault::Broken(why.clone()));
        }
        let durable = owed.durable();
        loop {
            let taken = self.order.shards.entry(shard).or_default();
            if taken.boot != boot {
                (taken.boot, taken.place) = (boot, Place::default());
            }
            if taken.place >= durable {
                return Ok(Took::All);
            }
            let name = SegmentName { boot, shard, segment: taken.place.segment };
            let mut reader = self.reader(&name)?;
            let closed = name.segment < durable.segment;
            let end = if closed { reader.length()? } else { u64::from(durable.offset) };
            let begun = reader.offset();
            let took = self.segment(&name, &mut reader, end);
            self.unsigned.push((owed.clone(), u64::from(reader.offset().saturating_sub(begun))));
            match took? {
                Took::Enough => {
                    self.readers.insert(shard, (name, reader));
                    return Ok(Took::Enough);
                }
                Took::All if u64::from(reader.offset()) != end => {
                    return Err(self.breaks(format!("`{}` does not hold what was written", name.file())));
                }
                Took::All if closed => {
                    self.consumed.push(self.wal_folder().join(name.file()));
                    let taken = self.order.shards.entry(shard).or_default();
                    taken.place = Place { segment: name.segment + 1, offset: 0 };
                }
                Took::All => {
                    self.readers.insert(shard, (name, reader));
                    return Ok(Took::All);
                }
            }
        }
    }

    /// The reader of a segment, where the last one stopped.
    fn reader(&mut self, name: &SegmentName) -> io::Result<SegmentReader> {
        match self.readers.remove(&name.shard) {
            Some((of, reader)) if of == *name => Ok(reader),
            Some(_) | None => {
                let offset = self.order.shards.get(&name.shard).map_or(0, |taken| taken.place.offset);
                SegmentReader::open(&*self.disk, &self.wal_folder().join(name.file()), &self.key, offset)
            }
        }
    }

    /// Takes whole batches of a segment up to `end`, as long as they follow on what was taken.
    pub(crate) fn segment(&mut self, name: &SegmentName, reader: &mut SegmentReader, end: u64) -> Result<Took, Fault> {
        loop {
            if self.payloads.pending_bytes() > PENDING_BYTES_MAX {
                return Ok(Took::Enough);
            }
            let Some(batch) = reader.next(end)? else { return Ok(Took::All) };
            let next_seq = self.order.shards.get(&name.shard).map_or(0, |taken| taken.next_seq);
            if Fields::split(batch).is_none_or(|(first, _)| first.seq != next_seq) {
                reader.untake();
                return Ok(Took::All);
            }
            self.batch(name, batch)?;
            let offset = reader.offset();
            if let Some(taken) = self.order.shards.get_mut(&name.shard) {
                taken.place = Place { segment: name.segment, offset };
            }
        }
    }

    fn batch(&mut self, name: &SegmentName, batch: &[u8]) -> Result<(), Fault> {
        let boot = name.boot.to_string();
        let mut rest = batch;
        while !rest.is_empty() {
            let Some((fields, after)) = Fields::split(rest) else {
                return Err(self.breaks(format!("`{}` holds what is no record", name.file())));
            };
            if let Err(cause) = self.record((name, &boot), &fields) {
                return Err(self.breaks(cause.to_string()));
            }
            rest = after;
        }
        Ok(())
    }

    /// Makes an entry of a record.
    fn record(&mut self, (name, boot): (&SegmentName, &str), fields: &Fields<'_>) -> io::Result<()> {
        let commits = self.keep(fields)?;
        let taken = self.order.shards.entry(name.shard).or_default();
        if fields.seq != taken.next_seq {
            return Err(io::Error::other(format!("record {} is missing in `{}`", taken.next_seq, name.file())));
        }
        self.entry.clear();
        let place = leaf::Place { boot, shard: name.shard, prev: taken.prev.as_ref() };
        leaf::write(&mut self.entry, fields, &place, &commits);
        let (_, hash) = self.growth.append_hashed(&self.entry).map_err(io::Error::other)?;
        (taken.prev, taken.next_seq) = (Some(hash), fields.seq + 1);
        self.order.at = self.order.at.max(fields.at.0);
        self.follow(name, fields);
        Ok(())
    }

    /// Keeps apart what of a record is; what its entry says of it.
    fn keep(&mut self, fields: &Fields<'_>) -> io::Result<Commits> {
        let index = self.growth.size();
        let mut commits = Commits::default();
        let kept = [
            (Which::Arguments, Field::Arguments, Field::ArgumentsDigest, &mut commits.arguments),
            (Which::Result, Field::Result, Field::ResultDigest, &mut commits.result),
        ];
        for (which, whole, digest, commit) in kept {
            let digest = || fields.bytes(digest).and_then(|digest| <&[u8; 32]>::try_from(digest).ok());
            let Some(given) = fields.bytes(whole).map(Given::Json).or_else(|| digest().map(Given::Digest)) else {
                continue;
            };
            *commit = Some(self.payloads.keep(index, which, given)?);
            break;
        }
        Ok(commits)
    }

    /// Remembers which calls are under way.
    fn follow(&mut self, name: &SegmentName, fields: &Fields<'_>) {
        let decision_seq = fields.number(Field::DecisionSeq);
        match (fields.event, decision_seq) {
            (Event::Decision, _) if fields.text(Field::Decision) != Some("deny") => {
                self.order.open.insert((name.boot, name.shard, fields.seq));
            }
            (Event::Result | Event::ResultEnded, Some(seq)) => {
                self.order.open.remove(&(name.boot, name.shard, seq));
            }
            (Event::OutcomeUnknown, Some(seq)) => {
                let boot = fields.text(Field::DecisionBoot).and_then(|boot| boot.parse().ok());
                let shard = fields.number(Field::DecisionShard).and_then(|shard| u16::try_from(shard).ok());
                if let (Some(boot), Some(shard)) = (boot, shard) {
                    self.order.open.remove(&(boot, shard, seq));
                }
            }
            (_, _) => {}
        }
    }

    /// Signs what was taken; nothing where nothing is new.
    ///
    /// # Errors
    /// As the system says: nothing is lost, and the next try writes everything anew.
    pub fn publish(&mut self) -> Result<Option<Checkpoint>, Fault> {
        if let Some(why) = &self.broken {
            return Err(Fault::Broken(why.clone()));
        }
        if self.signed == self.size() {
            return Ok(None);
        }
        self.assets.append(&mut self.growth.take());
        let assets = std::mem::take(&mut self.assets);
        let written = self.write_all(&assets);
        // All of them, also where one could not be written: they are made once.
        self.assets = assets;
        written?;
        self.order.head = self.growth.head();
        self.order.write(&*self.disk, &self.audit)?;
        let before = self.signed;
        let checkpoint = self.sign()?;
        self.payloads.settled();
        self.unsigned.drain(..).for_each(|(owed, bytes)| owed.signed(bytes));
        self.tidy(before);
        Ok(Some(checkpoint))
    }

    /// Brings values and tiles to the disk.
    fn write_all(&mut self, assets: &[Asset]) -> io::Result<()> {
        let whole = self.disk.whole(&self.audit)?;
        let mut written = Vec::with_capacity(assets.len() + 2);
        self.payloads.write(&mut written)?;
        let mut folders = BTreeSet::new();
        if !written.is_empty() {
            folders.insert(self.payloads.folder().to_owned());
        }
        let (log, ordered) = (self.log_folder(), self.order.head.size);
        for Asset { tile, bytes } in assets {
            // A tile that has not grown since is on the disk, and must not be missing for a moment.
            if Tile::of(tile.row, tile.index, ordered) == Some(*tile) {
                continue;
            }
            let path = log.join(tile.path());
            written.push(self.write_tile(&path, bytes)?);
            folders.extend(path.parent().map(Path::to_owned));
        }
        let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
        self.disk.sync_many(whole, &written, &folders)
    }

    /// Signs the head that the disk holds.
    pub(crate) fn sign(&mut self) -> io::Result<Checkpoint> {
        let checkpoint = Checkpoint { origin: self.signer.verifier().name().to_owned(), head: self.order.head };
        let note = checkpoint.sign(&self.signer);
        replace(&*self.disk, &self.log_folder().join("checkpoint"), note.as_bytes())?;
        self.signed = checkpoint.head.size;
        Ok(checkpoint)
    }

    /// A folder of the log and those between, each of which is known to be on the disk from then on.
    fn make_folder(&mut self, folder: &Path) -> io::Result<()> {
        if self.folders.contains(folder) || folder == self.log_folder() {
            return Ok(());
        }
        folder.parent().map_or(Ok(()), |above| self.make_folder(above))?;
        self.disk.make_folder(folder)?;
        self.folders.insert(folder.to_owned());
        Ok(())
    }

    /// Writes a tile into a file of its own, so that no failed write is ever built on.
    fn write_tile(&mut self, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
        path.parent().map_or(Ok(()), |folder| self.make_folder(folder))?;
        let file = match self.disk.create(path) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(path)?;
                self.disk.create(path)?
            }
            created => created?,
        };
        file.write_at(0, bytes)?;
        Ok(file)
    }

    /// Takes away what the checkpoint made superfluous; the one before was of `signed` entries. What fails here stays, and does no harm.
    pub(crate) fn tidy(&mut self, signed: u64) {
        let log = self.log_folder();
        let full = self.assets.iter().map(|asset| asset.tile).filter(Tile::is_full);
        for tile in full {
            let mut partial = log.join(tile.path()).into_os_string();
            partial.push(".p");
            // Most tiles of a busy second were never partial.
            if self.folders.remove(Path::new(&partial)) || Tile::of(tile.row, tile.index, signed).is_some() {
                let _ = self.disk.remove_folder(Path::new(&partial));
            }
        }
        self.growth.give_back(self.assets.drain(..));
        let disk = self.disk.clone();
        self.consumed.retain(|path| wal::destroy(&*disk, path).is_err() && disk.open(path).is_ok());
    }

    pub(crate) fn wal_folder(&self) -> PathBuf {
        self.audit.join("wal")
    }

    fn breaks(&mut self, why: String) -> Fault {
        self.broken = Some(why.clone());
        Fault::Broken(why)
    }

    /// Calls that were let pass and are not known to have ended.
    pub fn open_calls(&self) -> impl Iterator<Item = crate::order::OpenCall> {
        self.order.open.iter().copied()
    }

    /// When the newest record was made.
    pub fn newest(&self) -> UnixMillis {
        UnixMillis(self.order.at)
    }

    /// Destroys fields of the values of an entry, or all where none are named; how many are gone. Its entry stays, and the log verifies.
    ///
    /// # Errors
    /// As the system says; it is to be tried again.
    pub fn erase(&mut self, index: u64, pointers: &[&str]) -> Result<usize, Fault> {
        self.publish()?;
        Ok(self.payloads.erase(index, pointers)?)
    }
}

/// Where log number `log` lies.
pub fn log_folder(audit: &Path, log: u32) -> PathBuf {
    audit.join("logs").join(format!("{log:04}"))
}

/// Why the log does not grow.
#[derive(Debug)]
pub enum Fault {
    /// The system refuses something; it may pass.
    System(io::Error),
    /// A journal is not what a core wrote: only a start that takes the log up from the disk goes on.
    Broken(String),
}

impl From<io::Error> for Fault {
    fn from(cause: io::Error) -> Self {
        Self::System(cause)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(cause) => write!(out, "{cause}"),
            Self::Broken(why) => write!(out, "{why}"),
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
#[path = "sequencer_tests.rs"]
mod tests;
