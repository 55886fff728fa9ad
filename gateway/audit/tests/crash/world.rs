//! Lets a log live through crashes. In: a seed. Out: crash after crash on one and the same log, each held against what was promised until then. Never
//! here: what a crash leaves, what a log has to be.
//!
//! A record counts against the end of the process once `append` has returned, and against the end of everything once `Owed::sync` has. A
//! checkpoint counts once its bytes were in any file, synced or not: somebody may have read them.

mod keeping;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use oorandom::Rand64;
use portcullis_audit::disk::Disk;
use portcullis_audit::keys::{Key, Keys, WrappingKey};
use portcullis_audit::reader::Name;
use portcullis_audit::recovery::{OpenError, Recovery, take_up};
use portcullis_audit::sequencer::{Fault, Sequencer, Took};
use portcullis_audit::wal::{FRAME_HEAD_BYTES, Home, Owed, ShardFile};
use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::note::{Kind, NoteSigner, VerifierKey};
use portcullis_tlog::tree::Hash;

use crate::blows::Blow;
use crate::check::{self, Asked, Erasures, Promises, Stored};
use crate::disk::SimDisk;
use crate::records::{Author, Batch, Certain, Desk, Ledger};
use crate::survivors::Cut;

/// What one life of the process does at most before it is ended from outside.
const STEPS_MAX: u64 = 48;

/// One log and its crashes.
pub struct World {
    disk: SimDisk,
    chance: Rand64,
    author: Author,
    ledger: Ledger,
    seen: BTreeMap<u64, Hash>,
    erasures: Erasures,
    public: VerifierKey,
    /// Whether errors are to be expected.
    troubled: bool,
    /// What happened, for whoever repeats it.
    pub told: Vec<String>,
}

/// One core of a running gateway.
struct Core {
    file: Arc<Mutex<ShardFile>>,
    owed: Arc<Owed>,
    boot: u64,
    shard: u16,
    next_seq: u64,
    open: Vec<(u64, bool)>,
    unsynced: Vec<(Name, u64)>,
    /// A sync failed: nothing of it may be believed to be on the disk.
    poisoned: bool,
}

/// Whether a life goes on after a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    On,
    Ends,
}

/// A running gateway.
struct Life {
    sequencer: Sequencer,
    cores: Vec<Core>,
    unknown: Vec<Name>,
}

impl World {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(seed),
            chance: Rand64::new(u128::from(seed) << 32 | 1),
            author: Author::default(),
            ledger: Ledger::new(),
            seen: BTreeMap::new(),
            erasures: Erasures::new(),
            public: keys().signer.verifier().clone(),
            troubled: false,
            told: Vec::new(),
        }
    }

    /// A log that has grown to some `entries` without a fault.
    pub fn grown(seed: u64, entries: u64) -> Result<Self, String> {
        let mut world = Self::new(seed);
        let (sequencer, recovery) = world.start()?.ok_or("it ended")?;
        let mut life = Life { sequencer, cores: Vec::new(), unknown: Vec::new() };
        world.cores(&mut life, &recovery)?;
        while world.size() < entries {
            for _ in 0..64 {
                world.write(&mut life, 0)?;
            }
            world.sync(&mut life, 0)?;
            world.take(&mut life, 0)?;
            world.publish(&mut life)?;
        }
        Ok(world)
    }

    /// Runs until something goes wrong, takes the log up again, and holds it against everything that was promised.
    pub fn point(&mut self) -> Result<Blow, String> {
        let blow = Blow::one(&mut self.chance);
        let faults = blow.faults(&mut self.chance);
        self.tell(|| format!("--- {blow:?} {faults:?}"));
        self.disk.arm(faults);
        self.troubled = true;
        let poisoned = self.live()?;
        let cut = match blow {
            Blow::Kill => Cut::Kill,
            Blow::Power => Cut::Power,
            Blow::Full | Blow::Sync | Blow::Read | Blow::Refused => [Cut::Kill, Cut::Power][self.below(2) as usize],
        };
        let operations = self.disk.operations();
        self.tell(|| format!("{cut:?} after {operations} operations"));
        self.hear()?;
        self.disk = self.disk.restarted(cut);
        self.forget(cut, &poisoned);
        self.check()?;
        Ok(blow)
    }

    /// One life of the process; the records that a failed sync leaves in doubt.
    fn live(&mut self) -> Result<Vec<(Name, u64)>, String> {
        let Some((sequencer, recovery)) = self.start()? else { return Ok(Vec::new()) };
        let mut life = Life { sequencer, cores: Vec::new(), unknown: Vec::new() };
        if self.below(3) > 0 {
            life.unknown = recovery.unknown.clone();
        }
        self.cores(&mut life, &recovery)?;
        let steps = self.below(STEPS_MAX);
        let mut left = steps;
        while left > 0 && !self.disk.ended() && !life.cores.is_empty() {
            left -= 1;
            if self.step(&mut life)? == Goes::Ends {
                break;
            }
            // Space returns after a while.
            if self.troubled && self.disk.fired() && self.below(8) == 0 {
                self.heal(&mut life)?;
            }
        }
        if !self.disk.ended() && self.below(2) == 0 {
            self.heal(&mut life)?;
        }
        let poisoned = life.cores.iter().filter(|core| core.poisoned).flat_map(|core| core.unsynced.clone());
        Ok(poisoned.collect())
    }

    /// Takes the log up as a start does, and again where a fault stood in the way.
    fn start(&mut self) -> Result<Option<(Sequencer, Recovery)>, String> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        for _ in 0..2 {
            let taken = take_up(disk.clone(), audit(), keys());
            let resumed = |(mut sequencer, recovery)| {
                self.resumed(&mut sequencer)?;
                Ok((sequencer, recovery))
            };
            match taken.and_then(resumed) {
                Ok((sequencer, recovery)) => {
                    self.tell(|| format!("taken up: {recovery:?}"));
                    // All that the journals held is signed.
                    self.promote();
                    return Ok(Some((sequencer, recovery)));
                }
                Err(_) if self.disk.ended() => return Ok(None),
                Err(OpenError::System(cause)) if self.troubled && self.disk.fired() => {
                    self.tell(|| format!("not taken up: {cause}"));
                    self.disk.lift();
                    self.troubled = false;
                }
                Err(cause) => return Err(format!("it is not taken up: {cause}")),
            }
        }
        Err("it is not taken up again".to_owned())
    }

    fn cores(&mut self, life: &mut Life, recovery: &Recovery) -> Result<(), String> {
        let boot = recovery.boot.unwrap_or(0) + 1;
        let home = Home {
            disk: Arc::new(self.disk.clone()),
            folder: audit().join("wal"),
            key: keys().values,
            segment_bytes_max: [256, 2048, 8192][self.below(3) as usize],
        };
        for shard in 0..1 + self.below(3) as u16 {
            // What cannot be begun may not be taken away either: the next try is another boot's.
            for boot in boot..boot + 2 {
                let owed = Arc::new(Owed::default());
                match ShardFile::create(&home, boot, shard, owed.clone()) {
                    Ok(file) => {
                        let next_seq = recovery.next_seq.get(&shard).copied().unwrap_or(0);
                        let (open, unsynced) = (Vec::new(), Vec::new());
                        let file = Arc::new(Mutex::new(file));
                        life.cores.push(Core { file, owed, boot, shard, next_seq, open, unsynced, poisoned: false });
                        break;
                    }
                    Err(cause) => {
                        self.expected(&cause)?;
                        if self.disk.fired() {
                            self.disk.lift();
                            self.troubled = false;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, life: &mut Life) -> Result<Goes, String> {
        let at = self.below(life.cores.len() as u64) as usize;
        match self.below(20) {
            0..=8 => {
                // What was refused may have left something that nobody must take.
                if !self.write(life, at)? && self.below(2) == 0 {
                    self.rotate(&life.cores[at])?;
                }
            }
            9..=12 => {
                self.sync(life, at)?;
                if life.cores[at].poisoned {
                    // The next one must not be believed; perhaps everything ends right after it.
                    self.sync(life, at)?;
                    return Ok(if self.below(2) == 0 { Goes::Ends } else { Goes::On });
                }
            }
            13..=15 => self.take(life, at)?,
            16..=17 => self.publish(life)?,
            18 => self.rotate(&life.cores[at])?,
            _ if self.below(2) == 0 => self.erase_call(life)?,
            _ => self.erase(life)?,
        }
        Ok(Goes::On)
    }

    /// Appends a batch; whether it was.
    fn write(&mut self, life: &mut Life, at: usize) -> Result<bool, String> {
        let mut batch = self.batch(life, at);
        let appended = lock(&life.cores[at].file).append(&mut batch.bytes);
        self.appended(&mut life.cores[at], batch, appended)
    }

    /// A batch for a core, which somebody tries to write from now on.
    fn batch(&mut self, life: &mut Life, at: usize) -> Batch {
        let Life { cores, unknown, .. } = life;
        let core = &mut cores[at];
        let mut desk = Desk { boot: core.boot, shard: core.shard, open: &mut core.open, unknown };
        let batch = self.author.batch(&mut desk, core.next_seq, FRAME_HEAD_BYTES, &mut self.chance);
        for (name, tried) in &batch.tried {
            self.ledger.entry(*name).or_default().push(tried.clone());
        }
        batch
    }

    fn appended(&mut self, core: &mut Core, batch: Batch, appended: io::Result<()>) -> Result<bool, String> {
        if let Err(cause) = appended {
            self.tell(|| format!("append {}: {cause}", core.shard));
            return self.expected(&cause).map(|()| false);
        }
        let written: Vec<(Name, u64)> = batch.tried.iter().map(|(name, tried)| (*name, tried.number)).collect();
        core.next_seq += written.len() as u64;
        core.open = batch.open;
        core.unsynced.extend(&written);
        self.tell(|| format!("append {}: {written:?}", core.shard));
        if !core.poisoned {
            self.mark(&written, Certain::AgainstKill);
        }
        Ok(true)
    }

    fn rotate(&mut self, core: &Core) -> Result<(), String> {
        let rotated = lock(&core.file).rotate();
        self.tell(|| format!("rotate {}: {rotated:?}", core.shard));
        rotated.or_else(|cause| self.expected(&cause))
    }

    /// Syncs what a core wrote; at times the core goes on writing meanwhile.
    fn sync(&mut self, life: &mut Life, at: usize) -> Result<(), String> {
        let done = Arc::new(Mutex::new(None));
        let mut meanwhile = None;
        if self.below(3) == 0 {
            let batch = self.batch(life, at);
            let (file, done, mut bytes) = (life.cores[at].file.clone(), done.clone(), batch.bytes.clone());
            self.disk.during_sync(move || *lock(&done) = Some(lock(&file).append(&mut bytes)));
            meanwhile = Some(batch);
        }
        let core = &mut life.cores[at];
        let synced = core.owed.sync();
        self.tell(|| format!("sync {}: {synced:?}", core.shard));
        if synced.is_ok() {
            let synced = std::mem::take(&mut core.unsynced);
            self.mark(&synced, Certain::Always);
        }
        let refused = synced.is_err() && core.poisoned;
        core.poisoned |= synced.is_err();
        if let (Some(batch), Some(appended)) = (meanwhile, lock(&done).take()) {
            self.appended(core, batch, appended)?;
        }
        match synced {
            Err(cause) if !refused => self.expected(&cause),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn take(&mut self, life: &mut Life, at: usize) -> Result<(), String> {
        let core = &life.cores[at];
        loop {
            let took = life.sequencer.take(core.boot, core.shard, &core.owed);
            self.tell(|| format!("take {at}: {took:?}"));
            match took {
                Ok(Took::All) => return Ok(()),
                Ok(Took::Enough) => drop(life.sequencer.publish()),
                Err(fault) => return self.passing(fault),
            }
        }
    }

    fn publish(&mut self, life: &mut Life) -> Result<(), String> {
        let published = life.sequencer.publish();
        self.tell(|| format!("publish: {published:?}"));
        match published {
            Ok(Some(checkpoint)) => self.signed(&checkpoint),
            Ok(None) => Ok(()),
            Err(fault) => self.passing(fault),
        }
    }

    fn erase(&mut self, life: &mut Life) -> Result<(), String> {
        let signed = life.sequencer.signed();
        if signed == 0 {
            return Ok(());
        }
        let index = self.below(signed);
        let whole = self.below(2) == 0;
        for _ in 0..2 {
            let erased = life.sequencer.erase(index, if whole { &[] } else { &["/canary"] });
            self.tell(|| format!("erase {index}, {}: {erased:?}", if whole { "all" } else { "canary" }));
            let erasure = self.erasures.entry(index).or_default();
            let asked = if whole { &mut erasure.all } else { &mut erasure.canary };
            match erased {
                Ok(_) => {
                    *asked = Asked::Done;
                    return Ok(());
                }
                Err(fault) => {
                    *asked = Asked::Tried.max(*asked);
                    self.passing(fault)?;
                }
            }
        }
        Ok(())
    }

    /// Faults are over: from now on everything has to go as if there had been none, but for shards that lost a sync.
    fn heal(&mut self, life: &mut Life) -> Result<(), String> {
        self.tell(|| "no more faults".to_owned());
        self.disk.lift();
        self.troubled = false;
        if self.below(2) == 0 {
            self.publish(life)?;
        }
        for at in 0..life.cores.len() {
            if !life.cores[at].poisoned && !self.write(life, at)? && !self.disk.ended() {
                return Err("a batch is not appended, and there is space".to_owned());
            }
            self.sync(life, at)?;
            self.take(life, at)?;
        }
        self.publish(life)
    }

    /// An error that has a cause.
    fn expected(&self, cause: &io::Error) -> Result<(), String> {
        let caused = self.disk.ended() || self.troubled && self.disk.fired();
        if caused { Ok(()) } else { Err(format!("there is no cause for `{cause}`")) }
    }

    fn passing(&self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::System(cause) => self.expected(&cause),
            Fault::Broken(_) if self.disk.ended() => Ok(()),
            Fault::Broken(why) => Err(format!("the log grows no more: {why}")),
        }
    }

    /// What files called `checkpoint…` ever held was seen by somebody.
    fn hear(&mut self) -> Result<(), String> {
        for note in self.disk.shown() {
            let checkpoint = String::from_utf8(note).ok().and_then(|note| Checkpoint::open(&note, &self.public).ok());
            if let Some(checkpoint) = checkpoint {
                self.signed(&checkpoint)?;
            }
        }
        Ok(())
    }

    fn signed(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        let head = checkpoint.head;
        match self.seen.insert(head.size, head.hash) {
            Some(before) if before != head.hash => Err(format!("two heads of {} entries were signed", head.size)),
            Some(_) | None => Ok(()),
        }
    }

    fn mark(&mut self, records: &[(Name, u64)], certain: Certain) {
        for (name, number) in records {
            let tried = self.ledger.get_mut(name).unwrap().iter_mut().find(|tried| tried.number == *number);
            tried.unwrap().certain = certain;
        }
    }

    fn promote(&mut self) {
        let kept = self.ledger.values_mut().flatten().filter(|tried| tried.certain == Certain::AgainstKill);
        kept.for_each(|tried| tried.certain = Certain::Always);
    }

    /// What this cut may lose.
    fn forget(&mut self, cut: Cut, poisoned: &[(Name, u64)]) {
        self.mark(poisoned, Certain::Not);
        if cut == Cut::Power {
            let lost = self.ledger.values_mut().flatten().filter(|tried| tried.certain == Certain::AgainstKill);
            lost.for_each(|tried| tried.certain = Certain::Not);
        }
    }

    /// Takes a copy of the log up and holds it against everything.
    fn check(&mut self) -> Result<(), String> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.copied());
        let refused = |cause: OpenError| format!("after the crash it is not taken up: {cause}");
        let (mut sequencer, mut recovery) = take_up(disk.clone(), audit(), keys()).map_err(refused)?;
        if self.below(4) == 0 {
            drop(sequencer);
            let first = recovery;
            (sequencer, recovery) = take_up(disk.clone(), audit(), keys()).map_err(refused)?;
            let again = Recovery { torn_bytes: 0, records: 0, boot: recovery.boot, ..first };
            // A shard of which nothing was ever taken is forgotten with its journals.
            let again = Recovery { next_seq: begun(&again), ..again };
            recovery.next_seq = begun(&recovery);
            if recovery != again {
                return Err(format!("taken up again it is {recovery:?} and not {again:?}"));
            }
        }
        let stored = Stored { disk: &disk, audit: audit(), key: keys().values, public: &self.public };
        let erasures = self.resumed_copy(&mut sequencer, &*disk)?;
        let promises = Promises { ledger: &self.ledger, seen: &self.seen, erasures: &erasures };
        check::check(&stored, &recovery, &promises)?;
        drop(sequencer);
        Ok(())
    }

    /// How many entries were signed.
    pub fn size(&self) -> u64 {
        self.seen.last_key_value().map_or(0, |(size, _)| *size)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.chance.rand_range(0..end)
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if cfg!(debug_assertions) || std::env::var_os("CRASH_TOLD").is_some() {
            self.told.push(what());
        }
    }
}

fn begun(recovery: &Recovery) -> BTreeMap<u16, u64> {
    recovery.next_seq.iter().filter(|(_, next)| **next > 0).map(|(shard, next)| (*shard, *next)).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

fn audit() -> &'static Path {
    Path::new("/audit")
}

/// The same keys in every world; nobody learns anything from them.
pub fn keys() -> Keys {
    let signer = NoteSigner::new("edge-1/audit", Kind::Signature, &[7; 32]).unwrap();
    Keys { signer, values: Arc::new(WrappingKey::new(Key::new([9; 32]))) }
}
