//! Takes the log up where the last start of the gateway left it. In: the audit folder. Out: a sequencer that goes on, and what was found. Never here: a
//! change of a record that was acknowledged, a second order of what may have been signed.
//!
//! The order on the disk is the truth: its head is signed if it was not yet. What the journals hold beyond is taken as ever. A batch that a
//! crash tore was never acknowledged; it is kept beside, as `.torn`.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_tlog::checkpoint::{Checkpoint, Refused};
use portcullis_tlog::growth::{Growth, ResumeError};
use portcullis_tlog::proof::{self, Head};
use portcullis_tlog::tile::{self, Node, Row, Tile};
use portcullis_tlog::tree::{Hash, leaf_hash};

use crate::disk::{Disk, read, replace};
use crate::keys::Keys;
use crate::order::{OpenCall, Order};
use crate::payloads::Payloads;
use crate::sequencer::{Fault, Sequencer, Took, log_folder};
use crate::wal::{Place, SegmentName, SegmentReader};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The number of the record that comes next in each shard.
    pub next_seq: BTreeMap<u16, u64>,
    /// Bytes of torn batches, kept beside.
    pub torn_bytes: u64,
    /// Entries that were made of what the journals still held.
    pub records: u64,
    /// How many entries the log has.
    pub size: u64,
    /// Calls that were let pass and never seen to end.
    pub unknown: Vec<OpenCall>,
    /// The latest boot that wrote here.
    pub boot: Option<u64>,
}

impl Recovery {
    /// The boot that begins at `now`, in Unix milliseconds: a clock that was set back must not give two boots one name.
    pub fn next_boot(&self, now: u64) -> u64 {
        self.boot.map_or(now, |last| now.max(last + 1))
    }
}

/// Takes up the log below `audit`, or begins it.
///
/// # Errors
/// When it cannot go on as what was signed; nothing is changed then.
pub fn take_up(disk: Arc<dyn Disk>, audit: &Path, keys: Keys) -> Result<(Sequencer, Recovery), OpenError> {
    let order = match Order::read(&*disk, audit)? {
        Some(order) => order,
        None if disk.names(&log_folder(audit, 0))?.iter().any(|name| name == "checkpoint") => {
            return Err(OpenError::NoOrder);
        }
        None => Order::default(),
    };
    let folder = log_folder(audit, order.log);
    make_folders(&*disk, audit, &[&audit.join("logs"), &folder, &audit.join("wal")])?;
    let growth = Growth::resume(order.head.size, |tile| read(&*disk, &folder.join(tile.path())));
    let growth = growth.map_err(|cause| match cause {
        ResumeError::Read(cause) => OpenError::System(cause),
        ResumeError::Broken(tile) => OpenError::Damaged(tile.path()),
    })?;
    if growth.head() != order.head {
        return Err(OpenError::OtherHead);
    }
    bundle_fits(&*disk, &folder, order.head.size)?;
    let signed = signed(&*disk, &folder, &keys)?;
    agree(&*disk, &folder, &order.head, signed.as_ref())?;
    // The order was read, and its name may not be on the disk for certain yet; nothing is signed over it before.
    disk.sync_folder(audit)?;
    let payloads = Payloads::resume(disk.clone(), audit, order.log, keys.values.clone(), order.head.size)?;
    let public = folder.join("log.pub");
    if disk.open(&public).is_err() {
        replace(&*disk, &public, format!("{}\n", keys.signer.verifier()).as_bytes())?;
    }
    let mut sequencer = Sequencer::new((disk, audit), keys.signer, keys.values, (order, growth, payloads));
    match signed {
        Some(head) if head.size == sequencer.order.head.size => sequencer.signed = head.size,
        None if sequencer.order.head.size == 0 => {}
        Some(_) | None => drop(sequencer.sign()?),
    }
    let recovery = take_journals(&mut sequencer)?;
    Ok((sequencer, recovery))
}

fn make_folders(disk: &dyn Disk, audit: &Path, below: &[&Path]) -> io::Result<()> {
    match disk.make_folder(audit) {
        // What it lies in need not be ours.
        Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {}
        made => made?,
    }
    below.iter().try_for_each(|folder| disk.make_folder(folder))
}

/// Whether the open bundle, on which the log is to grow, holds the entries whose hashes are in the tree.
fn bundle_fits(disk: &dyn Disk, folder: &Path, size: u64) -> Result<(), OpenError> {
    let (bundle, hashes) = (Tile::last(Row::Entries, size), Tile::last(Row::Level(0), size));
    let (Some(bundle), Some(hashes)) = (bundle, hashes) else { return Ok(()) };
    let (entries, stored) = (read(disk, &folder.join(bundle.path()))?, read(disk, &folder.join(hashes.path()))?);
    let (stored, _none) = stored.as_chunks::<32>();
    let fits = tile::entries(&entries).map(|entry| entry.ok().map(leaf_hash)).eq(stored.iter().copied().map(Some));
    if fits { Ok(()) } else { Err(OpenError::Damaged(bundle.path())) }
}

/// The head that was signed last.
fn signed(disk: &dyn Disk, folder: &Path, keys: &Keys) -> Result<Option<Head>, OpenError> {
    let note = match read(disk, &folder.join("checkpoint")) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        note => String::from_utf8(note?).map_err(|_| OpenError::Damaged("checkpoint".into()))?,
    };
    let checkpoint = Checkpoint::open(&note, keys.signer.verifier()).map_err(OpenError::Checkpoint)?;
    Ok(Some(checkpoint.head))
}

/// Whether the order goes on from what was signed.
fn agree(disk: &dyn Disk, folder: &Path, order: &Head, signed: Option<&Head>) -> Result<(), OpenError> {
    let Some(signed) = signed else { return Ok(()) };
    if signed.size > order.size {
        return Err(OpenError::RolledBack { signed: signed.size, order: order.size });
    }
    let hash = proof::tree_head(&mut Tiles { disk, folder, size: order.size }, signed.size)?;
    if hash != signed.hash { Err(OpenError::Forked { size: signed.size }) } else { Ok(()) }
}

/// The tree's hashes as they are stored.
struct Tiles<'f> {
    disk: &'f dyn Disk,
    folder: &'f Path,
    size: u64,
}

impl proof::Nodes for Tiles<'_> {
    type Error = io::Error;

    fn node(&mut self, node: Node) -> io::Result<Hash> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "a tile does not hold what its name says");
        let tile = node.tile(self.size).ok_or_else(broken)?;
        node.hash(&read(self.disk, &self.folder.join(tile.path()))?).ok_or_else(broken)
    }
}

/// Takes what the journals of earlier boots hold, signs it, and destroys them.
fn take_journals(sequencer: &mut Sequencer) -> Result<Recovery, OpenError> {
    let before = sequencer.size();
    let mut recovery = Recovery::default();
    let folder = sequencer.wal_folder();
    let mut spent: Vec<PathBuf> = Vec::new();
    for name in SegmentName::all(&*sequencer.disk, &folder)? {
        recovery.boot = recovery.boot.max(Some(name.boot));
        let path = folder.join(name.file());
        spent.push(path.clone());
        let taken = sequencer.order.shards.entry(name.shard).or_default();
        if (name.boot, name.segment) < (taken.boot, taken.place.segment) {
            continue;
        }
        if (name.boot, name.segment) > (taken.boot, taken.place.segment) {
            (taken.boot, taken.place) = (name.boot, Place { segment: name.segment, offset: 0 });
        }
        let offset = taken.place.offset;
        let mut reader = SegmentReader::open(&*sequencer.disk, &path, &sequencer.key, offset)?;
        // What is signed must outlast a power cut, also where the process alone had crashed.
        reader.file().sync()?;
        let end = reader.length()?;
        while sequencer.segment(&name, &mut reader, end)? == Took::Enough {
            sequencer.publish()?;
        }
        recovery.torn_bytes += keep_torn(sequencer, &path, &reader)?;
    }
    sequencer.consumed.extend(spent);
    match sequencer.publish()? {
        Some(_) => {}
        None => sequencer.tidy(sequencer.signed),
    }
    recovery.boot = recovery.boot.max(sequencer.order.shards.values().map(|taken| taken.boot).max());
    recovery.next_seq = sequencer.order.shards.iter().map(|(shard, taken)| (*shard, taken.next_seq)).collect();
    recovery.size = sequencer.size();
    recovery.records = recovery.size - before;
    recovery.unknown = sequencer.open_calls().collect();
    Ok(recovery)
}

/// Keeps what follows the last whole batch beside the segment, which itself goes; how many bytes.
fn keep_torn(sequencer: &Sequencer, path: &Path, reader: &SegmentReader) -> io::Result<u64> {
    let bytes = reader.length()?.saturating_sub(u64::from(reader.offset()));
    if bytes > 0 {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".torn");
        replace(&*sequencer.disk, Path::new(&beside), &reader.torn()?)?;
    }
    Ok(bytes)
}

/// Why the log cannot go on.
#[derive(Debug)]
pub enum OpenError {
    /// The system refuses something.
    System(io::Error),
    /// There is a signed log, and nothing says in which order it grew.
    NoOrder,
    /// A file of the log does not hold what its name says.
    Damaged(String),
    /// The log's tiles are not those of the head that was to be signed.
    OtherHead,
    /// The checkpoint is not to be believed.
    Checkpoint(Refused),
    /// More was signed than there is: files were put back to an older state.
    RolledBack {
        /// Entries that were signed.
        signed: u64,
        /// Entries there are.
        order: u64,
    },
    /// What was signed is not the beginning of what there is.
    Forked {
        /// Entries that were signed.
        size: u64,
    },
    /// A journal does not hold what a core wrote.
    Journal(String),
}

impl From<io::Error> for OpenError {
    fn from(cause: io::Error) -> Self {
        Self::System(cause)
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::System(cause) => Self::System(cause),
            Fault::Broken(why) => Self::Journal(why),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(cause) => write!(out, "{cause}"),
            Self::NoOrder => write!(out, "there is a signed log, and no `order.json` that says how it grew"),
            Self::Damaged(file) => write!(out, "`{file}` of the log does not hold what its name says"),
            Self::OtherHead => write!(out, "the log's tiles are not those that were to be signed"),
            Self::Checkpoint(cause) => write!(out, "the checkpoint is not to be believed: {cause}"),
            Self::RolledBack { signed, order } => {
                write!(
                    out,
                    "{signed} entries were signed, and {order} are there: files were put back to an older state"
                )
            }
            Self::Forked { size } => {
                write!(out, "the {size} entries that were signed are not the beginning of those there are")
            }
            Self::Journal(why) => write!(out, "{why}"),
        }
    }
}

impl std::error::Error for OpenError {}
