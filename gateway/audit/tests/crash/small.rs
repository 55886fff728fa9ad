//! Fills a small file system. In: a seed. Out: that everything goes on once there is space again, and nothing that was acknowledged is lost. Never here:
//! simulated disks, crashes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use oorandom::Rand64;
use portcullis_audit::disk::{Disk, RealDisk};
use portcullis_audit::keys::Keys;
use portcullis_audit::recovery::take_up;
use portcullis_audit::sequencer::{Fault, Sequencer};
use portcullis_audit::wal::{FRAME_HEAD_BYTES, Home, Owed, ShardFile};

use crate::check::{self, Promises, Stored};
use crate::records::{Author, Certain, Desk, Ledger};

/// Every partial tile takes a page, and there are some hundred of them before they are superfluous.
const SIZE: &str = "size=8m";

/// How often there is no space, and space again.
const TIDES: u64 = 12;

/// A file system that goes with its owner.
struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path) -> Result<Self, String> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(at).output();
        let mounted = mounted.map_err(|cause| cause.to_string())?;
        match mounted.status.success() {
            true => Ok(Self(at.to_owned())),
            false => Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned()),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ended = Command::new("umount").arg(&self.0).status();
    }
}

struct Writer {
    sequencer: Sequencer,
    file: ShardFile,
    owed: Arc<Owed>,
    author: Author,
    ledger: Ledger,
    open: Vec<(u64, bool)>,
    seq: u64,
    chance: Rand64,
}

/// Writes a log where space runs out again and again; what came of it, or that nothing can be mounted here.
pub fn fill(seed: u64) -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|cause| cause.to_string())?;
    let _mount = match Mount::new(folder.path()) {
        Ok(mount) => mount,
        Err(why) => return Ok(format!("SKIPPED the run on a full disk: no tmpfs can be mounted here ({why})")),
    };
    let audit = folder.path().join("audit");
    let mut writer = Writer::new(&audit, seed)?;
    let mut refused = 0;
    for _ in 0..TIDES {
        let ballast = folder.path().join("ballast");
        let left = [0, 3000, 60_000, 200_000][writer.chance.rand_range(0..4) as usize];
        fill_but(&ballast, left).map_err(|cause| cause.to_string())?;
        let before = refused;
        for _ in 0..300 {
            refused += writer.turn().map_or_else(|cause| full(&cause).map(|()| 1), |()| Ok(0))?;
            if refused > before + 4 {
                break;
            }
        }
        // Cut first: a child that another test is just starting holds the file open for a moment, and what is only unlinked keeps its room till then.
        let cut = File::options().write(true).open(&ballast).and_then(|file| file.set_len(0));
        cut.and_then(|()| fs::remove_file(&ballast)).map_err(|cause| cause.to_string())?;
        for _ in 0..3 {
            writer.turn().map_err(|cause| format!("there is space, and still: {cause}"))?;
        }
    }
    if refused == 0 {
        return Err("space never ran out".to_owned());
    }
    let count = writer.check(&audit)?;
    Ok(format!("a full disk refused {refused} times; all of {count} acknowledged records are there"))
}

/// A file that leaves so many bytes.
fn fill_but(path: &Path, left: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut written = 0;
    while let Ok(count) = file.write(&[0; 4096]) {
        written += count as u64;
    }
    file.set_len(written.saturating_sub(left))
}

/// Nothing but a lack of space.
fn full(cause: &io::Error) -> Result<(), String> {
    match cause.kind() {
        io::ErrorKind::StorageFull => Ok(()),
        kind => Err(format!("{kind}: {cause}")),
    }
}

fn keys(audit: &Path) -> Result<Keys, String> {
    Keys::take_up(&audit.join("keys"), "edge-1/audit").map_err(|cause| cause.to_string())
}

impl Writer {
    fn new(audit: &Path, seed: u64) -> Result<Self, String> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let (sequencer, _) = take_up(disk.clone(), audit, keys(audit)?).map_err(|cause| cause.to_string())?;
        let home = Home { disk, folder: audit.join("wal"), key: keys(audit)?.values, segment_bytes_max: 4096 };
        let owed: Arc<Owed> = Arc::default();
        let file = ShardFile::create(&home, 1, 0, owed.clone()).map_err(|cause| cause.to_string())?;
        let (author, ledger, open) = (Author::default(), Ledger::new(), Vec::new());
        Ok(Self { sequencer, file, owed, author, ledger, open, seq: 0, chance: Rand64::new(u128::from(seed)) })
    }

    /// A batch, from the journal to a checkpoint; the first error where there was one.
    fn turn(&mut self) -> io::Result<()> {
        let mut desk = Desk { boot: 1, shard: 0, open: &mut self.open, unknown: &mut Vec::new() };
        let mut batch = self.author.batch(&mut desk, self.seq, FRAME_HEAD_BYTES, &mut self.chance);
        let appended = self.file.append(&mut batch.bytes);
        if appended.is_ok() {
            self.seq += batch.tried.len() as u64;
            self.open = batch.open;
        }
        for (name, mut tried) in batch.tried {
            tried.certain = if appended.is_ok() { Certain::Always } else { Certain::Not };
            self.ledger.entry(name).or_default().push(tried);
        }
        self.owed.sync()?;
        let grown = self.sequencer.take(1, 0, &self.owed).and_then(|_| self.sequencer.publish());
        grown.map_err(|fault| match fault {
            Fault::System(cause) => cause,
            Fault::Broken(why) => io::Error::other(why),
        })?;
        appended
    }

    fn check(self, audit: &Path) -> Result<usize, String> {
        drop((self.sequencer, self.file));
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let (_, recovery) = take_up(disk.clone(), audit, keys(audit)?).map_err(|cause| cause.to_string())?;
        let Keys { signer, values } = keys(audit)?;
        let stored = Stored { disk: &disk, audit, key: values, public: signer.verifier() };
        let (seen, erasures) = (BTreeMap::new(), BTreeMap::new());
        check::check(&stored, &recovery, &Promises { ledger: &self.ledger, seen: &seen, erasures: &erasures })?;
        Ok(self.ledger.values().flatten().filter(|tried| tried.certain > Certain::Not).count())
    }
}
